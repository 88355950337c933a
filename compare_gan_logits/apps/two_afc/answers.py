"""What subjects said, in one SQLite file per study.

Many requests may write at once. The primary key sees to it that a subject has one
answer per trial: the first stays, whatever is sent again by an impatient finger, a
second tab or a reload.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from typing import NamedTuple

from compare_gan_logits.apps.two_afc.trials import Study
from compare_gan_logits.errors import UserError


FILE = "answers.sqlite"
_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,19}", re.ASCII)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  subject TEXT NOT NULL,
  trial INTEGER NOT NULL,
  side TEXT NOT NULL CHECK (side IN ('left', 'right')),
  milliseconds INTEGER,
  at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  PRIMARY KEY (subject, trial))
"""
_WAIT_SECONDS = 30


class Answer(NamedTuple):
  """One judgment: side is "left" or "right", milliseconds may be unknown."""

  subject: str
  trial: int
  side: str
  milliseconds: int | None = None


def subject_code(text: str) -> str | None:
  """The code as it is kept (upper case), or None where it is no code."""
  code = text.strip().upper()
  return code if _CODE.fullmatch(code) else None


def read(study: Study) -> list[Answer]:
  """list of Answer to a trials.Study.

  Raises:
    UserError: there are none, or they are not to this study.
  """
  if not os.path.isfile(os.path.join(study.folder, FILE)):
    raise UserError(
      f"{study.folder} holds no {FILE}: it has no answers yet; collect some with "
      "compare-gan-logits two-afc serve"
    )
  answers = Answers(study.folder, study.id).all()
  if not all(
    isinstance(answer.trial, int) and 0 <= answer.trial < len(study.trials)
    for answer in answers
  ):
    raise _of_another_study(study.folder)
  return answers


def _of_another_study(folder):
  return UserError(
    f"{FILE} in {folder} belongs to another study; put this study's file there"
  )


class Answers:
  """The answers to one study; safe to use from several threads and processes."""

  def __init__(self, folder: str, study_id: str | None = None) -> None:
    """Opens the file in a study's folder, made if need be.

    Args:
      folder: of the study.
      study_id: of the study, which the file keeps from its first use on.

    Raises:
      UserError: the file is none of SQLite's, cannot be written, or is another study's.
    """
    self._path = os.path.join(folder, FILE)
    with self._connect() as connection:
      connection.execute("PRAGMA journal_mode = WAL")
      connection.execute(_SCHEMA)
      connection.execute("CREATE TABLE IF NOT EXISTS study (id TEXT NOT NULL)")
      kept = connection.execute("SELECT id FROM study").fetchone()
      if kept is None and study_id is not None:
        connection.execute("INSERT INTO study VALUES (?)", (study_id,))
    if kept is not None and study_id not in (None, kept[0]):
      raise _of_another_study(folder)

  def add(self, answer: Answer) -> bool:
    """Keeps an Answer unless the subject has answered that trial already.

    Returns:
      bool, whether it was kept; it is on the disk then.
    """
    with self._connect() as connection:
      added = connection.execute(
        "INSERT OR IGNORE INTO answers (subject, trial, side, milliseconds) "
        "VALUES (?, ?, ?, ?)",
        answer,
      )
      return added.rowcount == 1

  def answered(self, subject: str) -> set[int]:
    """Set of the trials that a subject has answered."""
    with self._connect() as connection:
      rows = connection.execute(
        "SELECT trial FROM answers WHERE subject = ?", (subject,)
      )
      return {trial for (trial,) in rows}

  def all(self) -> list[Answer]:
    """list of Answer, by subject and trial."""
    with self._connect() as connection:
      return [
        Answer(*row)
        for row in connection.execute(
          "SELECT subject, trial, side, milliseconds FROM answers "
          "ORDER BY subject, trial"
        )
      ]

  @contextlib.contextmanager
  def _connect(self):
    """A connection for one transaction; a damaged file or a full disk is a UserError."""
    try:
      with (
        contextlib.closing(
          sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
        ) as connection,
        connection,
      ):
        yield connection
    except sqlite3.Error as error:
      raise UserError(
        f"{self._path} cannot be used ({error}); move it away, or free space on the "
        "disk"
      ) from None
