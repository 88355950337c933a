"""Inverts one classifier with each architecture of 32 px, at equal time; prints a table.

  python tools/compare_architectures.py --minutes 2 --output runs/architectures

Each is trained once, on one core, and then reconstructs validation images of the
embedded set. What a folder holds already is not made again.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from absl import flags

from compare_gan_logits import checkpoints
from compare_gan_logits import errors
from compare_gan_logits import files
from compare_gan_logits import hooks
from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/architectures", "Folder of the runs.")
flags.DEFINE_float("minutes", 2.0, "Of training, each.", lower_bound=0.0)
flags.DEFINE_integer("images", 1000, "Validation images to score.", lower_bound=1)
# Those that have images of 32 px.
_ARCHITECTURES = (
  "resnet_biggan_arch",
  "resnet_biggan_deep_arch",
  "resnet_cifar_arch",
  "resnet5_arch",
  "sndcgan_arch",
  "dcgan_arch",
  "infogan_arch",
  "dosovitskiy_brox_arch",
)
# InfoGAN's own discriminator has norms; compare_gan leaves them to D.batch_norm_fn.
_BINDINGS = {"infogan_arch": ("D.batch_norm_fn = @batch_norm",)}
_SCORES = "scores.json"


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise errors.UserError(f"what is {argv[1]!r}? Everything is a flag; see --help")
  files.check_writable(FLAGS.output)
  rows = [_scores(architecture) for architecture in _ARCHITECTURES]
  print(
    f"LPIPS (AlexNet), PSNR and class kept of {FLAGS.images} validation images, one training of "
    f"{FLAGS.minutes:g} minutes each"
  )
  print(
    "| architecture | parameters G + D, millions | steps/s | LPIPS | PSNR, dB "
    "| class kept |"
  )
  print("|---|---|---|---|---|---|")
  for row in sorted(rows, key=lambda row: row["lpips"]):
    print(
      f"| `{row['architecture']}` | {row['parameters'] / 1e6:.2f} | "
      f"{row['steps_per_second']:.2f} | {row['lpips']:.3f} | {row['psnr']:.1f} | "
      f"{row['class_kept']:.1%} |"
    )


def _scores(architecture):
  """What the table says of an architecture, trained where it is not yet."""
  folder = os.path.join(FLAGS.output, architecture)
  path = os.path.join(folder, _SCORES)
  setting = {"minutes": FLAGS.minutes, "images": FLAGS.images}
  if os.path.exists(path):
    scores = files.read_json(path)
    if {name: scores.get(name) for name in setting} != setting:
      raise errors.UserError(
        f"{path} is of other --minutes or --images; name another --output"
      )
    return scores
  _train(architecture, folder)
  # Imported late: the trainings are processes of their own.
  from compare_gan_logits import datasets
  from compare_gan_logits import inversion
  from compare_gan_logits.metrics import agreement
  from compare_gan_logits.metrics import lpips
  from compare_gan_logits.metrics import similarity

  inverter = inversion.Inverter.load(os.path.join(folder, "module"))
  dataset = datasets.get_dataset("embedded")
  images = dataset.arrays("validation", limit=FLAGS.images)[0]
  pictures = inverter.reconstruct(images, seed=0)[:, 0]
  classes = (inverter.logits(x).argmax(axis=1) for x in (images, pictures))
  step, prefix = checkpoints.of_run(folder)[-1]
  scores = {
    **setting,
    "architecture": architecture,
    "parameters": _num_parameters(prefix),
    "steps_per_second": step / hooks.TrainingTime.read(folder),
    "lpips": float(np.mean(lpips.distance(images, pictures))),
    "psnr": float(np.mean(similarity.psnr(images, pictures))),
    "class_kept": agreement.rate(*classes),
  }
  files.write_json(path, scores)
  return scores


def _train(architecture, folder):
  bindings = (
    f"options.architecture = '{architecture}'",
    f"run_config.training_minutes = {FLAGS.minutes}",
    *_BINDINGS.get(architecture, ()),
  )
  one_core = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
  result = subprocess.run(
    [
      *(sys.executable, "-m", "compare_gan_logits.main"),
      *("--gin_config", "architectures.gin", "--model_dir", folder),
      *(f"--gin_bindings={binding}" for binding in bindings),
    ],
    env={**os.environ, **one_core, "TF_NUM_INTEROP_THREADS": "1"},
    check=False,
  )
  if result.returncode:
    raise errors.UserError(f"the training of {architecture} failed, as it says above")


def _num_parameters(prefix):
  """Trained numbers of both networks: those that Adam has a moment for."""
  import tensorflow.compat.v1 as tf

  shapes = dict(tf.train.list_variables(prefix))
  return sum(
    int(np.prod(shape))
    for name, shape in shapes.items()
    if name.endswith(("/d_opt", "/g_opt"))
  )


if __name__ == "__main__":
  command.run(main)
