"""Finds a classifier's module, reads what it offers, and loads it frozen.

Every format ends as a SavedModel folder: TF-Hub modules (TF1 format), TF2
SavedModels, and what keras_models.py and converted.py make. Which tensors to feed and
fetch is read from the signatures in saved_model.pb, without building a graph.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import socket
from collections.abc import Mapping
from typing import Any
from typing import Union

import tensorflow.compat.v1 as tf
import tensorflow_hub
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from compare_gan_logits import checkpoints
from compare_gan_logits import files
from compare_gan_logits.classifiers.sources import Bound
from compare_gan_logits.classifiers.sources import Model
from compare_gan_logits.classifiers.sources import Shape
from compare_gan_logits.classifiers.spec import DESCRIPTION
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


# Name, in a description, of a SavedModel that is called as an object because it
# has no signatures.
CALL = "__call__"
# File in a converted model's folder, with the digest of what it was made from.
SOURCE_DIGEST = "source.sha256"
# A hub server that does not answer within this many seconds counts as unreachable.
_PATIENCE = 30


@dataclasses.dataclass(frozen=True)
class Signature:
  """Inputs and outputs of one signature: name -> shape (None: rank unknown).

  `types` has the inputs' types, name -> tf.DType.
  """

  inputs: Mapping[str, Shape | None]
  outputs: Mapping[str, Shape | None]
  types: Mapping[str, tf.DType] = dataclasses.field(default_factory=dict)

  def offer(self) -> str:
    inputs = f"inputs {_listed(self.inputs)}; " if self.inputs else ""
    return f"{inputs}outputs {_listed(self.outputs)}"


@dataclasses.dataclass(frozen=True)
class Binding:
  """A signature with its image input and its output chosen.

  Attributes:
    input_shape, output_shape: as Bound has them, channels last.
    batch: images that it takes at a time, where it takes no other number.
    channels_first: whether images go in, and feature maps come out, as [b, c, h, w].
    input_type: of the images: floating point, integers, or strings (encoded files).
  """

  signature: str
  input_name: str | None
  input_shape: Shape | None
  output: str | None
  output_shape: Shape | None
  extra_inputs: Mapping[str, float]
  batch: int | None = None
  channels_first: bool = False
  input_type: tf.DType = tf.float32


def locate(handle: str) -> str:
  """Folder of the SavedModel behind a path or a URL.

  Local folders come first; TF-Hub URLs go through TFHUB_CACHE_DIR; gs:// and other
  file systems of TensorFlow are read in place.

  Raises:
    UserError: it is no SavedModel, or the server does not answer.
  """
  path = os.path.abspath(os.path.expanduser(handle))
  if os.path.isdir(path):
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
      raise UserError(
        f"{path} holds no saved_model.pb; a classifier is a TF-Hub "
        "module, a SavedModel, or a .h5 or .keras file"
      )
    return path
  if "://" not in handle:
    raise UserError(f"no classifier at {path}; give a folder or a TF-Hub URL")
  try:
    with _bounded_wait():
      return tensorflow_hub.resolve(handle)
  except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
    raise UserError(
      f"cannot fetch {handle} ({error}); fetch it where there is a network, unpack "
      "it, and bind classifier.path to its folder, or set TFHUB_CACHE_DIR to a "
      "cache that has it"
    ) from error


@contextlib.contextmanager
def _bounded_wait():
  """TF-Hub opens its connection without a time-out of its own."""
  before = socket.getdefaulttimeout()
  socket.setdefaulttimeout(_PATIENCE)
  try:
    yield
  finally:
    socket.setdefaulttimeout(before)


def signatures(path: str) -> dict[str, Signature]:
  """What a SavedModel offers: {signature name: Signature}.

  Raises:
    UserError: the file is damaged.
  """
  saved_model = saved_model_pb2.SavedModel()
  file = os.path.join(path, "saved_model.pb")
  try:
    with tf.io.gfile.GFile(file, "rb") as f:
      saved_model.ParseFromString(f.read())
  except tf.errors.NotFoundError:
    raise UserError(
      f"{file} is missing; copy the module again, or, if this is TF-Hub's cache, "
      "remove that folder"
    ) from None
  except DecodeError as error:
    raise UserError(f"{file} is damaged ({error}); copy it again") from error
  if not saved_model.meta_graphs:
    raise UserError(f"{file} is damaged (it holds no graph); copy it again")
  # TF-Hub's TF1 format has a graph for inference (no tags) and may have others.
  graph = min(saved_model.meta_graphs, key=lambda g: len(g.meta_info_def.tags))
  return {
    name: Signature(
      inputs=_shapes(definition.inputs),
      outputs=_shapes(definition.outputs),
      types={k: tf.as_dtype(info.dtype) for k, info in definition.inputs.items()},
    )
    for name, definition in graph.signature_def.items()
    if not name.startswith("__")
  }


def _shapes(tensors):
  return {
    name: None
    if info.tensor_shape.unknown_rank
    else tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    for name, info in tensors.items()
  }


def _listed(tensors):
  return ", ".join(
    f"{name} {'of unknown rank' if shape is None else list(shape)}"
    for name, shape in sorted(tensors.items())
  )


def choose(spec: Spec, path: str) -> Binding:
  """Chooses signature, image input and output of the module at `path`.

  Raises:
    UserError: a name is wrong or the choice is not unique; says what is offered.
  """
  offered = signatures(path)
  if not offered:
    if spec.signature or spec.input_name:
      raise UserError(
        f"{spec.name} has no signatures and is called as it is: leave "
        "out classifier.signature and classifier.input_name"
      )
    first = spec.layout == "nchw"
    return Binding(
      CALL, None, None, spec.output, None, spec.extra_inputs, channels_first=first
    )
  name = _choose_signature(spec, offered)
  signature = offered[name]
  image = choose_input(spec, signature)
  output = choose_output(spec.name, spec.output, signature)
  check_extra_inputs(spec, signature, image)
  shape = signature.inputs[image]
  input_type = signature.types.get(image, tf.float32)
  if input_type == tf.string and (shape is None or len(shape) != 1):
    raise UserError(
      f"{spec.name} takes a string at {image!r} that is not a list of encoded image "
      "files; export the part after the decoder, with an input [None, height, width, "
      "3]"
    )
  first = is_channels_first(spec.layout, shape)
  return Binding(
    name,
    image,
    channels_last(shape) if first else shape,
    output,
    channels_last(signature.outputs[output]) if first else signature.outputs[output],
    spec.extra_inputs,
    batch=shape[0] if shape else None,
    channels_first=first,
    input_type=input_type,
  )


def is_channels_first(layout: str | None, shape: Shape | None) -> bool:
  """Whether an input of that shape takes [b, c, h, w], if `layout` does not say."""
  if layout is not None:
    return layout == "nchw"
  if shape is None or len(shape) != 4:
    return False
  return shape[1] in (1, 3) and shape[3] not in (1, 3)


def channels_last(shape: Shape | None) -> Shape | None:
  """(b, c, h, w) -> (b, h, w, c); other ranks as they are."""
  if shape is None or len(shape) != 4:
    return shape
  return shape[0], shape[2], shape[3], shape[1]


def _choose_signature(spec, offered):
  if spec.signature is not None:
    if spec.signature not in offered:
      raise UserError(
        f"{spec.name}: no signature {spec.signature!r}; "
        f"{nearest(spec.signature, offered)}"
      )
    return spec.signature
  for name in ("serving_default", "default"):
    if name in offered:
      return name
  if len(offered) == 1:
    return next(iter(offered))
  raise UserError(
    f"{spec.name}: bind classifier.signature to one of {', '.join(sorted(offered))}"
  )


def check_extra_inputs(spec: Spec, signature: Signature, image: str) -> None:
  """Raises UserError unless the spec has a constant for each other input."""
  others = set(signature.inputs) - {image}
  if others != set(spec.extra_inputs):
    raise UserError(
      f"{spec.name}: the inputs beside the image are {sorted(others)} but "
      f"classifier.extra_inputs has {sorted(spec.extra_inputs)}; {signature.offer()}"
    )


def choose_input(spec: Spec, signature: Signature) -> str:
  """Name of the input for images; raises UserError where it is not the only one."""
  if spec.input_name is not None:
    if spec.input_name not in signature.inputs:
      raise UserError(f"{spec.name}: no input {spec.input_name!r}; {signature.offer()}")
    return spec.input_name
  images = [
    name
    for name, shape in signature.inputs.items()
    if shape is not None and len(shape) == 4
  ]
  candidates = images or list(signature.inputs)
  if len(candidates) != 1:
    raise UserError(
      f"{spec.name}: bind classifier.input_name to the image input; {signature.offer()}"
    )
  return candidates[0]


def choose_output(
  module: str, wanted: Union[str, int, None], signature: Signature
) -> str:
  """Name of the output that Spec.output means; raises UserError if there is none."""
  names = sorted(signature.outputs)
  if isinstance(wanted, int):
    if not 0 <= wanted < len(names):
      raise UserError(f"{module}: no output number {wanted}; {signature.offer()}")
    return names[wanted]
  if wanted is not None:
    if wanted not in signature.outputs:
      raise UserError(f"{module}: no output {wanted!r}; {signature.offer()}")
    return wanted
  for name in ("logits", "default"):
    if name in signature.outputs:
      return name
  flat = [
    name
    for name in names
    if signature.outputs[name] is not None and len(signature.outputs[name]) == 2
  ]
  candidates = flat or names
  if len(candidates) != 1:
    raise UserError(
      f"{module}: bind classifier.output to the logits; {signature.offer()}"
    )
  return candidates[0]


def digest(path: str) -> str:
  """SHA-256 (hex) of the model at `path`.

  Of a converted model it is the digest of what it was made from: saved_model.pb
  numbers its functions by what else the process did.
  """
  source = os.path.join(path, SOURCE_DIGEST)
  if tf.io.gfile.exists(source):
    with tf.io.gfile.GFile(source) as f:
      return f.read()
  parts = [
    f"{name} {digest}"
    for name, digest in files.digests(path).items()
    if name == "saved_model.pb" or name.startswith(("variables", "assets"))
  ]
  return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Module(Model):
  """The SavedModel in a folder."""

  def __init__(self, path: str):
    self.path = path

  def facts(self) -> dict:
    """What classifier.json says, where training.py has written one."""
    description = os.path.join(self.path, DESCRIPTION)
    if not files.is_file(description):
      return {}
    try:
      return {"spec": Spec.of(files.read_json(description)["spec"])}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
      raise UserError(f"{description} is damaged ({error}); copy it again") from error

  def bind(self, spec: Spec) -> Bound:
    binding = choose(spec, self.path)
    integers = binding.input_type.is_integer
    encoded = binding.input_type == tf.string
    reason = None
    if integers or encoded:
      reason = (
        f"takes {'encoded files' if encoded else 'whole numbers'}, of which there is no "
        "gradient; export it from behind that step for attacks and optimisation"
      )
    return Bound(
      call=lambda images: call(self.path, binding, images),
      digest=digest(self.path),
      input_shape=None if encoded else binding.input_shape,
      output_shape=binding.output_shape,
      takes_bytes=integers or encoded,
      no_gradient=reason,
    )


def call(path: str, binding: Binding, images: tf.Tensor) -> tf.Tensor:
  """Output of the frozen module, float32, for images [b, h, w, c] as it wants them.

  Feature maps come out as [b, h, w, c], whatever order the module has.

  Raises:
    UserError: they are not as it wants them, or it has no such output.
  """
  module = load_frozen(path)
  extra = dict(binding.extra_inputs)
  if binding.signature == CALL:
    outputs = _call_object(module, _as_wanted(images, binding), extra)
    return _given_back(_pick(path, outputs, binding.output), binding)
  wanted = binding.input_shape
  sized = wanted is not None and binding.input_type != tf.string
  if sized and not images.shape[1:].is_compatible_with(wanted[1:]):
    raise UserError(
      f"{path} takes images of shape {list(wanted)}, not "
      f"{images.shape.as_list()}; with classifier.resize = 'none' they "
      "must have that size"
    )
  function = module.signatures[binding.signature]
  specs = function.structured_input_signature[1]

  def run(batch):
    constants = {
      name: _filled(path, name, value, specs[name], batch)
      for name, value in extra.items()
    }
    inputs = _as_wanted(batch, binding)
    outputs = function(**{binding.input_name: inputs}, **constants)[binding.output]
    return _given_back(outputs, binding)

  return run(images) if binding.batch is None else _in_batches(run, images, binding)


def _as_wanted(images, binding):
  """Images [b, h, w, c] in the order of axes and of the type that the module has."""
  if binding.input_type == tf.string:
    return tf.map_fn(
      tf.io.encode_png, tf.cast(images, tf.uint8), fn_output_signature=tf.string
    )
  if binding.channels_first:
    images = tf.transpose(images, [0, 3, 1, 2])
  return tf.cast(images, binding.input_type)


def _given_back(outputs, binding):
  """Outputs in this program's order of axes and type, whatever the module's are."""
  if binding.channels_first and outputs.shape.rank == 4:
    outputs = tf.transpose(outputs, [0, 2, 3, 1])
  return tf.cast(outputs, tf.float32)


def _filled(path, name, value, wanted, images):
  """A constant for an input beside the images; a tensor is filled with it."""
  constant = tf.constant(value, wanted.dtype)
  if wanted.shape.rank in (None, constant.shape.rank):
    return constant
  shape = wanted.shape.as_list()
  if None in shape[1:] and len(shape) == 4:  # a second image, of the size of the first
    shape[1:3] = images.shape.as_list()[1:3]
  if None in shape[1:]:
    raise UserError(
      f"{path}: classifier.extra_inputs cannot fill {name!r} of shape {wanted.shape}; "
      "export the module with a size for it"
    )
  return tf.fill(
    [tf.shape(images)[0] if shape[0] is None else shape[0], *shape[1:]], constant
  )


def _in_batches(run, images, binding):
  """`run`, which takes binding.batch images at a time, over any number of them."""
  size = binding.batch
  count = tf.shape(images)[0]
  missing = tf.floormod(-count, size)
  last = tf.tile(images[-1:], [missing, 1, 1, 1])
  batches = tf.reshape(
    tf.concat([images, last], axis=0), [-1, size, *images.shape.as_list()[1:]]
  )
  outputs = tf.map_fn(run, batches, fn_output_signature=tf.float32)
  inner = tf.shape(outputs)[2:]
  joined = tf.reshape(outputs, tf.concat([[-1], inner], axis=0))[:count]
  if binding.output_shape is not None:
    joined.set_shape([images.shape[0], *binding.output_shape[1:]])
  return joined


def _call_object(module, images, extra):
  """Calls a signature-less SavedModel, in inference mode where it has modes."""
  for mode in ({"training": False}, {}):
    try:
      return module(images, **mode, **extra)
    except (TypeError, ValueError) as error:
      problem = error
  raise UserError(
    f"this module without signatures does not take images of shape "
    f"{images.shape} (bind classifier.size): {problem}"
  ) from problem


def _pick(path, outputs, wanted):
  if not isinstance(outputs, Mapping):
    if wanted is not None:
      raise UserError(
        f"{path} has one output, without a name: leave out classifier.output"
      )
    return outputs
  shapes = {name: tuple(tensor.shape) for name, tensor in outputs.items()}
  return outputs[choose_output(path, wanted, Signature({}, shapes))]


def load_frozen(path: str) -> Any:
  """The module at `path` in the default graph, loaded once, as local variables.

  Local variables are initialised (here: read from the module's files) in every
  new session, after a resume as well, are written into no checkpoint, and no
  optimiser or moving average finds them.

  Raises:
    RuntimeError: called eagerly; Classifier.predict serves there.
  """
  # Out of tf.data functions, device loops and the like, where a variable has no
  # place.
  with tf.init_scope():
    if tf.executing_eagerly():
      raise RuntimeError("a classifier is a graph function; call its predict()")
    graph = tf.get_default_graph()
    # A tuple as key keeps the object out of exported meta graphs.
    key = ("frozen_classifier", path, _replica())
    if not graph.get_collection_ref(key):
      with _variables_made_local(graph), _naming_damage(path):
        _check_weights(path)
        graph.add_to_collection(key, tensorflow_hub.load(path))
    return graph.get_collection_ref(key)[0]


def _check_weights(path):
  """TensorFlow reads them when variables are initialised, and names no module then."""
  weights = os.path.join(path, "variables", "variables")
  if tf.io.gfile.glob(weights + ".*"):
    trouble = checkpoints.damage(weights)
    if trouble is not None:
      raise ValueError(trouble)


@contextlib.contextmanager
def _naming_damage(path):
  """Whatever TensorFlow says of a module that it cannot load, in one sentence."""
  try:
    yield
  except Exception as error:  # It has no list of its own: KeyError, DataLossError, ...
    raise UserError(
      f"the module {path} is damaged or incomplete ({type(error).__name__}:"
      f" {error}); copy or export it again"
    ) from error


def _replica():
  context = tf.distribute.get_replica_context()
  return None if context is None else str(context.replica_id_in_sync_group)


@contextlib.contextmanager
def _variables_made_local(graph):
  """Moves what is created inside from the global to the local variables."""
  collections = (
    tf.GraphKeys.GLOBAL_VARIABLES,
    tf.GraphKeys.TRAINABLE_VARIABLES,
    tf.GraphKeys.MODEL_VARIABLES,
  )
  before = {id(v) for name in collections for v in graph.get_collection(name)}
  yield
  created = {}
  for name in collections:
    kept = graph.get_collection_ref(name)
    created.update({id(v): v for v in kept if id(v) not in before})
    kept[:] = [v for v in kept if id(v) in before]
  for variable in created.values():
    graph.add_to_collection(tf.GraphKeys.LOCAL_VARIABLES, variable)
