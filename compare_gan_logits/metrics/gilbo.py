"""Generative information lower bound (Alemi & Fischer 2018, arXiv:1802.04874)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits import datasets
from compare_gan_logits import eval_utils
from compare_gan_logits import utils
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.errors import UserError
from compare_gan_logits.metrics import eval_task
from compare_gan_logits.tpu import tpu_random


_BATCH_SIZE = 64
_SMALLEST_SIDE = 4  # px, of the encoder's last feature map
_MARGIN = 1e-5  # that Beta's argument keeps from 0 and 1
_SOFTPLUS_OF_ONE = math.log(math.e - 1.0)


@dataclasses.dataclass(frozen=True)
class UniformPrior:
  """Noise in [low, high]; the encoder answers with a Beta distribution per value."""

  low: float = -1.0
  high: float = 1.0

  def log_ratio(self, z: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
    """log e(z | x) - log p(z), float32 [batch], of what the encoder makes of x."""
    size = z.shape[1]
    a, b = (_positive(hidden, size, name) for name in ("a", "b"))
    t = (z - self.low) / (self.high - self.low)
    t = tf.clip_by_value(t, _MARGIN, 1.0 - _MARGIN)
    log_beta = tf.lgamma(a) + tf.lgamma(b) - tf.lgamma(a + b)
    # The prior of t is 1.
    each = (a - 1.0) * tf.log(t) + (b - 1.0) * tf.log1p(-t) - log_beta
    return tf.reduce_sum(each, 1)


@dataclasses.dataclass(frozen=True)
class NormalPrior:
  """Normal noise of mean 0; the encoder answers with a normal distribution per value."""

  deviation: float = 1.0

  def log_ratio(self, z: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
    """As UniformPrior.log_ratio."""
    size = z.shape[1]
    z /= self.deviation
    mean, deviation = (
      arch_ops.linear(hidden, size, "mean"),
      _positive(hidden, size, "deviation"),
    )
    each = tf.square(z) - tf.square((z - mean) / deviation)
    return tf.reduce_sum(0.5 * each - tf.log(deviation), 1)


def _positive(hidden, size, name):
  """[batch, size] above 0, which starts at 1."""
  return tf.nn.softplus(
    arch_ops.linear(hidden, size, name, bias_start=_SOFTPLUS_OF_ONE)
  )


@gin.configurable
class GILBOTask(eval_task.EvalTask):
  """How much of a module's noise its images show: "gilbo", in nats.

  An encoder learns to tell the noise of generated images. The noise is that of eval_z,
  a uniform or a normal one; classes are drawn uniformly, logits from a standard normal.

  Args:
    num_steps: training steps of the encoder, on 64 new images each. Fewer give a looser
      bound.
    learning_rate: of the encoder's Adam.
    num_batches: of 64 further images, over which the bound is the mean.
  """

  _LABEL = "gilbo"
  reads_activations = False

  def __init__(
    self, num_steps: int = 5000, learning_rate: float = 3e-4, num_batches: int = 100
  ):
    self._num_steps = num_steps
    self._learning_rate = learning_rate
    self._num_batches = num_batches

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    raise NotImplementedError("GILBOTask needs the module; call run_on_module")

  def run_on_module(
    self, module_dir: str, fake_dset: Any, real_dset: Any
  ) -> dict[str, float]:
    """As EvalTask.run_on_module.

    Raises:
      UserError: the noise of eval_z has no known density.
    """
    del fake_dset, real_dset
    prior = bound_prior()
    with tf.Graph().as_default(), self._create_session() as session:
      module = hub.Module(module_dir, tags={"gen", f"bs{_BATCH_SIZE}"})
      taken = module.get_input_info_dict()
      z = eval_utils.z_generator([_BATCH_SIZE, int(taken["z"].get_shape()[1])])
      inputs = {"z": z}
      if "labels" in taken:
        classes = datasets.get_dataset().num_classes
        inputs["labels"] = tf.random.uniform(
          [_BATCH_SIZE], maxval=classes, dtype=tf.int32
        )
      if "logits" in taken:
        inputs["logits"] = tf.random.normal(taken["logits"].get_shape())
      images = module(inputs, as_dict=True)["generated"]
      score = compute_gilbo(
        session,
        z,
        images,
        prior,
        self._num_steps,
        self._learning_rate,
        self._num_batches,
      )
    return {self._LABEL: score}


def bound_prior() -> UniformPrior | NormalPrior:
  """The density of eval_z, as gin binds it.

  Raises:
    UserError: it is neither uniform nor normal.
  """
  bound = {"distribution_fn": tf.random.uniform, "minval": -1, "maxval": 1, "stddev": 1}
  for name, default in bound.items():
    bound[name] = utils.bound_value(f"eval_z.{name}", default)
  kind: Any = tpu_random.stateless_counterpart(bound["distribution_fn"])
  if kind is tf.random.stateless_uniform:
    return UniformPrior(bound["minval"], bound["maxval"])
  if kind is tf.random.stateless_normal:
    return NormalPrior(bound["stddev"])
  name = getattr(bound["distribution_fn"], "__name__", bound["distribution_fn"])
  raise UserError(
    f"GILBO needs the density of the noise, which {name} does not tell; bind "
    "eval_z.distribution_fn to tf.random.uniform or tf.random.normal, and none of its "
    "own parameters"
  )


def compute_gilbo(
  session: tf.Session,
  z: tf.Tensor,
  images: tf.Tensor,
  prior: UniformPrior | NormalPrior,
  num_steps: int,
  learning_rate: float = 3e-4,
  num_batches: int = 100,
) -> float:
  """Trains an encoder; the mean of log e(z | x) - log p(z), in nats.

  Args:
    session: on the graph of the tensors; all variables are initialised in it.
    z: noise [batch, z_dim], drawn anew in every run.
    images: [batch, h, w, c] in [0, 1], made of that noise.
    prior: of the noise.
    num_steps: of training.
    learning_rate: of Adam.
    num_batches: over which the mean is.
  """
  with tf.variable_scope("gilbo_encoder"):
    bound = tf.reduce_mean(prior.log_ratio(z, _encode(tf.stop_gradient(images))))
  weights = tf.trainable_variables("gilbo_encoder")
  optimizer = tf.train.AdamOptimizer(learning_rate)
  step = optimizer.minimize(-bound, var_list=weights)
  session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
  for _ in range(num_steps):
    session.run(step)
  return float(np.mean([session.run(bound) for _ in range(num_batches)]))


def _encode(images):
  """Features [batch, n]: convolutions of stride 2 down to 4 px, like DCGAN's."""
  net, channels, index = 2.0 * images - 1.0, 64, 1
  while max(net.shape.as_list()[1:3]) > _SMALLEST_SIDE:
    net = arch_ops.conv2d(net, channels, 4, 4, 2, 2, name=f"conv{index}")
    net = arch_ops.lrelu(tf.cast(net, tf.float32))
    channels, index = min(2 * channels, 512), index + 1
  net = arch_ops.linear(arch_ops.flatten(net), 256, "fc")
  return arch_ops.lrelu(net)
