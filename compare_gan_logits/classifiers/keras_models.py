"""Keras models and applications as SavedModels."""

from __future__ import annotations

import os
import sys
from concurrent import futures

import numpy as np
import tensorflow
from keras.src.saving import serialization_lib
from tensorflow import keras

from compare_gan_logits import files
from compare_gan_logits.classifiers.module_cache import cached
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


_OUTPUTS = "features", "logits", "probabilities"


def keras_file(path):
  """SavedModel folder of a Keras model saved as .h5 or .keras.

  Outputs "logits" (before a final softmax), "probabilities" and "features" (what the
  last layer with weights sees).

  Raises:
    UserError: the file holds no such model, or Python code (a Lambda layer), which is
      not run.
  """

  def build(folder):
    try:
      # By itself Keras keeps code out of .keras files only, not out of .h5.
      with serialization_lib.SafeModeScope(safe_mode=True):
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
      raise UserError(
        f"{path} is no Keras classifier ({error}); a classifier is a "
        "folder with a saved_model.pb, or a .h5, .keras or .npz "
        "file"
      ) from error
    _save_keras(model, folder)

  name = os.path.splitext(os.path.basename(path))[0]
  return _cached_keras(name, files.file_digest(path), build)


def keras_application(name, weights="imagenet"):
  """SavedModel folder of tf.keras.applications.<name>; outputs as in keras_file.

  Args:
    name: as in "ResNet152V2".
    weights: "imagenet" (downloaded by Keras), path of a weights file, or None.

  Raises:
    UserError: there is no such application, or its weights cannot be had.
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

  facts = files.file_digest(weights) if weights and os.path.exists(weights) else weights
  return _cached_keras(name, facts, build)


def _cached_keras(name, facts, build):
  return cached(name, [_OUTPUTS, facts], lambda folder: _eagerly(build, folder))


def _application(name):
  known = {
    key: value
    for key, value in vars(keras.applications).items()
    if key[0].isupper() and callable(value)
  }
  if name not in known:
    raise UserError(f"no Keras application {name!r}; {nearest(name, known)}")
  return known[name]


def keras_preprocessing(name):
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


def _save_keras(model, folder):
  """Writes a Keras classifier as a SavedModel whose "logits" precede the softmax."""
  last = model.layers[-1]
  # An activation or a reshaping may be a layer of its own.
  head = next(layer for layer in reversed(model.layers) if layer.weights)
  features, logits = head.input, model.output
  if isinstance(last, keras.layers.Softmax):
    logits = last.input
  elif getattr(last, "activation", None) is keras.activations.softmax:
    last.activation = keras.activations.linear
  outputs = features, logits, keras.layers.Softmax()(logits)
  module = keras.Model(model.inputs, dict(zip(_OUTPUTS, outputs)))
  spec = tensorflow.TensorSpec(
    [None] + list(model.input_shape[1:]), tensorflow.float32, name="images"
  )

  @tensorflow.function(input_signature=[spec])
  def serve(images):
    return module(images, training=False)

  tensorflow.saved_model.save(module, folder, signatures={"serving_default": serve})
