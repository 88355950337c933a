"""What makes short trainings better than the adversarial loss alone does.

None of it is in the paper, whose only loss is the hinge of section 3. FidelityGAN
(fidelity_gan.py) puts these together by gin; `loss.fn = @relativistic_hinge` goes with
every GAN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError


@gin.configurable(allowlist=[])
def relativistic_hinge(
  d_real_logits: tf.Tensor, d_fake_logits: tf.Tensor, **_: Any
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
  """Every real image against the generated one of the same logits.

  Jolicoeur-Martineau 2019 (RaGAN, section 3.3: paired, not averaged), with the hinge
  max(0, 1 - difference) for its function.

  Args:
    d_real_logits, d_fake_logits: scores [n, 1] before the sigmoid; row i of both has
      the same logits.

  Returns:
    As the losses of loss_lib: (d_loss, d_loss_real, d_loss_fake, g_loss); the first
    three are the same, since no score has a loss of its own.
  """
  difference = d_real_logits - d_fake_logits
  d_loss = tf.reduce_mean(tf.nn.relu(1.0 - difference))
  g_loss = tf.reduce_mean(tf.nn.relu(1.0 + difference))
  return d_loss, d_loss, d_loss, g_loss


def pixel_distance(images: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
  """L1 distance, mean over pixels, of two batches [b, h, w, c] in [0, 1].

  Isola et al. 2017, eq. 3: L1 blurs less than L2.
  """
  return tf.reduce_mean(tf.abs(images - generated))


def feature_distance(features: tf.Tensor, generated_features: tf.Tensor) -> tf.Tensor:
  """L1 distance, mean over features, of the discriminator's features [b, n].

  Larsen et al. 2016 and, with L1 and image by image, Wang et al. 2018, eq. 4. No
  gradient flows into the first, which are of real images.
  """
  return tf.reduce_mean(tf.abs(tf.stop_gradient(features) - generated_features))


def mismatched(y: tf.Tensor) -> tf.Tensor:
  """Conditions [b, n] that belong to other images: each gets its predecessor's."""
  return tf.roll(y, 1, axis=0)


@gin.configurable(denylist=["images", "seed"])
def augment(
  images: tf.Tensor,
  seed: tf.Tensor,
  translation: float = 0.125,
  brightness: float = 0.5,
  cutout: float = 0.5,
) -> tf.Tensor:
  """Differentiable augmentation (Zhao et al. 2020) of images [b, h, w, c] in [0, 1].

  Args:
    images: what the discriminator would see.
    seed: integer tensor [2], of all that is drawn.
    translation: largest shift, as a share of the size; zeros come in.
    brightness: width of the range of what is added to all pixels.
    cutout: side of the square that is set to zero, as a share of the size.
  """
  batch, size, _, channels = images.shape.as_list()

  def uniform(shape, number):
    return tf.random.stateless_uniform(shape, seed + [number, 0])

  if brightness:
    images += brightness * (uniform([batch, 1, 1, 1], 1) - 0.5)
  if translation:
    margin = int(round(translation * size))
    images = tf.pad(images, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    shift = tf.cast(uniform([batch, 2], 2) * (2 * margin + 1), tf.int32)
    images = _gather_window(images, shift, size)
  if cutout:
    half = cutout / 2 * size
    center = uniform([batch, 2], 3) * size
    place = tf.range(size, dtype=tf.float32) + 0.5
    inside = tf.abs(place - center[:, :, tf.newaxis]) < half  # [b, 2, size]
    hole = inside[:, 0, :, tf.newaxis] & inside[:, 1, tf.newaxis, :]
    images *= 1.0 - tf.cast(hole, images.dtype)[..., tf.newaxis]
  images.set_shape([batch, size, size, channels])
  return images


def _gather_window(images: tf.Tensor, shift: tf.Tensor, size: int) -> tf.Tensor:
  """Rows and columns from shift [b, 2] on, `size` of each."""
  place = tf.range(size)
  rows = shift[:, :1] + place
  columns = shift[:, 1:] + place
  images = tf.gather(images, rows, axis=1, batch_dims=1)
  return tf.gather(images, columns, axis=2, batch_dims=1)


@gin.configurable(denylist=["progress"])
def linear_decay(progress: tf.Tensor, start: float = 0.5) -> tf.Tensor:
  """1 until `start`, then linearly to 0 at the end of training.

  Args:
    progress: scalar tensor, share of the training steps that are done.
    start: where the decay begins, in [0, 1).
  """
  if not 0.0 <= start < 1.0:
    raise UserError(f"linear_decay.start is {start}; it must be at least 0 and below 1")
  return tf.clip_by_value((1.0 - progress) / (1.0 - start), 0.0, 1.0)


@gin.configurable(allowlist=[])
def cosine_decay(progress: tf.Tensor) -> tf.Tensor:
  """Loshchilov and Hutter 2017 without restarts: from 1 to 0 by half a cosine."""
  return 0.5 * (1.0 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))


def scheduled(
  optimizer_fn: Callable[..., tf.train.Optimizer],
  schedule_fn: Callable[[tf.Tensor], tf.Tensor],
  training_steps: int,
) -> Callable[..., tf.train.Optimizer]:
  """An optimizer_fn whose learning rates are multiplied by a schedule.

  Args:
    optimizer_fn: function of (learning rate, name=).
    schedule_fn: function of the share of the training that is done.
    training_steps: of the whole training. To go on from its end with more of them is to
      begin the schedule at a smaller share again.
  """

  def make(learning_rate, name):
    step = tf.cast(tf.train.get_or_create_global_step().read_value(), tf.float32)
    return optimizer_fn(learning_rate * schedule_fn(step / training_steps), name=name)

  return make
