"""Writes, reads and checks inversion.json, which says what an exported module inverts.

Fields (`FIELDS` are in every file, `OPTIONAL` may be left out or null):

  format            int, FORMAT of the program that wrote it
  image_size        int, side of the images in pixels
  colors            int, 1 (grey) or 3 (RGB)
  z_dim             int, size of the noise vector
  num_logits        int, size of the condition; 0: the generator takes noise alone
  conditioning      str, "logits", "labels" or "none": name of the condition's input
  class_names       list of str, one per logit
  dataset           str, what the generator was trained on
  step              int, generator updates
  architecture      str, options.architecture
  feature_shape     [h, w, c] of logits that are a feature map, flattened in this order
  classifier        object, Classifier.describe(): handle, preprocessing, digest, role
  dataset_bindings  object, how its images were read: BINDINGS, by the names that gin has
  created           str, ISO 8601, UTC
  files             object, SHA-256 of every file of the module
  gin_config        str, the operative configuration of the training
  training_seconds  number, what the training took until this step

A classifier that lies near the module is named by its path relative to the module's
folder ("relative", and as "handle"), so that the file holds no path of the machine
that made it and both can be moved together. `read` gives the handle as an absolute
path again.

Format 1, which this program still reads, has no role of the classifier, and absolute
handles.
"""

from __future__ import annotations

import datetime
import math
import os
import re
from typing import Any
from typing import cast

from compare_gan_logits import files
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.classifiers.spec import path_in
from compare_gan_logits.errors import UserError


FILE = "inversion.json"
FORMAT = 2
_READABLE = (1, 2)
# Of a classifier: where its description keeps a path relative to the module.
_PLACES = {"handle": "relative", "weights": "relative_weights"}
FIELDS = {
  "image_size": int,
  "colors": int,
  "z_dim": int,
  "num_logits": int,
  "step": int,
  "dataset": str,
  "conditioning": str,
  "class_names": list,
}
# What dataset.* bound, beside the name.
BINDINGS = {
  "colors": int,
  "crop_method": str,
  "eval_crop_method": str,
  "flip": bool,
  "antialias": bool,
  "fixed_crops": int,
  "labels": (str, type(None)),
}
OPTIONAL = {
  "architecture": str,
  "classifier": dict,
  "dataset_bindings": dict,
  "created": str,
  "feature_shape": list,
  "files": dict,
  "gin_config": str,
  "training_seconds": (int, float),
}


def write(folder: str, facts: dict[str, Any], module_dir: str) -> dict[str, Any]:
  """Writes inversion.json beside the module's other files, which are there already.

  Args:
    folder: that holds the files; may be a temporary one.
    facts: values of the fields; format, created and files are added.
    module_dir: where the folder will be in the end.

  Returns:
    What was written.

  Raises:
    ValueError: a field is missing or of another type.
  """
  info = {
    **facts,
    "format": FORMAT,
    "created": datetime.datetime.now(datetime.timezone.utc).isoformat(
      timespec="seconds"
    ),
    "classifier": _portable(facts.get("classifier"), module_dir),
    "gin_config": _without_home(facts.get("gin_config", "")),
    "files": {k: v for k, v in files.digests(folder).items() if k != FILE},
  }
  wrong = _wrong_fields(info)
  if wrong:
    raise ValueError(f"{FILE} cannot be written: {', '.join(wrong)}")
  files.write_json(os.path.join(folder, FILE), info)
  return info


def name_of(info: dict[str, Any], module_dir: str) -> str:
  """The name of a module's classifier, or of its folder where it has none."""
  recorded = info.get("classifier")
  return recorded["name"] if recorded else os.path.basename(files.absolute(module_dir))


def read(module_dir: str) -> dict[str, Any]:
  """Reads inversion.json of a module, and checks the module's files against it.

  Raises:
    UserError: names the file that is missing, damaged or of another format; or the
      folder, which TensorFlow cannot read.
  """
  files.check_no_pattern(module_dir)
  path = os.path.join(module_dir, FILE)
  if not files.is_file(path):
    raise UserError(
      f"{module_dir} holds no {FILE}; a module is a folder written by --schedule=export"
    )
  info = files.read_json(path)
  wrong = _wrong_fields(info)
  if wrong:
    raise UserError(
      f"{path} is damaged ({', '.join(wrong)}); copy or export the module again"
    )
  if info.get("format") not in _READABLE:
    raise UserError(
      f"{path} is of format {info.get('format')!r}, and this version of the program "
      f"reads {' and '.join(map(str, _READABLE))}; export the module again with this "
      "version"
    )
  info.setdefault("classifier", None)
  _check_files(module_dir, info.get("files") or {})
  _check_signature(module_dir, info)
  _resolve(info["classifier"], module_dir)
  return info


def _wrong_fields(info: Any) -> list[str]:
  """Names of the fields that are missing, of another type, or impossible."""
  if not isinstance(info, dict):
    return ["no object"]
  info = cast("dict[str, Any]", info)
  wrong = [name for name, kind in FIELDS.items() if type(info.get(name)) is not kind]
  wrong += [
    name
    for name, kind in OPTIONAL.items()
    if info.get(name) is not None and not isinstance(info[name], kind)
  ]
  if wrong:
    return wrong
  sizes = (info["image_size"], info["z_dim"], info["num_logits"] + 1)
  if info["colors"] not in (1, 3) or min(sizes) < 1:
    wrong.append("impossible sizes")
  names = info["class_names"]
  if not all(isinstance(n, str) for n in names):
    wrong.append("class_names")
  elif len(names) < info["num_logits"]:
    wrong.append(f"{info['num_logits']} logits, but {len(names)} class names")
  if not _is_feature_shape(info.get("feature_shape"), info["num_logits"]):
    wrong.append("feature_shape")
  if not _is_classifier(info.get("classifier")):
    wrong.append("classifier")
  bindings = cast("dict[str, Any]", info.get("dataset_bindings") or {})
  if not all(isinstance(bindings[n], BINDINGS[n]) for n in bindings.keys() & BINDINGS):
    wrong.append("dataset_bindings")
  digests = cast("dict[str, Any]", info.get("files") or {})
  if not all(isinstance(digest, str) for digest in digests.values()):
    wrong.append("files")
  return wrong


def _is_feature_shape(shape: Any, num_logits: int) -> bool:
  """Whether so many logits are a feature map of that shape; None is no map."""
  if shape is None:
    return True
  sizes = [n for n in shape if type(n) is int and n > 0]
  return len(sizes) == len(shape) == 3 and math.prod(sizes) == num_logits


def _is_classifier(facts: Any) -> bool:
  """Whether it describes a classifier, as far as a module has to know; or is None."""
  if facts is None:
    return True
  return (
    {"name", "handle", "digest"} <= set(facts)
    and all(isinstance(facts[name], str) for name in ("name", "handle", "digest"))
    and isinstance(facts.get("relative"), (str, type(None)))
    and _is_role(facts.get("role"))
  )


def _is_role(facts: Any) -> bool:
  """Whether it is a classifier's role as inversion.json holds it, or None."""
  if not isinstance(facts, (dict, type(None))):
    return False
  try:
    Role.of(cast("dict[str, Any] | None", facts))
  except (UserError, TypeError):
    return False
  return True


def _check_files(module_dir: str, written: dict[str, str]) -> None:
  """The module's files are those that were exported."""
  for name, digest in written.items():
    file = os.path.join(module_dir, name)
    if not files.is_file(file):
      raise UserError(f"no file {file}; copy the whole module, or export it again")
    if files.digest(file) != digest:
      raise UserError(
        f"{file} is damaged: it is not what was exported; copy it again, "
        "or export the module again"
      )


def _check_signature(module_dir: str, info: dict[str, Any]) -> None:
  """The module's generator takes and gives what inversion.json says."""
  generator = hub.signatures(module_dir).get("generator")
  if generator is None or "default" not in generator.outputs:
    raise UserError(
      f"{module_dir} has no signature 'generator' with an output "
      "'default'; export it again"
    )
  wanted = {"z": info["z_dim"]}
  if info["num_logits"]:
    wanted[info["conditioning"]] = info["num_logits"]
  found = {
    name: shape[-1] if shape else None for name, shape in generator.inputs.items()
  }
  if found != wanted:
    raise UserError(
      f"{module_dir}: its generator takes {found}, but {FILE} says "
      f"{wanted}; copy or export the module again"
    )
  shape = generator.outputs["default"]
  side = info["image_size"]
  if shape and None not in shape[1:] and shape[1:] != (side, side, info["colors"]):
    raise UserError(
      f"{module_dir}: its generator makes images of {list(shape[1:])}, but "
      f"{FILE} says {[side, side, info['colors']]}; copy or export "
      "the module again"
    )


def _portable(facts: dict[str, Any] | None, module_dir: str) -> dict[str, Any] | None:
  """The classifier's description without a path of this machine where that will do.

  A relative path will where module and classifier share a folder that is not the
  file system's root.
  """
  if facts is None:
    return facts
  facts = dict(facts)
  for field, name in _PLACES.items():
    if not facts.get(name):
      continue
    _, path, _ = path_in(facts[field])
    shared = os.path.commonpath([path, os.path.abspath(module_dir)])
    if os.path.dirname(shared) == shared:
      del facts[name]
    else:
      facts[field] = facts[name]
  return facts


def _resolve(facts: dict[str, Any] | None, module_dir: str) -> None:
  """Makes what `_portable` made relative absolute paths again, in place."""
  if facts is None:
    return
  for field, name in _PLACES.items():
    if facts.get(name) and facts[field] == facts[name]:
      before, path, after = path_in(facts[name])
      path = os.path.normpath(os.path.join(module_dir, path))
      facts[field] = before + path + after


def _without_home(text: str) -> str:
  """The text with the user's home folder written as ~, where a path begins with it."""
  home = os.path.expanduser("~")
  if os.path.dirname(home) == home:
    return text
  return re.sub(rf"(?<![\w.~-]){re.escape(home + os.sep)}", "~/", text)
