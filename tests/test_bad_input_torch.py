"""Wrong input, continued: files of PyTorch and ONNX.

The table has the form of test_bad_input.py's.
"""

import os

import forking
import numpy as np
import pytest
import torch
from onnx import TensorProto
from onnx import helper
from onnx import save as save_onnx
from wrong_input import Case
from wrong_input import check

from compare_gan_logits import files


_BUILD = "torch:{files}/networks.py:"


def _torch(name, handle, *words, **more):
  """`train-classifier --evaluate` of a network, and what else gin binds of it."""
  bound = "".join(f" --gin_bindings classifier.{k}={v!r}" for k, v in more.items())
  args = f"--dataset embedded --limit 8 --evaluate {handle}{bound}"
  return Case(name, "train_classifier", args, words)


def _weights(name, file, *words, **more):
  return _torch(name, _BUILD + "network", *words, weights=f"{{files}}/{file}", **more)


CASES = (
  # Functions that return a network.
  _torch("function_not_named", "torch:{files}/networks.py", "torch:file.py:function"),
  _torch("function_of_no_file", "torch:nowhere", "torch:"),
  _torch("function_unknown", _BUILD + "netwrk", "no function 'netwrk'"),
  _torch("function_is_data", _BUILD + "NUMBER", "no function 'NUMBER'"),
  _torch("function_fails", _BUILD + "fails", "fails() failed", "ZeroDivisionError"),
  _torch("function_returns_text", _BUILD + "text", "returned a str"),
  _torch("function_takes_arguments", _BUILD + "needs", "needs() failed"),
  _torch("file_gone", "torch:{files}/gone.py:network", "no file", "gone.py"),
  _torch("file_syntax", "torch:{files}/syntax.py:network", "syntax.py cannot be run"),
  _torch("module_unknown", "torch:no_such_package:network", "cannot import", "install"),
  _torch("attribute_preprocessing", _BUILD + "misread", "preprocessing"),
  _torch("attribute_size", _BUILD + "large", "does not run on images", "32"),
  _torch("several_outputs", _BUILD + "two_heads", "classifier.output"),
  _torch("layer_unknown", _BUILD + "network", "named_modules()", output="hed"),
  _torch("layer_of_nothing", _BUILD + "unused", "is not run", output="never"),
  _torch("colours", _BUILD + "network", "classifier.colors", colors=3),
  _torch("classes", _BUILD + "few", "4", "10"),
  # Files of weights.
  _weights("weights_gone", "gone.pt", "no file", "gone.pt"),
  _weights("weights_text", "text.pt", "text.pt", "state_dict()"),
  _weights("weights_cut", "cut.pt", "cut.pt", "again"),
  _weights("weights_of_another", "other.pt", "does not fit the network", "other.w"),
  _weights("weights_of_another_shape", "shape.pt", "does not fit", "head.weight"),
  _weights("weights_list", "list.pt", "no state dictionary but a list"),
  _weights("weights_numbers", "numbers.pt", "numbers.pt"),
  _weights("pickle", "pickle.pt", "full pickle", "classifier.trusted_pickle"),
  _weights(
    "pickle_of_another", "pickle.pt", "is not the file", trusted_pickle="0" * 64
  ),
  _torch("pickle_as_handle", "{files}/pickle.pt", "full pickle", "trusted_pickle"),
  _torch("weights_as_handle", "{files}/sound.pt", "weights without their network"),
  _torch("handle_gone", "{files}/gone.pth", "gone.pth"),
  # Exported programs.
  _torch("program_text", "{files}/text.pt2", "torch.export.save"),
  _torch("program_cut", "{files}/cut.pt2", "torch.export.save"),
  _torch("program_gone", "{files}/gone.pt2", "gone.pt2"),
  _torch("program_of_vectors", "{files}/vectors.pt2", "one input of images"),
  # Libraries.
  _torch("timm_unknown", "timm:resnet17", "timm:resnet17"),
  # ONNX.
  _torch("onnx_gone", "{files}/gone.onnx", "gone.onnx"),
  _torch("onnx_text", "{files}/text.onnx", "no ONNX network", "export it again"),
  _torch("onnx_cut", "{files}/cut.onnx", "no ONNX network", "export it again"),
  _torch("onnx_opset", "{files}/opset.onnx", "no ONNX network", "opset"),
  _torch("onnx_output", "{files}/sound.onnx", "no output 'logit'", output="logit"),
  _torch("onnx_input", "{files}/sound.onnx", "no input 'x'", input_name="x"),
  _torch("onnx_extra", "{files}/sound.onnx", "extra_inputs", extra_inputs=("phase",)),
  _torch("onnx_layout", "{files}/sound.onnx", "'nhwc' or 'nchw'", layout="hwc"),
  _torch("onnx_no_image", "{files}/vector.onnx", "classifier.input_name"),
  _torch("onnx_size", "{files}/sound.onnx", "32 px", size=24),
  _torch("onnx_pool", "{files}/sound.onnx", "pool", pool=2),
)

_NETWORKS = """
import torch

NUMBER = 3

class Flat(torch.nn.Module):
  def __init__(self, width=10, side=32):
    super().__init__()
    self.head = torch.nn.Linear(side * side, width)
    self.never = torch.nn.Linear(1, 1)
    self.both = False
    self.preprocessing = {"size": 32, "colors": 1}

  def forward(self, images):
    logits = self.head(images.flatten(1))
    return {"a": logits, "b": logits} if self.both else logits

def network():
  return Flat()

unused = network

def few():
  return Flat(4)

def large():
  return Flat(10, 40)

def fails():
  return 1 / 0

def text():
  return "network"

def needs(argument):
  return Flat()

def misread():
  flat = Flat()
  flat.preprocessing = {"sise": 32}
  return flat

def two_heads():
  flat = Flat()
  flat.both = True
  return flat
"""


def _onnx(path, input_shape, opset=17):
  """logits = flattened input @ kernel, with one output `logits`."""
  width = int(np.prod(input_shape[1:]))
  kernel = helper.make_tensor(
    "kernel", TensorProto.FLOAT, [width, 10], np.ones(width * 10)
  )
  nodes = [
    helper.make_node("Flatten", ["images"], ["flat"]),
    helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
  ]
  graph = helper.make_graph(
    nodes,
    "linear",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, input_shape)],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
    [kernel],
  )
  imports = [helper.make_opsetid("", opset)]
  save_onnx(helper.make_model(graph, opset_imports=imports, ir_version=8), path)


class _Code:
  """What a pickle may do when it is read: here, print."""

  def __reduce__(self):
    return print, ("read",)


def _write_weights(folder):
  sound = {
    "head.weight": torch.zeros(10, 1024),
    "head.bias": torch.zeros(10),
    "never.weight": torch.zeros(1, 1),
    "never.bias": torch.zeros(1),
  }
  for name, content in {
    "sound": sound,
    "cut": sound,
    "other": {"other.weight": torch.zeros(1)},
    "shape": {**sound, "head.weight": torch.zeros(10, 7)},
    "list": [1, 2],
    "numbers": dict.fromkeys(sound, 5),
    "pickle": _Code(),
  }.items():
    torch.save(content, os.path.join(folder, f"{name}.pt"))

  class Vectors(torch.nn.Module):
    def forward(self, x):
      return x + 1

  for name in ("vectors", "cut"):
    program = torch.export.export(Vectors(), (torch.zeros(2, 3),))
    torch.export.save(program, os.path.join(folder, f"{name}.pt2"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  """{name: path} of everything that the cases name."""
  world = str(tmp_path_factory.mktemp("world"))
  folder = os.path.join(world, "files")
  files.write_text(os.path.join(folder, "networks.py"), _NETWORKS)
  files.write_text(os.path.join(folder, "syntax.py"), "def network(:\n")
  for name in ("text.pt", "text.pt2", "text.onnx"):
    files.write_text(os.path.join(folder, name), "no network\n" * 9)
  _write_weights(folder)
  for name, shape, opset in (
    ("sound", ["n", 1, 32, 32], 17),
    ("cut", ["n", 1, 32, 32], 17),
    ("vector", ["n", 1024], 17),
    ("opset", ["n", 1, 32, 32], 999),
  ):
    _onnx(os.path.join(folder, f"{name}.onnx"), shape, opset)
  for name in ("cut.pt", "cut.pt2", "cut.onnx"):
    path = os.path.join(folder, name)
    os.truncate(path, os.path.getsize(path) // 2)
  return {"world": world, "files": folder}


@pytest.fixture(scope="module")
def torch_server():
  """A server whose forks need not import PyTorch again."""
  with forking.Server("torch", "onnxruntime") as running:
    yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sentence_with_the_remedy(case, world, torch_server, tmp_path):
  check(case, world, torch_server, tmp_path)


def test_names_are_unique():
  names = [case.name for case in CASES]
  assert len(set(names)) == len(names)
