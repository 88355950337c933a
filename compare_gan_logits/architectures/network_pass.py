"""What layers do besides computing their output, and who runs it.

Batch norms move averages and spectral norm moves its vectors. Outside of any pass
that happens as in compare_gan: averages move through tf.GraphKeys.UPDATE_OPS, and a
normalised kernel assigns its own vector. A training step opens a NetworkPass for
each set of calls that compare_gan sees as one: there, a kernel takes one power
iteration however often its layer is called, and all updates are collected.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow.compat.v1 as tf


class NetworkPass:
  """The side effects of some calls of networks.

  Args:
    accumulate: at inference, let batch norms add the moments of the batch to
      their standing statistics while `update_accus` is 1.

  Attributes:
    kernels: normalised kernels, by the full name of their vector and that of what was
      normalised: kernels of the same last name in a scope share a vector.
    vectors: what those vectors were before the pass, by their full names.
    updates: ops that write spectral norm's vectors and moving averages. Whoever
      opens the pass runs them.
  """

  def __init__(self, accumulate: bool = False):
    self.accumulate = accumulate
    self.kernels: dict[tuple[str, str], tf.Tensor] = {}
    self.vectors: dict[str, tf.Tensor] = {}
    self.updates: list[tf.Operation] = []
    self._last_update: dict[str, list[tf.Operation]] = {}

  def update_moving_average(
    self, moving: tf.Variable, value: tf.Tensor, decay: float
  ) -> None:
    """Appends moving -= (1 - decay) * (moving - value), after earlier calls' updates.

    The reference leaves the order of a step's calls to chance.
    """
    name = moving.op.name
    with tf.control_dependencies(self._last_update.get(name, [])):
      update = _moved(moving, value, decay)
    self._last_update[name] = [update]
    self.updates.append(update)


_current: contextvars.ContextVar[NetworkPass | None] = contextvars.ContextVar(
  "network_pass", default=None
)
_phase: contextvars.ContextVar[bool | None] = contextvars.ContextVar(
  "phase", default=None
)


@contextlib.contextmanager
def network_pass(
  opened: NetworkPass | None = None, accumulate: bool = False
) -> Iterator[NetworkPass]:
  """Opens a NetworkPass, or goes on with one that was opened before."""
  current = opened or NetworkPass(accumulate)
  token = _current.set(current)
  try:
    yield current
  finally:
    _current.reset(token)


def current_pass() -> NetworkPass | None:
  """The innermost pass that is open, None outside of any."""
  return _current.get()


@contextlib.contextmanager
def phase(is_training: bool) -> Iterator[None]:
  """Tells the layers of a network that is being called whether it is in training.

  Spectral norm has no is_training argument in compare_gan's layers.
  """
  token = _phase.set(is_training)
  try:
    yield
  finally:
    _phase.reset(token)


def current_phase() -> bool | None:
  """True in a network's training call, False at inference, None outside of both."""
  return _phase.get()


def update_moving_average(moving: tf.Variable, value: tf.Tensor, decay: float) -> None:
  """Moves an average in the open pass, or else through tf.GraphKeys.UPDATE_OPS."""
  current = current_pass()
  if current is not None:
    current.update_moving_average(moving, value, decay)
    return
  with tf.name_scope("AssignMovingAvg") as scope:
    update = tf.group(_moved(moving, value, decay), name=scope)
  tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)


def _moved(moving: tf.Variable, value: tf.Tensor, decay: float) -> tf.Operation:
  difference = moving.read_value() - tf.stop_gradient(value)
  return moving.assign_sub((1 - decay) * difference)
