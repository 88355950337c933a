"""What generators and discriminators share: scopes, norms, spectral norm."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import gin
import tensorflow.compat.v1 as tf
from absl import logging

from compare_gan_logits import utils
from compare_gan_logits.architectures import logit_conditioning
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.architectures import spatial_conditioning
from compare_gan_logits.errors import UserError


class _Module(abc.ABC):  # noqa: B024, its subclasses have the abstract methods
  """A network, whose variables have its name in theirs."""

  _batch_norm_fn: Callable[..., tf.Tensor] | None
  _spectral_norm: bool

  def __init__(self, name: str):
    self._name = name

  @property
  def name(self) -> str:
    return self._name

  @property
  def uses_spectral_norm(self) -> bool:
    """Whether G.spectral_norm or D.spectral_norm is bound to True."""
    return self._spectral_norm

  @property
  def trainable_variables(self) -> list[tf.Variable]:
    """All whose name contains the network's: `discriminator_rotation/w` is D's."""
    return [v for v in tf.trainable_variables() if self._name in v.name]

  @property
  def variables(self) -> list[tf.Variable]:
    """All that the network's own scope holds, the untrained ones as well."""
    return [v for v in tf.global_variables() if v.name.startswith(self._name + "/")]

  def _normalised(self, inputs: tf.Tensor, kwargs: dict[str, Any]) -> tf.Tensor:
    """The bound norm of [batch, ..., c], or the inputs where none is bound."""
    if self._batch_norm_fn is None:
      return inputs
    kwargs.setdefault("use_sn", self._spectral_norm)
    return utils.call_with_accepted_args(self._batch_norm_fn, inputs=inputs, **kwargs)


@gin.configurable("G", denylist=["name", "image_shape"])
class AbstractGenerator(_Module):
  """G(z, y) -> images.

  Args:
    name: variable scope.
    image_shape: (height, width, colors) of the images.
    batch_norm_fn: a norm of arch_ops or your own; None for none.
    spectral_norm: normalise the kernels (each architecture says which).
  """

  def __init__(
    self,
    name: str = "generator",
    image_shape: tuple[int, int, int] | None = None,
    batch_norm_fn: Callable[..., tf.Tensor] | None = None,
    spectral_norm: bool = False,
  ):
    super().__init__(name)
    self._image_shape = image_shape
    self._batch_norm_fn = batch_norm_fn
    self._spectral_norm = spectral_norm
    self._feature_map = None  # of the call that is being built

  @property
  def takes_feature_map(self) -> bool:
    """Whether its norms are conditioned on a feature map, and not on a vector alone."""
    return spatial_conditioning.takes_feature_map(self._batch_norm_fn)

  def __call__(
    self,
    z: tf.Tensor,
    y: tf.Tensor | None,
    is_training: bool,
    reuse: Any = tf.AUTO_REUSE,
  ) -> tf.Tensor:
    """[batch, z_dim], condition [batch, n] or None -> [batch, h, w, c] in [0, 1].

    Where its norms take a feature map, the condition may be one [batch, h', w', n]:
    they get it, and `apply` gets its means over the positions.
    """
    self._feature_map = None
    if self.takes_feature_map:
      y, self._feature_map = spatial_conditioning.split(y)
    with tf.variable_scope(self.name, reuse=reuse), network_pass.phase(is_training):
      return self.apply(z=z, y=y, is_training=is_training)

  def batch_norm(self, inputs: tf.Tensor, **kwargs) -> tf.Tensor:
    """The bound norm of [batch, ..., c], given those of the arguments that it takes.

    Args:
      inputs: what to normalise.
      **kwargs: z, y, is_training, name and what else a norm may take; use_sn defaults
        to the network's spectral_norm, feature_map to the condition's.
    """
    if self._feature_map is not None:
      kwargs.setdefault("feature_map", self._feature_map)
    return self._normalised(inputs, kwargs)

  @abc.abstractmethod
  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """Builds the network in the current variable scope."""


@gin.configurable("D", denylist=["name"])
class AbstractDiscriminator(_Module):
  """D(images, y) -> (probability, score, features).

  Args:
    name: variable scope.
    batch_norm_fn: a norm of arch_ops or your own; None for none.
    layer_norm: residual blocks have a layer norm behind each batch norm.
    spectral_norm: normalise the kernels.
    project_y: add eq. 2's projection of the features on y to the score; None leaves
      it to the architecture. compare_gan has it in resnet_biggan, resnet_biggan_deep
      and resnet_cifar only.
    projection_scale: factor of that projection. Its size grows with the number of
      logits and theirs: with hundreds, a factor below 1 (such as one by the root of
      their number) keeps a discriminator alive at rates that suit ten of them.
  """

  def __init__(
    self,
    name: str = "discriminator",
    batch_norm_fn: Callable[..., tf.Tensor] | None = None,
    layer_norm: bool = False,
    spectral_norm: bool = False,
    project_y: bool | None = None,
    projection_scale: float = 1.0,
  ):
    super().__init__(name)
    self._batch_norm_fn = batch_norm_fn
    self._layer_norm = layer_norm
    self._spectral_norm = spectral_norm
    self._project_y = project_y
    self._projection_scale = projection_scale
    self._projects = False  # known once the network is built

  # Whether this very class scores every image by itself, but for D.batch_norm_fn. True is
  # faster; a class that does not say so itself is taken not to, whatever its base says.
  scores_images_apart = False
  # Whether the condition enters before the features that a call returns.
  features_depend_on_y = False

  @property
  def has_batch_statistics(self) -> bool:
    """Whether an image's score may depend on the other images of its batch."""
    apart = vars(type(self)).get("scores_images_apart", False)
    return self._batch_norm_fn is not None or not apart

  def __call__(
    self,
    x: tf.Tensor,
    y: tf.Tensor | None,
    is_training: bool,
    reuse: Any = tf.AUTO_REUSE,
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], condition [batch, n] or None.

    Returns:
      (sigmoid of the score [batch, 1], score [batch, 1], features [batch, ...]).
    """
    with tf.variable_scope(self.name, reuse=reuse), network_pass.phase(is_training):
      return self.apply(x=x, y=y, is_training=is_training)

  def batch_norm(self, inputs: tf.Tensor, **kwargs) -> tf.Tensor:
    """As AbstractGenerator.batch_norm."""
    return self._normalised(inputs, kwargs)

  def _project(
    self,
    score: tf.Tensor,
    features: tf.Tensor,
    y: tf.Tensor | None,
    default: bool = False,
    **kwargs,
  ) -> tf.Tensor:
    """Adds eq. 2's projection to a score [batch, 1] where it is asked for.

    Args:
      score: w1' psi(x).
      features: psi(x) [batch, ...].
      y: condition [batch, n], or None, which is said once in a warning.
      default: whether the architecture projects if D.project_y does not say.
      **kwargs: for logit_conditioning.feature_projection.
    """
    if not (default if self._project_y is None else self._project_y):
      return score
    if y is None:
      logging.log_first_n(
        logging.WARNING, "project_y: there is no condition to project features on", 1
      )
      return score
    self._projects = True
    return score + self._projection(features, y, **kwargs)

  def _projection(self, features: tf.Tensor, y: tf.Tensor, **kwargs) -> tf.Tensor:
    projection = logit_conditioning.feature_projection(
      features, y, use_sn=self._spectral_norm, **kwargs
    )
    if self._projection_scale == 1.0:
      return projection
    return self._projection_scale * projection

  def score_change(
    self, features: tf.Tensor, y: tf.Tensor, other_y: tf.Tensor
  ) -> tf.Tensor:
    """D(x, other_y) - D(x, y) by eq. 2, without another look at the images.

    A discriminator without conditional norms computes the same features for every
    condition, and its score is linear in it.

    Args:
      features: that this network has returned for x, [batch, ...].
      y, other_y: conditions, as in a call.

    Returns:
      [batch, 1], with the weights that the network has.

    Raises:
      UserError: this network does not project its features on a condition, has
        norms, or has features that depend on the condition.
    """
    if (
      not self._projects or self._batch_norm_fn is not None or self.features_depend_on_y
    ):
      raise UserError(
        "to score an image with another's condition the discriminator must project its "
        "features on the condition, and neither they nor its norms may depend on it; "
        "bind D.project_y = True and no D.batch_norm_fn, and another architecture than "
        "Dosovitskiy & Brox's"
      )
    with tf.variable_scope(self.name, reuse=True):
      return self._projection(features, other_y - y)

  @abc.abstractmethod
  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Builds the network in the current variable scope."""
