"""The program's way from training to an experiment, for a second environment."""

import importlib.util
import sys

import environments
import numpy as np
import pytest
import tensorflow as tf2
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tiny
from environments import LOGITS
from environments import Z
from PIL import Image

from compare_gan_logits.inversion import Inverter


# What tiny.py leaves out of the paper's networks.
PAPER = "G.spectral_norm = True\nweights.initializer = 'orthogonal'\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A run of the paper's networks with its module."""
  folder = tmp_path_factory.mktemp("smoke")
  tiny.write_training(folder, PAPER)
  environments.train(sys.executable, folder, 4)
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
  made = environments.generate(
    sys.executable, _KERAS_3, module / "saved_model", tmp_path
  )
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
  environments.command(
    sys.executable,
    tmp_path / "empty",
    "reconstruct",
    f"--module={module}",
    f"--images={pictures}",
    f"--output={out}",
  )
  assert (out / "results.json").exists() and (out / "grid.png").exists()
  report = tmp_path / "report"
  environments.command(
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
