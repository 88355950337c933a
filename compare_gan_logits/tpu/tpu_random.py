"""Random numbers that depend on the seed, the step and the replica, nothing else.

A stateful generator starts anew after a resume and differs from core to core.
Here the state is the step: a run that was stopped and one that was not draw the
same numbers.
"""

import zlib

import tensorflow.compat.v1 as tf
from tensorflow.compiler.tf2xla.python import xla
from tensorflow.python.tpu import tpu_function


# The distributions that paper.gin may bind to z, which are stateful, and what
# draws from the same distribution without state.
_STATELESS = {
    "random_normal": tf.random.stateless_normal,
    "random_uniform": tf.random.stateless_uniform,
    "truncated_normal": tf.random.stateless_truncated_normal,
}


def stateless_counterpart(distribution_fn):
  """The stateless function of the same distribution, or the function itself."""
  function = distribution_fn
  while hasattr(function, "__wrapped__"):  # gin and TensorFlow wrap it
    function = function.__wrapped__
  return _STATELESS.get(function.__name__, distribution_fn)


def _replica_id():
  """This replica's number, a Python int or a scalar int32 tensor."""
  if tf.distribute.in_cross_replica_context():
    return 0
  replica = tf.distribute.get_replica_context()
  if replica.num_replicas_in_sync > 1:
    return tf.cast(replica.replica_id_in_sync_group, tf.int32)
  num_shards = tpu_function.get_tpu_context().number_of_shards
  if num_shards and num_shards > 1:
    return xla.replica_id()
  return 0


def step_seed(seed, name, step):
  """A seed [2] for stateless ops.

  Args:
    seed: Python int, the run's seed.
    name: what the numbers are for; other names give other numbers.
    step: scalar integer tensor, the training step.
  """
  salt = (seed + zlib.crc32(name.encode())) % (2**31)
  step = tf.cast(step, tf.int32) + 100003 * _replica_id()
  return tf.stack([tf.constant(salt, tf.int32), step])
