"""Finds and loads classifiers: by name, file or URL, by gin, or by a description."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Union

import gin

from compare_gan_logits import files
from compare_gan_logits.classifiers import converted
from compare_gan_logits.classifiers import given_logits
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers import keras_models
from compare_gan_logits.classifiers import onnx_models
from compare_gan_logits.classifiers import torch_models
from compare_gan_logits.classifiers import zoo
from compare_gan_logits.classifiers.classifier import Classifier
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.classifiers.sources import Model
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.classifiers.spec import path_in
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


_KERAS = "keras:"
_NPZ = ".npz"
_CONVERSIONS = {
  "efficientnet_lite0": converted.efficientnet_lite0,
  "squeezenet1_1": converted.squeezenet1_1,
}
_PREFIXES = (
  _KERAS,
  zoo.CONVERTED,
  zoo.SHIPPED,
  given_logits.PREFIX,
  *torch_models.PREFIXES,
)
_SPEC_FIELDS = {f.name for f in dataclasses.fields(Spec)} - {"preprocessing"}
_PREPROCESSING_FIELDS = {f.name for f in dataclasses.fields(Preprocessing)}


def load(
  name: str | os.PathLike[str], digest: str | None = None, **overrides: Any
) -> Classifier:
  """Loads a classifier with its matching preprocessing.

  Args:
    name: name in the zoo, folder of a TF-Hub module, SavedModel or classifier
      of compare-gan-logits train-classifier, TF-Hub URL, .h5 or .keras file,
      "keras:Name" for one of tf.keras.applications, .onnx file, "torch:module:function"
      for a function that returns a torch.nn.Module, "timm:name", .pt2 file of an
      exported PyTorch program, "logits:FOLDER" for a cache of your own logits, or the
      .npz file that the zoo's robust_resnet152_linf16 is made from.
    digest: that Classifier.digest must have; None: any.
    **overrides: fields of spec.Spec and of Preprocessing that differ from the
      entry's, e.g. output="features", size=128, handle="/a/local/copy". An entry's
      softmax and drop_column belong to its own output and are not kept for another.

  Raises:
    UserError: there is no such classifier, or it does not offer what is asked.
  """
  unknown = set(overrides) - _SPEC_FIELDS - _PREPROCESSING_FIELDS
  if unknown:
    raise UserError(
      f"no classifier setting {min(unknown)!r}; "
      f"{nearest(min(unknown), _SPEC_FIELDS | _PREPROCESSING_FIELDS)}"
    )
  weights = overrides.get("weights", "imagenet")
  if weights and os.path.isfile(os.path.expanduser(weights)):
    weights = overrides["weights"] = files.absolute(weights)
  spec, model = _find(
    os.fspath(name),
    overrides.pop("handle", None),
    weights,
    overrides.get("trusted_pickle"),
  )
  own = {k: v for k, v in overrides.items() if k in _SPEC_FIELDS}
  if overrides.get("output", spec.output) != spec.output:
    own = {"softmax": False, "drop_column": None, **own}
  steps = {k: v for k, v in overrides.items() if k in _PREPROCESSING_FIELDS}
  spec = dataclasses.replace(
    spec, preprocessing=dataclasses.replace(spec.preprocessing, **steps), **own
  )
  return Classifier(spec, model, digest)


def _find(name, place, weights, trusted_pickle):
  """Spec and Model of what `load` takes; `place` overrides the handle."""
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
      preprocessing=keras_models.keras_preprocessing(application),
      source="tf.keras.applications, which names licence and accuracy",
      verified="preprocessing equals preprocess_input, by test",
    )
  elif (
    name.startswith(_PREFIXES)
    or "://" in name
    or os.path.exists(os.path.expanduser(name))
  ):
    spec = Spec(name=os.path.basename(os.path.abspath(name)), handle=name)
  else:
    raise UserError(
      f"no classifier {name!r}, neither a file or folder nor in the zoo; "
      f"{nearest(name, zoo.NAMES)}"
    )
  handle = _absolute(place or spec.handle)
  model = _open(handle, weights, trusted_pickle)
  facts = model.facts()
  if "spec" in facts:
    spec = facts["spec"]
  steps = {k: v for k, v in facts.items() if k in _PREPROCESSING_FIELDS}
  spec = dataclasses.replace(
    spec,
    handle=handle,
    preprocessing=dataclasses.replace(spec.preprocessing, **steps),
    **{k: v for k, v in facts.items() if k in _SPEC_FIELDS},
  )
  return spec, model


def absolute(name: str) -> str:
  """What `load` takes for the same classifier from any working folder.

  An entry of the zoo keeps its name: its handle alone has not its preprocessing.
  """
  return name if name in zoo.NAMES else _absolute(name)


def _absolute(handle):
  """The handle, made independent of the working folder if it is a path."""
  before, path, after = path_in(handle)
  if before:
    return before + files.absolute(path) + after
  if "://" in handle or handle.startswith(_PREFIXES):
    return handle
  return os.path.abspath(os.path.expanduser(handle))


def _open(handle, weights, trusted_pickle) -> Model:
  """The model of a handle, converted if it is of a format that needs it."""
  takes_weights = handle.startswith((_KERAS, *torch_models.PREFIXES))
  if weights not in (None, "imagenet", torch_models.RANDOM) and not takes_weights:
    raise UserError(
      f"{handle} has weights of its own: leave out classifier.weights, which is for "
      f"handles that begin with {', '.join((_KERAS, *torch_models.PREFIXES))}"
    )
  if handle.startswith(given_logits.PREFIX):
    return given_logits.GivenLogits(handle[len(given_logits.PREFIX) :])
  if handle.startswith(torch_models.PREFIXES) or handle.endswith(
    torch_models.EXTENSIONS
  ):
    return torch_models.load(handle, weights, trusted_pickle)
  if handle.endswith(onnx_models.EXTENSION):
    return onnx_models.OnnxModel(handle)
  return hub.Module(_saved_model(handle, weights))


def _saved_model(handle, weights):
  """SavedModel folder of a handle."""
  if handle.startswith(_KERAS):
    weights = None if weights == torch_models.RANDOM else weights
    return keras_models.keras_application(handle[len(_KERAS) :], weights)
  if handle.startswith(zoo.CONVERTED):
    return _CONVERSIONS[handle[len(zoo.CONVERTED) :]]()
  if handle.startswith(zoo.SHIPPED):
    return hub.locate(os.path.join(zoo.SHIPPED_FOLDER, handle[len(zoo.SHIPPED) :]))
  if handle.endswith(_NPZ):
    return converted.resnet152(handle)
  if os.path.isfile(handle):
    return keras_models.keras_file(handle)
  return hub.locate(handle)


@gin.configurable("classifier")
def from_gin(
  handle: str | None = None,
  path: str | None = None,
  cache_dir: str | None = None,
  name: str | None = None,
  class_names: Sequence[str] | None = None,
  signature: str | None = None,
  input_name: str | None = None,
  output: Union[str, int, None] = None,
  extra_inputs: Mapping[str, float] | None = None,
  softmax: bool | None = None,
  drop_column: int | None = None,
  pool: int | None = None,
  weights: str | None = None,
  trusted_pickle: str | None = None,
  layout: str | None = None,
  size: int | None = None,
  resize: str | None = None,
  colors: int | None = None,
  low: float | None = None,
  high: float | None = None,
  mean: Union[float, Sequence[float], None] = None,
  std: Union[float, Sequence[float], None] = None,
  channel_order: str | None = None,
  role: Union[str, Mapping[str, Any], None] = None,
  digest: str | None = None,
) -> Classifier | None:
  """The classifier that gin binds, or None.

  Args:
    handle: what `load` takes; None: no classifier, or, with cache_dir, your own logits
      that the cache was made from (cache-logits --logits).
    path: folder of the module (or its file), for an entry of the zoo or a URL that
      cannot be fetched: the entry's other fields keep their values.
    cache_dir: folder written by compare-gan-logits cache-logits; becomes .cache_dir.
    name: what it is called in reports.
    class_names: a list, one for each logit. Where the data set's classes have names
      as well, names say which logit belongs to which class.
    role: 'standard' or 'robust', or {'kind': 'robust', 'attack': 'PGD', 'epsilon':
      0.1}, which decides what the classifier is compared with; needed if the
      classifier's own description does not say it.
    digest: SHA-256 that the classifier must have, weights and preprocessing (a module's
      inversion.json has it, and so has the sentence that refuses a wrong one). Modules
      run code: pin those that come from elsewhere.
    signature: this and the others override the entry's field of that name (see
      spec.Spec and Preprocessing) unless None.
  """
  _check_texts(
    handle=handle,
    path=path,
    cache_dir=cache_dir,
    name=name,
    weights=weights,
    digest=digest,
    signature=signature,
    input_name=input_name,
  )
  if handle is None:
    if cache_dir is None:
      return None
    handle = given_logits.PREFIX + cache_dir
  overrides = dict(
    handle=path,
    name=name,
    class_names=class_names,
    signature=signature,
    input_name=input_name,
    output=output,
    extra_inputs=extra_inputs,
    softmax=softmax,
    drop_column=drop_column,
    pool=pool,
    weights=weights,
    trusted_pickle=trusted_pickle,
    layout=layout,
    size=size,
    resize=resize,
    colors=colors,
    low=low,
    high=high,
    mean=mean,
    std=std,
    channel_order=channel_order,
    role=role,
  )
  given = {k: v for k, v in overrides.items() if v is not None}
  classifier = _load_named(handle, digest, given)
  classifier.cache_dir = cache_dir
  if class_names is not None and not classifier.named:
    raise UserError(
      f"classifier.class_names has {len(class_names)} names, and "
      f"{classifier.spec.name} {classifier.num_logits} logits; bind one for each"
    )
  return classifier


def _check_texts(**values):
  for name, value in values.items():
    if not isinstance(value, (str, type(None))):
      raise UserError(f"classifier.{name} is {value!r}; it must be a string in quotes")


def _load_named(handle, digest, overrides):
  """`load`, whose first argument is itself called name."""
  name = overrides.pop("name", None)
  classifier = load(handle, digest, **overrides)
  if name is not None:
    classifier.spec = dataclasses.replace(classifier.spec, name=name)
  return classifier


def from_description(
  description: Mapping[str, Any], folder: str | None = None
) -> Classifier:
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
  check = facts.pop("check", None)
  relative = {
    "handle": facts.pop("relative", None),
    "weights": facts.pop("relative_weights", None),
  }
  spec = _described(facts, digest, *relative.values())
  for field, value in relative.items():
    before, path, after = path_in(value)
    if folder and path:
      moved = os.path.normpath(os.path.join(folder, path))
      if os.path.exists(moved):
        spec = dataclasses.replace(spec, **{field: before + moved + after})
  try:
    model = _open(spec.handle, spec.weights, spec.trusted_pickle)
  except UserError as error:
    raise UserError(
      f"{error} (it is the classifier of {folder or 'this module'}; if it has moved, "
      "--classifier names its new place, as does classifier= in Python)"
    ) from error
  classifier = Classifier(spec, model, digest)
  classifier.check = check if isinstance(check, dict) else None
  return classifier


def _described(facts, digest, *texts):
  """The Spec of a description, whose values may be anything that JSON has."""
  try:
    if not isinstance(digest, str):
      raise TypeError("the digest is a text")
    return Spec.of(facts, *texts)
  except (AttributeError, OverflowError, TypeError, ValueError) as error:
    raise UserError(
      f"the description of a classifier is damaged ({error}); export the module again"
    ) from error
