"""PyTorch networks in the feature stage; answers from PyTorch itself and from Foolbox."""

import os
import pickle

import foolbox
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import torch

from compare_gan_logits import attacks
from compare_gan_logits import classifiers
from compare_gan_logits import files
from compare_gan_logits.classifiers import torch_models
from compare_gan_logits.errors import UserError


SIZE = 16
IMAGES = np.random.default_rng(0).random([6, SIZE, SIZE, 3], dtype=np.float32)
NETWORK = """
import torch


class Network(torch.nn.Module):
  preprocessing = {{"size": {size}, "mean": (0.4, 0.5, 0.6), "std": 0.25}}
  class_names = ["ant", "bee", "cow", "dog", "eel"]

  def __init__(self):
    super().__init__()
    self.features = torch.nn.Sequential(
      torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.BatchNorm2d(8), torch.nn.SiLU()
    )
    self.last = torch.nn.Linear(8, 5)

  def forward(self, x):
    x = self.features(x)
    return self.last(x.mean(dim=(2, 3)))


def build():
  return Network()


def two_outputs():
  class Both(Network):
    def forward(self, x):
      x = self.features(x).mean(dim=(2, 3))
      return {{"embedding": x, "logits": self.last(x)}}

  return Both()


def twelve_outputs():
  class Twelve(Network):
    def forward(self, x):
      return tuple(super(Twelve, self).forward(x) + i for i in range(12))

  return Twelve()


def broken():
  raise RuntimeError("no such disk")


def nothing():
  return None
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder with network.py and weights.pt; its batch norm is not the identity."""
  folder = tmp_path_factory.mktemp("torch")
  (folder / "network.py").write_text(NETWORK.format(size=SIZE))
  network = _network(folder)
  with torch.no_grad():
    network.train()(torch.rand(32, 3, SIZE, SIZE) * 3 - 1)
  torch.save(network.state_dict(), folder / "weights.pt")
  return folder


def _network(folder, weights=None):
  """The network as PyTorch code would make it."""
  scope = {}
  exec((folder / "network.py").read_text(), scope)
  torch.manual_seed(1)
  network = scope["build"]()
  if weights:
    network.load_state_dict(torch.load(weights, weights_only=True))
  return network.eval()


def _inputs(images):
  """What the network is to see of images in [0, 1]."""
  return (
    torch.from_numpy(images.transpose(0, 3, 1, 2))
    - torch.tensor([0.4, 0.5, 0.6]).reshape(3, 1, 1)
  ) / 0.25


@pytest.fixture(scope="module")
def classifier(place):
  return classifiers.load(
    f"torch:{place}/network.py:build", weights=str(place / "weights.pt")
  )


def test_logits_equal_pytorch(classifier, place):
  network = _network(place, place / "weights.pt")
  with torch.no_grad():
    expected = network(_inputs(IMAGES)).numpy()
  np.testing.assert_allclose(classifier.predict(IMAGES), expected, atol=1e-5)
  assert classifier.class_names == ["ant", "bee", "cow", "dog", "eel"]
  assert classifier.spec.preprocessing.size == SIZE
  assert classifier.numpy_only and classifier.no_gradient is None


def test_gradients_equal_pytorch(classifier, place):
  upstream = np.random.default_rng(1).normal(size=[6, 5]).astype(np.float32)
  with tf.Graph().as_default(), tf.Session() as session:
    images = tf.constant(IMAGES)
    (gradient,) = tf.gradients(classifier(images), images, upstream)
    found = session.run(gradient)
  inputs = torch.from_numpy(IMAGES).requires_grad_(True)
  steps = inputs.permute(0, 3, 1, 2) - torch.tensor([0.4, 0.5, 0.6]).reshape(3, 1, 1)
  logits = _network(place, place / "weights.pt")(steps / 0.25)
  (expected,) = torch.autograd.grad(logits, inputs, torch.from_numpy(upstream))
  np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_attacks_equal_foolbox(classifier, place, name):
  labels = classifier.predict(IMAGES).argmax(axis=1)
  with tf.Graph().as_default(), tf.Session() as session:
    if name == "fgsm":
      attacked = attacks.fgsm(classifier, tf.constant(IMAGES), labels, 0.05)
    else:
      attacked = attacks.pgd(classifier, tf.constant(IMAGES), labels, 0.05, 0.02, 4)
    found = session.run(attacked)
  model = foolbox.PyTorchModel(
    _network(place, place / "weights.pt"),
    bounds=(0, 1),
    preprocessing={"mean": [0.4, 0.5, 0.6], "std": [0.25] * 3, "axis": -3},
    device="cpu",
  )
  attack = {
    "fgsm": foolbox.attacks.LinfFastGradientAttack(random_start=False),
    "pgd": foolbox.attacks.LinfPGD(abs_stepsize=0.02, steps=4, random_start=False),
  }[name]
  images = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())
  _, expected, _ = attack(model, images, torch.from_numpy(labels), epsilons=0.05)
  np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)


def test_any_layer_pooled_or_whole(place, classifier):
  handle, weights = classifier.spec.handle, str(place / "weights.pt")
  network = _network(place, weights)
  with torch.no_grad():
    maps = network.features(_inputs(IMAGES))
  whole = classifiers.load(handle, weights=weights, output="features")
  assert whole.num_logits == 7 * 7 * 8
  np.testing.assert_allclose(
    whole.predict(IMAGES), maps.permute(0, 2, 3, 1).reshape(6, -1).numpy(), atol=1e-5
  )
  pooled = classifiers.load(handle, weights=weights, output="features", pool=1)
  assert pooled.num_logits == 8
  np.testing.assert_allclose(
    pooled.predict(IMAGES), maps.mean(dim=(2, 3)).numpy(), atol=1e-5
  )
  assert classifiers.load(handle, output="features", pool=3).num_logits == 3 * 3 * 8


def test_an_output_by_name(place):
  both = classifiers.load(f"torch:{place}/network.py:two_outputs")
  assert both.num_logits == 5
  embedding = classifiers.load(
    f"torch:{place}/network.py:two_outputs", output="embedding"
  )
  assert embedding.num_logits == 8


def test_a_number_is_the_place_in_a_tuple(place):
  handle = f"torch:{place}/network.py:twelve_outputs"
  first, third = (
    classifiers.load(handle, output=number).predict(IMAGES) for number in (0, 2)
  )
  np.testing.assert_allclose(third - first, 2, atol=1e-5)
  with pytest.raises(UserError, match="no output '12'"):
    classifiers.load(handle, output=12)


def test_a_network_without_a_size_is_tried(tmp_path):
  (tmp_path / "any.py").write_text(
    "import torch\n"
    "def any_size():\n"
    "  return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(2),\n"
    "    torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())\n"
    "def only_28():\n"
    "  return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
  )
  handle = f"torch:{tmp_path}/any.py:"
  free = classifiers.load(handle + "any_size")
  assert free.spec.preprocessing.size is None
  assert free.spec.preprocessing.colors == 1
  assert free.predict(IMAGES[..., :1]).shape == (6, 4)
  with pytest.raises(UserError, match="bind classifier.size"):
    classifiers.load(handle + "any_size", output="0")
  assert classifiers.load(handle + "any_size", output="0", pool=2).num_logits == 16
  bound = classifiers.load(handle + "any_size", output="0", size=12)
  assert bound.feature_shape == (10, 10, 4)
  fixed = classifiers.load(handle + "only_28", colors=1)
  assert fixed.spec.preprocessing.size == 28
  assert fixed.predict(IMAGES).shape == (6, 10)
  with pytest.raises(UserError, match="bind classifier.size and classifier.colors"):
    classifiers.load(handle + "only_28", colors=3)


WRAPPED = """
import torch

FACTOR = 2.0


def scaled(x):
  return FACTOR * x


class Wrapped(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.mean = torch.tensor([0.4])
    self.register_buffer("std", torch.tensor([0.25]), persistent=False)
    self.last = torch.nn.Linear(3, 5)

  def forward(self, x):
    return self.last(scaled((x.mean(dim=(2, 3)) - self.mean) / self.std))


def build():
  return Wrapped()
"""


def test_whatever_changes_what_a_network_computes_changes_its_digest(tmp_path):
  path, found = tmp_path / "wrapped.py", []
  for old, new in (("", ""), ("[0.4]", "[0.5]"), ("[0.25]", "[0.3]"), ("2.0", "3.0")):
    path.write_text(WRAPPED.replace(old, new) if old else WRAPPED)
    found.append(classifiers.load(f"torch:{path}:build", size=8).digest)
  assert len(set(found)) == 4


def test_a_description_brings_it_back_and_notices_other_weights(place, tmp_path):
  folder = tmp_path / "moved"
  folder.mkdir()
  for name in ("network.py", "weights.pt"):
    (folder / name).write_bytes((place / name).read_bytes())
  classifier = classifiers.load(
    f"torch:{folder}/network.py:build", weights=str(folder / "weights.pt")
  )
  description = classifier.describe(str(tmp_path / "moved"))
  folder.rename(tmp_path / "again")
  again = classifiers.from_description(description, str(tmp_path / "again"))
  np.testing.assert_array_equal(again.predict(IMAGES), classifier.predict(IMAGES))
  code = (tmp_path / "again" / "network.py").read_text()
  (tmp_path / "again" / "network.py").write_text(
    code.replace("self.last(x.mean(dim=(2, 3)))", "2 * self.last(x.mean(dim=(2, 3)))")
  )
  with pytest.raises(UserError, match="has changed"):
    classifiers.from_description(description, str(tmp_path / "again"))


@pytest.mark.parametrize("dynamic", [True, False])
def test_an_exported_program(place, tmp_path, dynamic):
  network = _network(place, place / "weights.pt")
  shapes = {"x": {0: torch.export.Dim("batch")}} if dynamic else None
  program = torch.export.export(
    network, (torch.zeros(4, 3, SIZE, SIZE),), dynamic_shapes=shapes
  )
  path = str(tmp_path / "program.pt2")
  torch.export.save(program, path)
  classifier = classifiers.load(path, mean=(0.4, 0.5, 0.6), std=0.25)
  with torch.no_grad():
    expected = network(_inputs(IMAGES)).numpy()
  np.testing.assert_allclose(classifier.predict(IMAGES), expected, atol=1e-5)
  with tf.Graph().as_default(), tf.Session() as session:
    images = tf.constant(IMAGES[:5])  # a program of four images takes four and one
    gradient = session.run(tf.gradients(classifier(images), images)[0])
  inputs = _inputs(IMAGES[:5]).requires_grad_(True)
  (wanted,) = torch.autograd.grad(network(inputs).sum(), inputs)
  np.testing.assert_allclose(
    gradient, wanted.numpy().transpose(0, 2, 3, 1) / 0.25, atol=1e-5
  )


class _Head(torch.nn.Module):
  """A convolution whose output the next layer overwrites, and a function of it."""

  def __init__(self, function, first=True):
    super().__init__()
    torch.manual_seed(0)
    self.conv = torch.nn.Conv2d(3, 4, 3)
    self.relu = torch.nn.ReLU(inplace=True)
    self._function, self._first = function, first

  def forward(self, x):
    x = x if self._first else x.permute(0, 3, 1, 2)
    return self._function(self.relu(self.conv(x)).mean(dim=(2, 3)))


def _exported(path, network, shape, dynamic=None):
  torch.export.save(
    torch.export.export(network, (torch.rand(shape),), dynamic_shapes=dynamic), path
  )
  return str(path)


def test_a_layer_that_is_overwritten_in_place(tmp_path, monkeypatch):
  monkeypatch.setattr(torch_models, "_from_function", lambda *_: (network, {}, ""))
  network = _Head(lambda x: x)
  found = classifiers.load("torch:any:network", size=SIZE, output="conv").predict(
    IMAGES
  )
  with torch.no_grad():
    wanted = network.conv(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
  assert wanted.min() < 0
  np.testing.assert_allclose(
    found, wanted.permute(0, 2, 3, 1).reshape(len(IMAGES), -1).numpy(), atol=1e-5
  )


def test_programs_of_other_code_have_other_digests(tmp_path):
  functions = (torch.tanh, torch.relu, lambda x: x - 0.5, lambda x: x - 0.25)
  found = [
    classifiers.load(
      _exported(tmp_path / f"{i}.pt2", _Head(function), [2, 3, SIZE, SIZE])
    ).digest
    for i, function in enumerate([*functions, torch.tanh])
  ]
  assert len(set(found)) == 4 and found[0] == found[4]


def test_a_program_of_images_of_any_size(tmp_path):
  free = torch.export.Dim("height", min=8), torch.export.Dim("width", min=8)
  batch = torch.export.Dim("batch")
  network = _Head(lambda x: x)
  path = _exported(
    tmp_path / "a.pt2",
    network,
    [4, 3, 20, 24],
    {"x": {0: batch, 2: free[0], 3: free[1]}},
  )
  classifier = classifiers.load(path)
  assert classifier.spec.preprocessing.size is None
  with torch.no_grad():
    wanted = network(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
  np.testing.assert_allclose(classifier.predict(IMAGES), wanted.numpy(), atol=1e-5)


def test_a_program_of_images_with_channels_last(tmp_path):
  network = _Head(lambda x: x, first=False)
  path = _exported(tmp_path / "a.pt2", network, [len(IMAGES), SIZE, SIZE, 3])
  with torch.no_grad():
    wanted = network(torch.from_numpy(IMAGES)).numpy()
  np.testing.assert_allclose(classifiers.load(path).predict(IMAGES), wanted, atol=1e-5)


def test_weights_are_refused_where_the_model_has_its_own(place, tmp_path):
  path = _exported(tmp_path / "a.pt2", _Head(torch.tanh), [2, 3, SIZE, SIZE])
  for handle in (path, "embedded_standard"):
    with pytest.raises(UserError, match="leave out classifier.weights"):
      classifiers.load(handle, weights=str(place / "weights.pt"))


# Files that are pickles -----------------------------------------------------------


class _Bomb:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (self.path,)


def test_a_full_pickle_runs_nothing_unless_its_digest_is_named(place, tmp_path):
  exploded = str(tmp_path / "exploded")
  state = dict(torch.load(place / "weights.pt", weights_only=True))
  bomb = str(tmp_path / "checkpoint.pt")
  torch.save({"model": state, "arguments": _Bomb(exploded)}, bomb)
  handle = f"torch:{place}/network.py:build"
  digest = files.digest(bomb)
  with pytest.raises(UserError, match=f"full pickle.*trusted_pickle = '{digest}'"):
    classifiers.load(handle, weights=bomb)
  with pytest.raises(UserError, match="is not the file that"):
    classifiers.load(handle, weights=bomb, trusted_pickle="0" * 64)
  assert not os.path.exists(exploded)
  trusted = classifiers.load(handle, weights=bomb, trusted_pickle=digest)
  assert os.path.isdir(exploded)
  plain = classifiers.load(handle, weights=str(place / "weights.pt"))
  np.testing.assert_array_equal(trusted.predict(IMAGES), plain.predict(IMAGES))


def test_a_damaged_file_is_refused(place, tmp_path):
  """Found by tests/fuzz.py: PyTorch's reader pops from its empty stack."""
  whole = (place / "weights.pt").read_bytes()
  damaged = tmp_path / "weights.pt"
  damaged.write_bytes(whole.replace(b"\x80\x02ccollections", b"\x80\x02Qcollections"))
  assert damaged.read_bytes() != whole
  with pytest.raises(UserError, match="holds no weights that PyTorch can read"):
    classifiers.load(f"torch:{place}/network.py:build", weights=str(damaged))


def test_a_checkpoint_of_a_training_script(place, tmp_path):
  state = torch.load(place / "weights.pt", weights_only=True)
  path = str(tmp_path / "checkpoint.pth")
  torch.save(
    {"epoch": 9, "state_dict": {"module." + k: v for k, v in state.items()}}, path
  )
  handle = f"torch:{place}/network.py:build"
  plain = classifiers.load(handle, weights=str(place / "weights.pt"))
  again = classifiers.load(handle, weights=path)
  assert again.digest == plain.digest


@pytest.mark.parametrize(
  ("handle", "weights", "message"),
  [
    ("torch:{}/network.py:builder", None, "no function 'builder'"),
    ("torch:{}/network.py:broken", None, "no such disk"),
    ("torch:{}/network.py:nothing", None, "not a torch.nn.Module"),
    ("torch:{}/none.py:build", None, "there is no file"),
    ("torch:no_such_package.models:build", None, "cannot import"),
    ("torch:build", None, "is not like"),
    ("torch:{}/network.py:build", "{}/none.pt", "there is no file"),
    ("torch:{}/network.py:build", "{}/other.pt", "does not fit the network"),
    ("torch:{}/network.py:build", "{}/more.pt", r"lacks nothing, and has \['extra'\]"),
    ("torch:{}/network.py:build", "{}/cut.pt", "no weights that PyTorch can read"),
    ("{}/weights.pt", None, "weights without their network"),
    ("{}/cut.pt2", None, "no exported program"),
  ],
)
def test_refusals(place, handle, weights, message):
  torch.save({"last.weight": torch.zeros(5, 8)}, place / "other.pt")
  state = torch.load(place / "weights.pt", weights_only=True)
  torch.save({**state, "extra": torch.zeros(1)}, place / "more.pt")
  (place / "cut.pt").write_bytes((place / "weights.pt").read_bytes()[:500])
  (place / "cut.pt2").write_bytes(b"PK\3\4 cut")
  given = {} if weights is None else {"weights": weights.format(place)}
  with pytest.raises(UserError, match=message):
    classifiers.load(handle.format(place), **given)


def test_a_pickle_of_a_network_is_no_weights(tmp_path):
  (tmp_path / "list.pt").write_bytes(pickle.dumps([1, 2]))
  with pytest.raises(UserError):
    classifiers.load(str(tmp_path / "list.pt"))
