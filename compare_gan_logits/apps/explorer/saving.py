"""A view as a picture, as JSON, and as Python that computes it again."""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from compare_gan_logits import figures
from compare_gan_logits.apps.explorer.view import Shown
from compare_gan_logits.apps.explorer.view import View
from compare_gan_logits.apps.explorer.view import confidences
from compare_gan_logits.apps.explorer.view import labels
from compare_gan_logits.apps.explorer.view import only_logit
from compare_gan_logits.errors import UserError
from compare_gan_logits.inversion import Inverter


_FORMAT = "compare_gan_logits view 1"


def picture(
  shown: Mapping[str, Shown], class_labels: Mapping[str, Sequence[str]], view: View
) -> bytes:
  """PNG of a view: a row per module, the classes of the pictures below them.

  Args:
    shown: {name: view.Shown}.
    class_labels: {name: list of class names}.
    view: View.

  Returns:
    bytes.
  """
  rows, cells = [], []
  for name, module in shown.items():
    rows.append([module.photo, module.seen, *module.pictures])
    names = class_labels[name]
    cells.append(
      [
        "",
        _opinion(module.seen_logits, names),
        *(_opinion(logits, names) for logits in module.picture_logits),
      ]
    )
  columns = ["photo", "as seen"]
  columns += [f"noise {view.noise_seed}.{k}" for k in range(view.samples)]
  title = ", ".join(view.changes())
  file = io.BytesIO()
  figures.grid(rows, file, list(shown), columns, cells, title or None)
  return file.getvalue()


def _opinion(logits, names):
  best, logit = logits.argmax(), only_logit(logits)
  said = f"{confidences(logits)[best]:.0%}" if logit is None else f"logit {logit:.3g}"
  return f"{names[best]} {said}"


class Saved(NamedTuple):
  """A view and what it was seen through.

  modules: {name: folder}.
  view: View.
  classifiers: {name: handle} of those in the place of the ones that modules name.
  """

  modules: dict[str, str]
  view: View
  classifiers: dict[str, str]


def to_json(
  modules: Mapping[str, str], view: View, classifiers: Mapping[str, str] | None = None
) -> str:
  """Text of a view file; arguments as the fields of Saved."""
  content = {
    "format": _FORMAT,
    "modules": dict(modules),
    "classifiers": dict(classifiers or {}),
    "view": view.to_json(),
  }
  return json.dumps(content, indent=2) + "\n"


def from_json(text: str) -> Saved:
  """What `to_json` wrote.

  Raises:
    UserError: it is not a saved view.
  """
  try:
    content = json.loads(text)
  except (ValueError, RecursionError):
    content = None
  if not isinstance(content, dict) or content.get("format") != _FORMAT:
    raise UserError(
      "this is not a saved view; save one from the explorer with View (JSON)"
    )
  modules, classifiers = content.get("modules"), content.get("classifiers", {})
  if not _are_texts(modules) or not _are_texts(classifiers):
    raise UserError(
      "this is not a saved view: it does not name the folders of its modules"
    )
  return Saved(modules, View.from_json(content.get("view")), classifiers)


def _are_texts(values):
  return isinstance(values, dict) and all(isinstance(v, str) for v in values.values())


def snippet(
  modules: Mapping[str, str], view: View, classifiers: Mapping[str, str] | None = None
) -> str:
  """Python that computes the view with each module, bit for bit.

  Arguments as the fields of Saved.
  """
  changed = {
    name: value
    for name, value in view.to_json().items()
    if name not in ("photo", "second")
    and value != View.__dataclass_fields__[name].default
  }
  words = ", ".join(view.changes()) or "the plain view"
  lines = [
    "# " + "".join(c for c in words if c.isprintable()),
    "from compare_gan_logits.apps.explorer.view import View",
    "from compare_gan_logits.apps.explorer.view import compute",
    "from compare_gan_logits.inversion import Inverter",
    "",
    "",
    *_literal("PHOTO", view.photo),
  ]
  if view.second is not None:
    lines += _literal("SECOND", view.second)
  lines += [
    "MODULES = {",
    *(f"    {name!r}: {path!r}," for name, path in modules.items()),
    "}",
  ]
  if classifiers:
    lines += [
      "CLASSIFIERS = {  # in the place of those that the modules name",
      *(f"    {name!r}: {handle!r}," for name, handle in classifiers.items()),
      "}",
    ]
  lines += [
    "",
    "view = View(",
    "    photo=PHOTO,",
  ]
  if view.second is not None:
    lines.append("    second=SECOND,")
  lines += [
    *(f"    {name}={value!r}," for name, value in changed.items()),
    ")",
    *(_LOADED_WITH if classifiers else _LOADED),
    "for name, module in shown.items():",
    "  # images in [0, 1]: .seen [h, w, c], .pictures [samples, h, w, c];",
    "  # .logits [num_logits] is what the generator was given",
    "  print(name, module.pictures.shape, module.picture_logits.argmax(axis=1))",
    "",
  ]
  return "\n".join(lines)


_LOADED = (
  "shown = {name: compute(Inverter.load(path), view)",
  "         for name, path in MODULES.items()}",
)
_LOADED_WITH = (
  "shown = {name: compute(Inverter.load(path, CLASSIFIERS.get(name)), view)",
  "         for name, path in MODULES.items()}",
)


def _literal(name, text):
  return [
    f"{name} = (  # PNG in base64",
    *(f"    {part!r}" for part in textwrap.wrap(text, 76)),
    ")",
  ]


def all_labels(inverters: Mapping[str, Inverter]) -> dict[str, list[str]]:
  """{name: class names} of {name: Inverter}, as the views name them."""
  return {name: labels(inverter) for name, inverter in inverters.items()}
