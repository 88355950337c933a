"""One self-contained HTML page about what the experiments found.

It needs no network and no script: figures are inlined, and links lead to the arrays beside
it.
"""

from __future__ import annotations

import base64
import collections
import html
import os
import struct
from collections.abc import Mapping
from typing import Any

from compare_gan_logits import files
from compare_gan_logits.experiments import study
from compare_gan_logits.experiments import verdicts


_TITLE = "What the logits keep"


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto;
  padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid var(--line);
  padding-top: 1rem; }
p, figcaption { max-width: 46rem; overflow-wrap: anywhere; }
figcaption, .small { font-size: .85rem; opacity: .8; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; background: white; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric:
  tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; vertical-align: top;
  border-bottom: 1px solid var(--soft); }
td.value { white-space: nowrap; } td.wide { min-width: 11rem; }
.outcome { font-weight: 600; white-space: nowrap; }
.holds { color: #0a7d4f; } .fails { color: #c4432b; } .open { color: #8a6d00; }
nav a { display: inline-block; margin-right: .8rem; }
figure.curves { display: inline-block; width: min(100%, 30rem); margin-right: 1rem; }
@media (prefers-color-scheme: dark) { .holds { color: #4cc38a; }
  .fails { color: #ff8b73; } .open { color: #e0b73a; } }
"""
_CLASSES = {verdicts.HOLDS: "holds", verdicts.FAILS: "fails", verdicts.OPEN: "open"}
_SHOWN_DENSITY = 2  # screen pixels: the PNG's over this


def write(
  done: Mapping[str, dict[str, Any]], setting: Mapping[str, Any], folder: str
) -> None:
  """Writes <folder>/report.html.

  It opens with pictures and one table of headline numbers; the statements follow, in
  groups, and then every experiment.

  Args:
    done: what study.run returned.
    setting: what study.describe returned.
    folder: where the experiments' folders are.
  """
  opening = _opening(done)
  body = [_head(setting), _front(done, setting, opening, folder), _models(setting)]
  body.append(_statements(done, setting))
  body += [
    _experiment(name, found, setting["modules"], opening, folder)
    for name, found in done.items()
  ]
  page = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<link rel="icon" href="data:,">\n'
    f"<title>{_TITLE}</title>\n<style>{_STYLE}</style>\n</head>\n"
    f"<body>\n{''.join(body)}</body>\n</html>\n"
  )
  files.write_text(os.path.join(folder, "report.html"), page)


def _head(setting):
  limit = f", at most {setting['limit']} images each" if setting["limit"] else ""
  return (
    f"<h1>{_TITLE}</h1>\n<p>The experiments of Teterwak et al. (2021), "
    "<i>Understanding Invariance via Feedforward Inversion of Discriminatively Trained "
    f"Classifiers</i>, on the {_text(setting['split'])} images of "
    f"{_text(setting['dataset'])} (seed {setting['seed']}{limit}).</p>\n"
  )


def _opening(done):
  """(experiment, file) of the pictures that open the report.

  Those that are meant to, or else the first grid there is.
  """
  pictures = [(name, p) for name, found in done.items() for p in found["pictures"]]
  chosen = [(name, p) for name, p in pictures if p["opening"]]
  chosen = chosen or [(name, p) for name, p in pictures if p["kind"] == "grid"][:1]
  return [(name, picture["file"]) for name, picture in chosen]


def _front(done, setting, opening, folder):
  """Pictures and one row of numbers for every module."""
  parts = [
    _figure(name, picture, folder)
    for name, found in done.items()
    for picture in found["pictures"]
    if (name, picture["file"]) in opening
  ]
  columns = [
    (column, found["summary"][measure])
    for found in done.values()
    for column, measure in found["headlines"]
  ]
  if columns:
    rows = [
      [
        label,
        *(_Raw(_interval(of.get(label)) if of.get(label) else "") for _, of in columns),
      ]
      for label in setting["modules"]
    ]
    parts.append('<h2 id="numbers">Headline numbers</h2>\n')
    parts.append(_table(["model", *(column for column, _ in columns)], rows))
  judge = setting["judge"]
  parts.append(
    '<p class="small">Square brackets hold 95&nbsp;% intervals over images: '
    "bootstrap for means, Wilson for fractions; n is the number of images. They do "
    "not say how much a second training would differ. Class kept: the classifier "
    "that was inverted gives the reconstruction the class of its original"
    + (
      f"; (judge): the same by {_text(judge['name'])}, which had no part in the "
      "inversion"
      if judge
      else " (it is no independent judge; --judge names one)"
    )
    + ". The paper's values are for ImageNet and ResNet-152 at 64 px: compare "
    "directions with them, not sizes.</p>\n"
  )
  return "".join(parts)


def _models(setting):
  rows = []
  for label, module in setting["modules"].items():
    classifier = module["classifier"] or {}
    rows.append(
      [
        label,
        module["architecture"] or "unknown",
        module["trained_on"],
        f"{module['image_size']} px",
        f"{module['step']:,}",
        classifier.get("name", "none"),
        _role(module["role"]),
        (classifier.get("digest") or "")[:12],
        module["path"],
      ]
    )
  head = ["model", "generator", "trained on", "size", "steps", "classifier"]
  head += ["role", "digest", "module"]
  return '<h2 id="models">Models</h2>\n' + _table(head, rows)


def _role(role):
  """A recorded role in words."""
  if not role:
    return "not recorded"
  details = [role["attack"]] if role["attack"] else []
  if role["epsilon"] is not None:
    details.append(f"\N{GREEK SMALL LETTER EPSILON} = {role['epsilon']:g}")
  return role["kind"] + (f" ({', '.join(details)})" if details else "")


def _statements(done, setting):
  """All verdicts, in groups."""
  links = " ".join(
    f'<a href="#{name}">{_text(found["title"])}</a>' for name, found in done.items()
  )
  parts = [
    '<h2 id="verdicts">Statements and their outcomes</h2>\n<p>A statement holds if '
    "the whole interval of its evidence is on the stated side, does not hold if it "
    "is wholly on the other side, and is not decided otherwise. One or two values "
    "decide nothing.</p>\n"
  ]
  if setting["why_no_pair"]:
    parts.append(f"<p>{_text(setting['why_no_pair'])}</p>\n")
  for group in verdicts.GROUPS:
    rows, counts = [], collections.Counter()
    for name, found in done.items():
      for verdict in found["verdicts"]:
        if verdict["group"] == group:
          counts[verdict["outcome"]] += 1
          rows.append(_statement(name, verdict))
    if rows:
      summary = ", ".join(f"{_text(o)}: {counts[o]}" for o in _CLASSES if counts[o])
      parts.append(f"<h3>{_text(group)}</h3>\n<p>{summary}.</p>\n")
      parts.append(_table(["outcome", "statement and evidence", "paper"], rows))
  return f"<nav>{links}</nav>\n" + "".join(parts)


def _statement(name, verdict):
  text = f'<a href="#{name}">{_text(verdict["statement"])}</a><br>{_evidence(verdict)}'
  return [_badge(verdict["outcome"]), _Raw(text, "wide"), verdict["section"]]


def _evidence(verdict):
  words = verdicts.evidence(verdict["evidence_is"], verdict["margin"])
  return f'<span class="small">{_text(words)}: {_interval(verdict["evidence"])}</span>'


def _experiment(name, found, modules, opening, folder):
  parts = [
    f'<h2 id="{name}">{_text(found["title"])}</h2>\n',
    f'<p>{_text(found["question"])} <span class="small">Paper: '
    f"{_text(found['section'])}.</span></p>\n",
  ]
  parts += [f"<p>{_text(note)}</p>\n" for note in found["notes"]]
  parts += [
    f"<p>{_badge(v['outcome']).html}: {_text(v['statement'])}. {_evidence(v)}</p>\n"
    for v in found["verdicts"]
  ]
  parts.append(_measures(found, modules))
  parts += [
    _figure(name, picture, folder)
    for picture in found["pictures"]
    if (name, picture["file"]) not in opening
  ]
  parts.append(_costs(found))
  settings = ", ".join(f"{key} = {value}" for key, value in found["settings"].items())
  parts.append(
    f'<p class="small">Settings: {_text(settings)}. '
    f'<a href="{name}/{study.ARRAYS}">Arrays (npz)</a>, '
    f'<a href="{name}/{study.RESULT}">numbers (JSON)</a>.</p>\n'
  )
  return "".join(parts)


def _measures(found, modules):
  """A line per measure; a column per model, and the paper's value after ours."""
  order = found.get("order") or list(found["summary"])
  if not order:
    return ""
  labels = [
    label for label in modules if any(label in found["summary"][key] for key in order)
  ]
  rows = []
  for key in order:
    entries = found["summary"][key]
    row = [key]
    for label in labels:
      entry = entries.get(label)
      row.append(_Raw(_interval(entry) if entry else ""))
      row.append(f"{entry['paper']:g}" if entry and "paper" in entry else "")
    rows.append(row)
  head = ["measure"]
  for label in labels:
    head += [label, "paper"]
  filled = [0] + [c for c in range(1, len(head)) if any(row[c] for row in rows)]
  return _table([head[c] for c in filled], [[row[c] for c in filled] for row in rows])


def _costs(found):
  """Times, which are not part of results.json."""
  costs = {key: value for key, value in found["costs"].items() if key != "total, s"}
  text = f"Took {found['costs']['total, s']:.1f} s."
  if costs:
    text += " " + "; ".join(f"{key}: {value:.4f}" for key, value in costs.items()) + "."
  return f'<p class="small">{_text(text)}</p>\n'


def _figure(name, picture, folder):
  path = os.path.join(folder, name, picture["file"])
  with open(path, "rb") as f:
    encoded = f.read()
  width, height = struct.unpack(">II", encoded[16:24])  # of the PNG's header
  data = base64.b64encode(encoded).decode()
  return (
    f'<figure class="{picture["kind"]}"><img width="{width // _SHOWN_DENSITY}" '
    f'height="{height // _SHOWN_DENSITY}" alt="{_text(picture["caption"])}" '
    f'src="data:image/png;base64,{data}">\n<figcaption>'
    f"{_text(picture['caption'])}</figcaption></figure>\n"
  )


class _Raw:
  """HTML that is not to be escaped again, for a cell of that class."""

  def __init__(self, text, kind="value"):
    self.html = text
    self.kind = kind

  def __bool__(self):
    return bool(self.html)


def _badge(outcome):
  return _Raw(f'<span class="outcome {_CLASSES[outcome]}">{_text(outcome)}</span>')


def _interval(entry):
  """value [low, high], n."""
  if entry["n"] == 0:
    return "no such images"
  if entry["value"] is None:
    return f"not defined, n&nbsp;=&nbsp;{entry['n']}"
  if entry["low"] == entry["high"]:
    return f"{entry['value']:.3g}, n&nbsp;=&nbsp;{entry['n']}"
  return (
    f"{entry['value']:.4g} [{entry['low']:.4g}, {entry['high']:.4g}], "
    f"n&nbsp;=&nbsp;{entry['n']}"
  ).replace("-", "\N{MINUS SIGN}")


def _table(head, rows):
  def cell(value):
    if isinstance(value, _Raw):
      return f'<td class="{value.kind}">{value.html}</td>'
    return f"<td>{_text(value)}</td>"

  top = "".join(f"<th>{_text(name)}</th>" for name in head)
  lines = "".join(f"<tr>{''.join(cell(v) for v in row)}</tr>\n" for row in rows)
  return (
    f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n'
    f"{lines}</tbody></table></div>\n"
  )


def _text(value):
  return html.escape(str(value))
