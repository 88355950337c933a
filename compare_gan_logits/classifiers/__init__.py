"""The classifier feature stage: any pretrained classifier, images to logits.

classifier = classifiers.load("efficientnet_lite0")
logits = classifier.predict(images)      # numpy in, numpy out
logits = classifier(images)              # inside a graph, frozen
"""

import dataclasses
import hashlib
import json
import os

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import files
from compare_gan_logits.classifiers import convert
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers import zoo
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


# Written by training.py into the folder of every classifier that it exports.
DESCRIPTION = "classifier.json"
_KERAS = "keras:"
_NPZ = ".npz"
_CONVERSIONS = {
  "efficientnet_lite0": convert.efficientnet_lite0,
  "squeezenet1_1": convert.squeezenet1_1,
}
_SPEC_FIELDS = {f.name for f in dataclasses.fields(Spec)} - {"preprocessing"}
_PREPROCESSING_FIELDS = {f.name for f in dataclasses.fields(Preprocessing)}


class Classifier:
  """A frozen classifier with its preprocessing.

  Attributes:
    spec: spec.Spec, complete (sizes read off the module filled in).
    path: folder of the SavedModel.
    num_logits: int.
    class_names: list of str, one per logit; generic where they are not known.
    digest: str, of the weights and of everything that decides what comes out.
    cache_dir: folder of cached logits bound beside it, or None (see logit_cache).
  """

  def __init__(self, spec, path, pinned=None):
    """Args: spec: spec.Spec; path: folder of its SavedModel; pinned: digest, or None.

    Raises:
      UserError: the spec names what the module does not offer; or the digest is
        another than the pinned one, in which case nothing of the module has run.
    """
    self._binding = hub.bind(spec, path)
    self.spec = dataclasses.replace(
      spec, preprocessing=_fitted(spec, self._binding.input_shape)
    )
    self.path = path
    self.digest = self._digest()
    if pinned not in (None, self.digest):
      raise UserError(
        f"the classifier at {spec.handle} has changed: its digest is "
        f"{self.digest}, not {pinned}; bring the old one back, or name "
        "this one if you trust it"
      )
    self.cache_dir = None
    self._graph = None
    self._session = None
    self._feeds = {}
    self.num_logits = self._count_logits()
    self.class_names = list(spec.class_names or ())
    if len(self.class_names) != self.num_logits:
      self.class_names = [f"class {i}" for i in range(self.num_logits)]

  def __call__(self, images):
    """Images [b, h, w, c] in [0, 1] -> logits [b, num_logits], in the graph.

    Height, width and c (1 or 3) are known in advance; any values will do.
    Differentiable with respect to the images; the classifier's weights are local
    variables (see hub.load_frozen). Outputs of a higher rank are flattened.
    """
    logits = self._outputs(images)
    if self.spec.softmax:
      logits = tf.log(tf.maximum(logits, np.finfo(np.float32).tiny))
    column = self.spec.drop_column
    if column is not None:
      logits = tf.concat([logits[:, :column], logits[:, column + 1 :]], axis=1)
    return logits

  def _outputs(self, images):
    """What the module gives, [b, n]."""
    images = self.spec.preprocessing.apply(images)
    outputs = hub.call(self.path, self._binding, images)
    return outputs if outputs.shape.rank == 2 else tf.layers.flatten(outputs)

  def predict(self, images, batch_size=128):
    """Images [n, h, w, c] in [0, 1] (numpy) -> logits float32 [n, num_logits]."""
    images = np.asarray(images, np.float32)
    feed, logits = self._feed(images.shape[1:])
    parts = [
      self._session.run(logits, {feed: images[i : i + batch_size]})
      for i in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts) if parts else np.zeros([0, self.num_logits], "f")

  def describe(self, folder=None):
    """JSON-able dict for from_description: the spec and the digest.

    Args:
      folder: local one that the description is kept in. A classifier on the same
        disk is found again after both have been moved together.
    """
    facts = dataclasses.asdict(self.spec)
    facts["digest"] = self.digest
    if folder and "://" not in folder and os.path.isabs(self.spec.handle):
      facts["relative"] = os.path.relpath(self.spec.handle, folder)
    return json.loads(json.dumps(facts))

  def _feed(self, shape):
    """Placeholder and logits for images of `shape`, in one graph and session."""
    if self._graph is None:
      self._graph = tf.Graph()
    if shape not in self._feeds:
      with self._graph.as_default():
        feed = tf.placeholder(tf.float32, [None] + list(shape))
        self._feeds[shape] = feed, self(feed)
        if self._session is None:
          self._session = tf.Session(graph=self._graph)
          self._session.run([tf.local_variables_initializer(), tf.tables_initializer()])
    return self._feeds[shape]

  def _count_logits(self):
    shape, column = self._binding.output_shape, self.spec.drop_column
    known = shape is not None and None not in shape[1:]
    outputs = int(np.prod(shape[1:])) if known else self._count_outputs()
    if column is None:
      return outputs
    if not 0 <= column < outputs:
      raise UserError(
        f"{self.spec.name} has {outputs} outputs and so no column "
        f"{column} for classifier.drop_column"
      )
    return outputs - 1

  def _count_outputs(self):
    """By trying, for a module that does not say."""
    wanted = self.spec.preprocessing
    size = wanted.size or 64
    with tf.Graph().as_default(), tf.Session() as session:
      outputs = self._outputs(tf.zeros([1, size, size, wanted.colors]))
      session.run([tf.local_variables_initializer(), tf.tables_initializer()])
      return session.run(outputs).shape[1]

  def _digest(self):
    facts = dataclasses.asdict(self.spec)
    for name in (
      "name",
      "handle",
      "weights",
      "class_names",
      "role",
      "licence",
      "source",
      "verified",
    ):
      del facts[name]
    facts = json.dumps([facts, hub.digest(self.path)], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def load(name, digest=None, **overrides):
  """Loads a classifier with its matching preprocessing.

  Args:
    name: name in the zoo, folder of a TF-Hub module, SavedModel or classifier
      exported by tools/train_classifier.py, .h5 or .keras file, TF-Hub URL,
      "keras:Name" for one of tf.keras.applications, or the .npz file that the zoo's
      robust_resnet152_linf16 is made from.
    digest: that Classifier.digest must have; None: any.
    **overrides: fields of spec.Spec and of Preprocessing that differ from the
      entry's, e.g. output="features", size=128, handle="/a/local/copy". What an entry
      says of softmax and drop_column is of its own output and goes with that.

  Raises:
    UserError: there is no such classifier, or it does not offer what is asked.
  """
  unknown = set(overrides) - _SPEC_FIELDS - _PREPROCESSING_FIELDS
  if unknown:
    raise UserError(
      f"no classifier setting {min(unknown)!r}; "
      f"{nearest(min(unknown), _SPEC_FIELDS | _PREPROCESSING_FIELDS)}"
    )
  spec, path = _find(
    name, overrides.pop("handle", None), overrides.get("weights", "imagenet")
  )
  own = {k: v for k, v in overrides.items() if k in _SPEC_FIELDS}
  if overrides.get("output", spec.output) != spec.output:
    own = {"softmax": False, "drop_column": None, **own}
  steps = {k: v for k, v in overrides.items() if k in _PREPROCESSING_FIELDS}
  spec = dataclasses.replace(
    spec, preprocessing=dataclasses.replace(spec.preprocessing, **steps), **own
  )
  return Classifier(spec, path, digest)


def _find(name, place, weights):
  """Spec and SavedModel folder of what `load` takes; `place` overrides the handle."""
  if name.endswith(_NPZ):
    name, place = zoo.NPZ, place or name
  if name in zoo.NAMES:
    spec = zoo.get(name)
  elif name.startswith(_KERAS):
    application = name[len(_KERAS) :]
    spec = Spec(
      name=application,
      handle=name,
      role=Role("standard") if weights == "imagenet" else None,
      preprocessing=convert.keras_preprocessing(application),
      source="tf.keras.applications, which names licence and accuracy",
      verified="preprocessing equals preprocess_input, by test",
    )
  elif "://" in name or os.path.exists(os.path.expanduser(name)):
    spec = Spec(name=os.path.basename(os.path.abspath(name)), handle=name)
  else:
    raise UserError(
      f"no classifier {name!r}, neither a file or folder nor in the zoo; "
      f"{nearest(name, zoo.NAMES)}"
    )
  handle = _absolute(place or spec.handle)
  path = _locate(handle, weights)
  description = os.path.join(path, DESCRIPTION)
  if tf.io.gfile.exists(description):
    try:
      spec = _described(files.read_json(description)["spec"], "", None)
    except (KeyError, TypeError, UserError) as error:
      raise UserError(f"{description} is damaged ({error}); copy it again") from error
  return dataclasses.replace(spec, handle=handle), path


def _absolute(handle):
  """The handle, made independent of the working folder if it is a path."""
  if "://" in handle or handle.startswith((_KERAS, zoo.CONVERTED, zoo.SHIPPED)):
    return handle
  return os.path.abspath(os.path.expanduser(handle))


def _locate(handle, weights):
  """SavedModel folder of a handle, converted if it is of another format."""
  if handle.startswith(_KERAS):
    return convert.keras_application(handle[len(_KERAS) :], weights)
  if handle.startswith(zoo.CONVERTED):
    return _CONVERSIONS[handle[len(zoo.CONVERTED) :]]()
  if handle.startswith(zoo.SHIPPED):
    return hub.locate(os.path.join(zoo.SHIPPED_FOLDER, handle[len(zoo.SHIPPED) :]))
  if handle.endswith(_NPZ):
    return convert.resnet152(handle)
  if os.path.isfile(handle):
    return convert.keras_file(handle)
  return hub.locate(handle)


def _fitted(spec, shape):
  """The spec's preprocessing with what the module's input shape settles.

  Raises:
    UserError: the module takes another size or number of colours.
  """
  wanted = spec.preprocessing
  if shape is None or len(shape) != 4:
    return wanted
  height, width, colors = shape[1:]
  if height != width:
    raise UserError(
      f"{spec.name} takes images of {height} x {width} px; this program "
      "feeds square ones"
    )
  if height is not None and wanted.resize != "none":
    if wanted.size not in (None, height):
      raise UserError(f"{spec.name} takes images of {height} px, not {wanted.size}")
    wanted = dataclasses.replace(wanted, size=height)
  if colors is not None:
    wanted = dataclasses.replace(wanted, colors=colors)
  return wanted


@gin.configurable("classifier")
def from_gin(
  handle=None,
  path=None,
  cache_dir=None,
  signature=None,
  input_name=None,
  output=None,
  extra_inputs=None,
  softmax=None,
  drop_column=None,
  weights=None,
  size=None,
  resize=None,
  low=None,
  high=None,
  mean=None,
  std=None,
  channel_order=None,
  role=None,
  digest=None,
):
  """The classifier that gin binds, or None.

  Args:
    handle: what `load` takes; None: no classifier.
    path: folder of the module (or its file), for an entry of the zoo or a URL that
      cannot be fetched: the entry's other facts stay in force.
    cache_dir: folder written by tools/cache_logits.py; becomes .cache_dir.
    role: 'standard' or 'robust', or {'kind': 'robust', 'attack': 'PGD', 'epsilon':
      0.1}: comparisons between a robust and a standard classifier go by it. Needed
      where the classifier's own facts do not say.
    digest: SHA-256 that the classifier must have, weights and preprocessing (a module's
      inversion.json has it, and so has the sentence that refuses a wrong one). Modules
      run code: pin those that come from elsewhere.
    signature: this and the others override the entry's field of that name (see
      spec.Spec and Preprocessing) unless None.
  """
  if handle is None:
    return None
  if not isinstance(handle, str):
    raise UserError(
      f"classifier.handle is {handle!r}; it must be a text in quotes: a "
      "folder, a URL or a name of the zoo"
    )
  for name, value in (
    ("path", path),
    ("cache_dir", cache_dir),
    ("digest", digest),
    ("signature", signature),
    ("input_name", input_name),
  ):
    if not isinstance(value, (str, type(None))):
      raise UserError(f"classifier.{name} is {value!r}; it must be a text in quotes")
  overrides = dict(
    handle=path,
    signature=signature,
    input_name=input_name,
    output=output,
    extra_inputs=extra_inputs,
    softmax=softmax,
    drop_column=drop_column,
    weights=weights,
    size=size,
    resize=resize,
    low=low,
    high=high,
    mean=mean,
    std=std,
    channel_order=channel_order,
    role=role,
  )
  classifier = load(
    handle, digest, **{k: v for k, v in overrides.items() if v is not None}
  )
  classifier.cache_dir = cache_dir
  return classifier


def from_description(description, folder=None):
  """The classifier that `Classifier.describe` described.

  Args:
    description: what it returned.
    folder: where the description is kept now; what it calls "relative" is looked for
      from there first.

  Raises:
    UserError: it is gone, or is no longer the one described; or the description is
      damaged.
  """
  facts = dict(description)
  digest = facts.pop("digest")
  relative = facts.pop("relative", None)
  spec = _described(facts, digest, relative)
  if folder and relative:
    moved = os.path.normpath(os.path.join(folder, relative))
    if os.path.exists(moved):
      spec = dataclasses.replace(spec, handle=moved)
  return Classifier(spec, _locate(spec.handle, spec.weights), digest)


def _described(facts, *texts):
  """The spec.Spec of a description, whose values may be anything that JSON has."""
  try:
    spec = Spec(**facts)
    digest, relative = texts
    given = (
      spec.name,
      spec.handle,
      digest,
      *(
        text for text in (relative, spec.signature, spec.input_name) if text is not None
      ),
    )
    if not all(isinstance(text, str) for text in given):
      raise TypeError("names, handle and digest are texts")
    if not isinstance(spec.output, (str, int, type(None))):
      raise TypeError("output is a name or a number")
  except (AttributeError, OverflowError, TypeError, ValueError) as error:
    raise UserError(
      f"the description of a classifier is damaged ({error}); export the module again"
    ) from error
  return spec
