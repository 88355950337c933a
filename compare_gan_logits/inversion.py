"""An exported module and its classifier, as the object people use from Python.

  inverter = Inverter.load("runs/robust/module")
  pictures = inverter.reconstruct(images, samples=3)     # [n, 3, h, w, c]

Numpy in, numpy out; nobody needs a session.
"""

import functools
import glob
import os
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import attacks
from compare_gan_logits import classifiers
from compare_gan_logits import files
from compare_gan_logits import images as image_lib
from compare_gan_logits.classifiers import hub
from compare_gan_logits.errors import UserError


# File in a module's folder that says what it inverts.
DESCRIPTION = "inversion.json"
# The inverter of photographs that comes with the program (docs/photographs.md).
SHIPPED = os.path.join(
  os.path.dirname(os.path.abspath(__file__)), "data", "inverters", "photographs"
)


class _Graph(NamedTuple):
  """Tensors of an Inverter and the session that runs them."""

  images: Any
  logits: Any
  z: Any
  condition: Any
  generated: Any
  session: Any


class _AttackGraph(NamedTuple):
  """Tensors of an attack on an Inverter's classifier, and their session."""

  images: Any
  labels: Any
  epsilon: Any
  attacked: Any
  session: Any


class Inverter:
  """A generator x' = G(z, noise) with the classifier z = f(x) that it inverts.

  Attributes:
    name: the classifier's name, or the folder's where there is no classifier.
    path: the module's folder.
    info: dict, the module's inversion.json.
    image_size: side of the images, in pixels.
    colors: 1 (grey) or 3 (RGB).
    z_dim: size of the noise vector.
    num_logits: size of the condition.
    class_names: list of str, one per logit.
    classifier: classifiers.Classifier, or None for a module without one.
  """

  def __init__(self, path, info, classifier, batch_size=64):
    self.path = path
    self.info = info
    self.classifier = classifier
    self.image_size = info["image_size"]
    self.colors = info["colors"]
    self.z_dim = info["z_dim"]
    self.num_logits = info["num_logits"]
    self.class_names = list(info["class_names"])
    self.name = os.path.basename(files.absolute(path))
    if info.get("classifier"):
      self.name = info["classifier"]["name"]
    self._batch_size = batch_size

  @classmethod
  def load(cls, module_dir, classifier=None, batch_size=64):
    """Loads an exported module.

    Args:
      module_dir: folder written by the export schedule.
      classifier: used in place of the one that inversion.json names.
      batch_size: images per pass; bounds the memory.

    Raises:
      UserError: it is no such folder, it is damaged, its classifier is gone or has
        changed, or `classifier` has another number of logits.
    """
    module_dir = files.absolute(module_dir)
    description = os.path.join(module_dir, DESCRIPTION)
    if not files.is_file(description):
      raise UserError(
        f"{module_dir} holds no {DESCRIPTION}; a module is a folder "
        "written by --schedule=export"
      )
    info = _read(module_dir)
    if classifier is None and info["classifier"]:
      classifier = classifiers.from_description(info["classifier"], module_dir)
    if classifier is not None and classifier.num_logits != info["num_logits"]:
      raise UserError(
        f"the classifier has {classifier.num_logits} logits but "
        f"{module_dir} inverts {info['num_logits']}; name the one it was "
        "trained with"
      )
    return cls(module_dir, info, classifier, batch_size)

  def prepare(self, images):
    """Images at the module's size and colours.

    Args:
      images: [n, h, w, c], uint8 or float in [0, 1], c = 1 or 3.

    Returns:
      float32 [n, image_size, image_size, colors] in [0, 1]: the central square,
      resized as `read_image` does.

    Raises:
      UserError: the images have another shape.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
      raise UserError(
        "images are [n, height, width, 1 or 3], not "
        f"{list(images.shape)}; stack or convert them first"
      )
    if images.dtype != np.uint8:
      images = images.astype(np.float32, copy=False)
    if images.shape[1:3] != (self.image_size, self.image_size):
      images = _resized(images, self.image_size)
    if images.dtype == np.uint8:
      images = images.astype(np.float32) / 255.0
    if images.shape[-1] == self.colors:
      return images
    if self.colors == 3:
      return np.repeat(images, 3, axis=-1)
    return np.sum(images * image_lib.LUMA, axis=-1, keepdims=True)

  def logits(self, images):
    """Logits [n, num_logits] of images (anything that `prepare` takes).

    Raises:
      UserError: the module has no classifier.
    """
    if self.classifier is None:
      raise UserError(
        f"{self.path} was trained without a classifier, so there are no "
        "logits to invert; only generate() works"
      )
    graph = self._graph
    return self._run(
      graph.logits, {graph.images: self.prepare(images)}, [self.num_logits]
    )

  def predict(self, images):
    """Predicted classes, int [n]."""
    return np.argmax(self.logits(images), axis=-1)

  def attack(self, images, epsilon):
    """Images [n, h, w, c] moved against the class that they are given, by FGSM.

    Args:
      images: anything that `prepare` takes.
      epsilon: largest change of a value, in units of the image range [0, 1].

    Returns:
      float32 [n, image_size, image_size, colors] in [0, 1] (section 5.4).

    Raises:
      UserError: the module has no classifier.
    """
    images = self.prepare(images)
    attack = self._attack
    feeds = {
      attack.images: images,
      attack.labels: self.predict(images),
      attack.epsilon: np.full([len(images), 1, 1, 1], epsilon),
    }
    return self._run(attack.attacked, feeds, images.shape[1:], attack.session)

  def noise(self, n, seed):
    """Standard normal noise, float32 [n, z_dim]."""
    values = np.random.default_rng(seed).standard_normal([n, self.z_dim])
    return values.astype(np.float32)

  def generate(self, logits, noise=None, seed=0):
    """Images [n, h, w, c] in [0, 1] of logits [n, num_logits].

    Args:
      logits: the condition (one-hot classes for a class-conditional module).
      noise: [n, z_dim]; None: noise(n, seed).
      seed: of the noise.

    Raises:
      UserError: the logits or the noise have another shape.
    """
    logits = np.asarray(logits, np.float32)
    noise = self.noise(len(logits), seed) if noise is None else np.asarray(noise)
    for name, value, size in (
      ("logits", logits, self.num_logits),
      ("noise", noise, self.z_dim),
    ):
      if value.shape != (len(logits), size):
        raise UserError(
          f"{name} of shape {list(value.shape)}: this module takes "
          f"[{len(logits)}, {size}]"
        )
    graph = self._graph
    return self._run(
      graph.generated,
      {graph.z: noise, graph.condition: logits},
      [self.image_size, self.image_size, self.colors],
    )

  def reconstruct(self, images, samples=1, seed=0):
    """Reconstructions [n, samples, h, w, c], each sample with noise of its own.

    Sample k of image i uses noise(n * samples, seed)[i * samples + k].
    """
    logits = np.repeat(self.logits(images), samples, axis=0)
    generated = self.generate(logits, self.noise(len(logits), seed))
    return generated.reshape(-1, samples, *generated.shape[1:])

  def graph_generator(self, z, logits):
    """Graph function: z [b, z_dim], logits [b, num_logits] -> images [b, h, w, c].

    Differentiable. The module's weights become local variables of the current
    graph, loaded once.
    """
    signature = hub.load_frozen(self.path).signatures["generator"]
    inputs = {"z": z}
    if self.num_logits:
      inputs[self.info["conditioning"]] = logits
    generated = signature(**inputs)["default"]
    generated.set_shape([None, self.image_size, self.image_size, self.colors])
    return generated

  @functools.cached_property
  def _graph(self):
    """The graph and its session, built at first use."""
    graph = tf.Graph()
    with graph.as_default():
      side = self.image_size
      images = tf.placeholder(tf.float32, [None, side, side, self.colors])
      z = tf.placeholder(tf.float32, [None, self.z_dim])
      condition = tf.placeholder(tf.float32, [None, self.num_logits])
      parts = _Graph(
        images=images,
        z=z,
        condition=condition,
        logits=self.classifier(images) if self.classifier else None,
        generated=self.graph_generator(z, condition),
        session=tf.Session(graph=graph),
      )
      parts.session.run(
        [
          tf.global_variables_initializer(),
          tf.local_variables_initializer(),
          tf.tables_initializer(),
        ]
      )
    return parts

  @functools.cached_property
  def _attack(self):
    """The attack's graph, apart: gradients change the functions of a graph in use."""
    graph = tf.Graph()
    with graph.as_default():
      side = self.image_size
      images = tf.placeholder(tf.float32, [None, side, side, self.colors])
      labels = tf.placeholder(tf.int64, [None])
      epsilon = tf.placeholder(tf.float32, [None, 1, 1, 1])
      attacked = attacks.fgsm(self.classifier, images, labels, epsilon)
      session = tf.Session(graph=graph)
      session.run(
        [
          tf.global_variables_initializer(),
          tf.local_variables_initializer(),
          tf.tables_initializer(),
        ]
      )
    return _AttackGraph(images, labels, epsilon, attacked, session)

  def _run(self, fetch, feeds, shape, session=None):
    """Runs `fetch` over the feeds in batches; `shape` is that of one result."""
    session = session or self._graph.session
    total = len(next(iter(feeds.values())))
    result = np.empty([total, *shape], np.float32)
    for start in range(0, total, self._batch_size):
      part = slice(start, start + self._batch_size)
      result[part] = session.run(
        fetch, {key: value[part] for key, value in feeds.items()}
      )
    return result


# Of inversion.json; a module of another one has to be exported again.
FORMAT = 1
_FIELDS = {
  "image_size": int,
  "colors": int,
  "z_dim": int,
  "num_logits": int,
  "step": int,
  "dataset": str,
  "conditioning": str,
  "class_names": list,
}


def _read(module_dir):
  """inversion.json, after a look at whether the module is what it says.

  Raises:
    UserError: names the file that is damaged or missing.
  """
  path = os.path.join(module_dir, DESCRIPTION)
  info = files.read_json(path)
  wrong = [
    name
    for name, kind in _FIELDS.items()
    if not isinstance(info, dict) or type(info.get(name)) is not kind
  ]
  if (
    wrong or info["colors"] not in (1, 3) or min(info["image_size"], info["z_dim"]) < 1
  ):
    raise UserError(
      f"{path} is damaged ({', '.join(wrong) or 'impossible sizes'}); "
      "export the module again"
    )
  if info.get("format") != FORMAT:
    raise UserError(
      f"{path} is of format {info.get('format')!r}, and this version of the "
      f"program reads {FORMAT}; export the module again with this version"
    )
  classifier = info.setdefault("classifier", None)
  if classifier is not None and not (
    isinstance(classifier, dict) and {"name", "handle", "digest"} <= set(classifier)
  ):
    raise UserError(f"{path} is damaged (classifier); export the module again")
  written = info.get("files", {})
  if not isinstance(written, dict):
    raise UserError(f"{path} is damaged (files); export the module again")
  for name, digest in written.items():
    file = os.path.join(module_dir, name)
    if not files.is_file(file):
      raise UserError(f"no file {file}; copy the whole module, or export it again")
    if hub.file_digest(file) != digest:
      raise UserError(
        f"{file} is damaged: it is not what was exported; copy it again, "
        "or export the module again"
      )
  _check_signature(module_dir, info)
  names = info["class_names"]
  if len(names) < info["num_logits"] or not all(
    isinstance(name, str) for name in names
  ):
    raise UserError(f"{path} is damaged (class_names); export the module again")
  return info


def _check_signature(module_dir, info):
  """The module's generator takes and gives what inversion.json says."""
  generator = hub.signatures(module_dir).get("generator")
  if generator is None or "default" not in generator.outputs:
    raise UserError(
      f"{module_dir} has no signature 'generator' with an output "
      "'default'; export it again"
    )
  wanted = {"z": info["z_dim"]}
  if info["num_logits"]:
    wanted[info["conditioning"]] = info["num_logits"]
  found = {
    name: shape[-1] if shape else None for name, shape in generator.inputs.items()
  }
  if found != wanted:
    raise UserError(
      f"{module_dir}: its generator takes {found}, but {DESCRIPTION} says "
      f"{wanted}; copy or export the module again"
    )
  shape = generator.outputs["default"]
  side = info["image_size"]
  if shape and None not in shape[1:] and shape[1:] != (side, side, info["colors"]):
    raise UserError(
      f"{module_dir}: its generator makes images of {list(shape[1:])}, but "
      f"{DESCRIPTION} says {[side, side, info['colors']]}; copy or export "
      "the module again"
    )


def _resized(images, size):
  result = np.empty([len(images), size, size, images.shape[-1]], images.dtype)
  for target, image in zip(result, images):
    target[:] = image_lib.resize(image, size)
  return result


def read_image(path, size, colors):
  """Reads any image file as float32 [size, size, colors] in [0, 1].

  Raises:
    UserError: names the file that cannot be read.
  """
  return image_lib.read_image(path, size, colors).astype(np.float32) / 255.0


def find_images(pattern):
  """Sorted paths of the image files that a folder, a glob or a file name means.

  Raises:
    UserError: there are none.
  """
  pattern = os.path.expanduser(pattern)
  if os.path.isdir(pattern):
    found = [
      os.path.join(folder, name)
      for folder, _, names in os.walk(pattern)
      for name in names
      if name.lower().endswith(image_lib.EXTENSIONS)
    ]
  elif os.path.isfile(pattern):  # whatever brackets its name has
    found = [pattern]
  else:
    found = [
      path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)
    ]
  if not found:
    raise UserError(
      f"no images at {pattern}; give a folder or a quoted glob such as 'photos/*.jpg'"
    )
  return sorted(found)
