"""What a trainer of this project offers to runner_lib."""

import abc


class AbstractGAN(abc.ABC):
  """A model that TPUEstimator trains on a dataset.

  Args:
    dataset: datasets.ImageDataset.
    parameters: dict of options (runner_lib.get_options_dict).
    model_dir: folder for summaries.
    classifier: classifiers.Classifier whose logits are the condition, or None.
  """

  def __init__(self, dataset, parameters, model_dir, classifier=None):
    self._dataset = dataset
    self._parameters = parameters
    self._model_dir = model_dir
    self._classifier = classifier

  @abc.abstractmethod
  def input_fn(self, params, **kwargs):
    """A tf.data.Dataset of feature dicts, one for each training step."""

  @abc.abstractmethod
  def model_fn(self, features, labels, params, mode):
    """A TPUEstimatorSpec whose train_op makes one whole training step."""

  @abc.abstractmethod
  def generate(self, z, y):
    """Generator graph for inference: images [batch, h, w, c] in [0, 1]."""
