"""A frozen classifier with its preprocessing: images to logits."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import files
from compare_gan_logits.classifiers import foreign
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.classifiers.sources import Model
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.classifiers.spec import path_in
from compare_gan_logits.errors import UserError
from compare_gan_logits.graph_function import GraphFunction
from compare_gan_logits.resizing import resize


# Fields of Spec that say nothing of the logits' values.
_NO_MATTER = (
  "name",
  "handle",
  "weights",
  "class_names",
  "role",
  "licence",
  "source",
  "verified",
  "trusted_pickle",
)
# Fields that count where they are bound: digests are older than they are.
_WHERE_BOUND = ("layout", "pool")


class Classifier:
  """A frozen classifier with its preprocessing.

  Attributes:
    spec: spec.Spec, complete (sizes read off the model filled in).
    path: folder of the SavedModel, or None for another kind of model.
    num_logits: int.
    feature_shape: (h, w, c) where the logits are a feature map, flattened in this
      order of axes; else None.
    class_names: list of str, one per logit; generic where they are not known.
    named: whether they are known.
    digest: str, of the weights and of everything that decides what comes out.
    cache_dir: folder of cached logits bound beside it, or None (see logit_cache).
    check: what checks.check found, or None where it has not run.
  """

  def __init__(self, spec: Spec, model: Model, pinned: str | None = None):
    """Args: spec: spec.Spec; model: sources.Model; pinned: digest, or None.

    Raises:
      UserError: the spec names what the model does not offer; or the digest is
        another than the pinned one, in which case nothing of a SavedModel has run.
    """
    self._bound = model.bind(spec)
    self.spec = dataclasses.replace(spec, preprocessing=_fitted(spec, self._bound))
    self.path = model.path
    self.digest = self._digest()
    if pinned not in (None, self.digest):
      raise UserError(
        f"the classifier at {spec.handle} has changed: its digest is {self.digest}, "
        f"not {pinned}; restore the old one, or name this one if you trust it"
      )
    self.cache_dir: str | None = None
    self.check: dict[str, Any] | None = None
    self._functions: dict[Any, GraphFunction] = {}
    shape = self._output_shape()
    self.num_logits = self._count_logits(int(np.prod(shape)))
    whole = len(shape) == 3 and spec.drop_column is None
    self.feature_shape: tuple[int, ...] | None = shape if whole else None
    self.class_names = list(spec.class_names or ())
    self.named = len(self.class_names) == self.num_logits
    if not self.named:
      self.class_names = [f"class {i}" for i in range(self.num_logits)]

  @property
  def no_gradient(self) -> str | None:
    """Why attacks and optimisation are impossible; None if they are possible."""
    reason = self._bound.no_gradient
    return reason and f"{self.spec.name} {reason}"

  @property
  def numpy_only(self) -> bool:
    """Whether a TPU and several replicas can only use a cache of its logits."""
    return self._bound.numpy_only

  @property
  def only_known_images(self) -> bool:
    """Whether there are logits of the data set's own images and of no others."""
    return self._bound.lookup is not None

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Images [b, h, w, c] in [0, 1] -> logits [b, num_logits], in the graph.

    Height, width and c (1 or 3) are known in advance; any values will do.
    Differentiable with respect to the images, unless no_gradient says why not; the
    weights of a SavedModel are local variables (see hub.load_frozen). Feature maps
    are flattened, after classifier.pool where that is bound.

    Raises:
      UserError: a gradient is taken of a classifier that has none.
    """
    logits = self._outputs(images)
    if self.spec.softmax:
      logits = tf.log(tf.maximum(logits, np.finfo(np.float32).tiny))
    column = self.spec.drop_column
    if column is not None:
      logits = tf.concat([logits[:, :column], logits[:, column + 1 :]], axis=1)
    return logits

  def preprocessed(self, images: tf.Tensor) -> tf.Tensor:
    """What reaches the network for images [b, h, w, c] in [0, 1]: a graph function."""
    images = self.spec.preprocessing.apply(tf.convert_to_tensor(images))
    if self._bound.takes_bytes:
      images = tf.clip_by_value(tf.round(images), 0.0, 255.0)
    return images

  def _outputs(self, images):
    """What the model gives, [b, n]."""
    outputs = self._unflattened(images)
    return outputs if outputs.shape.rank == 2 else tf.layers.flatten(outputs)

  def _unflattened(self, images):
    """What the model gives, pooled where that is wanted, [b, ...]."""
    images = tf.convert_to_tensor(images)
    outputs = self._unpooled(images)
    if self.no_gradient:
      outputs = foreign.without_gradient(outputs, images, self.no_gradient)
    if self.spec.pool is None:
      return outputs
    if outputs.shape.rank == 4 and None in outputs.shape.as_list()[1:]:
      image = np.zeros([1, *images.shape.as_list()[1:]], np.float32)
      shape = self._run("map", self._unpooled, image, 1).shape
      outputs.set_shape([None, *shape[1:]])
    return _pooled(outputs, self.spec.pool, self.spec.name)

  def _unpooled(self, images):
    """What the model gives, [b, ...], of a shape that only running may tell."""
    return self._bound.call(self.preprocessed(images))

  def predict(self, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Images [n, h, w, c] in [0, 1] (numpy) -> logits float32 [n, num_logits]."""

    def build(pixels):
      return tf.ensure_shape(self(pixels), [None, self.num_logits])

    return self._run("logits", build, images, batch_size)

  def inputs(self, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """What reaches the network, [n, ...], of images [n, h, w, c] (numpy)."""
    return self._run("inputs", self.preprocessed, images, batch_size)

  def _run(self, name, build, images, batch_size):
    """The value of a graph function, which is kept for images of this shape."""
    images = np.asarray(images, np.float32)
    key = name, images.shape[1:]
    if key not in self._functions:
      self._functions[key] = GraphFunction(build, [tf.TensorSpec(images.shape[1:])])
    return self._functions[key](images, batch_size=batch_size)

  def describe(self, folder: str | None = None) -> dict[str, Any]:
    """JSON-able dict for from_description: the spec, the digest, and the check.

    Args:
      folder: local one that the description is kept in. A classifier on the same
        disk is found again after both have been moved together.
    """
    facts = dataclasses.asdict(self.spec)
    facts["digest"] = self.digest
    facts["check"] = self.check
    if folder and "://" not in folder:
      for field, name in (("handle", "relative"), ("weights", "relative_weights")):
        before, path, after = path_in(facts[field])
        if os.path.isabs(path):
          facts[name] = before + os.path.relpath(path, folder) + after
    return files.as_json(facts)

  def _count_logits(self, outputs):
    column = self.spec.drop_column
    if column is None:
      return outputs
    if not 0 <= column < outputs:
      raise UserError(
        f"{self.spec.name} has {outputs} outputs and so no column "
        f"{column} for classifier.drop_column"
      )
    return outputs - 1

  def _output_shape(self):
    """Of one image, as the model says, or by trying where it does not."""
    shape = self._bound.output_shape
    if self.spec.pool is None and shape is not None and None not in shape[1:]:
      return tuple(shape[1:])
    wanted = self.spec.preprocessing
    size = wanted.size or 64
    shape = other = self._shape_at(size)
    free = wanted.size is None or wanted.resize == "none"
    if free and len(shape) == 3 and self.spec.pool is None:
      with contextlib.suppress(tf.errors.OpError, ValueError):  # It takes one size.
        other = self._shape_at(2 * size)
    if other != shape:
      raise UserError(
        f"{self.spec.name} gives a feature map whose size is another for images of "
        "another size; bind classifier.size, to which images are resized, or "
        "classifier.pool, over whose cells the map is averaged"
      )
    return shape

  def _shape_at(self, size):
    """Shape of the output for one image of that size, by running it."""
    image = np.zeros([1, size, size, self.spec.preprocessing.colors], np.float32)
    return self._run("outputs", self._unflattened, image, 1).shape[1:]

  def _digest(self):
    facts = dataclasses.asdict(self.spec)
    for name in _NO_MATTER:
      del facts[name]
    for name in _WHERE_BOUND:
      if facts[name] is None:
        del facts[name]
    facts = json.dumps([facts, self._bound.digest], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def _fitted(spec, bound):
  """The spec's preprocessing, completed from the shape of the model's input.

  Raises:
    UserError: the model takes another size or number of colours.
  """
  wanted = spec.preprocessing
  untouched = dataclasses.replace(
    Preprocessing(), size=wanted.size, resize=wanted.resize, colors=wanted.colors
  )
  if (
    bound.takes_bytes and dataclasses.replace(wanted, channel_order="rgb") == untouched
  ):
    wanted = dataclasses.replace(wanted, high=255.0)
  shape = bound.input_shape
  if shape is None or len(shape) != 4:
    return wanted
  height, width, colors = shape[1:]
  if height != width:
    raise UserError(
      f"{spec.name} takes images of {height} x {width} px; this program supports "
      "square ones only"
    )
  if height is not None and wanted.resize != "none":
    if wanted.size not in (None, height):
      raise UserError(f"{spec.name} takes images of {height} px, not {wanted.size}")
    wanted = dataclasses.replace(wanted, size=height)
  if colors is not None:
    wanted = dataclasses.replace(wanted, colors=colors)
  return wanted


def _pooled(outputs, pool, name):
  """A feature map [b, h, w, c] as means over pool x pool cells, [b, pool, pool, c].

  Of a sequence [b, t, c] the mean over t. Cells are those of the area resize: their
  borders may cut pixels.

  Raises:
    UserError: the output has no such map.
  """
  if outputs.shape.rank == 3 and pool == 1:
    return tf.reduce_mean(outputs, axis=1)
  if outputs.shape.rank != 4:
    raise UserError(
      f"{name}: classifier.pool = {pool} is for an output [b, height, width, channels] "
      f"(or 1 for [b, positions, channels]), not {outputs.shape}; leave it out"
    )
  if pool == 1:
    return tf.reduce_mean(outputs, axis=[1, 2])
  return resize(outputs, pool, "area")
