"""What a GAN is fed: images, noise, and conditions of real and of generated images."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.datasets import input_functions
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import abstract_gan
from compare_gan_logits.gans.update_lib import Features
from compare_gan_logits.tpu import tpu_random


@gin.configurable("z", denylist=["shape", "name", "seed"])
def z_generator(
  shape: Sequence[int],
  distribution_fn: Callable[..., tf.Tensor] = tf.random.uniform,
  minval: float = -1.0,
  maxval: float = 1.0,
  stddev: float = 1.0,
  name: str | None = None,
  seed: tf.Tensor | None = None,
) -> tf.Tensor:
  """The generator's noise, uniform in [-1, 1] by default; see tpu_random.draw."""
  return tpu_random.draw(
    shape, distribution_fn, seed, minval=minval, maxval=maxval, stddev=stddev, name=name
  )


class InputsGAN(abstract_gan.AbstractGAN):
  """The inputs of a GAN's training steps; ModularGAN makes the steps of them.

  A condition is a class, or a classifier's logits. Real images have those of their own.
  Generated ones have the logits of real images, or classes that are drawn.
  """

  # Of ModularGAN's constructor:
  _conditional: bool
  _disc_iters: int
  _fit_label_distribution: bool
  _z_dim: int

  @property
  def num_sub_steps(self) -> int:
    """Updates of one training step, the generator's included."""
    return self._disc_iters + 1

  @property
  def conditional(self) -> bool:
    """Whether a network may be told a condition."""
    return self._conditional

  @property
  def condition_name(self) -> str:
    """What a condition is: the "logits" of a classifier, or class "labels"."""
    return "labels" if self._classifier is None else "logits"

  @property
  def condition_size(self) -> int:
    """Length of the condition: the number of logits, or of classes."""
    if self._classifier is not None:
      return self._classifier.num_logits
    return self._dataset.num_classes

  def input_fn(
    self,
    params: dict[str, Any],
    mode: str = tf.estimator.ModeKeys.TRAIN,
    start_step: int = 0,
    logits: Any = None,
    shard: int = 0,
    num_shards: int = 1,
    replicas: int = 1,
  ) -> tf.data.Dataset:
    """(features, labels) of whole training steps.

    The images of a step are one batch, in an order that does not depend on replicas.
    A worker reads every num_shards-th of them and deals them out to its replicas in
    turn: so each replica's sub-batch is a part of the whole one's. Noise and labels of
    generated images are functions of the seed, the step and the place in the batch.

    Args:
      params: dict with batch_size, the images of a whole step of one replica, n; and
        perhaps seed, instead of the dataset's.
      mode: tf.estimator.ModeKeys.TRAIN.
      start_step: training step to go on from; the images before it are passed over.
      logits: cached logits [num examples, n] or None.
      shard, num_shards: which part of the data this worker reads.
      replicas: of this worker; there is an element for each of them, in turn.

    Returns:
      tf.data.Dataset of ({"images" [n, h, w, c], "z" [n, z_dim], "_RANDOM_OFFSET"
      int32 [n], the place of an image in the run, "sampled_labels" int32 [n] where a
      class is the condition, "logits" where they are cached}, labels [n]).

    Raises:
      UserError: another mode; or an override of what only compare_gan calls.
    """
    check_training(mode)
    _check_overrides(self, self._dataset)
    own = params["batch_size"]
    seed = params.get("seed", self._dataset.seed)
    whole = own * replicas * num_shards  # images of a step
    dataset = self._dataset.train(
      own * replicas,
      start=start_step * own * replicas,
      shard=shard,
      num_shards=num_shards,
      with_logits=logits,
    )

    # Nothing in it is for autograph, which would take seconds to read it.
    @tf.autograph.experimental.do_not_convert
    def add_noise(step, element):
      rows = shard + num_shards * tf.range(own * replicas, dtype=tf.int64)
      z_seed = tpu_random.step_seed(seed, "z", step)
      z_shape = [whole, self._z_dim]
      features = {
        "images": element["image"],
        "z": tf.gather(self._drawn(self.z_generator, z_shape, z_seed), rows),
        tpu_random.RANDOM_OFFSET: _offset(step * whole + rows),
      }
      if logits is not None:
        features["logits"] = element["logits"]
      if self._conditional and self._classifier is None:
        features["sampled_labels"] = element["label"]
        if not self._fit_label_distribution:
          label_seed = tpu_random.step_seed(seed, "labels", step)
          labels = self._drawn(self.label_generator, [whole], label_seed)
          features["sampled_labels"] = tf.gather(labels, rows)
      return features, element["label"]

    def deal(value):
      shape = [own, replicas, *value.shape[1:]]
      return tf.transpose(tf.reshape(value, shape), [1, 0, *range(2, len(shape))])

    steps = tf.data.Dataset.range(start_step, 2**63 - 1)
    dataset = tf.data.Dataset.zip((steps, dataset)).map(add_noise)
    if replicas > 1:
      dataset = dataset.map(
        lambda *pair: tf.nest.map_structure(deal, pair),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
      ).unbatch()
    return dataset.prefetch(2 * replicas)

  def z_generator(
    self, shape: Sequence[int], name: str | None = None, seed: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Noise of a whole step, by gin's `z`; see the function of this name."""
    return z_generator(shape, name=name, seed=seed)

  def label_generator(
    self, shape: Sequence[int], name: str | None = None, seed: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Labels of generated images, int32, uniform over the classes.

    Args:
      shape: of the result.
      name: of the op.
      seed: integer tensor [2] or None, for numbers without state or with it.

    Raises:
      UserError: this is no conditional GAN.
    """
    self._check_conditional("label_generator")
    classes = self._dataset.num_classes
    if seed is None:
      return tf.random.uniform(shape, 0, classes, dtype=tf.int32, name=name)
    return tf.random.stateless_uniform(
      shape, seed, 0, classes, dtype=tf.int32, name=name
    )

  def condition(self, features: Features) -> tf.Tensor:
    """The condition of real images: logits, or one-hot labels. No gradient.

    Args:
      features: "images", "labels" and, where they are cached, "logits".
    """
    if self._classifier is None:
      return self._get_one_hot_labels(features["labels"])
    if "logits" in features:
      return features["logits"]
    return tf.stop_gradient(self._classifier(features["images"]))

  def sampled_condition(self, features: Features, seed: tf.Tensor) -> tf.Tensor:
    """The condition of generated images, as training has it; see `condition`.

    Args:
      features: of real images.
      seed: integer tensor [2], of the classes where training draws them.
    """
    if self._classifier is not None or self._fit_label_distribution:
      return self.condition(features)
    number = tf.shape(features["images"])[:1]
    return self._get_one_hot_labels(self._drawn(self.label_generator, number, seed))

  @staticmethod
  def _drawn(draw, shape, seed):
    """Numbers of an override as well, which has compare_gan's arguments: no seed."""
    return utils.call_with_accepted_args(draw, shape=shape, seed=seed)

  def _get_one_hot_labels(self, labels: tf.Tensor) -> tf.Tensor:
    """The condition [batch, n] of labels: int [batch], or vectors, which stay.

    Raises:
      UserError: this is no conditional GAN.
    """
    self._check_conditional("_get_one_hot_labels")
    if labels.dtype.is_floating:  # logits, or a distribution over classes
      return labels
    return tf.one_hot(labels, self._dataset.num_classes)

  def _check_conditional(self, what):
    if not self._conditional:
      raise UserError(f"{what} needs labels; bind ModularGAN.conditional = True")

  def _with_conditions(self, features, labels):
    """Adds "sampled_y", and puts a classifier's logits in the labels' place.

    Logits belong to an image, so generated images take those of the real ones.
    """
    features = dict(features)
    if self._classifier is not None:
      labels = self.condition(features)
      features.pop("logits", None)
      features["sampled_y"] = labels
    elif self._conditional:
      features["sampled_y"] = self._get_one_hot_labels(features["sampled_labels"])
    return features, labels


def _offset(positions):
  """Numbers from 1 that int32 can hold."""
  return tf.cast(1 + positions % (2**31 - 2), tf.int32)


def _check_overrides(gan, dataset):
  """Refuses the overrides that would not be called: images are read by their number."""
  unused = []
  if hasattr(gan, "_preprocess_fn"):  # no class of the program has it
    unused.append(f"{type(gan).__name__}._preprocess_fn")
  base = input_functions.InputFunctions
  if isinstance(dataset, base):
    unused += [
      f"{type(dataset).__name__}.{name}"
      for name in ("input_fn", "train_input_fn")
      if getattr(type(dataset), name) is not getattr(base, name)
    ]
  if unused:
    raise UserError(
      f"training does not call {' and '.join(unused)}; override _train_transform_fn of "
      "the data set, or input_fn of the GAN"
    )


def check_training(mode: str) -> None:
  """Raises UserError for any mode but training."""
  if mode != tf.estimator.ModeKeys.TRAIN:
    raise UserError(f"a GAN is built for training, not for mode {mode!r}")
