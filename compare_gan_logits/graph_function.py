"""A TensorFlow graph function as a function of numpy arrays.

The one place where the program builds a graph of its own for numpy callers: the
classifier, the generator, LPIPS, attacks and searches all run through it.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError


class _Built(NamedTuple):
  """The placeholders, the output tensor and the session that runs them."""

  inputs: list[Any]
  output: Any
  session: Any


class GraphFunction:
  """A graph function that takes and gives numpy arrays, and runs in batches.

  The graph is built, and its variables and tables are initialised, at the first call;
  both are kept for as long as the object lives.

    square = GraphFunction(lambda x: x * x, [tf.TensorSpec([3])])
    square(np.ones([1000, 3]))                                      # [1000, 3]
  """

  def __init__(
    self,
    build: Callable[..., Any],
    inputs: Sequence[Any],
    batch_size: int = 64,
  ) -> None:
    """
    Args:
      build: graph function of one placeholder per input, [batch, ...], to one tensor
        [batch, ...].
      inputs: a tf.TensorSpec for each input: shape and type of a single example.
      batch_size: examples per pass; bounds the memory.
    """
    self._build = build
    self._inputs = tuple(inputs)
    self._batch_size = batch_size

  @property
  def shapes(self) -> list[list[int]]:
    """Of a single example of each input."""
    return [spec.shape.as_list() for spec in self._inputs]

  def __call__(self, *arrays: Any, batch_size: int | None = None) -> np.ndarray:
    """Runs the function on arrays [n, ...] of equal n; the result is [n, ...].

    Args:
      *arrays: one for each input.
      batch_size: examples per pass of this call; as in __init__ if left out.

    Raises:
      ValueError: another number of arrays than of inputs, or of unequal length.
    """
    arrays = tuple(np.asarray(array) for array in arrays)
    lengths = {len(array) for array in arrays}
    if len(arrays) != len(self._inputs) or len(lengths) != 1:
      raise ValueError(
        f"{len(self._inputs)} arrays of one length are needed, not "
        f"{[array.shape for array in arrays]}"
      )
    built, total = self._built, lengths.pop()
    if total == 0:
      shape = [size or 0 for size in built.output.shape.as_list()[1:]]
      return np.zeros([0, *shape], built.output.dtype.as_numpy_dtype)
    result, step = None, batch_size or self._batch_size
    for start in range(0, total, step):
      part = slice(start, start + step)
      feeds = {tensor: array[part] for tensor, array in zip(built.inputs, arrays)}
      with user_errors():
        values = built.session.run(built.output, feeds)
      if result is None:
        result = np.empty([total, *values.shape[1:]], values.dtype)
      result[part] = values
    assert result is not None
    return result

  @functools.cached_property
  def _built(self) -> _Built:
    with tf.Graph().as_default() as graph:
      inputs = [
        tf.placeholder(spec.dtype, [None, *shape])
        for spec, shape in zip(self._inputs, self.shapes)
      ]
      output = self._build(*inputs)
      session = tf.Session(graph=graph)
      # Loaded modules keep their weights in local variables (classifiers/hub.py).
      session.run(
        [
          tf.global_variables_initializer(),
          tf.local_variables_initializer(),
          tf.tables_initializer(),
        ]
      )
    return _Built(inputs, output, session)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Brings a UserError back that TensorFlow has turned into an error of its own."""
  try:
    yield
  except tf.errors.OpError as error:
    found = re.search(r"UserError: (.+)", error.message)
    if found is None:
      raise
    raise UserError(found.group(1).strip()) from error
