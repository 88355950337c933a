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
from typing import Any
from unittest import mock

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import datasets  # its flags
from compare_gan_logits import eval_utils
from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops


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


class Generator(abstract_arch.AbstractGenerator):
  """One linear layer from z to the pixels.

  Attributes:
    call_arg_list: the arguments of each call, a list of dicts.
  """

  def __init__(self, **kwargs: Any):
    super().__init__(**kwargs)
    self.call_arg_list: list[dict[str, Any]] = []

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    self.call_arg_list.append({"z": z, "y": y, "is_training": is_training})
    height, width, colors = self._image_shape
    pixels = arch_ops.linear(z, height * width * colors, scope="fc_noise")
    return tf.nn.sigmoid(tf.reshape(pixels, [-1, height, width, colors]))


class Discriminator(abstract_arch.AbstractDiscriminator):
  """One linear layer from an image's mean colour to its score.

  Attributes:
    call_arg_list: the arguments of each call, a list of dicts.
  """

  def __init__(self, **kwargs: Any):
    super().__init__(**kwargs)
    self.call_arg_list: list[dict[str, Any]] = []

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    self.call_arg_list.append({"x": x, "y": y, "is_training": is_training})
    features = tf.reduce_mean(x, axis=[1, 2])
    logit = arch_ops.linear(features, 1, scope="linear")
    return tf.nn.sigmoid(logit), logit, features


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
