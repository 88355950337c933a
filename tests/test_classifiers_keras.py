"""Files of Keras 3: loaded where Keras 3 is, else refused with what to do."""

import importlib
import importlib.util
import json
import zipfile

import h5py
import numpy as np
import pytest

from compare_gan_logits import classifiers
from compare_gan_logits.errors import UserError


def _keras_3():
  if importlib.util.find_spec("tf_keras") is None:  # beside it, keras is Keras 3
    return None
  return importlib.import_module("keras")


def test_a_file_of_keras_3(tmp_path, monkeypatch):
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  keras = _keras_3()
  path = str(tmp_path / "model.keras")
  if keras is None:
    with zipfile.ZipFile(path, "w") as archive:
      archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
      archive.writestr("config.json", "{}")
    with pytest.raises(
      UserError, match=r"saved by Keras 3.5.0.*model.export\(folder\)"
    ):
      classifiers.load(path)
    return
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [
      keras.Input((6, 6, 3)),
      keras.layers.Flatten(),
      keras.layers.Dense(5, activation="softmax"),
    ]
  )
  model.save(path)
  images = np.random.default_rng(0).random([4, 6, 6, 3], dtype=np.float32)
  expected = model.predict(images, verbose=0)
  probabilities = classifiers.load(path, output="probabilities").predict(images)
  np.testing.assert_allclose(probabilities, expected, atol=1e-6)
  logits = classifiers.load(path).predict(images)
  kernel, bias = model.get_weights()
  np.testing.assert_allclose(logits, images.reshape(4, -1) @ kernel + bias, atol=1e-5)


def test_logits_precede_a_sigmoid(tmp_path, monkeypatch):
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  keras = importlib.import_module("tensorflow").keras if not _keras_3() else _keras_3()
  layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="sigmoid")]
  model = keras.Sequential([keras.Input((6, 6, 3)), *layers])
  path = str(tmp_path / "model.keras")
  model.save(path)
  images = np.random.default_rng(0).random([4, 6, 6, 3], dtype=np.float32)
  kernel, bias = model.get_weights()
  expected = images.reshape(4, -1) @ kernel + bias
  logits = classifiers.load(path).predict(images)
  np.testing.assert_allclose(logits, expected, atol=1e-5)
  probabilities = classifiers.load(path, output="probabilities").predict(images)
  np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-expected)), atol=1e-5)


@pytest.mark.skipif(_keras_3() is not None, reason="Keras 3 takes the file")
def test_an_h5_file_of_keras_3_is_refused(tmp_path):
  path = str(tmp_path / "model.h5")
  with h5py.File(path, "w") as file:
    file.attrs["keras_version"] = "3.5.0"
  with pytest.raises(UserError, match="saved by Keras 3.5.0"):
    classifiers.load(path)


def _keras():
  return _keras_3() or importlib.import_module("tensorflow").keras


@pytest.mark.parametrize("whole", [False, True])
def test_a_model_within_a_model(tmp_path, monkeypatch, whole):
  """A backbone and a head, each a model, or a whole classifier behind a scaling."""
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  keras = _keras()
  dense = keras.layers.Dense(3, activation="softmax")
  inner = keras.Sequential(
    [keras.Input((4,)), keras.layers.Dense(4, activation="relu"), dense]
  )
  backbone = keras.Sequential(
    [keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
  )
  if whole:
    inputs = keras.Input((6, 6, 3))
    classifier = keras.Model(inputs, inner(backbone(inputs)))
    model = keras.Sequential([keras.layers.Rescaling(2.0), classifier])
    model.build((None, 6, 6, 3))
  else:
    model = keras.Sequential([keras.Input((6, 6, 3)), backbone, inner])
  path = str(tmp_path / "model.keras")
  images = np.random.default_rng(0).random([4, 6, 6, 3], dtype=np.float32)
  expected = model.predict(images, verbose=0)
  model.save(path)
  found = {
    name: classifiers.load(path, output=name).predict(images)
    for name in ("features", "logits", "probabilities")
  }
  np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
  kernel, bias = dense.get_weights()
  np.testing.assert_allclose(
    found["logits"], found["features"] @ kernel + bias, atol=1e-5
  )


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("extension", [".keras", ".h5"])
def test_each_of_several_outputs_has_its_logits_under_its_name(
  tmp_path, monkeypatch, extension, nested
):
  """Heads that are layers, or the outputs of a model behind a scaling."""
  if extension == ".h5" and _keras_3():
    pytest.skip("Keras 3 writes no .h5 that Keras 2 reads")
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  keras = _keras()
  inputs = keras.Input((6, 6, 3))
  flat = keras.layers.Flatten()(inputs)
  embedding = keras.layers.Dense(7, name="embedding")
  classes = keras.layers.Dense(5, activation="softmax", name="classes")
  model = keras.Model(inputs, [embedding(flat), classes(flat)])
  if nested:
    outer = keras.Input((6, 6, 3))
    model = keras.Model(outer, model(keras.layers.Rescaling(1.0)(outer)))
  path = str(tmp_path / f"model{extension}")
  model.save(path)
  with pytest.raises(UserError, match=r"bind classifier.output.*classes.*embedding"):
    classifiers.load(path)
  images = np.random.default_rng(0).random([4, 6, 6, 3], dtype=np.float32)
  for name, layer in (("classes", classes), ("embedding", embedding)):
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(
      classifiers.load(path, output=name).predict(images),
      images.reshape(4, -1) @ kernel + bias,
      atol=1e-5,
    )
