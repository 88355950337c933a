"""Small networks of four kinds, whose sizes are within a factor of two of each other.

They are trained from scratch on pictures of 32 or 64 px, so that what their logits keep
can be compared between kinds of network. Each is a graph function of images
[b, s, s, c] -> {"logits" [b, classes], "features" [b, f], "spatial" [b, h, w, d]}:
"features" is what the last layer sees, "spatial" a feature map about halfway.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers.networks import Outputs
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of network and Adam's learning rate that suits it."""

  build: Callable[..., Outputs]
  learning_rate: float


@gin.configurable("resnet")
def resnet(
  images: tf.Tensor,
  num_classes: int,
  widths: Sequence[int] = (16, 32, 64),
  blocks: int = 2,
) -> Outputs:
  """The residual network for small pictures of He et al. (2016, section 4.2).

  Groups of two-convolution blocks, the first of which halves the size in all groups but
  the first; then the spatial mean. Two things differ: the stem's stride brings pictures
  to 16 px, which saves time, and each branch ends in a factor that starts at zero
  (SkipInit: De and Smith, 2020) in the place of batch norms, which adversarial training
  would have to keep two sets of.

  Args:
    images: [b, s, s, c].
    num_classes: logits.
    widths: channels of each group.
    blocks: of each group.
  """
  stride = max(1, images.shape[1] // 16)
  x = networks.convolution(images, widths[0], 3, "stem", stride=stride)
  maps = []
  for group, width in enumerate(widths):
    for block in range(blocks):
      stride = 2 if group > 0 and block == 0 else 1
      x = _residual(x, width, stride, f"group{group}/block{block}")
    maps.append(x)
  features = tf.reduce_mean(tf.nn.relu(x), axis=[1, 2])
  return {
    "features": features,
    "logits": networks.linear(features, num_classes, "logits"),
    "spatial": maps[len(maps) // 2],
  }


def _residual(x, width, stride, name):
  with tf.variable_scope(name):
    y = tf.nn.relu(x)
    y = tf.nn.relu(networks.convolution(y, width, 3, "conv1", stride=stride))
    y = networks.convolution(y, width, 3, "conv2")
    if x.shape[-1] != width:
      x = networks.convolution(x, width, 1, "shortcut", stride=stride)
    return x + y * tf.get_variable("branch", [], initializer=tf.zeros_initializer())


@gin.configurable("vit")
def vit(
  images: tf.Tensor,
  num_classes: int,
  width: int = 64,
  blocks: int = 3,
  heads: int = 4,
  grid: int = 8,
) -> Outputs:
  """The Vision Transformer of Dosovitskiy et al. (2021, section 3.1).

  Linear patch embedding, a class token, learned positions, blocks of self-attention and
  a GELU network four times as wide, layer norms before both, and a linear layer on the
  class token.

  Args:
    images: [b, s, s, c].
    num_classes: logits.
    width: of the tokens.
    blocks: of attention and network.
    heads: of the attention; divides width.
    grid: patches a side; divides s.

  Raises:
    UserError: a size is not divided.
  """
  if width % heads:
    raise UserError(
      f"vit.width {width} is not a multiple of vit.heads {heads}; change one of them"
    )
  x = patch_embedding(images, width, grid)
  start = tf.get_variable("class_token", [1, 1, width], initializer=_small())
  x = tf.concat([tf.tile(start, [tf.shape(x)[0], 1, 1]), x], axis=1)
  x += tf.get_variable("positions", [1, grid**2 + 1, width], initializer=_small())
  spatial = None
  for block in range(blocks):
    with tf.variable_scope(f"block{block}"):
      x += _attention(_norm(x, "norm1"), heads)
      x += _network(_norm(x, "norm2"), 4 * width, "mlp")
    if block == (blocks - 1) // 2:
      spatial = tf.reshape(x[:, 1:], [-1, grid, grid, width])
  features = _norm(x, "norm")[:, 0]
  return {
    "features": features,
    "logits": networks.linear(features, num_classes, "logits"),
    "spatial": spatial,
  }


def _attention(x, heads):
  """Multi-head self-attention over tokens [b, t, d]."""
  tokens, width = x.shape[1], x.shape[2]
  with tf.variable_scope("attention"):
    parts = tf.reshape(
      _linear(x, 3 * width, "qkv"), [-1, tokens, 3, heads, width // heads]
    )
    query, key, value = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
    scores = tf.matmul(query, key, transpose_b=True) * (width // heads) ** -0.5
    mixed = tf.transpose(tf.nn.softmax(scores) @ value, [0, 2, 1, 3])
    return _linear(tf.reshape(mixed, [-1, tokens, width]), width, "out")


@gin.configurable("mixer")
def mixer(
  images: tf.Tensor,
  num_classes: int,
  width: int = 64,
  blocks: int = 4,
  grid: int = 8,
) -> Outputs:
  """The MLP-Mixer of Tolstikhin et al. (2021, section 2).

  Linear patch embedding, blocks of a GELU network across the tokens (half as wide as the
  tokens' channels) and one across the channels (four times as wide), layer norms before
  both, the tokens' mean and a linear layer.

  Args:
    images: [b, s, s, c].
    num_classes: logits.
    width: channels of the tokens.
    blocks: of both networks.
    grid: patches a side; divides s.
  """
  x = patch_embedding(images, width, grid)
  spatial = None
  for block in range(blocks):
    with tf.variable_scope(f"block{block}"):
      y = tf.transpose(_norm(x, "norm1"), [0, 2, 1])
      x += tf.transpose(_network(y, width // 2, "tokens"), [0, 2, 1])
      x += _network(_norm(x, "norm2"), 4 * width, "channels")
    if block == (blocks - 1) // 2:
      spatial = tf.reshape(x, [-1, grid, grid, width])
  features = tf.reduce_mean(_norm(x, "norm"), axis=1)
  return {
    "features": features,
    "logits": networks.linear(features, num_classes, "logits"),
    "spatial": spatial,
  }


def patch_embedding(images: tf.Tensor, width: int, grid: int) -> tf.Tensor:
  """Tokens [b, grid * grid, width], row by row: a linear map of each patch.

  Args:
    images: [b, s, s, c]; s is a multiple of grid.
    width: of a token.
    grid: patches a side.

  Raises:
    UserError: s is no multiple of grid.
  """
  size = images.shape[1]
  if size % grid:
    raise UserError(
      f"pictures of {size} px do not divide into {grid} x {grid} patches; give a size "
      f"that is a multiple of {grid}"
    )
  patch = size // grid
  tokens = networks.convolution(
    images, width, patch, "patches", stride=patch, padding="VALID", gain=1.0
  )
  return tf.reshape(tokens, [-1, grid * grid, width])


def _network(x, hidden, name):
  """Two linear layers on the last axis, with a GELU between them."""
  with tf.variable_scope(name):
    width = x.shape[-1]
    return _linear(_gelu(_linear(x, hidden, "in")), width, "out")


def _gelu(x):
  return x * 0.5 * (1.0 + tf.math.erf(x * 2**-0.5))


def _linear(x, width, name):
  """A linear map of the last axis of [b, t, d], as one product of matrices."""
  flat = networks.linear(tf.reshape(x, [-1, x.shape[-1]]), width, name)
  return tf.reshape(flat, [-1, x.shape[1], width])


def _norm(x, name):
  """Layer norm of the last axis (Ba et al., 2016)."""
  with tf.variable_scope(name):
    scale = tf.get_variable("scale", [x.shape[-1]], initializer=tf.ones_initializer())
    shift = tf.get_variable("shift", [x.shape[-1]], initializer=tf.zeros_initializer())
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, shift, scale, 1e-6)


def _small():
  return tf.initializers.truncated_normal(stddev=0.02)


KINDS = {
  "cnn": Kind(networks.convnet, 3e-3),
  "resnet": Kind(resnet, 3e-3),
  "vit": Kind(vit, 1e-3),
  "mixer": Kind(mixer, 1e-3),
}


def kind(name: str) -> Kind:
  """The kind of network of that name.

  Raises:
    UserError: there is none.
  """
  if name not in KINDS:
    raise UserError(f"no network {name!r}: {nearest(name, KINDS)}")
  return KINDS[name]
