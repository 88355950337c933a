"""What the paper adds to compare_gan's networks: conditioning on a classifier's logits.

"Understanding Invariance via Feedforward Inversion of Discriminatively Trained
Classifiers" (Teterwak et al., ICML 2021) conditions a BigGAN on logits z, here `y`:

  eq. 3, the generator:      gamma(y) * (x - mean) / deviation + beta(y)
  eq. 2, the discriminator:  D(x, y) = (w1 + W2 y)' psi(x)

Both work with every architecture and are switched on by gin:

  G.batch_norm_fn = @logit_conditional_batch_norm
  D.project_y = True
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.errors import UserError


@gin.configurable(
  denylist=["inputs", "y", "is_training", "use_sn", "center", "scale", "name"]
)
def logit_conditional_batch_norm(
  inputs: tf.Tensor,
  y: tf.Tensor | None,
  is_training: bool,
  use_sn: bool,
  center: bool = True,
  scale: bool = True,
  name: str = "batch_norm",
  num_hidden: int = 128,
) -> tf.Tensor:
  """Eq. 3 of the paper: gamma(y) and beta(y) are two-layer MLPs of the logits.

  Both start as the identity, gamma = 1 and beta = 0: the last layers are zero,
  and are therefore left out of spectral normalisation, which would divide by
  their zero singular value.

  Args:
    inputs: [batch, c] or [batch, h, w, c].
    y: the block's condition [batch, n]: the (embedded) logits, after the block's
      share of the noise where hierarchical_z is on.
    is_training: True normalises by the batch's moments.
    use_sn: spectral norm of the hidden layers.
    center: add beta.
    scale: multiply by gamma.
    name: variable scope.
    num_hidden: width of the hidden layer of each MLP.

  Returns:
    The shape and the type of the inputs.

  Raises:
    UserError: there is no y.
  """
  if y is None:
    raise UserError(
      "logit_conditional_batch_norm needs a condition: bind "
      "classifier.handle and ModularGAN.conditional = True"
    )
  channels = inputs.shape.as_list()[-1]
  with tf.variable_scope(name):
    with tf.variable_scope("condition"):
      gamma = 1.0 + _mlp(y, num_hidden, channels, "gamma", use_sn) if scale else None
      beta = _mlp(y, num_hidden, channels, "beta", use_sn) if center else None
    return arch_ops.standardize_batch(inputs, is_training, gamma=gamma, beta=beta)


def _mlp(
  y: tf.Tensor, num_hidden: int, channels: int, scope: str, use_sn: bool
) -> tf.Tensor:
  with tf.variable_scope(scope):
    hidden = tf.nn.relu(arch_ops.linear(y, num_hidden, "hidden", use_sn=use_sn))
    with tf.variable_scope("output"):
      zeros = tf.zeros_initializer()
      kernel = arch_ops.variable("kernel", [num_hidden, channels], zeros)
      bias = arch_ops.variable("bias", [channels], zeros)
      return tf.nn.bias_add(tf.matmul(hidden, kernel), bias)


def conditions_on_logits(norm: Callable[..., tf.Tensor] | None) -> bool:
  """Whether a norm, as gin hands it over, is logit_conditional_batch_norm."""
  own = inspect.unwrap(logit_conditional_batch_norm)
  return norm is not None and inspect.unwrap(norm) is own


def feature_projection(
  features: tf.Tensor,
  y: tf.Tensor,
  use_sn: bool,
  name: str = "embedding_fc",
  initializer: Any = None,
) -> tf.Tensor:
  """Eq. 2 of the paper: the logits' part (W2 y)' psi(x) of a score.

  The other part, w1' psi(x), is the discriminator's last linear layer.

  Args:
    features: psi(x), float32 [batch, c] or [batch, h, w, c], which is flattened.
    y: the logits [batch, n].
    use_sn: spectral norm of W2.
    name: variable scope; its one variable is `kernel`, W2' [n, c].
    initializer: of W2; None for Glorot's normal one, as in BigGAN.

  Returns:
    [batch, 1], to be added to the score.
  """
  features = arch_ops.flatten(features)
  with tf.variable_scope(name):
    kernel = arch_ops.variable(
      "kernel",
      [y.shape.as_list()[-1], features.shape.as_list()[-1]],
      initializer or tf.glorot_normal_initializer(),
    )
    if use_sn:
      kernel = arch_ops.spectral_norm(kernel)
    return tf.reduce_sum(tf.matmul(y, kernel) * features, axis=1, keepdims=True)
