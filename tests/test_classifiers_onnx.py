"""ONNX files in the feature stage; answers from numpy."""

import numpy as np
import onnx
import pytest
import tensorflow.compat.v1 as tf
from onnx import TensorProto
from onnx import helper
from onnx import numpy_helper

from compare_gan_logits import attacks
from compare_gan_logits import classifiers
from compare_gan_logits.errors import UserError


SIZE, CLASSES = 6, 5
RANDOM = np.random.default_rng(2)
KERNEL = RANDOM.normal(size=[3, CLASSES]).astype(np.float32)
IMAGES = RANDOM.random([7, SIZE, SIZE, 3], dtype=np.float32)


def _write(path, batch="n", first=True, kind=TensorProto.FLOAT, second=False):
  """A network of means over positions and a linear layer, with its feature map."""
  shape = [batch, 3, SIZE, SIZE] if first else [batch, SIZE, SIZE, 3]
  axes = [2, 3] if first else [1, 2]
  inputs = [helper.make_tensor_value_info("images", kind, shape)]
  nodes = [
    helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
    helper.make_node("Mul", ["pixels", "two"], ["map"]),
    helper.make_node("ReduceMean", ["map"], ["means"], axes=axes, keepdims=0),
    helper.make_node("MatMul", ["means", "kernel"], ["logits"]),
  ]
  if second:
    inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, shape))
    # Unlike a product, a stack of channels needs a mask for each image.
    nodes[1:2] = [
      helper.make_node("Concat", ["pixels", "mask"], ["both"], axis=1),
      helper.make_node("Split", ["both"], ["left", "right"], axis=1),
      helper.make_node("Mul", ["left", "right"], ["map"]),
    ]
  graph = helper.make_graph(
    nodes,
    "network",
    inputs,
    [
      helper.make_tensor_value_info("map", TensorProto.FLOAT, shape),
      helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES]),
    ],
    [
      numpy_helper.from_array(KERNEL, "kernel"),
      numpy_helper.from_array(np.float32(2), "two"),
    ],
  )
  model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
  model.ir_version = 8
  onnx.save(model, path)
  return str(path)


def _write_with_weights_beside(path, name):
  """The same network, its weights in a file of that name."""
  _write(path)
  onnx.save(
    onnx.load(path),
    path,
    save_as_external_data=True,
    location=name,
    size_threshold=0,
  )


def test_weights_in_files_of_any_name_belong_to_the_digest(tmp_path):
  path = tmp_path / "a.onnx"
  _write_with_weights_beside(path, "weights of a")
  found = [classifiers.load(str(path)).digest]
  (tmp_path / "others").write_bytes(b"no part of it")
  found.append(classifiers.load(str(path)).digest)
  data = bytearray((tmp_path / "weights of a").read_bytes())
  data[:4] = np.float32(5).tobytes()
  (tmp_path / "weights of a").write_bytes(data)
  found.append(classifiers.load(str(path)).digest)
  assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("below", ["sub/w.bin", f"{'s' * 150}/{'w' * 150}"])
def test_weights_in_a_folder_below_belong_to_the_digest(tmp_path, below):
  path = tmp_path / "a.onnx"
  _write_with_weights_beside(path, "weights")
  (tmp_path / below).parent.mkdir()
  model = onnx.load(path, load_external_data=False)
  for tensor in model.graph.initializer:
    for entry in tensor.external_data:
      if entry.key == "location":
        entry.value = below
  onnx.save(model, path)
  data = bytearray((tmp_path / "weights").read_bytes())
  found = []
  for value in (5, 6):
    data[:4] = np.float32(value).tobytes()
    (tmp_path / below).write_bytes(data)
    found.append(classifiers.load(str(path)).digest)
  assert found[0] != found[1]


def _expected(images):
  return 2 * images.mean(axis=(1, 2)) @ KERNEL


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("batch", ["n", -1, 1, 4])
def test_logits_equal_numpy(tmp_path, first, batch):
  classifier = classifiers.load(_write(tmp_path / "a.onnx", batch, first))
  assert classifier.spec.preprocessing.size == SIZE
  assert classifier.num_logits == CLASSES
  np.testing.assert_allclose(
    classifier.predict(IMAGES, batch_size=5), _expected(IMAGES), atol=1e-5
  )


def test_bytes_go_in_as_bytes(tmp_path):
  classifier = classifiers.load(_write(tmp_path / "a.onnx", kind=TensorProto.UINT8))
  rounded = np.round(255 * IMAGES)
  np.testing.assert_allclose(
    classifier.predict(IMAGES), _expected(rounded), rtol=1e-5, atol=1e-3
  )


def test_a_feature_map_comes_out_channels_last_and_pooled(tmp_path):
  path = _write(tmp_path / "a.onnx")
  whole = classifiers.load(path, output="map")
  np.testing.assert_allclose(
    whole.predict(IMAGES), 2 * IMAGES.reshape(7, -1), atol=1e-6
  )
  pooled = classifiers.load(path, output="map", pool=2)
  cells = 2 * IMAGES.reshape(7, 2, 3, 2, 3, 3).mean(axis=(2, 4))
  np.testing.assert_allclose(pooled.predict(IMAGES), cells.reshape(7, -1), atol=1e-6)


def test_a_second_image_is_filled_with_a_constant(tmp_path):
  path = _write(tmp_path / "a.onnx", second=True)
  with pytest.raises(UserError, match="bind classifier.input_name"):
    classifiers.load(path)
  with pytest.raises(UserError, match=r"beside the image are \['mask'\]"):
    classifiers.load(path, input_name="images")
  classifier = classifiers.load(path, input_name="images", extra_inputs={"mask": 2.0})
  np.testing.assert_allclose(classifier.predict(IMAGES), _expected(IMAGES), atol=1e-5)


def test_attacks_say_that_there_is_no_gradient(tmp_path):
  classifier = classifiers.load(_write(tmp_path / "own.onnx"))
  with (
    tf.Graph().as_default(),
    pytest.raises(UserError, match="own.onnx is an ONNX file, which has no gradient"),
  ):
    attacks.pgd(classifier, tf.constant(IMAGES), [0] * 7, 0.1, 0.1, 2)


def test_other_weights_are_noticed(tmp_path):
  path = _write(tmp_path / "a.onnx")
  description = classifiers.load(path).describe()
  again = classifiers.from_description(description)
  np.testing.assert_allclose(again.predict(IMAGES), _expected(IMAGES), atol=1e-5)
  model = onnx.load(path)
  model.graph.initializer[0].CopyFrom(numpy_helper.from_array(2 * KERNEL, "kernel"))
  onnx.save(model, path)
  with pytest.raises(UserError, match="has changed"):
    classifiers.from_description(description)


def test_a_layout_that_the_file_does_not_say_is_to_be_bound(tmp_path):
  path = _write(tmp_path / "network.onnx")
  model = onnx.load(path)
  for place in range(4):
    model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = "NCHW"[place]
  # Means over positions take any layout; this kernel does not take 6 colours.
  onnx.save(model, path)
  with pytest.raises(UserError, match="bind classifier.layout = 'nchw'"):
    classifiers.load(path).predict(IMAGES)
  bound = classifiers.load(tmp_path / "network.onnx", layout="nchw")
  expected = 2 * IMAGES.mean(axis=(1, 2)) @ KERNEL
  np.testing.assert_allclose(bound.predict(IMAGES), expected, atol=1e-5)


def test_a_damaged_file_is_refused(tmp_path):
  path = tmp_path / "a.onnx"
  _write(path)
  path.write_bytes(path.read_bytes()[:40])
  with pytest.raises(UserError, match="holds no ONNX network"):
    classifiers.load(str(path))
  with pytest.raises(UserError, match="no output 'other'"):
    classifiers.load(_write(path), output="other")
  with pytest.raises(UserError, match="does not run on images"):
    classifiers.load(_write(path, batch=0)).predict(IMAGES)


@pytest.mark.parametrize("place", ["images", "logits", "batch"])
def test_a_name_that_is_no_text_is_refused(tmp_path, place):
  path = tmp_path / "a.onnx"
  _write(path, batch="batch")
  path.write_bytes(path.read_bytes().replace(place.encode(), b"\x80" * len(place)))
  with pytest.raises(UserError, match="a name in it is no text"):
    classifiers.load(str(path))
