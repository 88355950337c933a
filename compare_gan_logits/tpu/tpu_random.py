"""Random numbers that depend on the seed and the step, nothing else.

A stateful generator starts anew after a resume and differs from core to core.
Here the state is the step: a run that was stopped and one that was not draw the
same numbers, and every replica can draw those of the whole batch.

`uniform` and `normal` are compare_gan's: functions of the op's name and of the number
that the input pipeline gives to the first example of a batch.
"""

from __future__ import annotations

import contextvars
import functools
import hashlib
import inspect
import zlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import gin
import gin.tf.external_configurables  # names in gin for TensorFlow's distributions
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils


RANDOM_OFFSET = "_RANDOM_OFFSET"  # the feature with the number of an example
_MAX_SEED = 2**31 - 1
_offset: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar(
  "random_offset", default=None
)


def add_random_offset_to_features(
  dataset: tf.data.Dataset, start: int = 1
) -> tf.data.Dataset:
  """Numbers the examples of a dataset of (dict of features, labels), from `start`."""

  def add(number, pair):
    features, labels = pair
    number = tf.cast(number % _MAX_SEED, tf.int32)
    return {**features, RANDOM_OFFSET: number}, labels

  numbers = tf.data.Dataset.range(start, 2**63 - 1)
  return tf.data.Dataset.zip((numbers, dataset)).map(add)


def set_random_offset_from_features(features: dict[str, tf.Tensor]) -> None:
  """Takes the number out of `features`, for `uniform` and `normal` in this graph.

  Of a batch, it is that of the first example.
  """
  offset = features.pop(RANDOM_OFFSET)
  _offset.set(tf.reshape(offset, [-1])[0])


def uniform(shape: Sequence[int], name: str | None = None) -> tf.Tensor:
  """Numbers of [0, 1); other in another place of the graph, and for another batch.

  Without set_random_offset_from_features they come from TensorFlow's own state.
  """
  seed = _seed_of_op(name)
  if seed is None:
    return tf.random.uniform(shape, name=name)
  return tf.random.stateless_uniform(shape, seed, name=name)


def normal(shape: Sequence[int], name: str | None = None) -> tf.Tensor:
  """Standard normal numbers; as `uniform`."""
  seed = _seed_of_op(name)
  if seed is None:
    return tf.random.normal(shape, name=name)
  return tf.random.stateless_normal(shape, seed, name=name)


def _seed_of_op(name):
  """int32 [2]: the digest of the op's name, and the offset; None without one."""
  offset = _offset.get()
  if offset is None or not _is_visible(offset.graph):
    return None
  with tf.name_scope("dummy_for_seed"):
    full_name = tf.no_op(name=name or "random").name
  digest = int(hashlib.sha512(full_name.encode()).hexdigest(), 16)
  return tf.stack([tf.constant(digest % _MAX_SEED, tf.int32), offset])


def _is_visible(graph):
  """Whether the current graph is `graph` or that of a function inside of it."""
  current = tf.get_default_graph()
  while current is not None and current is not graph:
    current = getattr(current, "outer_graph", None)
  return current is graph


# TensorFlow's distributions, and what draws from the same ones without state.
_STATELESS = {
  tf.random.normal: tf.random.stateless_normal,
  tf.random.uniform: tf.random.stateless_uniform,
  tf.random.truncated_normal: tf.random.stateless_truncated_normal,
}
# Those stand for themselves.
_STATELESS.update({function: function for function in _STATELESS.values()})


def stateless_counterpart(distribution_fn: Callable[..., Any]) -> Callable[..., Any]:
  """The stateless function of the same distribution, or the function itself.

  Where gin binds parameters of TensorFlow's function, such as its mean, they are those
  of the counterpart.
  """
  for function, stateless in _STATELESS.items():
    if distribution_fn is function:
      return stateless
    if distribution_fn is gin.get_configurable(function):  # as a gin file names it
      bound = gin.get_bindings(function)
      return functools.partial(stateless, **bound) if bound else stateless
  return distribution_fn


def step_seed(seed: int, name: str, step: Any) -> tf.Tensor:
  """A seed [2] for stateless ops.

  Args:
    seed: Python int, the run's seed.
    name: what the numbers are for; other names give other numbers.
    step: scalar integer tensor, the training step.
  """
  salt = (seed + zlib.crc32(name.encode())) % (2**31)
  step = tf.cast(step % (2**31 - 1), tf.int32)
  return tf.stack([tf.constant(salt, tf.int32), step])


def draw(
  shape: Sequence[int],
  distribution_fn: Callable[..., tf.Tensor],
  seed: tf.Tensor | None = None,
  **arguments: Any,
) -> tf.Tensor:
  """Noise of a distribution that gin binds.

  Args:
    shape: of the result.
    distribution_fn: tf.random.uniform, tf.random.normal, their stateless forms or any
      function of a shape; it gets those of `arguments` that it declares.
    seed: integer tensor [2]. With it, a distribution of TensorFlow is drawn without
      state, so that the same seed gives the same numbers, and so is a function that
      requires a `seed`. Any other is called for each row of `shape`, and draws as it
      will. Without it, each run of the op gives other numbers.
    **arguments: minval, maxval, stddev, name.
  """

  def requires_seed(function):
    parameter = inspect.signature(function).parameters.get("seed")
    return parameter is not None and parameter.default is inspect.Parameter.empty

  if seed is None:
    if requires_seed(distribution_fn):
      arguments["seed"] = tf.random.uniform([2], maxval=_MAX_SEED, dtype=tf.int32)
    return utils.call_with_accepted_args(distribution_fn, shape=shape, **arguments)
  stateless = stateless_counterpart(distribution_fn)
  if requires_seed(stateless):
    return utils.call_with_accepted_args(stateless, shape=shape, seed=seed, **arguments)
  rows, *row_shape = shape
  return tf.map_fn(
    lambda _: utils.call_with_accepted_args(
      distribution_fn, shape=row_shape, **arguments
    ),
    tf.range(rows),
    dtype=tf.float32,
  )
