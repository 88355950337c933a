"""The contract between a trainer and what runs it: runner_lib and export."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING
from typing import Any

import tensorflow.compat.v1 as tf


if TYPE_CHECKING:
  import tensorflow_hub as hub

  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


class AbstractGAN(abc.ABC):
  """A model that TPUEstimator trains on a dataset and that TF-Hub exports.

  A class of your own, bound by `options.gan_class = @MyGAN`, needs the methods below
  and nothing else. runner_lib constructs it with the keywords dataset, parameters and
  model_dir; `classifier` is passed as well only where gin binds classifier.handle.

  Args:
    dataset: the dataset of gin's dataset.name.
    parameters: dict of runner_lib.get_options_dict: "architecture", "z_dim", "lambda",
      "disc_iters" and others.
    model_dir: folder of checkpoints and summaries.
    classifier: classifiers.Classifier whose logits are the condition, or None.
  """

  def __init__(
    self,
    dataset: ImageDataset,
    parameters: dict[str, Any],
    model_dir: str,
    classifier: Classifier | None = None,
  ):
    self._dataset = dataset
    self._parameters = parameters
    self._model_dir = model_dir
    self._classifier = classifier

  @abc.abstractmethod
  def as_estimator(
    self, run_config: tf.estimator.tpu.RunConfig, batch_size: int, use_tpu: bool
  ) -> tf.estimator.tpu.TPUEstimator:
    """The estimator that trains this model with `input_fn` and `model_fn`.

    Args:
      run_config: settings of the training loop, of checkpoints and of replicas.
      batch_size: images of one update of one network.
      use_tpu: whether the steps run on a TPU.
    """

  @abc.abstractmethod
  def as_module_spec(self, params: dict[str, Any], mode: str) -> hub.ModuleSpec:
    """The TF-Hub module of the networks; its `export` fills it from a checkpoint.

    Args:
      params: as the constructor's parameters.
      mode: tf.estimator.ModeKeys.PREDICT.
    """

  @property
  def export_suffix(self) -> str:
    """Of the names of a step's evaluated modules, where settings make several of it."""
    return ""

  @abc.abstractmethod
  def input_fn(self, params: dict[str, Any], mode: str) -> tf.data.Dataset:
    """Batches of (features, labels).

    Args:
      params: the estimator's; params["batch_size"] is the length of a batch.
      mode: tf.estimator.ModeKeys.TRAIN.
    """

  @abc.abstractmethod
  def model_fn(
    self, features: dict[str, Any], labels: Any, params: dict[str, Any], mode: str
  ) -> tf.estimator.tpu.TPUEstimatorSpec:
    """The graph of one training step, on one batch of `input_fn`.

    Args:
      features, labels: as `input_fn` yields them.
      params: the estimator's; params["use_tpu"] says whether gradients are summed
        over the cores of a TPU.
      mode: tf.estimator.ModeKeys.TRAIN.
    """
