"""The form of a metric that the evaluation of a module computes.

class MeanColour(eval_task.EvalTask):
  _LABEL = "mean_colour"
  reads_activations = False

  def run_after_session(self, fake_dset: Any, real_dset: Any):
    return {"mean_colour": float(fake_dset.images.mean())}

eval_gan_lib.evaluate_tfhub_module(module_dir, [MeanColour()], False, 3)
"""

from __future__ import annotations

import abc
from typing import Any

import tensorflow.compat.v1 as tf


class EvalTask(abc.ABC):
  """One or several scores of a set of generated images.

  Attributes:
    _LABEL: name of the task.
    reads_activations: whether `run_after_session` reads `activations` or `logits`,
      which needs the weights of Inception.
  """

  _LABEL: str = ""
  reads_activations: bool = True

  def metric_list(self) -> frozenset[str]:
    """Names of the scores that `run_after_session` returns."""
    return frozenset({self._LABEL})

  @abc.abstractmethod
  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    """Scores of the generated images.

    Args:
      fake_dset, real_dset: eval_utils.EvalDataSample of the generated and of the real
        images: images in [0, 255], activations and logits of Inception.
    """

  def run_on_module(
    self, module_dir: str, fake_dset: Any, real_dset: Any
  ) -> dict[str, float]:
    """As `run_after_session`, for a task that needs the networks themselves.

    Args:
      module_dir: folder of the TF-Hub module that made the generated images.
      fake_dset, real_dset: as for `run_after_session`.
    """
    del module_dir
    return self.run_after_session(fake_dset, real_dset)

  def _create_session(self) -> tf.Session:
    """A session for the graph of the metric, which grows with what it needs."""
    return tf.Session(config=tf.ConfigProto(allow_soft_placement=True))
