"""S3GAN: a conditional GAN of few labels, which a classifier in D completes.

Lucic et al. 2019, "High-Fidelity Image Generation With Fewer Labels".
"""

from __future__ import annotations

from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import logit_conditioning
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.gans import self_supervision as rotation


_KINDS = ("rotation", "none")


@gin.configurable(denylist=["dataset", "parameters", "model_dir", "classifier"])
class S3GAN(modular_gan.ModularGAN):
  """A ModularGAN whose discriminator classifies, projects and tells rotations.

  A real image without a label has one of no class, such as -1, or a vector of labels
  that sums to at most 0.5. The penalty of penalty.fn is not added.

  Args:
    self_supervision: "rotation" adds rotation losses as SSGAN has them; "none" not.
    rotated_batch_fraction: one in so many images of the batch is turned.
    weight_rotation_loss_d, weight_rotation_loss_g: as in SSGAN.
    project_y: project the features on the label, here and not in the architecture (see
      D.project_y): of unlabelled images, on the predicted one.
    use_predictor: train a linear classifier of the features on the labelled images.
    use_soft_pred: the predicted label is the probabilities of all classes, not the
      most probable one.
    weight_class_loss: of the classifier's loss, in the discriminator's.
    use_soft_labels: labels are distributions over classes.
    **kwargs: as for ModularGAN.

  Raises:
    UserError: another self_supervision.
  """

  def __init__(
    self,
    self_supervision: str = "rotation",
    rotated_batch_fraction: int = gin.REQUIRED,
    weight_rotation_loss_d: float = 1.0,
    weight_rotation_loss_g: float = 0.2,
    project_y: bool = False,
    use_predictor: bool = False,
    use_soft_pred: bool = False,
    weight_class_loss: float = 1.0,
    use_soft_labels: bool = False,
    **kwargs: Any,
  ):
    super().__init__(**kwargs)
    if self_supervision not in _KINDS:
      raise UserError(
        f"S3GAN.self_supervision {self_supervision!r}: "
        f"{nearest(self_supervision, _KINDS)}"
      )
    if (project_y or use_predictor) and not self._conditional:
      raise UserError(
        "S3GAN.project_y and use_predictor need labels; bind S3GAN.conditional = True"
      )
    self._rotates = self_supervision == "rotation"
    self._rotated_batch_fraction = rotated_batch_fraction
    self._weight_rotation_loss_d = weight_rotation_loss_d
    self._weight_rotation_loss_g = weight_rotation_loss_g
    self._project_y = project_y
    self._use_predictor = use_predictor
    self._use_soft_pred = use_soft_pred
    self._weight_class_loss = weight_class_loss
    self._use_soft_labels = use_soft_labels

  def create_loss(
    self,
    features: modular_gan.Features,
    labels: tf.Tensor,
    params: dict[str, Any],
    is_training: bool = True,
  ) -> None:
    """As ModularGAN.create_loss, with the losses of the three heads."""
    images, generated = features["images"], features["generated"]
    batch, y = int(images.shape[0]), None
    sampled_y = self._pooled(features.get("sampled_y"))
    if self._conditional:
      y = self._real_labels(labels)
    number = self._number_turned(batch)
    if number:
      images = rotation.add_turned(images, number)
      generated = rotation.add_turned(generated, number)
    real, fake = self._discriminate_both(
      images,
      generated,
      rotation.add_turned_labels(y, y, number) if number else y,
      rotation.add_turned_labels(sampled_y, sampled_y, number) if number else sampled_y,
      is_training,
    )
    real_features = _flat(real[2])[:batch]
    real_score, fake_score = real[1][:batch], fake[1][:batch]
    class_loss = 0.0
    if self._use_predictor:
      class_loss, y = self._predict(real_features, y)
    if self._project_y:
      real_score += self._projection(real_features, y)
      fake_score += self._projection(_flat(fake[2])[:batch], sampled_y)
    self.d_loss, _, _, self.g_loss = self._adversarial_losses(
      tf.sigmoid(real_score), real_score, tf.sigmoid(fake_score), fake_score
    )
    self.d_loss += self._weight_class_loss * class_loss
    if number:
      real_loss = rotation.rotation_loss(real[2], number, self.discriminator)
      fake_loss = rotation.rotation_loss(fake[2], number, self.discriminator)
      self.d_loss += self._weight_rotation_loss_d * real_loss
      self.g_loss += self._weight_rotation_loss_g * fake_loss

  def _real_labels(self, labels):
    if self._use_soft_labels and not labels.dtype.is_floating:
      raise UserError(
        "S3GAN.use_soft_labels is True, but the labels of the dataset are classes; "
        "choose one such as soft_labeled_imagenet_128, or set it to False"
      )
    return self._get_one_hot_labels(labels)

  def _number_turned(self, batch):
    if not self._rotates:
      return 0
    if batch % self._rotated_batch_fraction:
      raise UserError(
        f"S3GAN.rotated_batch_fraction {self._rotated_batch_fraction} does not divide "
        f"a replica's batch of {batch}; change it or options.batch_size"
      )
    return batch // self._rotated_batch_fraction

  def _predict(self, features, y):
    """(loss of the classifier on labelled images, labels [n, k] of all images)."""
    with tf.variable_scope("discriminator_predictor", reuse=tf.AUTO_REUSE):
      logits = arch_ops.linear(
        features,
        y.shape[-1],
        scope="predictor_linear",
        use_sn=self.discriminator.uses_spectral_norm,
      )
    labelled = tf.cast(tf.reduce_sum(y, axis=1, keepdims=True) > 0.5, tf.float32)
    entropies = tf.nn.softmax_cross_entropy_with_logits_v2(
      labels=tf.stop_gradient(y), logits=logits
    )
    loss = tf.reduce_sum(labelled[:, 0] * entropies)
    loss /= tf.maximum(tf.reduce_sum(labelled), 1.0)
    predicted = tf.nn.softmax(logits)
    if not self._use_soft_pred:
      predicted = tf.one_hot(tf.argmax(logits, axis=1), logits.shape[-1])
    # The classifier learns from labels, not from what its answers do to the score.
    predicted = tf.stop_gradient(predicted)
    return loss, labelled * y + (1.0 - labelled) * predicted

  def _projection(self, features, y):
    """Eq. 2's second term [n, 1], with weights of this class's own."""
    with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
      return logit_conditioning.feature_projection(
        features, y, self.discriminator.uses_spectral_norm, "discriminator_projection"
      )


def _flat(features):
  return tf.reshape(features, [features.shape[0], -1])
