r"""Reconstructs images from the logits that a classifier gives them.

Writes a grid (original, then the reconstructions of each module), each picture as a
PNG, logits.npz and results.json, and prints a table.

  compare-gan-logits reconstruct --module runs/robust/module \
      --images 'photos/*.jpg' --samples 3 --output out

Without --module it uses the small inverter of photographs that comes with the program
(docs/photographs.md).
"""

from __future__ import annotations

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits import files
from compare_gan_logits.cli import command
from compare_gan_logits.cli import modules


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module",
  [],
  "Folder of an exported module, or label=folder. Give the flag "
  "once for each module to see them side by side. Default: the "
  "inverter of photographs that comes with the program.",
)
flags.DEFINE_string("images", None, "Folder, file, or quoted glob of images.")
flags.DEFINE_integer(
  "samples", 1, "Reconstructions of each image, with different noise.", lower_bound=1
)
flags.DEFINE_integer("seed", 0, "Seed of the noise.", lower_bound=0)
flags.DEFINE_string("output", "reconstructions", "Folder to write.")
flags.DEFINE_enum(
  "select",
  None,
  ["logits"],
  "Keep the best of the --samples of each image. logits: the one whose own logits are "
  "nearest to the image's.",
)
flags.DEFINE_multi_string("classifier", [], modules.CLASSIFIER_HELP)
flags.DEFINE_integer(
  "grid_rows", 40, "Largest number of images in the grid.", lower_bound=1
)
_TABLE_ROWS = 40


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
  if not FLAGS.images:
    raise errors.UserError("--images is missing: a folder or a quoted glob of images")
  from compare_gan_logits import inversion
  from compare_gan_logits import reconstruction

  files.check_new(FLAGS.output)  # before the work
  paths = inversion.find_images(FLAGS.images)
  inverters = modules.load(FLAGS.module or [inversion.SHIPPED], FLAGS.classifier)
  with files.atomic_dir(FLAGS.output) as folder:
    made = [
      reconstruction.of_files(
        inverter, paths, FLAGS.samples, FLAGS.seed, FLAGS.select, label
      )
      for label, inverter in inverters.items()
    ]
    reconstruction.write(made, folder, FLAGS.grid_rows)
  reconstruction.print_table(made, _TABLE_ROWS)
  print(f"\nwritten to {FLAGS.output}: grid.png, images/, logits.npz, results.json")


def command_line() -> None:
  command.run(main)
