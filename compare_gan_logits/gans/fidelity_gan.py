"""ModularGAN with options that make short trainings better.

None of them is in the paper, and all are off until gin binds them; docs/quality.md says
what each of them gains and costs.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import fidelity_lib
from compare_gan_logits.gans import loss_lib
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.tpu import tpu_random


if TYPE_CHECKING:
  from compare_gan_logits.datasets.image_set import ImageDataset


@gin.configurable(denylist=["dataset", "parameters", "model_dir", "classifier"])
class FidelityGAN(modular_gan.ModularGAN):
  """ModularGAN with losses beside the adversarial one; with all off it is ModularGAN.

  Args:
    pixel_weight: weight, in the generator's loss, of the L1 distance of pixels between
      an image and its reconstruction (fidelity_lib.pixel_distance).
    feature_weight: weight, in the generator's loss, of the L1 distance of the
      discriminator's own features of the two (fidelity_lib.feature_distance).
    mismatch_weight: weight, in the discriminator's loss, of loss.fn's term of generated
      images, for real images with other images' logits (Reed et al. 2016). Of
      @least_squares, whose d_loss has half of that term, the weight counts twice.
    augment_fn: @augment, or any function of (images, seed): what the discriminator sees
      (Zhao et al. 2020), drawn alike for an image and its reconstruction; None for the
      images as they are.
    schedule_fn: @linear_decay, @cosine_decay or any function of the share of the
      training that is done: what both learning rates are multiplied by; None for 1.
    one_batch: update both networks on the same images and reconstructions, which saves
      one call of the generator; options.disc_iters is then 1.
    more_ema_decays: of further moving averages of the generator's weights, beside that
      of ModularGAN.ema_decay. They cost memory for the weights and next to no time.
    exported_decay: which average is exported and scored; None for ema_decay. The
      schedules export and continuous_eval on a finished run choose among them.
    standardize_logits: over how many training images each logit's mean and standard
      deviation are measured, before the first step; both networks then see (logit -
      mean) / deviation. Of a logit that does not vary, the deviation counts as 1. The
      module keeps both and takes logits as they are. 0 for none.
    **kwargs: of ModularGAN.

  Raises:
    UserError: without a classifier, losses that compare an image with its
      reconstruction, which logits make belong together, or standardize_logits.
  """

  def __init__(
    self,
    dataset: ImageDataset,
    parameters: dict[str, Any],
    model_dir: str,
    pixel_weight: float = 0.0,
    feature_weight: float = 0.0,
    mismatch_weight: float = 0.0,
    augment_fn: Callable[..., tf.Tensor] | None = None,
    schedule_fn: Callable[..., tf.Tensor] | None = None,
    one_batch: bool = False,
    more_ema_decays: Sequence[float] = (),
    exported_decay: float | None = None,
    standardize_logits: int = 0,
    **kwargs,
  ):
    super().__init__(dataset, parameters, model_dir, **kwargs)
    self._more_ema_decays = tuple(more_ema_decays)
    self._exported_decay = exported_decay
    if exported_decay not in (None, self._ema_decay, *self._more_ema_decays):
      raise UserError(
        f"FidelityGAN.exported_decay is {exported_decay}; the run keeps averages of "
        f"{', '.join(map(str, (self._ema_decay, *self._more_ema_decays)))}: name one "
        "of ModularGAN.ema_decay and FidelityGAN.more_ema_decays"
      )
    self._pixel_weight = pixel_weight
    self._feature_weight = feature_weight
    self._mismatch_weight = mismatch_weight
    self._augment_fn = augment_fn
    if schedule_fn is not None:
      self._g_optimizer_fn, self._d_optimizer_fn = (
        fidelity_lib.scheduled(optimizer_fn, schedule_fn, parameters["training_steps"])
        for optimizer_fn in (self._g_optimizer_fn, self._d_optimizer_fn)
      )
    self._one_batch = one_batch
    self._standardize_logits = standardize_logits
    self._moments = None  # of the training logits: mean and deviation, once measured
    self._features = None  # of real and generated images, in the update being built
    if (pixel_weight or feature_weight or mismatch_weight) and self._classifier is None:
      raise UserError(
        "FidelityGAN compares images with the reconstructions of their logits; bind "
        "classifier.handle"
      )
    if standardize_logits and self._classifier is None:
      raise UserError(
        "FidelityGAN.standardize_logits is for the logits of a classifier; bind "
        "classifier.handle"
      )
    if not self.g_use_ema and (more_ema_decays or exported_decay is not None):
      raise UserError(
        "FidelityGAN.more_ema_decays and exported_decay need ModularGAN.g_use_ema = True"
      )
    if one_batch and self._micro_batches > 1:
      raise UserError(
        "FidelityGAN.one_batch saves nothing with ModularGAN.micro_batches, whose parts "
        "are generated anew for each update; bind one of the two"
      )
    if one_batch and self._disc_iters != 1:
      raise UserError(
        f"FidelityGAN.one_batch needs options.disc_iters = 1, not {self._disc_iters}"
      )

  @property
  def num_sub_steps(self) -> int:
    """Batches of one training step."""
    return 1 if self._one_batch else super().num_sub_steps

  def _sub_steps(self, features, labels):
    """As ModularGAN's; with one_batch the generator's update has the same one."""
    steps = super()._sub_steps(features, labels)
    return steps * 2 if self._one_batch else steps

  def create_loss(
    self,
    features: dict[str, tf.Tensor],
    labels: tf.Tensor,
    params: dict[str, Any],
    is_training: bool = True,
  ) -> None:
    """ModularGAN's losses and those that are on; arguments as there."""
    super().create_loss(features, labels, params, is_training)
    if self._mismatch_weight:
      self.d_loss += self._mismatch_weight * self._mismatch_loss(labels)
    if self._pixel_weight:
      distance = fidelity_lib.pixel_distance(features["images"], features["generated"])
      self.g_loss += self._pixel_weight * distance
    if self._feature_weight:
      distance = fidelity_lib.feature_distance(*self._features)
      self.g_loss += self._feature_weight * distance

  def _discriminate_both(self, real, fake, y_real, y_fake, is_training):
    """As ModularGAN's, of what is seen of the images; keeps the features."""
    if self._augment_fn is not None:
      # The same for an image and its reconstruction, whose features are compared.
      seed = _augmentation_seed()
      real, fake = (self._augment_fn(images, seed) for images in (real, fake))
    outputs = super()._discriminate_both(real, fake, y_real, y_fake, is_training)
    self._features = [output[2] for output in outputs]
    return outputs

  def as_estimator(
    self, run_config: tf.estimator.tpu.RunConfig, batch_size: int, use_tpu: bool
  ) -> tf.estimator.tpu.TPUEstimator:
    """As ModularGAN's; a training that begins measures the logits, if it is to."""
    if self._standardize_logits and not tf.train.latest_checkpoint(self._model_dir):
      print(
        f"standardised logits: measuring {self._standardize_logits} training images",
        flush=True,
      )
      self._moments = self._measured_moments()
    return super().as_estimator(run_config, batch_size, use_tpu)

  def _measured_moments(self):
    """Mean and deviation [n], float32, of each logit of the first training images."""
    number = self._standardize_logits
    batch_size = min(number, 64)
    with tf.Graph().as_default(), tf.Session() as session:
      element = utils.next_element(self._dataset.train(batch_size))
      logits = self.condition({"images": element["image"], "labels": element["label"]})
      session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
      batches = [session.run(logits) for _ in range(-(-number // batch_size))]
    values = np.concatenate(batches)[:number].astype(np.float64)
    deviation = np.std(values, axis=0)
    deviation[deviation == 0] = 1.0
    return np.mean(values, axis=0).astype("f"), deviation.astype("f")

  def _shaped(self, y):
    """As ModularGAN's, of standardised logits where they are asked for."""
    if self._standardize_logits and y is not None:
      mean, deviation = self._moment_variables()
      y = (y - mean) / deviation
    return super()._shaped(y)

  def _moment_variables(self):
    # Not a number until they are measured or restored: a training would end by it.
    moments = self._moments or [np.full([self.condition_size], np.nan)] * 2
    with tf.variable_scope(f"{self.generator.name}/logits", reuse=tf.AUTO_REUSE):
      return [
        arch_ops.variable(name, value.shape, tf.constant_initializer(value), False)
        for name, value in zip(("mean", "deviation"), moments)
      ]

  @property
  def export_suffix(self) -> str:
    """The decay, as in "_ema_0.99", where exported_decay names another average."""
    return f"_ema_{self._exported_decay}" if self._exports_another else ""

  @property
  def _exports_another(self):
    return self._exported_decay not in (None, self._ema_decay)

  def ema(self, step: tf.Tensor | None = None) -> tf.train.ExponentialMovingAverage:
    """As ModularGAN's; without a step, the average that is exported."""
    if step is None and self._exports_another:
      return self._more_ema(self._exported_decay, step)
    return super().ema(step)

  def _more_ema(self, decay, step):
    started = 1.0 if step is None else tf.cast(step >= self._ema_start_step, tf.float32)
    return tf.train.ExponentialMovingAverage(
      decay * started, name=f"ExponentialMovingAverage_{decay}"
    )

  def _ema_update(self, step):
    weights = self.generator.trainable_variables
    more = [self._more_ema(decay, step) for decay in self._more_ema_decays]
    return tf.group(super()._ema_update(step), *(ema.apply(weights) for ema in more))

  def _mismatch_loss(self, labels):
    """What fakes cost the discriminator, of real images with other images' logits."""
    if labels.shape[0] == 1:
      raise UserError(
        "FidelityGAN.mismatch_weight needs at least two images in a batch (and in a "
        "micro-batch); raise options.batch_size"
      )
    change = self.discriminator.score_change(
      self._features[0], labels, fidelity_lib.mismatched(labels)
    )
    scores = self._scores["d_real_logits"] + change
    wrong = {"d_fake": tf.sigmoid(scores), "d_fake_logits": scores}
    return loss_lib.get_losses(**{**self._scores, **wrong})[2]


def _augmentation_seed():
  """int32 [2], of the run's seed, of the part of an update that is built, of the step."""
  graph = tf.get_default_graph()
  return tpu_random.step_seed(
    graph.seed or 0,
    graph.unique_name("augment"),  # another for each part; with its update's scope
    tf.train.get_or_create_global_step(),
  )
