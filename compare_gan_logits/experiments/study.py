"""Runs experiments, draws and writes what they found, and resumes where it stopped.

<folder>/results.json          every number, in sorted order
<folder>/report.html           one self-contained page
<folder>/<experiment>/         its PNGs, arrays.npz, result.json and costs.json
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from compare_gan_logits import experiments
from compare_gan_logits import figures
from compare_gan_logits import files
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter
from compare_gan_logits.metrics import lpips


RESULT = "result.json"
COSTS = "costs.json"
ARRAYS = "arrays.npz"
_NOT_RUN = "Not run"


def run(
  names: Sequence[str],
  inverters: Mapping[str, Inverter],
  data: Data,
  folder: str,
  limit: int | None = None,
  log: Callable[[str], Any] = print,
) -> dict[str, dict[str, Any]]:
  """Runs the experiments that are not done yet.

  Args:
    names: of the experiments.
    inverters: {label: inversion.Inverter}.
    data: data.Data.
    folder: to write.
    limit: bound of every `images` setting, for a quick look.
    log: function of a line of text.

  Returns:
    {name: what its result.json holds}, in the order of `names`.

  Raises:
    UserError: there is no such experiment, or its settings leave nothing to compare.
  """
  # All of them first: a wrong one is told before hours of the others, and leaves no folder.
  chosen = {
    name: experiments.settings_of(experiments.get(name), limit) for name in names
  }
  files.check_writable(folder)
  setting = describe(inverters, data, limit)
  done = {}
  for number, name in enumerate(names, 1):
    experiment, settings = experiments.get(name), chosen[name]
    identity = files.as_json({**setting, "settings": dataclasses.asdict(settings)})
    place = os.path.join(folder, name)
    found = _finished(place, identity)
    if found is None:
      log(f"{number}/{len(names)} {name} ...")
      started = time.monotonic()
      result = _attempt(experiment, inverters, data, settings)
      found = _write(place, experiment, result, identity, time.monotonic() - started)
      log(
        f"{number}/{len(names)} {name}: "
        f"{not_run(found) or f'{time.monotonic() - started:.1f} s'}"
      )
    else:
      log(f"{number}/{len(names)} {name}: done before")
    done[name] = found
  return done


def describe(
  inverters: Mapping[str, Inverter], data: Data, limit: int | None
) -> dict[str, Any]:
  """What was run with what, JSON-able."""
  modules = {}
  for label, inverter in inverters.items():
    classifier = inverter.classifier.describe() if inverter.classifier else None
    modules[label] = {
      "path": inverter.path,
      "step": inverter.info["step"],
      "architecture": inverter.info.get("architecture"),
      "trained_on": inverter.info["dataset"],
      "image_size": inverter.image_size,
      "colors": inverter.colors,
      "num_logits": inverter.num_logits,
      "role": inverter.role and dataclasses.asdict(inverter.role),
      "created": inverter.info.get("created"),
      "classifier": classifier
      and {
        key: classifier.get(key)
        for key in ("name", "handle", "digest", "licence", "source")
      },
    }
  return {
    "version": experiments.VERSION,
    "modules": modules,
    "dataset": data.dataset.name,
    "split": data.split,
    "fingerprint": data.dataset.fingerprint(data.split),
    "training_fingerprint": data.dataset.fingerprint("train"),
    "lpips": lpips.weights_digest("alex"),
    "seed": data.seed,
    "limit": limit,
    "outside": {
      name: {
        "images": len(images),
        "digest": hashlib.sha256(images.tobytes()).hexdigest(),
      }
      for name, images in data.outside.items()
    },
    "judge": data.judge
    and {key: data.judge.describe().get(key) for key in ("name", "digest")},
    "pair": roles.pair(inverters),
    "why_no_pair": roles.why_no_pair(inverters),
  }


def write_results(
  done: Mapping[str, dict[str, Any]], setting: Mapping[str, Any], folder: str
) -> None:
  """Writes results.json: equal runs give equal bytes."""
  kept = {
    name: {
      key: found[key]
      for key in (
        "title",
        "section",
        "question",
        "summary",
        "verdicts",
        "notes",
        "settings",
      )
    }
    for name, found in done.items()
  }
  files.write_json(
    os.path.join(folder, "results.json"), {"run": setting, "experiments": kept}
  )


def _attempt(experiment, inverters, data, settings):
  """The experiment's result; where it cannot be run on this data, a note says why."""
  try:
    return experiment.run(inverters, data, settings)
  except UserError as error:
    return common.Result(notes=(f"{_NOT_RUN}: {error}.",))


def not_run(found: Mapping[str, Any]) -> str | None:
  """Why an experiment of run's could not be run, or None."""
  return next((note for note in found["notes"] if note.startswith(_NOT_RUN)), None)


def _finished(place, identity):
  """What an earlier run of the same experiment wrote, or None."""
  path = os.path.join(place, RESULT)
  if not os.path.exists(path):
    return None
  try:
    found = files.read_json(path)
    # What could not be run is tried again: a package or a file may be there by now.
    if found["identity"] != identity or not_run(found):
      return None
    found["costs"] = files.read_json(os.path.join(place, COSTS))
    missing = [
      picture["file"]
      for picture in found["pictures"]
      if not os.path.isfile(os.path.join(place, picture["file"]))
    ]
    if missing:
      raise UserError(f"no file {os.path.join(place, missing[0])}")
  except (UserError, KeyError, TypeError) as error:
    print(
      f"{place} is damaged ({error}) and is made again", file=sys.stderr, flush=True
    )
    return None
  return found


def _write(place, experiment, result, identity, seconds):
  """Draws and writes one experiment's folder, whole or not at all."""
  slugs = files.unique(files.slug(picture.name) for picture in result.pictures)
  drawn = {f"{slug}.png": picture for slug, picture in zip(slugs, result.pictures)}
  with files.atomic_dir(place, overwrite=True) as folder:
    for file, picture in drawn.items():
      _draw(picture, os.path.join(folder, file))
    pictures = [
      {
        "file": file,
        "caption": picture.caption,
        "kind": "grid" if isinstance(picture, common.Grid) else "curves",
        "opening": isinstance(picture, common.Grid) and picture.opening,
      }
      for file, picture in drawn.items()
    ]
    # Zip members cannot hold a "/" at the start or ".." but slashes are fine.
    np.savez_compressed(os.path.join(folder, ARRAYS), **result.arrays)
    found = {
      "name": experiment.__name__.rpartition(".")[2],
      "title": experiment.TITLE,
      "section": experiment.SECTION,
      "question": experiment.QUESTION,
      "identity": identity,
      "settings": identity["settings"],
      "summary": result.summary(),
      "verdicts": result.findings(),
      "notes": list(result.notes),
      "pictures": pictures,
    }
    # JSON sorts keys; tables are shown in the order of the experiment.
    found["order"] = list(result.summary())
    found["headlines"] = list(result.headlines().items())
    found = files.as_json(found)
    files.write_json(os.path.join(folder, RESULT), found)
    costs = {"total, s": seconds, **result.costs}
    files.write_json(os.path.join(folder, COSTS), costs)
  return {**found, "costs": costs}


def _draw(picture, path):
  """Draws a Grid or Curves."""
  if isinstance(picture, common.Grid):
    figures.grid(
      picture.images,
      path,
      picture.row_labels,
      picture.column_labels,
      picture.cell_labels,
    )
  else:
    figures.curves(
      path,
      picture.x,
      picture.series,
      picture.x_label,
      picture.y_label,
      mark=picture.mark,
      log_x=picture.log_x,
    )
