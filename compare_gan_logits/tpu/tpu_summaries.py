"""Summaries from inside the model function, on TPUs as well: through host_call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import tensorflow.compat.v1 as tf
from tensorflow.compat.v2 import summary

from compare_gan_logits.tpu import tpu_ops


class _Entry(NamedTuple):
  write: Callable[..., Any]
  name: str
  tensor: tf.Tensor
  reduce_fn: Callable[[tf.Tensor], tf.Tensor]


class TpuSummaries:
  """Collects tensors while the model is built; writes them on the host.

  A TPU core cannot write files. `get_host_call` hands TPUEstimator the tensors
  and the function that writes them, which serves without a TPU as well.

  Args:
    log_dir: folder of the event files.
    save_summary_steps: training steps between two writings.

  Attributes:
    record: while False, `scalar` and `image` take nothing.
  """

  def __init__(self, log_dir: str, save_summary_steps: int = 250):
    self._log_dir = log_dir
    self._save_summary_steps = save_summary_steps
    self._entries: list[_Entry] = []
    self.record = True

  def scalar(
    self,
    name: str,
    tensor: tf.Tensor,
    reduce_fn: Callable[[tf.Tensor], tf.Tensor] = tf.reduce_mean,
  ) -> None:
    """Records a scalar.

    Args:
      name: of the summary.
      tensor: scalar.
      reduce_fn: from the values of all replicas [replicas] to a scalar.
    """
    self._add(_Entry(summary.scalar, name, tf.reshape(tensor, [1]), reduce_fn))

  def image(
    self, name: str, tensor: tf.Tensor, reduce_fn: Callable[[tf.Tensor], tf.Tensor]
  ) -> None:
    """Records pictures.

    Args:
      name: of the summary.
      tensor: whatever reduce_fn takes, with an axis for the batch.
      reduce_fn: to pictures [n, h, w, c] in [0, 1], from `tensor` of all cores of a
        TPU, one after the other, or of the first replica of a strategy. It is called
        on the host where they are written.
    """
    self._add(_Entry(summary.image, name, tensor, reduce_fn))

  def _add(self, entry):
    if self.record:
      self._entries.append(entry)

  def get_host_call(
    self, step: tf.Tensor | None = None
  ) -> tuple[Callable[..., Any], list[tf.Tensor]] | None:
    """(function, tensors) for TPUEstimatorSpec.host_call, or None.

    Args:
      step: scalar integer tensor, under which the summaries are written; None for the
        global step, which the training step changes meanwhile.
    """
    if not self._entries:
      return None
    if step is None:
      step = tf.train.get_or_create_global_step()
    return self._write, [tf.reshape(step, [1]), *self._tensors()]

  def _tensors(self):
    """The entries' tensors, those of scalars from all replicas of a strategy.

    On a TPU the host gets the values of all cores anyway.
    """
    tensors = [entry.tensor for entry in self._entries]
    if not tpu_ops.in_strategy():
      return tensors
    places = [i for i, e in enumerate(self._entries) if e.write is summary.scalar]
    own = tf.stack([tensors[i] for i in places], axis=1)
    context = tf.distribute.get_replica_context()
    everyone = tpu_ops.cross_replica_concat(
      own, context.replica_id_in_sync_group, tpu_ops.num_replicas()
    )
    for i, values in zip(places, tf.unstack(everyone, axis=1)):
      tensors[i] = values
    return tensors

  def _write(self, step, *tensors):
    if not tpu_ops.is_first_replica():
      return [tf.no_op()]
    step = tf.cast(step[0], tf.int64)
    writer = summary.create_file_writer(self._log_dir, max_queue=1000)

    def write():
      with writer.as_default(), summary.record_if(True):
        written = [
          entry.write(entry.name, entry.reduce_fn(tensor), step=step)
          for entry, tensor in zip(self._entries, tensors)
        ]
      return tf.reduce_all(tf.stack(written))

    # Pictures are put together where they are due, and nowhere else.
    due = tf.equal(step % self._save_summary_steps, 0)
    return [tf.cond(due, write, lambda: tf.constant(False))]
