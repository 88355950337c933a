"""ONNX files, run by onnxruntime as a numpy function in the graph.

Layout, batch, types and outputs are read off the file. There is no gradient.
"""

from __future__ import annotations

import hashlib
import os
import re

import numpy as np

from compare_gan_logits import files
from compare_gan_logits.classifiers import foreign
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers.sources import Bound
from compare_gan_logits.classifiers.sources import Model
from compare_gan_logits.classifiers.sources import Shape
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import first_line
from compare_gan_logits.errors import sentence


EXTENSION = ".onnx"
_TYPES = {
  "tensor(float)": np.float32,
  "tensor(float16)": np.float16,
  "tensor(double)": np.float64,
  "tensor(uint8)": np.uint8,
  "tensor(int32)": np.int32,
  "tensor(int64)": np.int64,
}


class OnnxModel(Model):
  """The network in an .onnx file."""

  def __init__(self, file: str):
    """Raises UserError: onnxruntime is not installed; the file holds no network."""
    self._file = file
    self._session = _session(file)
    try:
      inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
      self._types = {value.name: value.type for value in inputs}
      self._signature = hub.Signature(
        {value.name: _shape(value) for value in inputs},
        {value.name: _shape(value) for value in outputs},
      )
    except UnicodeDecodeError as error:
      raise UserError(
        f"{file} is damaged: a name in it is no text; export it again"
      ) from error

  def bind(self, spec: Spec) -> Bound:
    signature = self._signature
    image = hub.choose_input(spec, signature)
    output = hub.choose_output(spec.name, spec.output, signature)
    hub.check_extra_inputs(spec, signature, image)
    shape = signature.inputs[image]
    if shape is not None and len(shape) != 4:
      raise UserError(
        f"{spec.name} takes no images at {image!r}, whose shape is {list(shape)}; bind "
        "classifier.input_name to an input of images, or export the network with one"
      )
    dtype = self._type(spec, image)
    first = hub.is_channels_first(spec.layout, shape)
    extra = {
      name: (value, self._type(spec, name), signature.inputs[name])
      for name, value in spec.extra_inputs.items()
    }

    def run(images: np.ndarray) -> np.ndarray:
      images = np.transpose(images, [0, 3, 1, 2]) if first else images
      feeds = {name: _filled(*facts, len(images)) for name, facts in extra.items()}
      feeds[image] = np.ascontiguousarray(images, dtype)
      try:
        (result,) = self._session.run([output], feeds)
      except Exception as error:  # It has classes of its own, which share no base.
        layout = "" if spec.layout else "classifier.layout = 'nchw' or "
        raise UserError(
          f"{spec.name} does not run on images {list(feeds[image].shape)} "
          f"({sentence(error)}); bind {layout}classifier.size"
        ) from error
      if first and result.ndim == 4:
        result = np.transpose(result, [0, 2, 3, 1])
      return np.ascontiguousarray(result, np.float32)

    batch = shape[0] if shape else None
    output_shape = signature.outputs[output]
    if first:
      shape, output_shape = hub.channels_last(shape), hub.channels_last(output_shape)
    if output_shape is None:
      raise UserError(
        f"{spec.name}: the file does not say the rank of the output {output!r}; "
        "export it again, with shapes"
      )
    return Bound(
      call=foreign.graph_function(foreign.in_batches(run, batch), output_shape),
      digest=_digest(self._file),
      input_shape=shape,
      output_shape=output_shape,
      takes_bytes=np.issubdtype(dtype, np.integer),
      no_gradient=(
        "is an ONNX file, which has no gradient; attacks and optimisation need the "
        "network itself, as a PyTorch network or a SavedModel"
      ),
      numpy_only=True,
    )

  def _type(self, spec, name):
    found = self._types[name]
    if found not in _TYPES:
      raise UserError(
        f"{spec.name} takes {found} at {name!r}; export the part after that, with an "
        "input of float images"
      )
    return _TYPES[found]


def _session(file):
  try:
    import onnxruntime
  except ImportError as error:
    raise UserError(
      f"{file} is run by onnxruntime: pip install onnxruntime (or the extra [onnx])"
    ) from error
  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3
  try:
    return onnxruntime.InferenceSession(
      file, options, providers=onnxruntime.get_available_providers()
    )
  except Exception as error:  # It has classes of its own, which share no base.
    raise UserError(
      f"{file} holds no ONNX network that onnxruntime can run ({first_line(error)}); "
      "export it again, and keep the file of its weights beside it"
    ) from error


def _shape(value) -> Shape | None:
  """Shape of an input or output; a name, -1 or 0 stands for any size."""
  shape = value.shape
  if shape is None:
    return None
  return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def _filled(value, dtype, shape, count):
  """A constant of the shape that an input has."""
  sizes = [
    count if size is None and axis == 0 else size for axis, size in enumerate(shape)
  ]
  if None in sizes:
    raise UserError(
      f"classifier.extra_inputs cannot fill an input of shape {list(shape)}; export "
      "the network with a size for it"
    )
  return np.full(sizes, value, dtype)


def _digest(file):
  """SHA-256 of the model and of the files of weights that it names."""
  folder = os.path.dirname(os.path.abspath(file))
  with open(file, "rb") as f:
    model = f.read()
  parts = [hashlib.sha256(model).hexdigest()]
  paths = [os.path.join(folder, os.fsdecode(name)) for name in _locations(model)]
  parts += [files.digest(path) for path in paths if os.path.isfile(path)]
  if len(parts) == 1:
    return parts[0]
  return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _locations(model):
  """External files that a model's bytes name, sorted, relative to its folder.

  Its protocol buffer has them as {key: "location", value: length and text}.
  """
  found = set()
  for match in re.finditer(rb"\n\x08location\x12([\x80-\xff]?)([\x00-\x7f])", model):
    low, high = match.groups()
    size = high[0] if not low else (low[0] & 127) | high[0] << 7
    found.add(model[match.end() : match.end() + size])
  return sorted(name for name in found if name and b"\x00" not in name)
