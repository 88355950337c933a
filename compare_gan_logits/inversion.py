"""Inverter: an exported module and its classifier, for use from Python.

  inverter = Inverter.load("runs/robust/module")
  pictures = inverter.reconstruct(images, samples=3)     # [n, 3, h, w, c]

All its methods take and return numpy arrays, but for `graph_generator`.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import attacks
from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits import images as image_lib
from compare_gan_logits import module_format
from compare_gan_logits import utils
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.datasets.find import find_images  # noqa: F401, its old place
from compare_gan_logits.errors import UserError
from compare_gan_logits.graph_function import GraphFunction


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier


# The inverter of photographs that comes with the program (docs/photographs.md).
SHIPPED = os.path.join(
  os.path.dirname(os.path.abspath(__file__)), "data", "inverters", "photographs"
)
SELECTIONS = ("logits",)  # values of `select`


class Inverter:
  """A generator x' = G(z, logits) with the classifier logits = f(x) that it inverts.

  Attributes:
    name: the classifier's name, or the folder's where there is no classifier.
    path: the module's folder.
    info: dict, the module's inversion.json (see module_format).
    image_size: side of the images, in pixels.
    colors: 1 (grey) or 3 (RGB).
    z_dim: size of the noise vector.
    num_logits: size of the condition.
    feature_shape: (h, w, c) where the condition is a feature map, flattened in this
      order of axes; else None.
    class_names: list of str, one per logit.
    classifier: classifiers.Classifier, or None for a module without one.
    role: classifiers.spec.Role, how the classifier was trained, or None where that is
      not recorded.
  """

  def __init__(
    self,
    path: str,
    info: dict[str, Any],
    classifier: Classifier | None,
    batch_size: int = 64,
    role: Role | None = None,
  ) -> None:
    self.path = path
    self.info = info
    self.classifier: Any = classifier
    self.image_size: int = info["image_size"]
    self.colors: int = info["colors"]
    self.z_dim: int = info["z_dim"]
    self.num_logits: int = info["num_logits"]
    shape = info.get("feature_shape")
    self.feature_shape: tuple[int, int, int] | None = tuple(shape) if shape else None
    self.class_names: list[str] = list(info["class_names"])
    self.role = role
    self.name = module_format.name_of(info, path)
    self._batch_size = batch_size

  @classmethod
  def load(
    cls,
    module_dir: str | os.PathLike[str],
    classifier: Classifier | str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    role: Any = None,
  ) -> Inverter:
    """Loads an exported module.

    Args:
      module_dir: folder written by the export schedule.
      classifier: used in place of the one that inversion.json names: a Classifier, or
        what `classifiers.load` takes, such as the new place of the recorded one (see
        `named_classifier`).
      batch_size: images per pass, which limits the memory.
      role: "robust" or "standard" (what Role.of takes), in place of the classifier's
        recorded role.

    Raises:
      UserError: it is not a module's folder, it is damaged, its classifier is missing
        or has changed, `classifier` has another number of logits, or there is no such
        role.
    """
    module_dir = files.absolute(os.fspath(module_dir))
    info = module_format.read(module_dir)
    recorded, is_named = info["classifier"], False
    if isinstance(classifier, (str, os.PathLike)):
      classifier, is_named = named_classifier(classifier, recorded, module_dir), True
    elif classifier is None and recorded:
      classifier = classifiers.from_description(recorded, module_dir)
    if classifier is not None and classifier.num_logits != info["num_logits"]:
      raise UserError(
        f"the classifier has {classifier.num_logits} logits but "
        f"{module_dir} inverts {info['num_logits']}; name the one it was "
        "trained with"
      )
    if is_named:
      _warn_of_another(recorded, classifier, module_dir)
    return cls(module_dir, info, classifier, batch_size, _role(info, classifier, role))

  def open_dataset(self) -> datasets.ImageDataset:
    """The data set that the module was trained on, read as its training read it.

    What gin binds under `dataset` counts instead; modules of earlier versions do not say
    more than the name.

    Raises:
      UserError: it is not on this machine.
    """
    recorded = self.info.get("dataset_bindings") or {}
    free = {
      name: recorded[name]
      for name in recorded.keys() & module_format.BINDINGS
      if utils.bound_value(f"dataset.{name}") is None
    }
    return datasets.get_dataset(self.info["dataset"], **free)

  def prepare(self, images: Any) -> np.ndarray:
    """Images at the module's size and colours.

    Args:
      images: [n, h, w, c], uint8 or float in [0, 1], c = 1 or 3.

    Returns:
      float32 [n, image_size, image_size, colors] in [0, 1], clipped: the central
      square, resized as `read_image` does.

    Raises:
      UserError: the images have another shape or type, or values far outside [0, 1].
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
      raise UserError(
        "images are [n, height, width, 1 or 3], not "
        f"{list(images.shape)}; stack or convert them first"
      )
    if images.dtype != np.uint8:
      images = _in_range(images).astype(np.float32, copy=False)
    if images.shape[1:3] != (self.image_size, self.image_size):
      images = _resized(images, self.image_size)
    if images.dtype == np.uint8:
      images = images.astype(np.float32) / 255.0
    if images.shape[-1] == self.colors:
      return images
    if self.colors == 3:
      return np.repeat(images, 3, axis=-1)
    return np.sum(images * image_lib.LUMA, axis=-1, keepdims=True)

  def logits(self, images: Any) -> np.ndarray:
    """Logits, float32 [n, num_logits], of images (as in `prepare`).

    Raises:
      UserError: the module has no classifier.
    """
    self._need_a_classifier()
    return self._logits(self.prepare(images))

  def predict(self, images: Any) -> np.ndarray:
    """Predicted classes, int [n]."""
    return np.argmax(self.logits(images), axis=-1)

  def attack(self, images: Any, epsilon: float) -> np.ndarray:
    """Images moved by FGSM against the class that the classifier gives them.

    Args:
      images: as in `prepare`.
      epsilon: largest change of a value, in units of the image range [0, 1].

    Returns:
      float32 [n, image_size, image_size, colors] in [0, 1] (section 5.4).

    Raises:
      UserError: the module has no classifier.
    """
    images = self.prepare(images)
    epsilons = np.full([len(images), 1, 1, 1], epsilon, np.float32)
    return self._attack(images, self.predict(images), epsilons)

  def noise(self, n: int, seed: int) -> np.ndarray:
    """Standard normal noise z, float32 [n, z_dim]."""
    values = np.random.default_rng(seed).standard_normal([n, self.z_dim])
    return values.astype(np.float32)

  def generate(self, logits: Any, z: Any = None, seed: int = 0) -> np.ndarray:
    """Images, float32 [n, h, w, c] in [0, 1], of logits [n, num_logits].

    Args:
      logits: the condition (one-hot classes for a class-conditional module); a
        feature map may be [n, h, w, c] as well.
      z: noise [n, z_dim]; None: noise(n, seed).
      seed: of the noise.

    Raises:
      UserError: the logits or z have another shape.
    """
    logits = np.asarray(logits, np.float32)
    if self.feature_shape and logits.shape[1:] == self.feature_shape:
      logits = logits.reshape(len(logits), self.num_logits)
    z = self.noise(len(logits), seed) if z is None else np.asarray(z)
    for name, value, size in (
      ("logits", logits, self.num_logits),
      ("z", z, self.z_dim),
    ):
      if value.shape != (len(logits), size):
        raise UserError(
          f"{name} of shape {list(value.shape)}: this module takes "
          f"[{len(logits)}, {size}]"
        )
    return self._generate(z, logits)

  def reconstruct(
    self, images: Any, samples: int = 1, seed: int = 0, select: str | None = None
  ) -> np.ndarray:
    """Reconstructions of images, each sample with its own noise.

    Sample k of image i uses noise(n * samples, seed)[i * samples + k].

    Args:
      images: as in `prepare`.
      samples: reconstructions of each image.
      seed: of the noise.
      select: None returns all samples; "logits" only the best one, whose logits are
        nearest to the image's own (see `best`).

    Returns:
      float32 [n, samples, h, w, c] in [0, 1]; [n, 1, h, w, c] with `select`.

    Raises:
      UserError: the module has no classifier, there is no such selection, or no sample.
    """
    check_selection(select)
    if samples < 1:
      raise UserError(f"samples is {samples}; it must be at least 1")
    logits = self.logits(images)
    repeated = np.repeat(logits, samples, axis=0)
    generated = self.generate(repeated, self.noise(len(repeated), seed))
    pictures = generated.reshape(-1, samples, *generated.shape[1:])
    if select is None:
      return pictures
    chosen = self.best(logits, pictures)
    return pictures[np.arange(len(pictures)), chosen][:, None]

  def best(self, logits: Any, pictures: np.ndarray) -> np.ndarray:
    """For each image, the index of the picture whose logits are nearest (l2).

    Args:
      logits: [n, num_logits], of the images.
      pictures: [n, samples, h, w, c] in [0, 1].

    Returns:
      int [n].
    """
    flat = pictures.reshape(-1, *pictures.shape[2:])
    again = self.logits(flat).reshape(*pictures.shape[:2], self.num_logits)
    distances = np.linalg.norm(again - np.asarray(logits)[:, None], axis=-1)
    return np.argmin(distances, axis=1)

  def graph_generator(self, z: Any, logits: Any) -> Any:
    """Graph function: z [b, z_dim], logits [b, num_logits] -> images [b, h, w, c].

    Differentiable. The module's weights become local variables of the current
    graph, loaded once.
    """
    signature = hub.load_frozen(self.path).signatures["generator"]
    inputs = {"z": z}
    if self.num_logits:
      inputs[self.info["conditioning"]] = logits
    generated = signature(**inputs)["default"]
    generated.set_shape([None, *self.image_shape])
    return generated

  @property
  def encodes_pictures(self) -> bool:
    """Whether the classifier gives logits of any picture, reconstructions included.

    If the logits came from a file, only those of the data set's images are known.
    """
    return self.classifier is not None and not getattr(
      self.classifier, "only_known_images", False
    )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """[image_size, image_size, colors]."""
    return self.image_size, self.image_size, self.colors

  def _need_a_classifier(self) -> None:
    if self.classifier is None:
      raise UserError(
        f"{self.path} was trained without a classifier, so there are no "
        "logits to invert; only generate() works"
      )

  @functools.cached_property
  def _logits(self) -> GraphFunction:
    def build(images: Any) -> Any:
      return tf.ensure_shape(self.classifier(images), [None, self.num_logits])

    return GraphFunction(build, [tf.TensorSpec(self.image_shape)], self._batch_size)

  @functools.cached_property
  def _generate(self) -> GraphFunction:
    inputs = [tf.TensorSpec([self.z_dim]), tf.TensorSpec([self.num_logits])]
    return GraphFunction(self.graph_generator, inputs, self._batch_size)

  @functools.cached_property
  def _attack(self) -> GraphFunction:
    return GraphFunction(
      functools.partial(attacks.fgsm, self.classifier),
      [
        tf.TensorSpec(self.image_shape),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([1, 1, 1]),
      ],
      self._batch_size,
    )


def named_classifier(
  name: str | os.PathLike[str], recorded: dict[str, Any] | None, module_dir: str
) -> classifiers.Classifier:
  """The classifier of a name, for a module that was trained with the recorded one.

  Where the name is only another place of the recorded classifier, that is loaded with
  the preprocessing of its training; else with the name's own.

  Args:
    name: what `classifiers.load` takes.
    recorded: the module's description of its classifier, or None.
    module_dir: where the module is.

  Raises:
    UserError: there is no such classifier.
  """
  name = os.fspath(name)
  if recorded is None:
    return classifiers.load(name)
  place = {"handle": classifiers.absolute(name), "relative": None}
  try:
    return classifiers.from_description({**recorded, **place}, module_dir)
  except UserError:
    return classifiers.load(name)


def _warn_of_another(recorded, classifier, module_dir):
  """Says so where a classifier is not the recorded one at another place."""
  if recorded and classifier.digest != recorded["digest"]:
    print(
      f"note: {module_dir} was trained with another classifier than "
      f"{classifier.spec.name}: the digests differ. It is used with its own "
      "preprocessing",
      file=sys.stderr,
    )


def check_selection(select: str | None) -> None:
  """Raises UserError unless `select` is None or one of SELECTIONS."""
  if select not in (None, *SELECTIONS):
    raise UserError(f"select is {select!r}; known: {', '.join(SELECTIONS)}")


def _role(
  info: dict[str, Any], classifier: Classifier | None, given: Any
) -> Role | None:
  """The role that is given, or recorded of the classifier in use; else None."""
  if given is not None:
    return Role.of(given)
  if classifier is None:
    return None
  recorded = info["classifier"] or {}
  if recorded.get("role") and classifier.digest == recorded["digest"]:
    return Role.of(recorded["role"])
  return classifier.spec.role


def _in_range(images: np.ndarray) -> np.ndarray:
  """The images, clipped to [0, 1]; beyond [-0.5, 1.5] they are refused."""
  if not np.issubdtype(images.dtype, np.floating):
    raise UserError(
      f"images are uint8 or float in [0, 1], not {images.dtype}; levels of 0 to 255 are "
      "images.astype('uint8')"
    )
  low, high = (images.min(), images.max()) if images.size else (0, 0)
  if not (low >= -0.5 and high <= 1.5):  # nor is either of them nan
    raise UserError(
      f"images of float type lie in [0, 1], and these in [{low:.3g}, {high:.3g}]; "
      "scale them, or pass uint8"
    )
  return np.clip(images, 0, 1) if low < 0 or high > 1 else images


def _resized(images: np.ndarray, size: int) -> np.ndarray:
  result = np.empty([len(images), size, size, images.shape[-1]], images.dtype)
  for target, image in zip(result, images):
    target[:] = image_lib.resize(image, size)
  return result


def read_image(path: str, size: int, colors: int) -> np.ndarray:
  """Reads any image file as float32 [size, size, colors] in [0, 1].

  Raises:
    UserError: names the file that cannot be read.
  """
  return image_lib.read_image(path, size, colors).astype(np.float32) / 255.0
