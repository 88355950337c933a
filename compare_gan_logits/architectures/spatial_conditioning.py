"""Conditioning on a feature map: eq. 3 of the paper at every position.

The paper conditions on logits, which are one vector. A layer in front of them is a map
[h, w, c], of which a vector keeps the means alone. Spatially adaptive normalisation (Park
et al. 2019, "Semantic Image Synthesis with Spatially-Adaptive Normalization"), which the
paper cites, scales and shifts every position by what the map holds there. It is off
unless gin says

  G.batch_norm_fn = @spatial_conditional_batch_norm

and the classifier's output is a feature map (`classifier.output` names the layer).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.errors import UserError
from compare_gan_logits.resizing import resize


@gin.configurable(allowlist=["num_hidden"])
def spatial_conditional_batch_norm(
  inputs: tf.Tensor,
  y: tf.Tensor | None,
  is_training: bool,
  use_sn: bool,
  center: bool = True,
  scale: bool = True,
  name: str = "batch_norm",
  feature_map: tf.Tensor | None = None,
  num_hidden: int = 128,
) -> tf.Tensor:
  """gamma(p) * (x(p) - mean) / deviation + beta(p) at every position p.

  gamma and beta are 1x1 convolutions of one hidden layer, as in Park et al. 2019:

    hidden(p) = relu(W [resized map(p), y] + b)
    gamma(p) = 1 + U hidden(p) + u,   beta(p) = V hidden(p) + v

  The map is resized to the inputs' size, bilinearly and antialiased. U, u, V and v
  start at zero, so that the norm starts as the plain one; like eq. 3's last layers they
  are left out of spectral normalisation.

  Args:
    inputs: [batch, h, w, c], or [batch, c], which is taken as one position.
    y: the block's condition [batch, n]: its share of the noise where hierarchical_z is
      on, and the (embedded) means of the map.
    is_training: True normalises by the batch's moments.
    use_sn: spectral norm of W.
    center: add beta.
    scale: multiply by gamma.
    name: variable scope.
    feature_map: [batch, h', w', m], the classifier's.
    num_hidden: channels of the hidden layer.

  Returns:
    The shape and the type of the inputs.

  Raises:
    UserError: there is no y, or no feature map.
  """
  if y is None or feature_map is None:
    raise UserError(
      "spatial_conditional_batch_norm needs a classifier whose output is a feature map "
      "[height, width, channels]; name such a layer with classifier.output (and drop "
      "classifier.pool = 1), or bind G.batch_norm_fn = @logit_conditional_batch_norm"
    )
  positions = inputs if inputs.shape.rank == 4 else inputs[:, tf.newaxis, tf.newaxis]
  _, height, width, channels = positions.shape.as_list()
  with tf.variable_scope(name):
    outputs = arch_ops.standardize_batch(positions, is_training)
    outputs = tf.cast(outputs, tf.float32)
    with tf.variable_scope("condition"):
      hidden = _hidden(y, feature_map, (height, width), num_hidden, use_sn)
      if scale:
        outputs *= 1.0 + _map(hidden, channels, "gamma")
      if center:
        outputs += _map(hidden, channels, "beta")
  outputs = tf.cast(outputs, inputs.dtype)
  return outputs if inputs.shape.rank == 4 else outputs[:, 0, 0]


def _hidden(
  y: tf.Tensor,
  feature_map: tf.Tensor,
  size: tuple[int, int],
  num_hidden: int,
  use_sn: bool,
) -> tf.Tensor:
  """relu(W [resized map(p), y] + b), [batch, *size, num_hidden].

  A 1x1 convolution commutes with the resize, and is done first, at the map's own size:
  that is cheaper than at most layers'. What y adds is the same at every position.
  """
  depth = feature_map.shape.as_list()[-1]
  with tf.variable_scope("hidden"):
    kernel = arch_ops.variable(
      "kernel",
      [depth + y.shape.as_list()[-1], num_hidden],
      arch_ops.weight_initializer(),
    )
    if use_sn:
      kernel = arch_ops.spectral_norm(kernel)
    bias = arch_ops.variable("bias", [num_hidden], tf.zeros_initializer())
    of_map = resize(tf.tensordot(feature_map, kernel[:depth], 1), size)
    of_y = tf.matmul(y, kernel[depth:]) + bias
    return tf.nn.relu(of_map + of_y[:, tf.newaxis, tf.newaxis])


def _map(hidden: tf.Tensor, channels: int, scope: str) -> tf.Tensor:
  """A 1x1 convolution that starts at zero."""
  with tf.variable_scope(scope):
    zeros = tf.zeros_initializer()
    kernel = arch_ops.variable("kernel", [hidden.shape.as_list()[-1], channels], zeros)
    bias = arch_ops.variable("bias", [channels], zeros)
    return tf.tensordot(hidden, kernel, 1) + bias


def takes_feature_map(norm: Callable[..., tf.Tensor] | None) -> bool:
  """Whether a norm, as gin hands it over, declares an argument `feature_map`."""
  return norm is not None and "feature_map" in inspect.signature(norm).parameters


def split(
  y: tf.Tensor | None,
) -> tuple[tf.Tensor | None, tf.Tensor | None]:
  """(condition as a vector [batch, n], feature map or None) of a condition.

  Args:
    y: [batch, n], which is a vector already; [batch, h, w, n], whose vector are the
      means over the positions; or None.
  """
  shape = getattr(y, "shape", None)  # of an array as well
  if y is None or shape is None or tf.TensorShape(shape).rank != 4:
    return y, None
  return tf.reduce_mean(y, axis=[1, 2]), y
