"""Makes the parts of questions, each once, and writes their answers.

<folder>/classifiers, inverters    trainings, each in its folder
<folder>/<question>/parts/         the numbers of each training
<folder>/<question>/               figures
<folder>/answers.md, answers.json  what is answered so far
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from compare_gan_logits import datasets
from compare_gan_logits import experiments
from compare_gan_logits import figures
from compare_gan_logits import files
from compare_gan_logits import questions
from compare_gan_logits.classifiers import training
from compare_gan_logits.errors import UserError
from compare_gan_logits.questions import parts as part_lib
from compare_gan_logits.questions.settings import Settings
from compare_gan_logits.questions.workshop import Workshop


def run(
  names: Sequence[str],
  folder: str,
  settings: Settings,
  trains: bool = True,
  log: Callable[[str], Any] = print,
) -> dict[str, part_lib.Answer]:
  """Makes the parts that are not there yet, and the answers.

  Args:
    names: of the questions.
    folder: to write; holds what an earlier run has finished.
    settings: settings.Settings.
    trains: False: answers from the parts that are there, and makes none.
    log: function of a line of text.

  Returns:
    {name: Answer} of the questions of which at least one part is there.

  Raises:
    UserError: a part was made with other settings; there is no such dataset; or trains
      is False and nothing is there.
  """
  datasets.get_dataset(settings.dataset)  # refuses one before anything is written
  if not trains and not any(found(name, folder, settings) for name in names):
    raise UserError(
      f"{folder} has no finished training of {', '.join(names)}; leave --show out to "
      "train, or name another --output"
    )
  files.check_no_pattern(folder)
  files.check_writable(folder)
  if not trains:
    return _write(folder, settings, names)
  with files.locked(folder, "answering"):
    _write(folder, settings, names)  # refuses parts of other settings, before hours
    workshop = Workshop(folder, settings, log)
    for name in names:
      question = questions.get(name)
      wanted, identity = question.parts(settings), _identity(question, settings)
      for number, part in enumerate(wanted, 1):
        path = _path(folder, name, part)
        title = f"{name} {number}/{len(wanted)}: {part.arm}, seed {part.seed}"
        if _read(path, identity) is not None:
          log(f"{title}: done before")
          continue
        started = time.monotonic()
        numbers = part.make(workshop)
        files.write_json(path, {"settings": identity, "numbers": numbers})
        log(f"{title}: {time.monotonic() - started:.0f} s")
        _write(folder, settings, names)
    return _write(folder, settings, names)


def found(name: str, folder: str, settings: Settings) -> dict[str, dict[int, Any]]:
  """{arm: {seed: numbers}} of the parts of a question that are there."""
  result: dict[str, dict[int, Any]] = {}
  question = questions.get(name)
  identity = _identity(question, settings)
  for part in question.parts(settings):
    numbers = _read(_path(folder, name, part), identity)
    if numbers is not None:
      result.setdefault(part.arm, {})[part.seed] = numbers
  return result


def _path(folder, name, part):
  file = f"{files.slug(part.arm)}_{part.seed}.json"
  return os.path.join(folder, name, "parts", file)


def _read(path, identity):
  """The numbers of a part, or None where it is not made.

  Raises:
    UserError: it was made with other settings, or is damaged.
  """
  if not os.path.isfile(path):
    return None
  kept = files.read_json(path)
  if not isinstance(kept, dict) or not {"settings", "numbers"} <= set(kept):
    raise UserError(f"{path} is damaged; remove it, and the part is made again")
  if kept["settings"] != identity:
    raise UserError(
      f"{path} was made with other settings; name another --output, or remove it"
    )
  return kept["numbers"]


def _identity(question, settings):
  """The settings that the numbers of a question's parts depend on."""
  kept = dataclasses.asdict(settings)
  return files.as_json(
    {
      # Of the training of classifiers, by gin.
      "attack": dataclasses.asdict(training.Attack()),
      "training": training.bound_settings(),
      "experiments": {
        name: dataclasses.asdict(experiments.settings_of(experiments.get(name)))
        for name in getattr(question, "EXPERIMENTS", ())
      },
      **{name: kept[name] for name in question.DEPENDS_ON},
    }
  )


def _write(folder, settings, wanted):
  """Writes figures, answers.md and answers.json from the parts that are there.

  All questions are written, whichever are wanted; their answers are returned.
  """
  answers, texts, values = {}, [], {}
  for name in questions.QUESTIONS:
    question = questions.get(name)
    there = found(name, folder, settings)
    total = len(question.parts(settings))
    made = sum(len(of_seed) for of_seed in there.values())
    values[name] = {"parts made": made, "parts": total, "found": there}
    if not there:
      continue
    answers[name] = question.answer(there, settings)
    values[name]["answer"] = answers[name].sentence
    texts.append(_text(name, question, answers[name], made, total))
    for picture in answers[name].pictures:
      _draw(picture, os.path.join(folder, name, picture.name + ".png"))
  files.write_text(
    os.path.join(folder, "answers.md"), "# The open questions\n\n" + "\n".join(texts)
  )
  files.write_json(
    os.path.join(folder, "answers.json"),
    {"settings": dataclasses.asdict(settings), "questions": values},
  )
  return {name: answers[name] for name in wanted if name in answers}


def _draw(picture, path):
  band = "95 % interval over trainings"
  if isinstance(picture, part_lib.Points):
    series = {
      label: ((x.value, x.low, x.high), (y.value, y.low, y.high))
      for label, (x, y) in picture.series.items()
    }
    figures.points(path, series, picture.x_label, picture.y_label, band)
  else:
    figures.curves(
      path,
      picture.x,
      picture.series,
      picture.x_label,
      picture.y_label,
      log_x=picture.log_x,
      band=band,
    )


def _text(name: str, question: Any, answer: part_lib.Answer, made: int, total: int):
  """An answer as Markdown."""
  lines = [f"## {question.TITLE}", "", question.QUESTION, "", f"**{answer.sentence}**"]
  lines += ["", f"{made} of {total} trainings are finished.", ""]
  lines += _table(answer.columns, answer.rows)
  for picture in answer.pictures:
    lines += ["", f"![{picture.caption}]({name}/{picture.name}.png)"]
  lines += ["", "What a critical reader would say:", ""]
  lines += [f"- {objection}" for objection in answer.objections]
  return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
  return [
    f"| | {' | '.join(columns)} |",
    "|---" * (len(columns) + 1) + "|",
    *(f"| {arm} | {' | '.join(row)} |" for arm, row in rows.items()),
  ]
