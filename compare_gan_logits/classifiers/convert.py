"""Turns classifiers of other formats into SavedModels, once, in a cache folder."""

import hashlib
import json
import os
import sys
from concurrent import futures

import numpy as np
import tensorflow
from tensorflow import keras

from compare_gan_logits import files
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.command import UserError
from compare_gan_logits.command import nearest


# Goes into the folders' names: raise it when a conversion changes.
VERSION = 1


def cache_folder():
  """$COMPARE_GAN_LOGITS_CACHE, or ~/.cache/compare_gan_logits."""
  return (os.environ.get("COMPARE_GAN_LOGITS_CACHE")
          or os.path.expanduser("~/.cache/compare_gan_logits"))


def cached(name, facts, build):
  """Folder of a SavedModel that `build(folder)` writes unless it is there.

  Args:
    name: readable start of the folder's name.
    facts: JSON-able; everything that the result depends on.
    build: function of the empty folder to fill.
  """
  facts = json.dumps([VERSION, facts], sort_keys=True).encode()
  key = hashlib.sha256(facts).hexdigest()
  path = os.path.join(cache_folder(), f"{name}-{key[:16]}")
  if not os.path.exists(os.path.join(path, "saved_model.pb")):
    with files.atomic_dir(path, overwrite=True) as folder:
      build(folder)
      files.write_text(os.path.join(folder, hub.SOURCE_DIGEST), key)
  return path


def keras_file(path):
  """SavedModel folder of a Keras model saved as .h5 or .keras.

  Outputs "logits" (before a final softmax) and "features" (what the last layer
  sees).

  Raises:
    UserError: the file holds no such model.
  """
  def build(folder):
    try:
      model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
      raise UserError(f"{path} is no Keras classifier ({error})") from error
    _save_keras(model, folder)

  name = os.path.splitext(os.path.basename(path))[0]
  return cached(name, hub.file_digest(path), lambda folder: _eagerly(build, folder))


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
          "network and bind classifier.weights to the .h5 file") from error
    _save_keras(model, folder)

  facts = hub.file_digest(weights) if weights and os.path.exists(weights) else weights
  return cached(name, facts, lambda folder: _eagerly(build, folder))


def _application(name):
  known = {key: value for key, value in vars(keras.applications).items()
           if key[0].isupper() and callable(value)}
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
      for colour in (np.float32([0, 0, 0]), np.float32([1, 1, 1]),
                     np.float32([1, 0, 0])))
  std = 255 / (white.astype(np.float64) - black)
  return Preprocessing(channel_order="rgb" if red[0] != black[0] else "bgr",
                       low=0.0, high=255.0, mean=tuple(-black * std), std=tuple(std))


def _eagerly(function, *args):
  """Runs a function in a thread of its own, since graph mode is a thread's state."""
  def run():
    if not tensorflow.executing_eagerly():
      raise UserError("Keras models are converted in eager mode, which this process "
                      "has switched off; run any other command with the same "
                      "classifier first")
    return function(*args)

  with futures.ThreadPoolExecutor(1) as executor:
    return executor.submit(run).result()


def _save_keras(model, folder):
  """Writes a Keras classifier as a SavedModel whose "logits" precede the softmax."""
  last = model.layers[-1]
  features, logits = last.input, model.output
  if isinstance(last, keras.layers.Softmax):
    logits = last.input
  elif getattr(last, "activation", None) is keras.activations.softmax:
    last.activation = keras.activations.linear
  both = keras.Model(model.inputs, {"logits": logits, "features": features})
  spec = tensorflow.TensorSpec([None] + list(model.input_shape[1:]),
                               tensorflow.float32, name="images")

  @tensorflow.function(input_signature=[spec])
  def serve(images):
    return both(images, training=False)

  tensorflow.saved_model.save(both, folder, signatures={"serving_default": serve})
