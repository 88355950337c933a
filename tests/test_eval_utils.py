"""Samples of images and Inception's features."""

import ast
import json
import os

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tiny

from compare_gan_logits import eval_utils
from compare_gan_logits import test_utils
from compare_gan_logits.errors import UserError


class Dataset:
  """Images of one grey level, as many as are asked for."""

  name = "grey"

  def __init__(self, levels, colors=1):
    self._images = np.float32(levels)[:, None, None, None] * np.ones([1, 4, 4, colors])

  def eval_input_fn(self, params=None, split=None):
    assert split in (None, "test")
    images = np.float32(self._images)
    return tf.data.Dataset.from_tensor_slices((images, np.zeros(len(images), "i4")))


def test_real_images_are_rgb_bytes():
  images = eval_utils.get_real_images(Dataset(np.linspace(0, 1, 99)), 70, "test")
  assert images.shape == (70, 4, 4, 3)
  np.testing.assert_allclose(images[1], 255 / 98, rtol=1e-5)
  with pytest.raises(ValueError, match="has 3 images.*5 were asked"):
    eval_utils.get_real_images(Dataset(np.zeros(3), 3), 5)
  few = eval_utils.get_real_images(
    Dataset(np.zeros(3), 3), 5, failure_on_insufficient_examples=False
  )
  assert len(few) == 3


def test_generated_images_and_nan():
  with tf.Graph().as_default(), tf.Session() as session:
    step = tf.Variable(0.0, use_resource=True)
    session.run(tf.global_variables_initializer())
    images = tf.fill([2, 4, 4, 1], step.assign_add(0.25))
    sample = eval_utils.sample_fake_dataset(session, images, 3)
    with pytest.raises(eval_utils.NanFoundError, match="batch 1"):
      eval_utils.sample_fake_dataset(session, images * np.nan, 2)
  assert not issubclass(eval_utils.NanFoundError, ValueError)
  assert sample.images.shape == (6, 4, 4, 3)
  np.testing.assert_allclose(sample.images[:, 0, 0, 0] / 63.75, [1, 1, 2, 2, 3, 3])
  assert eval_utils.from_rgb_bytes(sample.images).shape == (6, 4, 4, 1)
  sample.set_inception_features(np.arange(6), np.arange(6))
  sample.set_num_examples(5)
  assert [len(x) for x in (sample.images, sample.activations, sample.logits)] == [5] * 3
  sample.discard_images()
  assert sample.images is None


def test_inceptions_preprocessing():
  data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
  with open(os.path.join(data, "golden.json"), encoding="utf-8") as f:
    (golden,) = json.load(f)["inception_preprocessing"].values()
  y, x, c = np.meshgrid(*map(np.arange, (64, 64, 3)), indexing="ij")
  image = np.float32((7 * y + 13 * x + 29 * c) % 256)
  with tf.Graph().as_default(), tf.Session() as session:
    found = session.run(eval_utils.preprocess(tf.constant(image[None])))[0]
  assert list(found.shape) == golden["shape"]
  for measure in ("mean", "min", "max"):
    assert getattr(found, measure)() == pytest.approx(golden[measure], abs=1e-6)
  for place, pixel in golden["pixels"].items():
    np.testing.assert_allclose(found[ast.literal_eval(place)], pixel, atol=1e-6)


def test_the_fake_inception(monkeypatch):
  definition = test_utils.create_fake_inception_graph().as_graph_def()
  monkeypatch.setattr(eval_utils, "get_inception_graph_def", lambda: definition)
  pool, logits = eval_utils.inception_transform_np(np.full([3, 8, 8, 3], 255.0), 2)
  assert pool.shape == logits.shape == (3, 10)
  np.testing.assert_allclose(pool, 127 / 128 * 299 * 299 * 3 * 0.001, rtol=1e-3)


def test_inception_is_the_users_module(tmp_path):
  """A module of two outputs: the mean colour, and its double."""

  def build():
    images = tf.placeholder(tf.float32, [None, 299, 299, 3])
    scale = tf.get_variable("scale", initializer=2.0, use_resource=True)
    pool = tf.reduce_mean(images, [1, 2])
    hub.add_signature(
      inputs={"images": images}, outputs={"pool_3": pool, "logits": pool * scale}
    )

  with pytest.raises(UserError, match="needs inception.path"):
    eval_utils.get_inception_graph_def()
  gin.bind_parameter("inception.path", tiny.export(tmp_path / "module", build))
  try:
    image = np.random.default_rng(0).uniform(0, 255, [2, 299, 299, 3])
    pool, logits = eval_utils.inception_transform_np(image, 1)
  finally:
    gin.clear_config()
  np.testing.assert_allclose(pool, (image.mean((1, 2)) - 128) / 128, atol=1e-5)
  np.testing.assert_allclose(logits, 2 * pool, rtol=1e-5)


def test_classes_are_those_that_the_images_were_made_of():
  with tf.Graph().as_default(), tf.Session() as session:
    labels = tf.random.uniform([64], maxval=10, dtype=tf.int32)
    images = (
      tf.ones([1, 2, 2, 1]) * tf.cast(labels, tf.float32)[:, None, None, None] / 10
    )
    found = eval_utils.sample_fake_dataset(session, images, 3, labels)
  assert len(found.labels) == 192
  np.testing.assert_allclose(found.images[:, 0, 0, 0] / 25.5, found.labels, atol=1e-4)
