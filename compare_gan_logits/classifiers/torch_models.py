"""PyTorch networks as numpy functions in the graph, with gradients.

'torch:package.module:function' or 'torch:file.py:function' (a function that returns a
torch.nn.Module), 'timm:name', 'torchvision:name', and exported programs (.pt2). Files
of weights are state dictionaries, read with weights_only=True: anything else can run
code, and is loaded only where classifier.trusted_pickle holds its digest.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import pickle
import threading
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from compare_gan_logits import files
from compare_gan_logits.classifiers import foreign
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers import zoo
from compare_gan_logits.classifiers.preprocessing import RESIZE_METHODS
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.classifiers.sources import Bound
from compare_gan_logits.classifiers.sources import Model
from compare_gan_logits.classifiers.sources import Shape
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import sentence


FUNCTION = "torch:"
TIMM = "timm:"
TORCHVISION = "torchvision:"
PREFIXES = (FUNCTION, TIMM, TORCHVISION)
_PROGRAM = ".pt2"
EXTENSIONS = (_PROGRAM, ".pt", ".pth")
# classifier.weights of a network as its function makes it, from a fixed seed.
RANDOM = "random"
# What a network that does not say its size is tried with.
_SIZES = (64, 32, 28, 48, 96, 128, 160, 224, 256, 299, 384)
_COLORS = (1, 3)
# What training scripts put around a state dictionary, and before its names.
_WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")
_NAME_PREFIXES = (
  "",
  "module.",
  "model.",
  "module.model.",
  "_orig_mod.",
  "net.",
  "module.0.",
)


def load(handle: str, weights: str | None, trusted_pickle: str | None) -> TorchModel:
  """The network behind a handle that begins or ends as this file says.

  Args:
    handle: with a prefix of PREFIXES or one of EXTENSIONS.
    weights: "imagenet": those that come with the name, or that the function sets;
      "random" or None: as it is made from a fixed seed; else a file.
    trusted_pickle: see Spec.

  Raises:
    UserError: PyTorch or another package is missing; there is no such network; a file
      does not fit it, is damaged, or would run code.
  """
  torch = _torch()
  if handle.endswith(_PROGRAM) and not handle.startswith(PREFIXES):
    return _program(torch, handle)
  if not handle.startswith(PREFIXES):
    return TorchModel(_whole(torch, handle, trusted_pickle))
  from_file = weights not in (None, RANDOM, "imagenet")
  with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    if handle.startswith(FUNCTION):
      network, facts, own = _from_function(torch, handle)
    else:
      network, facts = _from_library(handle, weights == "imagenet")
      own = ""
  if from_file:
    _fill(torch, network, weights, trusted_pickle)
  return TorchModel(network, facts, own)


class TorchModel(Model):
  """A torch.nn.Module, in inference mode."""

  def __init__(
    self,
    network: Any,
    facts: Mapping[str, Any] | None = None,
    own_code: str = "",
    shape: Shape | None = None,
  ) -> None:
    """Args:
    network: torch.nn.Module.
    facts: as Model.facts has them.
    own_code: the text of the user's Python file, which counts in the digest.
    shape: (b, c, h, w) of its input where that is known.
    """
    torch = _torch()
    self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if shape is None:  # An exported program has no modes.
      network.eval()
    self._network = network.to(self._device)
    for parameter in network.parameters():
      parameter.requires_grad_(False)
    self._facts = {**_known(network), **(facts or {})}
    self._own_code = own_code
    self._shape = shape
    self._lock = threading.Lock()

  def facts(self) -> dict:
    return self._facts

  def bind(self, spec: Spec) -> Bound:
    torch = _torch()
    first = self._takes_channels_first(spec.layout)

    def forward(images):
      """[b, h, w, c] -> output, both tensors, feature maps channels last."""
      inputs = images.permute(0, 3, 1, 2).contiguous() if first else images
      outputs = self._output(inputs, spec)
      if first and outputs.ndim == 4:
        outputs = outputs.permute(0, 2, 3, 1)
      return outputs.float()

    def tensor(array):
      return torch.from_numpy(np.array(array, np.float32)).to(self._device)

    def run(images):
      with self._lock, torch.no_grad():
        return forward(tensor(images)).cpu().numpy()

    def gradient(images, upstream):
      with self._lock, torch.enable_grad():
        inputs = tensor(images).requires_grad_(True)
        outputs = forward(inputs)
        (result,) = torch.autograd.grad(outputs, inputs, tensor(upstream))
        return result.cpu().numpy()

    size, output_shape = self._shapes(spec, run)
    batch = self._shape[0] if self._shape else None
    return Bound(
      call=foreign.graph_function(
        foreign.in_batches(run, batch),
        output_shape,
        foreign.in_batches(gradient, batch),
      ),
      digest=self._digest(),
      input_shape=(batch, size, size, spec.preprocessing.colors),
      output_shape=output_shape,
      numpy_only=True,
    )

  def _takes_channels_first(self, layout):
    """PyTorch's order, unless `layout` or the shape of an exported program's input says
    otherwise."""
    if layout is not None or self._shape is None:
      return layout != "nhwc"
    return self._shape[1] in _COLORS or self._shape[3] not in _COLORS

  def _output(self, inputs, spec):
    """The output that the spec names: of a layer, or one of the network's own."""
    layers = dict(self._network.named_modules())
    if isinstance(spec.output, str) and spec.output in layers:
      kept = []
      hook = layers[spec.output].register_forward_hook(
        lambda module, arguments, output: kept.append(_copied(output))
      )
      try:
        self._network(inputs)
      finally:
        hook.remove()
      if not kept:
        raise UserError(
          f"{spec.name}: the layer {spec.output!r} is not run for an image; name another "
          "in classifier.output"
        )
      return _chosen(spec.name, kept[-1], None)
    return _chosen(spec.name, self._network(inputs), spec.output)

  def _shapes(self, spec, run):
    """(side that images must have or None, shape of the output), by trying."""
    wanted = spec.preprocessing
    size = (self._shape and self._shape[2]) or wanted.size
    sizes = [size] if size else _SIZES
    batch = (self._shape and self._shape[0]) or 1
    ran, problem = {}, None
    for size in sizes:
      try:
        ran[size] = run(np.zeros([batch, size, size, wanted.colors], np.float32)).shape
      except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        if isinstance(error, UserError):
          raise
        problem = problem or error
      if len(ran) == 2:
        break
    if not ran:
      raise UserError(
        f"{spec.name} does not run on images of {wanted.colors} colours and "
        f"{' or '.join(map(str, sizes))} px ({sentence(problem)}); bind "
        "classifier.size and classifier.colors to what it takes"
      )
    shape = next(iter(ran.values()))
    if len(ran) == 2:  # it takes any size, on which a feature map's depends
      shapes = zip(*ran.values()) if len({len(s) for s in ran.values()}) == 1 else []
      shape = tuple(a if a == b else None for a, b in shapes) or (None,)
      return None, (None, *shape[1:])
    return (next(iter(ran)) if wanted.resize != "none" else None), (None, *shape[1:])

  def _digest(self):
    """SHA-256 of structure, traced code, tensors of all modules, and the user's file.

    Tensors in lists, and other files of the user that this one imports, do not count.
    """
    total = hashlib.sha256(repr(self._network).encode())
    for module in self._network.modules():
      if isinstance(module, _torch().fx.GraphModule):  # a program, whose repr is empty
        total.update(module.code.encode())
    for name, value in sorted(_tensors(self._network).items()):
      array = value.detach().cpu().contiguous()
      total.update(f"{name} {array.dtype} {list(array.shape)}".encode())
      total.update(array.reshape(-1).view(_torch().uint8).numpy().tobytes())
    total.update(self._own_code.encode())
    return total.hexdigest()


def _copied(output):
  """A layer's output, which the next layer may overwrite in place."""
  if _torch().is_tensor(output):
    return output.clone()
  if isinstance(output, Mapping):
    return {name: _copied(value) for name, value in output.items()}
  if isinstance(output, (list, tuple)):
    return [_copied(value) for value in output]
  return output


def _tensors(network):
  """{name: tensor} of parameters, of buffers, and of tensors that are plain attributes."""
  found = dict(network.state_dict())
  for place, module in network.named_modules():
    for name, value in [*module.named_buffers(recurse=False), *vars(module).items()]:
      if isinstance(value, _torch().Tensor):
        found.setdefault(f"{place}.{name}" if place else name, value)
  return found


def _chosen(name, result, wanted):
  """The tensor among what a network returns: itself, by name, or by number."""
  torch = _torch()
  if torch.is_tensor(result):
    if wanted is not None:
      raise UserError(
        f"{name} has one output and no layer {wanted!r}; leave out classifier.output, or "
        "name a layer (named_modules() lists them)"
      )
    return result
  if not isinstance(result, Mapping):
    result = {str(i): value for i, value in enumerate(result)}
    # By place: among sorted names "10" comes before "2".
    wanted = str(wanted) if isinstance(wanted, int) else wanted
  tensors = {key: value for key, value in result.items() if torch.is_tensor(value)}
  shapes = {key: tuple(value.shape) for key, value in tensors.items()}
  return tensors[hub.choose_output(name, wanted, hub.Signature({}, shapes))]


def _known(network):
  """Fields of Spec and Preprocessing that a network carries.

  `preprocessing` (a mapping) and `class_names` are attributes that a user may give it;
  `pretrained_cfg` is timm's; the first convolution has the colours.
  """
  torch = _torch()
  facts = {}
  for module in network.modules():
    if isinstance(module, torch.nn.Conv2d):
      if module.in_channels in (1, 3):
        facts["colors"] = module.in_channels
      break
  config = getattr(network, "pretrained_cfg", None)
  if isinstance(config, Mapping) and "input_size" in config:
    facts.update(_of_timm(config))
  own = getattr(network, "preprocessing", None)
  if isinstance(own, Mapping):
    try:
      Preprocessing(**own)
    except TypeError as error:
      raise UserError(f"the network's attribute preprocessing: {error}") from error
    facts.update(own)
  names = getattr(network, "class_names", None)
  if isinstance(names, (list, tuple)):
    facts["class_names"] = tuple(names)
  return facts


def _of_timm(config):
  colors, _, size = config["input_size"]
  method = config.get("interpolation", "bicubic")
  facts = {
    "size": size,
    "colors": colors,
    "mean": tuple(config["mean"]),
    "std": tuple(config["std"]),
    "resize": method if method in RESIZE_METHODS else "bicubic",
    "source": "timm's own data configuration, without the crop of its border",
    "licence": config.get("license") or "unknown",
  }
  if config.get("num_classes") == 1000:
    facts["class_names"] = zoo.imagenet_class_names()
  return facts


def _torch():
  try:
    import torch
  except ImportError as error:
    raise UserError(
      "this classifier is run by PyTorch: pip install torch (or the extra [torch])"
    ) from error
  return torch


def _from_function(torch, handle):
  """(network, facts, text of the user's file) of 'torch:module:function'."""
  place, _, name = handle[len(FUNCTION) :].rpartition(":")
  if not place or not name:
    raise UserError(
      f"{handle} is not like 'torch:package.module:function' or 'torch:file.py:function'"
    )
  module = _module_in(place) if place.endswith(".py") else _imported(place)
  function = getattr(module, name, None)
  if not callable(function):
    raise UserError(f"{handle}: {place} has no function {name!r}")
  try:
    network = function()
  except Exception as error:  # the user's code
    raise UserError(
      f"{handle}: {name}() failed ({type(error).__name__}: {sentence(error)})"
    ) from error
  if not isinstance(network, torch.nn.Module):
    raise UserError(
      f"{handle}: {name}() returned a {type(network).__name__}, not a torch.nn.Module"
    )
  return network, {"name": name}, _text_of(module)


def _text_of(module):
  """A Python module's text; "" where it has none."""
  try:
    return files.read_text(module.__file__ or "")
  except (AttributeError, OSError, UnicodeDecodeError):
    return ""


def _module_in(file):
  name = "compare_gan_logits_user_" + hashlib.sha256(file.encode()).hexdigest()[:8]
  found = importlib.util.spec_from_file_location(name, file)
  if not os.path.isfile(file) or found is None or found.loader is None:
    raise UserError(f"there is no file {file} with the classifier's function")
  module = importlib.util.module_from_spec(found)
  try:
    found.loader.exec_module(module)
  except Exception as error:  # the user's code
    raise UserError(
      f"{file} cannot be run ({type(error).__name__}: {sentence(error)})"
    ) from error
  return module


def _imported(name):
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise UserError(
      f"cannot import {name} ({error}); install it, or name its file instead: "
      f"'torch:/path/{name.rpartition('.')[2]}.py:function'"
    ) from error


def _from_library(handle, pretrained):
  """(network, facts) of 'timm:name' or 'torchvision:name'."""
  library, _, name = handle.partition(":")
  try:
    if library == "timm":
      import timm
    else:
      from torchvision import models
  except (ImportError, RuntimeError) as error:  # torchvision's of another PyTorch
    raise UserError(
      f"{handle} is a network of {library}, which cannot be imported "
      f"({sentence(error)}): pip install {library}, of the release that goes with this "
      "PyTorch"
    ) from error
  try:
    if library == "timm":
      return timm.create_model(name, pretrained=pretrained), {"name": name}
    weights = models.get_model_weights(name).DEFAULT
    network = models.get_model(name, weights=weights if pretrained else None)
    return network, {"name": name, **_of_torchvision(weights)}
  except Exception as error:  # of many kinds: no such name, no network, ...
    raise UserError(
      f"cannot make {handle} ({sentence(error)}); where it is the weights that are "
      "missing, fetch them where there is a network and bind classifier.weights to the "
      "file"
    ) from error


def _of_torchvision(weights):
  transform = weights.transforms()
  method = transform.interpolation.value
  return {
    "size": transform.crop_size[0],
    "mean": tuple(transform.mean),
    "std": tuple(transform.std),
    "resize": method if method in RESIZE_METHODS else "bilinear",
    "class_names": tuple(weights.meta["categories"]),
    "source": "torchvision's own transforms, without the crop of its border",
  }


def _program(torch, file):
  """The network of an exported program, with the shape of its input."""
  try:
    if not zipfile.is_zipfile(file):  # PyTorch would print a traceback of its own.
      raise ValueError("it is incomplete, or of another format")
    program = torch.export.load(file)
  except Exception as error:  # It documents none.
    raise UserError(
      f"{file} holds no exported program that this PyTorch can load "
      f"({sentence(error)}); make it with torch.export.save"
    ) from error
  wanted = set(program.graph_signature.user_inputs)
  values = [n.meta["val"] for n in program.graph.nodes if n.name in wanted]
  if len(values) != 1 or values[0].ndim != 4:
    raise UserError(
      f"{file} takes {[list(value.shape) for value in values]}; export a program of one "
      "input of images"
    )
  sizes = tuple(size if isinstance(size, int) else None for size in values[0].shape)
  colors = next((size for size in (sizes[1], sizes[3]) if size in _COLORS), 3)
  return TorchModel(program.module(), {"colors": colors}, shape=sizes)


def _whole(torch, file, trusted_pickle):
  """The network that a full pickle holds, where it is trusted."""
  if not os.path.isfile(file):
    raise UserError(f"no classifier at {file}; give a folder or a TF-Hub URL")
  found = _read(torch, file, trusted_pickle)
  if isinstance(found, torch.nn.Module):
    return found
  raise UserError(
    f"{file} holds weights without their network; bind classifier.weights to it, and "
    "classifier.handle = 'torch:package.module:function' to the function that makes the "
    "network"
  )


def _read(torch, file, trusted_pickle):
  """What a PyTorch file holds, read so that it cannot run code unless it is trusted."""
  try:
    return torch.load(file, map_location="cpu", weights_only=True)
  except pickle.UnpicklingError:
    digest = files.digest(file)
    if trusted_pickle is None:
      raise UserError(
        f"{file} is a full pickle, which can run any code when it is read: save "
        "model.state_dict() instead; or, if you trust whoever made it, bind "
        f"classifier.trusted_pickle = '{digest}'"
      ) from None
    if trusted_pickle != digest:
      raise UserError(
        f"{file} is not the file that classifier.trusted_pickle trusts: its digest is "
        f"{digest}"
      ) from None
  except Exception as error:  # of damaged bytes the reader raises errors of any type
    raise UserError(
      f"{file} holds no weights that PyTorch can read ({sentence(error)}); save "
      "model.state_dict() again (of a TorchScript archive, export the network with "
      "torch.export.save or torch.onnx.export)"
    ) from error
  return torch.load(file, map_location="cpu", weights_only=False)


def _fill(torch, network, file, trusted_pickle):
  """Puts the weights of a file into a network, all of them and no others."""
  if not os.path.isfile(file):
    raise UserError(f"classifier.weights: there is no file {file}")
  state = _read(torch, file, trusted_pickle)
  while isinstance(state, Mapping):
    inner = next((n for n in _WRAPPINGS if isinstance(state.get(n), Mapping)), None)
    if inner is None:
      break
    state = state[inner]
  if isinstance(state, torch.nn.Module):
    state = state.state_dict()
  if not isinstance(state, Mapping):
    raise UserError(f"{file} holds no state dictionary but a {type(state).__name__}")
  wanted = network.state_dict()
  needed = {n for n in wanted if not n.endswith("num_batches_tracked")}
  for prefix in _NAME_PREFIXES:
    found = {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)}
    if needed <= set(found) <= set(wanted):
      try:
        network.load_state_dict(found, strict=False)
      except RuntimeError as error:
        raise UserError(
          f"{file} does not fit the network: {sentence(error)}"
        ) from error
      return
  missing, more = sorted(needed - set(state)), sorted(set(state) - set(wanted))
  raise UserError(
    f"{file} does not fit the network: it lacks {missing[:1] or 'nothing'}, and has "
    f"{more[:1] or 'nothing'} that the network lacks; name the function that makes the "
    "network it was saved from"
  )
