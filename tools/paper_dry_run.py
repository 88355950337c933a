"""Runs the paper's training with stand-ins for ImageNet and the classifier.

The networks have the paper's width, at batch 2. Noise stands in for ImageNet, and a
ResNet-152 with random weights for the trained one. It trains two steps, with a checkpoint
after each, exports the module and reconstructs pictures. If this succeeds, the paper's
command, files and networks work on this machine. The paper's batch of 2048 needs far more
memory (docs/scaling.md):

  make paper-dry-run                             # or, in an environment of your own:
  python tools/paper_dry_run.py --output runs/paper_dry_run

It takes about ten minutes on two cores, 8 GB of memory and 8 GB of disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/paper_dry_run", "Folder to write.")
_BINDINGS = (
  "options.batch_size = 2",
  "options.training_steps = 2",
  "run_config.save_checkpoints_steps = 1",
  "export.standing_images = 4",
  "export.standing_batch_size = 2",
  "classifier.low = -1.0",
)


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
  output = os.path.abspath(FLAGS.output)
  if os.path.exists(os.path.join(output, "run")):
    raise errors.UserError(
      f"{output} has a run already; remove it, or name another folder with --output"
    )
  os.makedirs(output, exist_ok=True)
  start = time.monotonic()
  classifier = _write_classifier(os.path.join(output, "resnet152.h5"))
  _write_pictures(os.path.join(output, "pictures"))
  bindings = [*_BINDINGS, f"classifier.handle = '{classifier}'"]
  _run(
    "train",
    "--data_fake_dataset",
    "--gin_config",
    "robust_resnet152.gin",
    *(f"--gin_bindings={binding}" for binding in bindings),
    "--model_dir",
    os.path.join(output, "run"),
  )
  _run(
    "reconstruct",
    "--module",
    os.path.join(output, "run", "module"),
    "--images",
    os.path.join(output, "pictures"),
    "--output",
    os.path.join(output, "reconstructions"),
  )
  print(
    f"The paper's command runs here: {time.monotonic() - start:.0f} s with stand-ins and a "
    "batch of 2. For the real one, prepare ImageNet with TensorFlow Datasets and leave out "
    "--data_fake_dataset and all --gin_bindings; docs/scaling.md says what a batch of 2048 takes."
  )


def _write_classifier(path):
  from tensorflow import keras

  print("making a ResNet-152 V2 with random weights", flush=True)
  keras.applications.ResNet152V2(weights=None).save(path)
  return path


def _write_pictures(folder):
  import numpy as np
  from PIL import Image

  os.makedirs(folder, exist_ok=True)
  noise = np.random.default_rng(0).integers(0, 256, [2, 96, 96, 3], np.uint8)
  for i, pixels in enumerate(noise):
    Image.fromarray(pixels).save(os.path.join(folder, f"{i}.png"))


def _run(*arguments):
  """Runs one of the program's commands and says which.

  Raises:
    UserError: it failed; it has said why.
  """
  print("\n$ compare-gan-logits", " ".join(arguments), flush=True)
  module = "compare_gan_logits.cli.dispatch"
  done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
  if done.returncode:
    raise errors.UserError(
      f"compare-gan-logits {arguments[0]} ended with code {done.returncode}; the real "
      "run would too"
    )


def command_line() -> None:
  command.run(main)


if __name__ == "__main__":
  command_line()
