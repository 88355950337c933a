"""What a run has done so far: whether it is trained, which checkpoints have scores."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterator
from typing import Any

import tensorflow.compat.v1 as tf
from gin import config_parser

from compare_gan_logits import checkpoints
from compare_gan_logits import files
from compare_gan_logits.errors import UserError


_TRAIN_DONE = "TRAIN_DONE"
_POLL_SECONDS = 10


class TaskManager:
  """Keeps no scores; what a cluster's own manager overrides.

  Args:
    model_dir: folder of the run.
  """

  def __init__(self, model_dir: str):
    self._model_dir = model_dir

  @property
  def model_dir(self) -> str:
    return self._model_dir

  def mark_training_done(self) -> None:
    """Writes the empty file TRAIN_DONE, for which an evaluation beside waits."""
    tf.io.gfile.makedirs(self.model_dir)
    files.write_text(os.path.join(self.model_dir, _TRAIN_DONE), "")

  def mark_training_begun(self) -> None:
    """Removes the file again, when a finished run is trained further."""
    if self.is_training_done():
      tf.io.gfile.remove(os.path.join(self.model_dir, _TRAIN_DONE))

  def is_training_done(self) -> bool:
    return tf.io.gfile.exists(os.path.join(self.model_dir, _TRAIN_DONE))

  def add_eval_result(
    self, checkpoint_path: str, result_dict: dict[str, Any], default_value: float
  ) -> None:
    """Keeps the scores of a checkpoint.

    Args:
      checkpoint_path: its prefix.
      result_dict: scores by name; empty where they could not be computed.
      default_value: of scores that others have and this one has not.
    """

  def get_checkpoints_with_results(self) -> set[str]:
    """Prefixes of the checkpoints that have scores."""
    return set()

  def report_progress(self, message: str) -> None:
    """Takes what hooks.ReportProgressHook says."""

  def unevaluated_checkpoints(
    self, timeout: float = 0, eval_every_steps: int | None = None
  ) -> Iterator[str]:
    """Prefixes of the checkpoints without scores, in the order of their steps.

    Looks again every ten seconds until training is done, or until there was nothing for
    `timeout` seconds. Whether a checkpoint is sound is not looked at.

    Args:
      timeout: 0 looks once.
      eval_every_steps: only steps that this divides, without 0; None or less than 1
        means all.
    """
    seen: set[str] = set()
    deadline = time.monotonic() + timeout
    while True:
      is_last_look = self.is_training_done() or time.monotonic() >= deadline
      for step, path in checkpoints.of_run(self.model_dir):
        if path in seen | self.get_checkpoints_with_results():
          continue
        seen.add(path)
        if _is_wanted(step, eval_every_steps):
          yield path
          deadline = time.monotonic() + timeout
      if is_last_look:
        return
      time.sleep(min(_POLL_SECONDS, timeout))


def _is_wanted(step, every):
  return not every or every < 1 or (step > 0 and step % every == 0)


class TaskManagerWithCsvResults(TaskManager):
  """Keeps the scores in a CSV file, a row for each checkpoint.

  Its columns are checkpoint_path, step, the scores by name (to three decimals), and the
  gin parameters of the training: those of the last operative_config-<step>.gin that is
  not of after the checkpoint.

  Args:
    model_dir: folder of the run.
    score_file: path of the file; None: scores.csv in model_dir.
  """

  def __init__(self, model_dir: str, score_file: str | None = None):
    super().__init__(model_dir)
    self._score_file = score_file or os.path.join(model_dir, "scores.csv")

  def get_checkpoints_with_results(self) -> set[str]:
    # By name: the folder may have been moved.
    names = (os.path.basename(row["checkpoint_path"]) for row in self.rows())
    return {os.path.join(self.model_dir, name) for name in names}

  def add_eval_result(
    self, checkpoint_path: str, result_dict: dict[str, Any], default_value: float
  ) -> None:
    step = str(checkpoints.step_of(checkpoint_path))
    rows = [row for row in self.rows() if row["step"] != step]
    scores = {name: _shown(value) for name, value in result_dict.items()}
    rows.append({"checkpoint_path": checkpoint_path, "step": step, **scores})
    rows.sort(key=lambda row: int(row["step"]))
    # Gin's names have a dot, those of scores have none.
    names = {name for row in rows for name in row if "." not in name}
    names = sorted(names - {"checkpoint_path", "step"})
    bound = [_gin_parameters(self.model_dir, int(row["step"])) for row in rows]
    columns = ["checkpoint_path", "step", *names, *sorted(set().union(*bound))]
    text = io.StringIO()
    writer = csv.DictWriter(
      text, columns, "", extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    for row, parameters in zip(rows, bound):
      known = {name: row.get(name) or _shown(default_value) for name in names}
      writer.writerow({**row, **known, **parameters})
    files.write_text(self._score_file, text.getvalue())

  def rows(self) -> list[dict[str, str]]:
    """What the file holds, by step.

    Raises:
      UserError: it is damaged.
    """
    if not files.is_file(self._score_file):
      return []
    try:
      text = io.StringIO(files.read_text(self._score_file), newline="")
      rows = list(csv.DictReader(text))
      for row in rows:
        int(row["step"])
        os.fspath(row["checkpoint_path"])  # a shorter row has None
        if None in row:
          raise ValueError("a row has more values than there are columns")
    except (KeyError, TypeError, ValueError, csv.Error):
      raise UserError(
        f"{self._score_file} is damaged; correct it, or remove it: the checkpoints "
        "that still exist are then scored again"
      ) from None
    return rows


def _shown(value):
  return f"{value:.3f}" if isinstance(value, float) else str(value)


class _AsText(config_parser.ParserDelegate):
  """What gin's parser makes of references: their own text."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    return f"@{scoped_configurable_name}{'()' if evaluate else ''}"

  def macro(self, macro_name):
    return f"%{macro_name}"


def _gin_parameters(model_dir, step):
  """{"options.batch_size": "64", ...} of the configuration in force at a step."""
  base, end = "operative_config-", ".gin"
  found = [
    int(name[len(base) : -len(end)])
    for name in tf.io.gfile.listdir(model_dir)
    if name.startswith(base) and name[len(base) : -len(end)].isdigit()
  ]
  found = [number for number in found if number <= step]
  if not found:
    return {}
  text = files.read_text(os.path.join(model_dir, f"{base}{max(found)}{end}"))
  return {
    f"{statement.selector}.{statement.arg_name}": str(statement.value)
    for statement in config_parser.ConfigParser(text, _AsText())
    if isinstance(statement, config_parser.BindingStatement)
  }
