"""What one update of one network is made of: parts of a batch, gradients, a counter."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import tensorflow.compat.v1 as tf


Features = dict[str, tf.Tensor]


def get_or_create_global_step_disc() -> tf.Variable:
  """The counter of discriminator updates."""
  with tf.variable_scope("", reuse=tf.AUTO_REUSE):
    return tf.get_variable(
      "global_step_disc",
      [],
      tf.int32,
      tf.zeros_initializer(),
      trainable=False,
      use_resource=True,
      aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def make_optimizer(
  optimizer_fn: Callable[..., tf.train.Optimizer],
  learning_rate: float,
  name: str,
  use_tpu: bool,
) -> tf.train.Optimizer:
  """An optimizer; on a TPU it sums gradients over the cores."""
  optimizer = optimizer_fn(learning_rate, name=name)
  return tf.tpu.CrossShardOptimizer(optimizer) if use_tpu else optimizer


def _parts(value, number):
  """Equal parts of a batch, in order; no GPU splits integers, but all slice them."""
  if not value.dtype.is_integer:
    return tf.split(value, number)
  size = int(value.shape[0]) // number
  return [value[i * size : (i + 1) * size] for i in range(number)]


def split(
  features: Features, labels: tf.Tensor, number: int
) -> list[tuple[Features, tf.Tensor]]:
  """[(features, labels)] of `number` parts of equal size, one after the other."""
  if number == 1:
    return [(dict(features), labels)]
  parts = {name: _parts(value, number) for name, value in features.items()}
  return [
    ({name: values[i] for name, values in parts.items()}, part)
    for i, part in enumerate(_parts(labels, number))
  ]


def apply_update(
  optimizer: tf.train.Optimizer,
  loss_of: Callable[[Features, tf.Tensor], tf.Tensor],
  parts: Sequence[tuple[Features, tf.Tensor]],
  network: Any,
  step: tf.Variable,
) -> tf.Tensor:
  """Updates a network once; arguments as mean_gradients', and the counter of updates.

  Returns:
    The loss; it is there once the update is made.
  """
  gradients, loss = mean_gradients(optimizer, loss_of, parts, network)
  # Of layers that move their averages outside of a network pass.
  others = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
  with tf.control_dependencies(others):
    update = optimizer.apply_gradients(gradients, step)
  with tf.control_dependencies([update]):
    return tf.identity(loss)


def mean_gradients(
  optimizer: tf.train.Optimizer,
  loss_of: Callable[[Features, tf.Tensor], tf.Tensor],
  parts: Sequence[tuple[Features, tf.Tensor]],
  network: Any,
) -> tuple[list[tuple[tf.Tensor, tf.Variable]], tf.Tensor]:
  """The mean over micro-batches of the gradients of their loss.

  One micro-batch is done before the next one begins, so that memory holds the
  activations of one.

  Args:
    optimizer: computes the gradients.
    loss_of: function of a micro-batch's features and labels.
    parts: micro-batches of one size.
    network: whose weights to differentiate by, once the losses have made them.

  Returns:
    ([(gradient, weight)], the mean loss).
  """
  sums, losses = None, []
  for part in parts:
    with tf.control_dependencies([g for g in sums or [] if g is not None]):
      losses.append(loss_of(*part))
      weights = network.trainable_variables
      gradients = [g for g, _ in optimizer.compute_gradients(losses[-1], weights)]
      sums = (
        gradients
        if sums is None
        else [total if g is None else total + g for total, g in zip(sums, gradients)]
      )
  if len(parts) > 1:
    sums = [None if total is None else total / len(parts) for total in sums]
    losses = [tf.add_n(losses) / len(parts)]
  return list(zip(sums, weights)), losses[0]
