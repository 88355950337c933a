"""Random numbers that depend on the seed and the step, nothing else.

A stateful generator starts anew after a resume and differs from core to core.
Here the state is the step: a run that was stopped and one that was not draw the
same numbers, and every replica can draw those of the whole batch.
"""

import zlib

import tensorflow.compat.v1 as tf


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


def step_seed(seed, name, step):
  """A seed [2] for stateless ops.

  Args:
    seed: Python int, the run's seed.
    name: what the numbers are for; other names give other numbers.
    step: scalar integer tensor, the training step.
  """
  salt = (seed + zlib.crc32(name.encode())) % (2**31)
  step = tf.cast(step % (2**31 - 1), tf.int32)
  return tf.stack([tf.constant(salt, tf.int32), step])


def add_random_offset_to_features(dataset, start=1):
  """Numbers a dataset of (dict of features, label): feature "_RANDOM_OFFSET"."""
  numbers = tf.data.Dataset.range(start, 2**63 - 1)
  return tf.data.Dataset.zip((numbers, dataset)).map(
    lambda number, pair: (dict(pair[0], _RANDOM_OFFSET=number), pair[1])
  )
