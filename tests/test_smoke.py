"""The program's way from training to an experiment, for a second environment.

And between two of them: what one TensorFlow makes, another takes. The variable
COMPARE_GAN_LOGITS_OTHER_PYTHON names the interpreter of the other environment.
"""

import importlib.util
import os
import subprocess
import sys

import forking
import numpy as np
import pytest
import tensorflow as tf2
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tiny
from PIL import Image

from compare_gan_logits.inversion import Inverter


OTHER_PYTHON = os.environ.get("COMPARE_GAN_LOGITS_OTHER_PYTHON")
# What tiny.py leaves out of the paper's networks.
PAPER = "G.spectral_norm = True\nweights.initializer = 'orthogonal'\n"
LOGITS = np.linspace(-3, 3, 20, dtype=np.float32).reshape(2, 10)
Z = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)


def environment():
  """That of another interpreter: without what this one's TensorFlow needs."""
  kept = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
  return {**kept, "PYTHONPATH": forking.ROOT}


def command(python, folder, *arguments):
  """Runs a command of the program from an empty folder; its stdout."""
  folder.mkdir(exist_ok=True)
  done = subprocess.run(
    [python, "-m", "compare_gan_logits.cli.dispatch", *map(str, arguments)],
    cwd=folder,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=900,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def train(python, folder, steps):
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A run of 20 steps, in two goes, with its module."""
  folder = tmp_path_factory.mktemp("smoke")
  tiny.write_training(folder, f"{PAPER}run_config.save_checkpoints_steps = 10\n")
  for steps in (10, 20):
    train(sys.executable, folder, steps)
    assert tf.train.latest_checkpoint(str(folder / "run")).endswith(f"-{steps}")
  return folder


@pytest.mark.long
def test_both_formats_of_the_module_give_the_same_images(folder):
  module_dir = folder / "run" / "module"
  with tf.Graph().as_default(), tf.Session() as session:
    module = hub.Module(str(module_dir))
    output = module({"z": Z, "logits": LOGITS}, signature="generator")
    session.run(tf.global_variables_initializer())
    images = session.run(output)
  assert images.shape == (2, 32, 32, 1) and images.std() > 0
  inputs = {"z": tf2.constant(Z), "logits": tf2.constant(LOGITS)}
  again = tf2.saved_model.load(str(module_dir / "saved_model"))(inputs)
  np.testing.assert_allclose(again, images, atol=1e-5)


_KERAS_3 = """
import sys
import keras
import numpy as np
inputs = dict(np.load(sys.argv[2]))
np.save(sys.argv[3], keras.layers.TFSMLayer(sys.argv[1])(inputs))
"""


@pytest.mark.long
@pytest.mark.skipif(
  importlib.util.find_spec("tf_keras") is None, reason="keras is not Keras 3 here"
)
def test_keras_3_takes_the_saved_model(folder, tmp_path):
  """In a process of its own, as the program itself chooses Keras 2."""
  module = folder / "run" / "module"
  made = generate(sys.executable, _KERAS_3, module / "saved_model", tmp_path)
  expected = Inverter.load(str(module)).generate(LOGITS, Z)
  np.testing.assert_allclose(made, expected, atol=1e-5)


@pytest.mark.long
def test_pictures_are_reconstructed_and_an_experiment_is_made(folder, tmp_path):
  pictures = tmp_path / "pictures"
  pictures.mkdir()
  pixels = np.random.default_rng(0).integers(0, 256, [32, 32], np.uint8)
  Image.fromarray(pixels).save(pictures / "one.png")
  module = folder / "run" / "module"
  out = tmp_path / "out"
  command(
    sys.executable,
    tmp_path / "empty",
    "reconstruct",
    f"--module={module}",
    f"--images={pictures}",
    f"--output={out}",
  )
  assert (out / "results.json").exists() and (out / "grid.png").exists()
  report = tmp_path / "report"
  command(
    sys.executable,
    tmp_path / "empty",
    "reproduce",
    f"--module=tiny={module}",
    "--dataset=embedded",
    "--only=noise_resampling",
    "--limit=8",
    f"--output={report}",
  )
  assert (report / "report.html").exists()


_GENERATE = """
import sys
import numpy as np
from compare_gan_logits.inversion import Inverter
inputs = np.load(sys.argv[2])
np.save(sys.argv[3], Inverter.load(sys.argv[1]).generate(inputs["logits"], inputs["z"]))
"""


def generate(python, program, module, folder):
  """Images that a module gives to a program in another process."""
  np.savez(folder / "inputs.npz", logits=LOGITS, z=Z)
  code, out = folder / "generate.py", folder / "images.npy"
  code.write_text(program)
  subprocess.run(
    [python, code, module, folder / "inputs.npz", out],
    env=environment(),
    check=True,
    timeout=300,
  )
  return np.load(out)


@pytest.mark.long
@pytest.mark.skipif(not OTHER_PYTHON, reason="no second environment was named")
@pytest.mark.parametrize("made_here", [True, False])
def test_a_checkpoint_and_a_module_are_taken_by_the_other_tensorflow(
  tmp_path, made_here
):
  maker, taker = sys.executable, OTHER_PYTHON
  if not made_here:
    maker, taker = taker, maker
  tiny.write_training(tmp_path)
  train(maker, tmp_path, 2)
  module = tmp_path / "run" / "module"
  np.testing.assert_allclose(
    generate(taker, _GENERATE, module, tmp_path),
    generate(maker, _GENERATE, module, tmp_path),
    atol=1e-5,
  )
  train(taker, tmp_path, 4)
  assert tf.train.latest_checkpoint(str(tmp_path / "run")).endswith("-4")
  assert Inverter.load(str(module)).info["step"] == 4
