"""Commands and programs in another process, of this or another environment's Python."""

import os
import subprocess

import forking
import numpy as np


LOGITS = np.linspace(-3, 3, 20, dtype=np.float32).reshape(2, 10)
Z = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)

GENERATE = """
import sys
import numpy as np
from compare_gan_logits.inversion import Inverter
inputs = np.load(sys.argv[2])
np.save(sys.argv[3], Inverter.load(sys.argv[1]).generate(inputs["logits"], inputs["z"]))
"""


def _environment():
  """That of another interpreter: without what this one's TensorFlow needs."""
  kept = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
  return {**kept, "PYTHONPATH": forking.ROOT}


def command(python, folder, *arguments):
  """Runs a command of the program from an empty folder; its stdout."""
  folder.mkdir(exist_ok=True)
  done = subprocess.run(
    [python, "-m", "compare_gan_logits.cli.dispatch", *map(str, arguments)],
    cwd=folder,
    env=_environment(),
    capture_output=True,
    text=True,
    timeout=900,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def train(python, folder, steps):
  """Trains what tiny.write_training has written into the folder, and exports it."""
  return command(
    python,
    folder,
    "train",
    "--gin_config",
    folder / "tiny.gin",
    "--gin_bindings",
    f"options.training_steps = {steps}",
    "--model_dir",
    folder / "run",
  )


def generate(python, program, module, folder):
  """Images that a module gives to a program in another process, for LOGITS and Z."""
  np.savez(folder / "inputs.npz", logits=LOGITS, z=Z)
  code, out = folder / "generate.py", folder / "images.npy"
  code.write_text(program)
  subprocess.run(
    [python, code, module, folder / "inputs.npz", out],
    env=_environment(),
    check=True,
    timeout=300,
  )
  return np.load(out)
