"""Finds a classifier's module, reads what it offers, and loads it frozen.

Every format ends as a SavedModel folder: TF-Hub modules (TF1 format), TF2
SavedModels, and what convert.py makes of Keras models. Which tensors to feed and
fetch is read from the signatures in saved_model.pb, without building a graph.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import socket
from collections.abc import Mapping

import tensorflow.compat.v1 as tf
import tensorflow_hub
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from compare_gan_logits import checkpoints
from compare_gan_logits import files
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


# Name, in a description, of a SavedModel that is called as an object because it
# has no signatures.
CALL = "__call__"
# File in a converted model's folder, with the digest of what it was made from.
SOURCE_DIGEST = "source.sha256"
# Names under which this module's users know them.
file_digest, file_digests = files.digest, files.digests
# A hub server that does not answer within this many seconds counts as unreachable.
_PATIENCE = 30


@dataclasses.dataclass(frozen=True)
class Signature:
  """Inputs and outputs of one signature: name -> shape (None: rank unknown)."""

  inputs: dict[str, tuple[int | None, ...] | None]
  outputs: dict[str, tuple[int | None, ...] | None]

  def offer(self):
    inputs = f"inputs {_listed(self.inputs)}; " if self.inputs else ""
    return f"{inputs}outputs {_listed(self.outputs)}"


@dataclasses.dataclass(frozen=True)
class Binding:
  """A signature with its image input and its output chosen."""

  signature: str
  input_name: str | None
  input_shape: tuple[int | None, ...] | None
  output: str | None
  output_shape: tuple[int | None, ...] | None
  extra_inputs: Mapping[str, float]


def locate(handle):
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


def signatures(path):
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
      f"{file} is gone; copy the module again, or if this is TF-Hub's "
      "cache, remove that folder"
    ) from None
  except DecodeError as error:
    raise UserError(f"{file} is damaged ({error}); copy it again") from error
  if not saved_model.meta_graphs:
    raise UserError(f"{file} is damaged (it holds no graph); copy it again")
  # TF-Hub's TF1 format has a graph for inference (no tags) and may have others.
  graph = min(saved_model.meta_graphs, key=lambda g: len(g.meta_info_def.tags))
  return {
    name: Signature(
      inputs=_shapes(definition.inputs), outputs=_shapes(definition.outputs)
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


def bind(spec, path):
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
    return Binding(CALL, None, None, spec.output, None, spec.extra_inputs)
  name = _choose_signature(spec, offered)
  signature = offered[name]
  image = _choose_input(spec, signature)
  output = _choose_output(spec.name, spec.output, signature)
  others = set(signature.inputs) - {image}
  if others != set(spec.extra_inputs):
    raise UserError(
      f"{spec.name}: the inputs beside the image are {sorted(others)} but "
      f"classifier.extra_inputs has {sorted(spec.extra_inputs)}; {signature.offer()}"
    )
  return Binding(
    name,
    image,
    signature.inputs[image],
    output,
    signature.outputs[output],
    spec.extra_inputs,
  )


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


def _choose_input(spec, signature):
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


def _choose_output(module, wanted, signature):
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


def digest(path):
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


def call(path, binding, images):
  """Output tensor of the frozen module, for images as the module wants them.

  Raises:
    UserError: they are not as it wants them, or it has no such output.
  """
  module = load_frozen(path)
  extra = dict(binding.extra_inputs)
  if binding.signature == CALL:
    return _pick(path, _call_object(module, images, extra), binding.output)
  if not images.shape.is_compatible_with(binding.input_shape):
    raise UserError(
      f"{path} takes images of shape {list(binding.input_shape)}, not "
      f"{images.shape.as_list()}; with classifier.resize = 'none' they "
      "must have that size"
    )
  function = module.signatures[binding.signature]
  specs = function.structured_input_signature[1]
  extra = {name: tf.constant(value, specs[name].dtype) for name, value in extra.items()}
  return function(**{binding.input_name: images}, **extra)[binding.output]


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
  return outputs[_choose_output(path, wanted, Signature({}, shapes))]


def load_frozen(path):
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
    trouble = checkpoints.problem(weights)
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
