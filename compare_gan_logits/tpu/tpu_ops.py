"""Means over all replicas: TPU cores, or the replicas of a tf.distribute strategy."""

from __future__ import annotations

from collections.abc import Sequence

import gin
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_function

from compare_gan_logits.errors import UserError


def num_replicas() -> int:
  """Replicas that take part in the training step that is being built."""
  return max(_strategy_replicas(), tpu_function.get_tpu_context().number_of_shards or 1)


def in_strategy() -> bool:
  """Whether the replicas are those of a tf.distribute strategy."""
  return _strategy_replicas() > 1


def is_first_replica() -> bool:
  """Whether what is being built belongs to the first replica of a strategy."""
  if tf.distribute.in_cross_replica_context():
    return True
  number = tf.distribute.get_replica_context().replica_id_in_sync_group
  return tf.get_static_value(number) == 0


def _strategy_replicas():
  if tf.distribute.in_cross_replica_context():
    return 1
  return tf.distribute.get_replica_context().num_replicas_in_sync


def _cross_replica_sum(inputs, group_size=None):
  if in_strategy():
    return tf.distribute.get_replica_context().all_reduce(
      tf.distribute.ReduceOp.SUM, inputs
    )
  if group_size is None:
    return tf.tpu.cross_replica_sum(inputs)
  cores = list(range(num_replicas()))
  groups = [cores[i : i + group_size] for i in cores[::group_size]]
  return tf.tpu.cross_replica_sum(inputs, groups)


def cross_replica_concat(
  value: tf.Tensor, replica_id: tf.Tensor | int, num_replicas: int
) -> tf.Tensor:
  """The values of all replicas, one after the other along the first axis.

  Args:
    value: of rank 1 or more, of the same shape on every replica.
    replica_id: this replica's number, from 0.
    num_replicas: of them; for 1 the result is `value`.

  Raises:
    UserError: `value` is a scalar.
  """
  value = tf.convert_to_tensor(value)
  if value.shape.rank is None or value.shape.rank < 1:
    raise UserError(
      f"cross_replica_concat joins along the first axis, which {value.name!r} of shape "
      f"{value.shape} does not have; reshape it to [1]"
    )
  if num_replicas == 1:
    return value
  own = tf.one_hot(replica_id, num_replicas, dtype=value.dtype)
  own = tf.reshape(own, [num_replicas] + [1] * value.shape.rank)
  # Every replica gives its own values and zeros, so the sum holds all.
  everyone = _cross_replica_sum(own * value[tf.newaxis])
  return tf.concat(tf.unstack(everyone), axis=0)


def cross_replica_mean(inputs: tf.Tensor, group_size: int | None = None) -> tf.Tensor:
  """The mean of `inputs` over all replicas; `inputs` itself where there is one.

  Differentiable in each of the three cases.

  Args:
    inputs: float tensor.
    group_size: mean over groups of so many cores of a TPU, in the order of their
      numbers; None for all replicas, 1 for none.

  Raises:
    UserError: the replicas cannot be divided into such groups.
  """
  replicas = num_replicas()
  if replicas == 1 or group_size == 1:
    return inputs
  if group_size in (None, replicas):
    if in_strategy():
      return tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.MEAN, inputs
      )
    return _cross_replica_sum(inputs) / float(replicas)
  if in_strategy() or replicas % group_size:
    raise UserError(
      f"groups of {group_size} cannot be made of {replicas} replicas: the size has to "
      "divide the cores of a TPU, and --distribute has no groups; leave it out"
    )
  return _cross_replica_sum(inputs, group_size) / float(group_size)


@gin.configurable(denylist=["inputs", "axis"])
def cross_replica_moments(
  inputs: tf.Tensor,
  axis: Sequence[int],
  parallel: bool = True,
  group_size: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Mean and variance over `axis` and all replicas, in float32.

  Args:
    inputs: float tensor.
    axis: list of axes.
    parallel: as the reference, E[x^2] - E[x]^2, in one message; False computes the mean
      first and then E[(x - mean)^2], in two.
    group_size: as in cross_replica_mean.

  Returns:
    (mean, variance), each without the reduced axes.
  """
  inputs = tf.cast(inputs, tf.float32)
  mean = tf.reduce_mean(inputs, axis=axis)
  if not parallel:
    mean = cross_replica_mean(mean, group_size)
    expanded = mean
    for a in sorted(axis):
      expanded = tf.expand_dims(expanded, a)
    variance = tf.reduce_mean(tf.square(inputs - expanded), axis=axis)
    return mean, cross_replica_mean(variance, group_size)
  mean_of_squares = tf.reduce_mean(tf.square(inputs), axis=axis)
  if num_replicas() > 1:  # one message for both
    both = cross_replica_mean(tf.stack([mean, mean_of_squares]), group_size)
    mean, mean_of_squares = tf.unstack(both)
  return mean, mean_of_squares - tf.square(mean)
