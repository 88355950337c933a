"""Keras models and applications as SavedModels."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import zipfile
from concurrent import futures

import h5py
import numpy as np
import tensorflow
from tensorflow import keras

from compare_gan_logits import files
from compare_gan_logits.classifiers.module_cache import cached
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


_OUTPUTS = "features", "logits", "probabilities"
_VERSION = 3  # of the conversion: raise it when its outputs change


def keras_file(path: str) -> str:
  """SavedModel folder of a Keras model saved as .h5 or .keras.

  Outputs "logits" (before a final softmax or sigmoid), "probabilities" and "features"
  (what the last layer with weights sees). A model of several outputs has the logits of
  each under the name of the layer that gives it.

  Raises:
    UserError: the file holds no such model, or Python code (a Lambda layer), which is
      not run.
  """

  kept_by_3 = _keras_version(path).startswith("3.")
  keras_3 = _keras_3() if kept_by_3 else None
  if kept_by_3 and keras_3 is None:
    raise UserError(
      f"{path} was saved by Keras {_keras_version(path)}, which is not installed; "
      "call model.export(folder) where it is, and give that folder"
    )

  def build(folder):
    try:
      if keras_3:
        _save_keras_3(keras_3, keras_3.saving.load_model(path, compile=False), folder)
        return
      # By itself Keras keeps code out of .keras files only, not out of .h5.
      with _serialization_lib().SafeModeScope(safe_mode=True):
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
      raise UserError(
        f"{path} is not a Keras classifier ({error}); a classifier is a folder with a "
        "saved_model.pb, or a .h5, .keras or .npz file"
      ) from error
    _save_keras(model, folder)

  name = os.path.splitext(os.path.basename(path))[0]
  return _cached_keras(name, files.digest(path), build)


def _keras_version(path):
  """The version that saved a file, "" where it does not say."""
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        return str(json.loads(archive.read("metadata.json"))["keras_version"])
    with h5py.File(path, "r") as file:
      version = file.attrs["keras_version"]
    return version.decode() if isinstance(version, bytes) else str(version)
  except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
    return ""


def _keras_3():
  """Keras 3, or None where it is not installed."""
  found = (
    importlib.import_module("keras") if importlib.util.find_spec("keras") else None
  )
  return found if found and found.__version__.startswith("3.") else None


def keras_application(name: str, weights: str | None = "imagenet") -> str:
  """SavedModel folder of tf.keras.applications.<name>; outputs as in keras_file.

  Args:
    name: as in "ResNet152V2".
    weights: "imagenet" (downloaded by Keras), path of a weights file, or None.

  Raises:
    UserError: there is no such application, or its weights cannot be read.
  """
  application = _application(name)

  def build(folder):
    try:
      model = application(weights=weights)
    except Exception as error:  # Keras raises a bare Exception without a network.
      raise UserError(
        f"cannot make keras:{name} ({error}); fetch its weights where there is a "
        "network and bind classifier.weights to the .h5 file"
      ) from error
    _save_keras(model, folder)

  facts = files.digest(weights) if weights and os.path.exists(weights) else weights
  return _cached_keras(name, [name, facts], build)


def _serialization_lib():
  """A module of Keras 2, which is called keras or, beside Keras 3, tf_keras."""
  package = keras.Model.__module__.partition(".")[0]
  return importlib.import_module(package + ".src.saving.serialization_lib")


def _cached_keras(name, facts, build):
  return cached(
    name, [_OUTPUTS, _VERSION, facts], lambda folder: _eagerly(build, folder)
  )


def _application(name):
  known = {
    key: value
    for key, value in vars(keras.applications).items()
    if key[0].isupper() and callable(value)
  }
  if name not in known:
    raise UserError(f"no Keras application {name!r}; {nearest(name, known)}")
  return known[name]


def keras_preprocessing(name: str) -> Preprocessing:
  """The Preprocessing that equals an application's own preprocess_input.

  It is read off that function, which is affine in each channel: from black,
  white, and pure red, which shows the channels' order.
  """
  function = sys.modules[_application(name).__module__].preprocess_input
  black, white, red = (
    function(np.full((1, 1, 1, 3), 255, np.float32) * colour)[0, 0, 0]
    for colour in (np.float32([0, 0, 0]), np.float32([1, 1, 1]), np.float32([1, 0, 0]))
  )
  std = 255 / (white.astype(np.float64) - black)
  return Preprocessing(
    channel_order="rgb" if red[0] != black[0] else "bgr",
    low=0.0,
    high=255.0,
    mean=tuple(-black * std),
    std=tuple(std),
  )


def _eagerly(function, *args):
  """Runs a function in a thread of its own, since graph mode is a thread's state."""

  def run():
    if not tensorflow.executing_eagerly():
      raise UserError(
        "Keras models are converted in eager mode, which this process "
        "has switched off; run any other command with the same "
        "classifier first"
      )
    return function(*args)

  with futures.ThreadPoolExecutor(1) as executor:
    return executor.submit(run).result()


def _with_logits(library, model):
  """A model with the outputs that `keras_file` names; `library` is Keras 2 or 3."""
  found = [_three_outputs(library, model, output) for output in model.outputs]
  if len(found) == 1:
    return library.Model(model.inputs, found[0])
  names = files.unique(_name(library, output) for output in model.outputs)
  logits = {name: outputs["logits"] for name, outputs in zip(names, found)}
  return library.Model(model.inputs, logits)


def _name(library, output):
  """Name of the layer, or of the model of one output, that gives an output."""
  last, _, place = output._keras_history
  several = isinstance(last, library.Model) and len(last.outputs) > 1
  return _name(library, last.outputs[place]) if several else last.name


def _three_outputs(library, model, output):
  """{name of _OUTPUTS: tensor} that belong to an output of a model.

  Without "features" where these are inside of a model that is not the last layer.
  """
  last, _, place = output._keras_history
  if isinstance(last, library.Model):
    (given,) = tensorflow.nest.flatten(last._inbound_nodes[-1].input_tensors)
    inner = _three_outputs(library, last, last.outputs[place])
    return library.Model(last.inputs, inner)(given)
  # An activation or a reshaping may be a layer of its own.
  weighted = (layer for layer in reversed(model.layers) if layer.weights)
  head = last if last.weights else next(weighted)
  logits = output
  if isinstance(last, library.layers.Softmax):
    logits = last.input
  normalise, activation = library.activations.softmax, getattr(last, "activation", None)
  if activation in (library.activations.softmax, library.activations.sigmoid):
    normalise, last.activation = activation, library.activations.linear
  outputs = {
    "logits": logits,
    "probabilities": library.layers.Activation(normalise)(logits),
  }
  if not isinstance(head, library.Model):
    outputs["features"] = head.input
  return outputs


def _signature(model):
  return tensorflow.TensorSpec(
    [None] + list(model.input_shape[1:]), tensorflow.float32, name="images"
  )


def _save_keras(model, folder):
  """Writes a Keras classifier as a SavedModel; "logits" precede softmax or sigmoid."""
  module = _with_logits(keras, model)

  @tensorflow.function(input_signature=[_signature(model)])
  def serve(images):
    return module(images, training=False)

  tensorflow.saved_model.save(module, folder, signatures={"serving_default": serve})


def _save_keras_3(library, model, folder):
  """`_save_keras` of a model of Keras 3."""
  module = _with_logits(library, model)
  archive = library.export.ExportArchive()
  archive.track(module)
  archive.add_endpoint(
    "serving_default",
    lambda images: module(images, training=False),
    input_signature=[_signature(model)],
  )
  archive.write_out(folder, verbose=False)
