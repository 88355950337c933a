"""What tests of GANs need: two tiny networks, a fake Inception, made-up data.

  class MyTest(test_utils.CompareGanTestCase):
    def test_it_trains(self):
      gin.bind_parameter("dataset.name", "cifar10")
      ...

"dummy_arch" names the two networks in options.architecture.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from unittest import mock

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import datasets  # its flags
from compare_gan_logits import eval_utils
from compare_gan_logits.architectures.dummy import Discriminator
from compare_gan_logits.architectures.dummy import Generator


__all__ = [
  "CompareGanTestCase",
  "Discriminator",
  "Generator",
  "create_fake_inception_graph",
]


def create_fake_inception_graph() -> tf.Graph:
  """A graph with Inception's tensors that multiplies pixels by a matrix of 0.001.

  "Mul:0" [n, 299, 299, 3] goes in; "pool_3:0" and "logits:0", [n, 10], are the same.
  """
  with tf.Graph().as_default() as graph:
    images = tf.placeholder(tf.float32, [None, 299, 299, 3], "Mul")
    pixels = 299 * 299 * 3
    weights = tf.fill([pixels, 10], 0.001)
    pool = tf.matmul(tf.reshape(images, [-1, pixels]), weights, name="pool_3")
    tf.identity(pool, name="logits")
  return graph


class CompareGanTestCase(tf.test.TestCase):
  """A test with made-up data, no gin bindings and a fake Inception."""

  def setUp(self) -> None:
    super().setUp()
    gin.clear_config()
    self.addCleanup(gin.clear_config)
    fake_data = datasets.FLAGS["data_fake_dataset"]
    self.addCleanup(setattr, fake_data, "value", fake_data.value)
    fake_data.value = True
    definition = create_fake_inception_graph().as_graph_def()
    patch = mock.patch.object(
      eval_utils, "get_inception_graph_def", return_value=definition
    )
    patch.start()
    self.addCleanup(patch.stop)

  def _get_empty_model_dir(self) -> str:
    """A new folder, which is removed after the test."""
    folder = tempfile.mkdtemp(prefix=f"{self.id().split('.')[-1]}-")
    self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return os.path.join(folder, "model")
