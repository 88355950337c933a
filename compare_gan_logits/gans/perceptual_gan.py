"""The training of Dosovitskiy & Brox 2016a: three losses in place of one.

L = lambda_feat |C(G(z)) - C(x)|^2 + lambda_adv (-log D(G(z))) + lambda_img |G(z) - x|^2,
where C are features of a comparator network. With lambda_feat = lambda_adv = 0 it is
their 2016b variant, a decoder trained on pixels alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import classifiers
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import consts
from compare_gan_logits.gans import loss_lib
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.tpu import tpu_ops
from compare_gan_logits.tpu import tpu_summaries


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


@gin.configurable("comparator")
def get_comparator(handle: str | None = None, output: str = "features") -> Any:
  """The comparator C: images [b, h, w, c] in [0, 1] -> features [b, n].

  Args:
    handle: what classifiers.load takes; None for no comparator.
    output: its output that is compared.
  """
  return None if handle is None else classifiers.load(handle, output=output)


@gin.configurable(denylist=["dataset", "parameters", "model_dir", "classifier"])
class PerceptualGAN(modular_gan.ModularGAN):
  """Inverts logits by losses in feature space, image space and adversarial.

  One training step is one update of each network on the same images.

  Args:
    lambda_feat, lambda_adv, lambda_img: weights of the three losses. Squared
      distances are sums over features and pixels, means over images, halved, as in
      Caffe. The paper's 0.01, 100 and 2e-6 refer to pixels of 0 ... 255: in [0, 1]
      the last is 2e-6 * 255^2 = 0.13.
    min_loss_ratio: the discriminator rests while its loss is below this share of the
      generator's adversarial loss (0.1 in the paper).
  """

  def __init__(
    self,
    dataset: ImageDataset,
    parameters: dict[str, Any],
    model_dir: str,
    classifier: Classifier | None = None,
    lambda_feat: float = 0.01,
    lambda_adv: float = 100.0,
    lambda_img: float = 0.13,
    min_loss_ratio: float = 0.1,
    **kwargs: Any,
  ):
    super().__init__(dataset, parameters, model_dir, classifier=classifier, **kwargs)
    if self._micro_batches != 1:
      raise UserError("PerceptualGAN computes whole batches; leave out micro_batches")
    if classifier is None:
      raise UserError("PerceptualGAN inverts logits; bind classifier.handle")
    if self._architecture != consts.DOSOVITSKIY_BROX_ARCH:
      raise UserError(
        f"PerceptualGAN needs options.architecture = '{consts.DOSOVITSKIY_BROX_ARCH}'"
      )
    self._lambda_feat = lambda_feat
    self._lambda_adv = lambda_adv
    self._lambda_img = lambda_img
    self._min_loss_ratio = min_loss_ratio
    self._comparator = get_comparator() if lambda_feat else None
    if lambda_feat and self._comparator is None:
      raise UserError(
        "PerceptualGAN.lambda_feat needs a network whose features are "
        "compared; bind comparator.handle or set lambda_feat to 0"
      )

  @property
  def num_sub_steps(self) -> int:
    """One: both networks are updated on the same images."""
    return 1

  def train_step(
    self,
    features: modular_gan.Features,
    labels: tf.Tensor,
    params: dict[str, Any] | None = None,
    summaries: tpu_summaries.TpuSummaries | None = None,
  ) -> tuple[tf.Operation, dict[str, tf.Tensor]]:
    """One update of each network; arguments as in ModularGAN.train_step."""
    if tpu_ops.num_replicas() > 1:
      raise UserError(
        "PerceptualGAN trains on one replica only, because its losses decide when "
        "the discriminator is not trained; leave out --distribute, or set "
        "run_config.single_core on a TPU"
      )
    use_tpu = (params or {}).get("use_tpu", False)
    global_step = tf.train.get_or_create_global_step()
    self._step = step = global_step.read_value()
    self.create_loss(features, labels, params)
    d_updates = []
    if self._lambda_adv:
      d_updates = [self._update_discriminator(use_tpu)]
    # Both gradients are of the weights before the step.
    g_optimizer = self.get_gen_optimizer(use_tpu)
    gradients = g_optimizer.compute_gradients(
      self.g_loss, self.generator.trainable_variables
    )
    with tf.control_dependencies([step, *(g for g, _ in gradients)]):
      g_update = g_optimizer.apply_gradients(gradients, global_step)
    updates = [g_update, *d_updates]
    if self.g_use_ema:
      with tf.control_dependencies([g_update]):
        updates.append(self._ema_update(step))
    losses = {"d_loss_0": self.d_loss, "g_loss": self.g_loss, **self._terms}
    if summaries is not None:
      features = dict(features, generated=self._images)
      self._summarize(summaries, losses, self._scores, features)
    return tf.group(*updates), losses

  def create_loss(
    self,
    features: modular_gan.Features,
    labels: tf.Tensor,
    params: dict[str, Any] | None,
    is_training: bool = True,
  ) -> None:
    """Sets self.d_loss, and self.g_loss to the weighted sum of the three losses."""
    images, y = features["images"], self._get_one_hot_labels(labels)
    with network_pass.network_pass():
      generated = self.generator(features["z"], y=y, is_training=is_training)
    terms = {"image": _half_squared(generated - images)}
    if self._comparator is not None:
      terms["features"] = _half_squared(
        self._comparator(generated) - tf.stop_gradient(self._comparator(images))
      )
    with network_pass.network_pass():
      real, fake = self._discriminate_both(
        images, tf.stop_gradient(generated), y, y, is_training
      )
      self._scores = {"d_real_logits": real[1], "d_fake_logits": fake[1]}
      self.d_loss = loss_lib.non_saturating(**self._scores)[0]
      d_fake_logits = self.discriminator(generated, y=y, is_training=is_training)[1]
      terms["adversarial"] = tf.reduce_mean(tf.nn.softplus(-d_fake_logits))
    weights = {
      "features": self._lambda_feat,
      "adversarial": self._lambda_adv,
      "image": self._lambda_img,
    }
    self.g_loss = sum(
      weight * terms[name] for name, weight in weights.items() if weight
    )
    self._images, self._terms = generated, terms

  def _update_discriminator(self, use_tpu):
    """Updates D unless it is far ahead of G."""
    optimizer = self.get_disc_optimizer(use_tpu)
    gradients = optimizer.compute_gradients(
      self.d_loss, self.discriminator.trainable_variables
    )
    return tf.cond(
      self.d_loss > self._min_loss_ratio * self._terms["adversarial"],
      lambda: optimizer.apply_gradients(gradients),
      tf.no_op,
    )


def _half_squared(difference):
  """Sum of squares over all but the batch, mean over the batch, halved."""
  axis = list(range(1, difference.shape.rank))
  return 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(difference), axis))
