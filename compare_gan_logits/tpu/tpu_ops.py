"""Means over all replicas: TPU cores, or the replicas of a tf.distribute strategy."""

import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_function


def num_replicas():
  """Replicas that take part in the training step that is being built."""
  return max(_strategy_replicas(), tpu_function.get_tpu_context().number_of_shards or 1)


def in_strategy():
  """Whether the replicas are those of a tf.distribute strategy."""
  return _strategy_replicas() > 1


def is_first_replica():
  """Whether what is being built belongs to the first replica of a strategy."""
  if tf.distribute.in_cross_replica_context():
    return True
  number = tf.distribute.get_replica_context().replica_id_in_sync_group
  return tf.get_static_value(number) == 0


def _strategy_replicas():
  if tf.distribute.in_cross_replica_context():
    return 1
  return tf.distribute.get_replica_context().num_replicas_in_sync


def cross_replica_mean(inputs):
  """The mean of `inputs` over all replicas; `inputs` itself where there is one.

  Differentiable in each of the three cases.
  """
  replicas = num_replicas()
  if replicas == 1:
    return inputs
  if in_strategy():
    return tf.distribute.get_replica_context().all_reduce(
      tf.distribute.ReduceOp.MEAN, inputs
    )
  return tf.tpu.cross_replica_sum(inputs) / float(replicas)


def cross_replica_moments(inputs, axis):
  """Mean and variance over `axis` and all replicas, in float32.

  As the reference: E[x^2] - E[x]^2.

  Args:
    inputs: float tensor.
    axis: list of axes.

  Returns:
    (mean, variance), each without the reduced axes.
  """
  inputs = tf.cast(inputs, tf.float32)
  mean = tf.reduce_mean(inputs, axis=axis)
  mean_of_squares = tf.reduce_mean(tf.square(inputs), axis=axis)
  if num_replicas() > 1:  # one message for both
    mean, mean_of_squares = tf.unstack(
      cross_replica_mean(tf.stack([mean, mean_of_squares]))
    )
  return mean, mean_of_squares - tf.square(mean)
