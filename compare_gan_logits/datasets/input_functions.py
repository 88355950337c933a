"""The reference's input functions, of every data set: (image, label) pairs by mode."""

from __future__ import annotations

import functools
import inspect
from typing import Any
from typing import Callable

import tensorflow.compat.v1 as tf

from compare_gan_logits.datasets import flag_definitions
from compare_gan_logits.errors import UserError
from compare_gan_logits.tpu import tpu_random


class InputFunctions:
  """input_fn, train_input_fn and eval_input_fn, over methods that can be overridden.

  A subclass gives `_load_dataset`; it may override `_train_filter_fn`,
  `_train_transform_fn` and `_eval_transform_fn`, and set `_train_split`,
  `_eval_split` and `_seed`.
  """

  _train_split = "train"
  _eval_split = "test"
  _seed = 547

  def _load_dataset(self, split: str) -> tf.data.Dataset:
    """One epoch of (image float32 [h, w, c] in [0, 1], label int32 []), in file order.

    Args:
      split: `_train_split` or `_eval_split`.
    """
    raise NotImplementedError

  def _train_filter_fn(self, image: tf.Tensor, label: tf.Tensor) -> Any:
    """Whether an image is trained on; a boolean or a boolean tensor []."""
    del image, label
    return True

  def _train_transform_fn(self, image, label, seed):
    """(image, label) as a training step sees them.

    Args:
      image: float32 [h, w, c] in [0, 1].
      label: as `_parse_fn` gives it.
      seed: Python int; or int [2], the seed and the image's place in the order of
        training, where the class that has this method sets `_stateless_seed`.
    """
    del seed
    return image, label

  def _eval_transform_fn(self, image, label, seed):
    """(image, label) as the evaluation sees them; arguments as in training."""
    del seed
    return image, label

  def _endless_pairs(self):
    """The pairs of `_load_dataset` for training, again and again."""
    return self._load_dataset(self._train_split).repeat()

  def _augmented(self, dataset, seed):
    """Transformed pairs, with what `dataset.flip` asks for; new at every epoch."""
    del seed
    return dataset

  def _finish(self, image):
    """The image as the networks see it."""
    return image

  def train_input_fn(
    self,
    params: dict | None = None,
    preprocess_fn: Callable | None = None,
  ) -> tf.data.Dataset:
    """Endless training pairs: filtered, transformed, preprocessed, then shuffled.

    Args:
      params: dict; with "batch_size" the pairs are batched, the last ones dropped.
        With "context" (of TPUEstimator) each host has a seed of its own.
      preprocess_fn: maps (image, label), and a keyword `seed` if it takes one.
        Features that are a dict get a number for tpu.tpu_random.

    Returns:
      tf.data.Dataset of (image, label), or of what preprocess_fn returns.
    """
    params = params or {}
    seed = self._seed + _host(params)
    dataset = self._endless_pairs().filter(
      lambda image, label: tf.convert_to_tensor(self._train_filter_fn(image, label))
    )
    dataset = dataset.map(functools.partial(self._train_transform_fn, seed=seed))
    dataset = self._augmented(dataset, seed)
    dataset = dataset.map(lambda image, label: (self._finish(image), label))
    if preprocess_fn is not None:
      if "seed" in inspect.signature(preprocess_fn).parameters:
        preprocess_fn = functools.partial(preprocess_fn, seed=seed)
      dataset = dataset.map(preprocess_fn)
    if isinstance(tf.data.get_output_types(dataset)[0], dict):
      dataset = tpu_random.add_random_offset_to_features(dataset)
    dataset = dataset.shuffle(
      flag_definitions.value("data_shuffle_buffer_size"), seed=seed
    )
    if "batch_size" in params:
      dataset = dataset.batch(params["batch_size"], drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE)

  def eval_input_fn(
    self, params: dict | None = None, split: str | None = None
  ) -> tf.data.Dataset:
    """One epoch of pairs in file order.

    Args:
      params: dict; with "batch_size" the pairs are batched, the last ones dropped.
      split: `_eval_split` by default.
    """
    params = params or {}
    seed = self._seed + _host(params)
    dataset = self._load_dataset(split or self._eval_split)
    dataset = dataset.map(functools.partial(self._eval_transform_fn, seed=seed))
    dataset = dataset.map(lambda image, label: (self._finish(image), label))
    if "batch_size" in params:
      dataset = dataset.batch(params["batch_size"], drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE)

  def input_fn(
    self,
    params: dict | None,
    mode: str = tf.estimator.ModeKeys.TRAIN,
    preprocess_fn: Callable | None = None,
  ) -> tf.data.Dataset:
    """train_input_fn under its old name.

    Raises:
      UserError: `mode` is another than TRAIN.
    """
    if mode != tf.estimator.ModeKeys.TRAIN:
      raise UserError(
        f"input_fn is for training, not for mode {mode!r}; call eval_input_fn"
      )
    return self.train_input_fn(params=params, preprocess_fn=preprocess_fn)

  def load_dataset(self, split_name: str) -> tf.data.Dataset:
    """eval_input_fn under its old name.

    Raises:
      UserError: `split_name` is another than "test".
    """
    if split_name != "test":
      raise UserError(
        f"load_dataset gives 'test', not {split_name!r}; call eval_input_fn(split=...)"
      )
    return self.eval_input_fn()


def _host(params):
  """Number of this TPU host, 0 elsewhere."""
  context = params.get("context")
  return context.current_host if context is not None else 0
