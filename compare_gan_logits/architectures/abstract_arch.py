"""What generators and discriminators share: scopes, norms, spectral norm."""

import abc

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.architectures import arch_ops


class _Module(abc.ABC):  # noqa: B024, its subclasses have the abstract methods
  """A network whose variables live in the scope of its name."""

  def __init__(self, name):
    self._name = name

  @property
  def name(self):
    return self._name

  @property
  def trainable_variables(self):
    return [v for v in tf.trainable_variables() if self._owns(v)]

  @property
  def variables(self):
    return [v for v in tf.global_variables() if self._owns(v)]

  def _owns(self, variable):
    return variable.name.startswith(self._name + "/")


@gin.configurable("G", denylist=["name", "image_shape"])
class AbstractGenerator(_Module):
  """G(z, y) -> images.

  Args:
    name: variable scope.
    image_shape: (height, width, colors) of the images.
    batch_norm_fn: a norm of arch_ops; None for none.
    spectral_norm: normalise every kernel but the embedding of y.
  """

  def __init__(
    self, name="generator", image_shape=None, batch_norm_fn=None, spectral_norm=False
  ):
    super().__init__(name)
    self._image_shape = image_shape
    self._batch_norm_fn = batch_norm_fn
    self._spectral_norm = spectral_norm

  def __call__(self, z, y, is_training):
    """[batch, z_dim], condition [batch, n] or None -> [batch, h, w, c] in [0, 1]."""
    with tf.variable_scope(self.name, reuse=tf.AUTO_REUSE):
      return self.apply(z=z, y=y, is_training=is_training)

  def batch_norm(self, inputs, **kwargs):
    if self._batch_norm_fn is None:
      return inputs
    return utils.call_with_accepted_args(
      self._batch_norm_fn, inputs=inputs, use_sn=self._spectral_norm, **kwargs
    )

  @abc.abstractmethod
  def apply(self, z, y, is_training):
    """Builds the network in the current variable scope."""


@gin.configurable("D", denylist=["name"])
class AbstractDiscriminator(_Module):
  """D(images, y) -> (probability, score, features).

  Args:
    name: variable scope.
    batch_norm_fn: a norm of arch_ops; None for none.
    layer_norm: layer norm in place of the batch norm.
    spectral_norm: normalise every kernel.
  """

  def __init__(
    self,
    name="discriminator",
    batch_norm_fn=None,
    layer_norm=False,
    spectral_norm=False,
  ):
    super().__init__(name)
    self._batch_norm_fn = batch_norm_fn
    self._layer_norm = layer_norm
    self._spectral_norm = spectral_norm

  @property
  def has_batch_statistics(self):
    """Whether an image's score depends on the other images of its batch."""
    return self._batch_norm_fn is not None and not self._layer_norm

  def __call__(self, x, y, is_training):
    """Images [batch, h, w, c] in [0, 1], condition [batch, n] or None.

    Returns:
      (sigmoid of the score [batch, 1], score [batch, 1], features [batch, n_d]).
    """
    with tf.variable_scope(self.name, reuse=tf.AUTO_REUSE):
      return self.apply(x=x, y=y, is_training=is_training)

  def batch_norm(self, inputs, **kwargs):
    if self._layer_norm:
      return arch_ops.layer_norm(inputs, scope=kwargs["name"])
    if self._batch_norm_fn is None:
      return inputs
    return utils.call_with_accepted_args(
      self._batch_norm_fn, inputs=inputs, use_sn=self._spectral_norm, **kwargs
    )

  @abc.abstractmethod
  def apply(self, x, y, is_training):
    """Builds the network in the current variable scope."""
