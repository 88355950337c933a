"""Summaries from inside the model function, on TPUs as well: through host_call."""

import collections
import os

import tensorflow.compat.v1 as tf
from tensorflow.compat.v2 import summary

from compare_gan_logits.tpu import tpu_ops


_Entry = collections.namedtuple("_Entry", "write name tensor")


class TpuSummaries:
  """Collects tensors while the model is built; writes them on the host.

  A TPU core cannot write files. `get_host_call` hands TPUEstimator the tensors
  and the function that writes them, which serves without a TPU as well.
  """

  def __init__(self, log_dir, save_summary_steps):
    self._log_dir = os.path.join(log_dir, "train")
    self._save_summary_steps = save_summary_steps
    self._entries = []

  def scalar(self, name, tensor):
    """Records the mean over replicas of a scalar."""
    self._entries.append(_Entry(_write_scalar, name, tf.reshape(tensor, [1])))

  def image(self, name, tensor):
    """Records the first replica's picture [1, h, w, c] in [0, 1]."""
    self._entries.append(_Entry(_write_image, name, tensor))

  def get_host_call(self):
    """(function, tensors) for TPUEstimatorSpec.host_call, or None."""
    if not self._entries:
      return None
    step = tf.reshape(tf.train.get_or_create_global_step(), [1])
    return self._write, [step, *self._tensors()]

  def _tensors(self):
    """The entries' tensors; scalars of a strategy's replicas as their means.

    On a TPU the host gets the scalars of all cores, and takes the mean itself.
    """
    tensors = [entry.tensor for entry in self._entries]
    if not tpu_ops.in_strategy():
      return tensors
    scalars = [
      i for i, entry in enumerate(self._entries) if entry.write == _write_scalar
    ]
    means = tpu_ops.cross_replica_mean(tf.stack([tensors[i] for i in scalars]))
    for i, mean in zip(scalars, tf.unstack(means)):
      tensors[i] = mean
    return tensors

  def _write(self, step, *tensors):
    if not tpu_ops.is_first_replica():
      return [tf.no_op()]
    step = tf.cast(step[0], tf.int64)
    writer = summary.create_file_writer(self._log_dir, max_queue=1000)
    due = tf.equal(step % self._save_summary_steps, 0)
    with writer.as_default(), summary.record_if(due):
      for entry, tensor in zip(self._entries, tensors):
        entry.write(entry.name, tensor, step)
      return tf.summary.all_v2_summary_ops()


def _write_scalar(name, tensor, step):
  summary.scalar(name, tf.reduce_mean(tensor), step=step)


def _write_image(name, tensor, step):
  summary.image(name, tensor[:1], step=step)
