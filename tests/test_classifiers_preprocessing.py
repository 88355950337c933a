"""Preprocessing against hand-computed values, Pillow and Keras."""

import numpy as np
import pytest
import tensorflow
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorflow import keras

from compare_gan_logits import resizing
from compare_gan_logits.classifiers import keras_models
from compare_gan_logits.classifiers import preprocessing
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.errors import UserError


def run(function, images):
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(function(tf.constant(images)))


def noise(*shape):
  return np.random.default_rng(7).random(shape, dtype=np.float32)


def test_one_pixel_by_hand():
  pixel = np.array([[[[0.2, 0.4, 0.6]]]], np.float32)
  settings = Preprocessing(
    channel_order="bgr", low=0, high=255, mean=(103.939, 116.779, 123.68)
  )
  expected = [153 - 103.939, 102 - 116.779, 51 - 123.68]
  np.testing.assert_allclose(run(settings.apply, pixel)[0, 0, 0], expected, rtol=1e-5)
  signed = run(Preprocessing(low=-1, high=1).apply, pixel)[0, 0, 0]
  np.testing.assert_allclose(signed, [-0.6, -0.2, 0.2], atol=1e-6)
  negative = run(Preprocessing(low=1, high=-1).apply, pixel)[0, 0, 0]
  np.testing.assert_allclose(negative, -signed, atol=1e-6)


def test_two_pixels_to_four_by_hand():
  row = np.array([0.0, 1.0], np.float32).reshape(1, 1, 2, 1)
  images = np.repeat(row, 2, axis=1)
  result = run(lambda x: resizing.resize(x, 4), images)
  np.testing.assert_allclose(result[0, 2, :, 0], [0, 0.25, 0.75, 1], atol=1e-6)
  back = run(lambda x: resizing.resize(x, 1), images)
  np.testing.assert_allclose(back, 0.5, atol=1e-6)


@pytest.mark.parametrize(
  "method, pillow",
  [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC), ("area", Image.BOX)],
)
@pytest.mark.parametrize("source, target", [(64, 224), (64, 24), (32, 32), (21, 64)])
def test_resize_equals_pillow(method, pillow, source, target):
  images = noise(2, source, source, 3)
  result = run(Preprocessing(size=target, resize=method).apply, images)
  for i, channel in np.ndindex(2, 3):
    expected = Image.fromarray(images[i, ..., channel]).resize((target, target), pillow)
    np.testing.assert_allclose(result[i, ..., channel], np.asarray(expected), atol=2e-6)


def test_images_may_keep_their_own_size():
  images = noise(2, 6, 6, 3)
  for settings in (Preprocessing(), Preprocessing(size=9, resize="none")):
    np.testing.assert_array_equal(run(settings.apply, images), images)


@pytest.mark.parametrize("size", [(40, 40), (20, 50), (30, 60)])
def test_oblong_images_and_tensorflow(size):
  images = noise(2, 30, 50, 3)
  expected = run(lambda x: tensorflow.image.resize(x, size, antialias=True), images)
  result = run(lambda x: resizing.resize(x, size), images)
  np.testing.assert_allclose(result, expected, atol=1e-5)


def test_colours():
  grey = noise(2, 4, 4, 1)
  np.testing.assert_array_equal(
    run(Preprocessing().apply, grey), np.repeat(grey, 3, axis=-1)
  )
  rgb = noise(2, 4, 4, 3)
  for order in ("rgb", "bgr"):  # of what the classifier takes, not of the images
    np.testing.assert_allclose(
      run(Preprocessing(colors=1, channel_order=order).apply, rgb)[..., 0],
      rgb @ [0.2989, 0.5870, 0.1140],
      atol=1e-6,
    )


@pytest.mark.parametrize(
  "name, module",
  [
    ("ResNet152", "resnet"),
    ("ResNet152V2", "resnet_v2"),
    ("InceptionV3", "inception_v3"),
    ("DenseNet121", "densenet"),
    ("EfficientNetB0", "efficientnet"),
    ("MobileNetV3Small", "mobilenet_v3"),
    ("VGG16", "vgg16"),
    ("Xception", "xception"),
  ],
)
def test_keras_preprocessing_equals_kerass_own(name, module):
  images = noise(2, 8, 8, 3)
  module = getattr(keras.applications, module)
  expected = module.preprocess_input(255 * images)
  result = run(keras_models.keras_preprocessing(name).apply, images)
  np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_compiles_with_xla_and_is_differentiable():
  with tf.Graph().as_default(), tf.Session() as session:
    images = tf.constant(noise(2, 16, 16, 1))
    settings = Preprocessing(size=24, resize="bicubic", low=-1)
    compiled = tf.function(settings.apply, jit_compile=True)(images)
    (gradient,) = tf.gradients(compiled, images)
    a, b, g = session.run([compiled, settings.apply(images), gradient])
  np.testing.assert_allclose(a, b, atol=1e-5)
  # Rows sum to one: three channels, range 2, (24 / 16)^2 target pixels a pixel.
  np.testing.assert_allclose(g.sum(), 2 * 24 * 24 * 3 * 2, rtol=1e-4)


@pytest.mark.parametrize(
  "wrong, part",
  [
    (dict(resize="bilinaer"), "bilinear"),
    (dict(channel_order="grb"), "channel_order"),
    (dict(mean=(1.0, 2.0)), "mean"),
    (dict(mean=(1.0, 2.0, 3.0), colors=1), "mean has 3 values for 1 channels"),
    (dict(std=(1.0, 2.0)), "std has 2 values"),
    (dict(std=(1.0, 0.0, 1.0)), "std has a 0"),
    (dict(low=1.0), "both 1.0"),
    (dict(colors=2), "colours"),
  ],
)
def test_refusals(wrong, part):
  with pytest.raises(UserError, match=part):
    Preprocessing(**wrong)


def test_unknown_sizes_and_channels_are_refused():
  with tf.Graph().as_default():
    with pytest.raises(UserError, match="in advance"):
      resizing.resize(tf.placeholder(tf.float32, [None, None, None, 3]), 8)
    with pytest.raises(UserError, match="channels"):
      preprocessing.convert_colors(tf.zeros([1, 4, 4, 2]), 3)
