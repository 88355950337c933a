"""The paper's open questions, asked by training classifiers and inverters in small.

A question is a module with

  TITLE, QUESTION: texts.
  DEPENDS_ON: names of the settings that a part's numbers depend on.
  parts(settings) -> list of parts.Part: trainings and what is measured of each, the
    cheapest first. A part is made once and kept in a file, so that a killed run resumes
    with the part that was running.
  answer(found, settings) -> parts.Answer: from the parts that are there.

Experiments ask what a trained module holds; questions train classifiers and modules by
the paths that the commands take, and may use experiments to measure them.
"""

from __future__ import annotations

import importlib
from typing import Any

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


# In the order in which they run and are reported.
QUESTIONS = (
  "invertibility",
  "content",
  "several_trainings",
  "semantic_mixup",
  "architectures",
)


def get(name: str) -> Any:
  """The question's module.

  Raises:
    UserError: there is none of that name.
  """
  if name not in QUESTIONS:
    raise UserError(f"no question {name!r}: {nearest(name, QUESTIONS)}")
  return importlib.import_module(f"compare_gan_logits.questions.{name}")
