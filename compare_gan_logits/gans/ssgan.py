"""Self-supervised GAN: the discriminator also tells by how much images are turned.

Chen et al. 2019, "Self-Supervised GANs via Auxiliary Rotation Loss".
"""

from __future__ import annotations

from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.gans import self_supervision as rotation


_KINDS = ("rotation_gan", "rotation_only")


@gin.configurable(denylist=["dataset", "parameters", "model_dir", "classifier"])
class SSGAN(modular_gan.ModularGAN):
  """A ModularGAN with a rotation loss in both networks' losses.

  Args:
    self_supervision: "rotation_gan" adds the rotation losses, "rotation_only" puts
      them in the place of the adversarial ones.
    rotated_batch_size: images per update that the rotation loss sees, a multiple of 4:
      the last quarter as many of the batch, at each of four angles.
    weight_rotation_loss_d: of the loss on real images, in the discriminator's.
    weight_rotation_loss_g: of the loss on generated images, in the generator's.
    **kwargs: as for ModularGAN.

  Raises:
    UserError: another self_supervision, or a wrong rotated_batch_size.
  """

  def __init__(
    self,
    self_supervision: str = "rotation_gan",
    rotated_batch_size: int = gin.REQUIRED,
    weight_rotation_loss_d: float = 1.0,
    weight_rotation_loss_g: float = 0.2,
    **kwargs: Any,
  ):
    super().__init__(**kwargs)
    if self_supervision not in _KINDS:
      raise UserError(
        f"SSGAN.self_supervision {self_supervision!r}: "
        f"{nearest(self_supervision, _KINDS)}"
      )
    if rotated_batch_size < 4 or rotated_batch_size % 4:
      raise UserError(
        f"SSGAN.rotated_batch_size is {rotated_batch_size}; it must be a multiple of 4, "
        "one for each angle"
      )
    self._rotation_only = self_supervision == "rotation_only"
    self._number_turned = rotated_batch_size // rotation.NUM_ROTATIONS
    self._weight_rotation_loss_d = weight_rotation_loss_d
    self._weight_rotation_loss_g = weight_rotation_loss_g

  def create_loss(
    self,
    features: modular_gan.Features,
    labels: tf.Tensor,
    params: dict[str, Any],
    is_training: bool = True,
  ) -> None:
    """As ModularGAN.create_loss, with the rotation losses.

    Turned images, the generated ones as well, have the conditions of the real ones.
    """
    images, generated = features["images"], features["generated"]
    batch, number = int(images.shape[0]), self._number_turned
    if number > batch:
      raise UserError(
        f"SSGAN.rotated_batch_size is {4 * number}, more than four times a replica's "
        f"batch of {batch}; make it smaller"
      )
    y = self._get_one_hot_labels(labels) if self._conditional else None
    real, fake = self._discriminate_both(
      rotation.add_turned(images, number),
      rotation.add_turned(generated, number),
      rotation.add_turned_labels(y, y, number),
      rotation.add_turned_labels(self._pooled(features.get("sampled_y")), y, number),
      is_training,
    )
    scores = [value[:batch] for value in (*real[:2], *fake[:2])]
    self.d_loss, _, _, self.g_loss = self._adversarial_losses(*scores)
    self.d_loss += self._lambda * self._penalty(images, generated, y, is_training)
    if self._rotation_only:
      self.d_loss *= 0.0
      self.g_loss *= 0.0
    real_loss = rotation.rotation_loss(real[2], number, self.discriminator)
    fake_loss = rotation.rotation_loss(fake[2], number, self.discriminator)
    self.d_loss += self._weight_rotation_loss_d * real_loss
    self.g_loss += self._weight_rotation_loss_g * fake_loss
