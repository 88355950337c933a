"""Small things that several rooms share."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging


def call_with_accepted_args(fn: Callable[..., Any], **kwargs: Any) -> Any:
  """Calls `fn` with those of `kwargs` that its signature takes.

  Gin may bind functions with other arguments to the same place: losses, penalties,
  batch norms, distributions of z. Partial functions, wrapped ones and objects with
  `__call__` take what lies beneath them takes; `**kwargs` takes all.
  """
  parameters = inspect.signature(fn).parameters
  if not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
    kwargs = {key: value for key, value in kwargs.items() if key in parameters}
  return fn(**kwargs)


def bound_value(name: str, default: Any = None) -> Any:
  """What gin binds to "configurable.parameter", its macros resolved, or `default`."""
  try:
    return copy.deepcopy(gin.query_parameter(name))  # copying is gin's way to resolve
  except ValueError:
    return default


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """The same elements, without tf.data's search for the best parallelism.

  The thread that searches sleeps longer and longer, up to a minute, and TensorFlow waits
  for it when a session ends: after 15 s of reading often 5 s, later more. What asks for
  AUTOTUNE has TensorFlow's default instead: as many calls at a time as the session has
  threads for operations, and 16 at most.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.with_options(options)


def next_element(dataset: tf.data.Dataset) -> Any:
  """Tensors of the next element of `dataset`, at every run of a session."""
  return tf.data.make_one_shot_iterator(without_autotune(dataset)).get_next()


def run_to_end(session: tf.Session, fetches: Any) -> Iterator[Any]:
  """Yields the values of `fetches`, run by run, until the data that they read end."""
  while True:
    try:
      values = session.run(fetches)
    except tf.errors.OutOfRangeError:
      return
    yield values


def get_parameter_overview(
  variables: Iterable[tf.Variable], limit: int | None = 40
) -> str:
  """A table of the names, shapes, sizes and types of variables, and their total.

  Args:
    variables: of known shape.
    limit: rows after which the rest is left out; None shows all.
  """
  variables = list(variables)
  rows = [
    (v.name, str(tuple(v.shape.as_list())), _size(v), v.dtype.base_dtype.name)
    for v in variables
  ]
  if limit is not None and len(rows) > limit:
    rows = rows[:limit] + [("...",) * 4]
  total = sum(map(_size, variables))
  return f"{_table(('Name', 'Shape', 'Size', 'Type'), rows)}\nTotal: {total:,}"


def log_parameter_overview(variables: Iterable[tf.Variable], msg: str) -> None:
  """Logs get_parameter_overview below the line `msg`."""
  logging.info("%s:\n%s", msg, get_parameter_overview(variables, limit=None))


def _size(variable: tf.Variable) -> int:
  return int(np.prod(variable.shape.as_list()))


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
  """Columns between rules; the second and third are set to the right."""
  cells = [[f"{x:,}" if isinstance(x, int) else x for x in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(titles, *cells)]
  rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])

  def line(row, aligned="<>><"):
    padded = [f" {x:{a}{width}} " for x, a, width in zip(row, aligned, widths)]
    return "|".join(["", *padded, ""])

  return "\n".join([rule, line(titles, "<<<<"), rule, *map(line, cells), rule])
