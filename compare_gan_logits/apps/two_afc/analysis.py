"""Table 1 of the paper from the answers to one or several studies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from compare_gan_logits import images as image_lib
from compare_gan_logits.apps.two_afc.answers import Answer
from compare_gan_logits.apps.two_afc.trials import Study
from compare_gan_logits.metrics import statistics


POOLED = "all subjects"
PEOPLE = "people"
LPIPS_JUDGE = "LPIPS (a metric, not a person)"
# Section 5.2: 4 subjects with 64 images each; judgments for the first of the two.
PAPER = (
  ("Robust ResNet-152 (theirs)", "Robust ResNet-152 (D&B)", 224),
  ("Robust ResNet-152", "ResNet-152", 196),
  ("ResNet-152", "Inception-V3", 135),
)
PAPER_JUDGMENTS = 4 * 64
_CHANCE = 0.5
_MARK = "*"


@dataclasses.dataclass(frozen=True)
class Preference:
  """How often model A was preferred, by one subject or by all.

  Attributes:
    subject: code, POOLED or LPIPS_JUDGE.
    chose_a: judgments for A.
    judgments: all but those on catch trials.
    catch_right, catch_shown: catch trials answered correctly, and all that were answered.
    seconds: median time of a judgment, catch trials included, or None.
    image_interval: (low, high) of the share over images, of all subjects together; it
      decides what is chance, since several judgments of one image are not independent.
  """

  subject: str
  chose_a: int
  judgments: int
  catch_right: int = 0
  catch_shown: int = 0
  seconds: float | None = None
  image_interval: tuple[float, float] | None = None

  @property
  def share(self) -> float:
    """Share of judgments for A in [0, 1], nan without judgments."""
    return self.chose_a / self.judgments if self.judgments else float("nan")

  @property
  def interval(self) -> tuple[float, float]:
    """95 % Wilson interval of the share; [0, 1] without judgments."""
    if not self.judgments:
      return 0.0, 1.0
    return statistics.wilson_interval(self.chose_a, self.judgments)

  @property
  def is_chance(self) -> bool:
    """Whether the interval that decides holds 1/2: not distinguishable from guessing."""
    low, high = self.image_interval or self.interval
    return low <= _CHANCE <= high

  def to_json(self) -> dict[str, Any]:
    low, high = self.interval
    return dict(
      dataclasses.asdict(self),
      low=low,
      high=high,
      share=self.share if self.judgments else None,
      distinguishable_from_chance=not self.is_chance,
    )


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How far subjects agree on the trials that at least two of them judged.

  Attributes:
    trials: their number.
    rate: share of pairs of judgments on one trial that are equal.
    kappa: Fleiss' kappa: 0 at the agreement of chance, 1 at full agreement; nan
      where all judgments are the same.
  """

  trials: int
  rate: float
  kappa: float

  def to_json(self) -> dict[str, Any]:
    kappa = None if math.isnan(self.kappa) else self.kappa  # JSON has no nan
    return dict(dataclasses.asdict(self), kappa=kappa)


@dataclasses.dataclass(frozen=True)
class Table:
  """What one study says.

  Attributes:
    labels: {"a": name, "b": name}.
    pooled: Preference over all judgments; that of the subject where there is one.
    image_interval: (low, high), 95 % bootstrap interval of the share of A over
      images. Wilson's takes all judgments for independent; those on one image are
      not, so this one can be wider. None without judgments.
    subjects: tuple of Preference.
    agreement: Agreement, or None where no two subjects judged one trial.
  """

  labels: dict
  pooled: Preference
  image_interval: tuple | None
  subjects: tuple
  agreement: Agreement | None

  @property
  def judge(self) -> str:
    """Who was asked: PEOPLE or LPIPS_JUDGE."""
    return LPIPS_JUDGE if self.pooled.subject == LPIPS_JUDGE else PEOPLE

  def to_json(self) -> dict[str, Any]:
    return {
      "a": self.labels["a"],
      "b": self.labels["b"],
      "judge": self.judge,
      "pooled": self.pooled.to_json(),
      "image_interval": self.image_interval,
      "subjects": [subject.to_json() for subject in self.subjects],
      "agreement": self.agreement.to_json() if self.agreement else None,
    }


def table(study: Study, answers: Sequence[Answer], min_catch: float = 0.0) -> Table:
  """Table of a study.

  Args:
    study: trials.Study.
    answers: list of Answer.
    min_catch: subjects with a smaller share of right catch trials are left out.
  """
  preferences, kept = [], []
  for code in sorted({answer.subject for answer in answers}):
    own = [answer for answer in answers if answer.subject == code]
    preference = _preference(code, study, own)
    shown = preference.catch_shown
    if not shown or preference.catch_right / shown >= min_catch:
      preferences.append(preference)
      kept += own
  counts = _counts(study, kept)
  over_images = _image_interval(counts)
  if len(preferences) == 1:
    pooled = preferences[0]
  else:
    pooled = _preference(POOLED, study, kept)
    pooled = dataclasses.replace(pooled, image_interval=over_images)
  return Table(study.labels, pooled, over_images, tuple(preferences), agreement(counts))


def _preference(subject, study, answers):
  chosen = [
    (study.trials[answer.trial], study.trials[answer.trial].picture(answer.side))
    for answer in answers
  ]
  judged = [model for trial, model in chosen if not trial.is_catch]
  caught = [model for trial, model in chosen if trial.is_catch]
  times = [
    answer.milliseconds / 1000 for answer in answers if answer.milliseconds is not None
  ]
  return Preference(
    subject,
    judged.count("a"),
    len(judged),
    caught.count("original"),
    len(caught),
    float(np.median(times)) if times else None,
  )


def _counts(study, answers):
  """Judgments for A and for B of each trial that is no catch trial: [trials, 2]."""
  counts = np.zeros([len(study.trials), 2], int)
  for answer in answers:
    trial = study.trials[answer.trial]
    if not trial.is_catch:
      counts[answer.trial, "ab".index(trial.picture(answer.side))] += 1
  return counts


def _image_interval(counts):
  counts = counts[counts.sum(1) > 0]
  if not len(counts):
    return None
  return statistics.bootstrap_interval(counts[:, 0] / counts.sum(1))


def agreement(counts: Any) -> Agreement | None:
  """Agreement between subjects.

  Args:
    counts: int [trials, choices], how many subjects made each choice. Trials with
      fewer than two judgments are left out; the others may differ in number.

  Returns:
    Agreement, or None where no trial has two judgments.
  """
  counts = np.asarray(counts, float)
  counts = counts[counts.sum(1) >= 2]
  if not len(counts):
    return None
  judgments = counts.sum(1)
  pairs = (counts * (counts - 1)).sum(1) / (judgments * (judgments - 1))
  by_chance = np.square(counts.sum(0) / counts.sum()).sum()
  kappa = float("nan")
  if by_chance < 1:
    kappa = float((pairs.mean() - by_chance) / (1 - by_chance))
  return Agreement(len(counts), float(pairs.mean()), kappa)


def judge_by_lpips(study: Study) -> list[Answer]:
  """Answers of LPIPS to a study: on each trial the side at the smaller distance.

  Trials at which both sides are equally far have no answer.

  Returns:
    list of Answer with LPIPS_JUDGE as the subject.

  Raises:
    UserError: a picture is gone, or the weights of LPIPS are not installed.
  """
  from compare_gan_logits.metrics import lpips  # takes seconds, other judges do not

  shown = {
    side: np.stack(
      [
        image_lib.read_image(
          study.picture_path(trial.number, side), study.image_size, 3
        )
        for trial in study.trials
      ]
    )
    / np.float32(255)
    for side in ("original", "left", "right")
  }
  left, right = (
    lpips.distance(shown["original"], shown[side]) for side in ("left", "right")
  )
  return [
    Answer(LPIPS_JUDGE, trial.number, "left" if near < far else "right")
    for trial, near, far in zip(study.trials, left, right)
    if near != far
  ]


def text(tables: Sequence[Table]) -> str:
  """The tables of several studies as lines to print, with the paper's beside."""
  lines = [
    "Which reconstruction is closer to the original? (Table 1, Section 5.2)",
    "",
    f"{'':34}{'n':>5}  {'A':>7} {'B':>7}   95 % interval of A",
  ]
  for study in tables:
    lines += [
      f"A: {study.labels['a']}",
      f"B: {study.labels['b']}",
      f"judged by {study.judge}",
    ]
    lines += [_line(subject) for subject in study.subjects]
    if len(study.subjects) != 1:
      lines.append(_line(study.pooled))
    if study.agreement and study.image_interval:
      low, high = study.image_interval
      lines += [
        f"  {'bootstrap over images':57}[{low:.1%}, {high:.1%}]",
        f"  agreement between subjects: {study.agreement.rate:.1%} of pairs, "
        f"Fleiss' kappa {study.agreement.kappa:.2f} (on "
        f"{study.agreement.trials} trials)",
      ]
    lines.append("")
  lines.append("Reported by the paper (4 people, 64 images; the nearest counts of 256)")
  for first, second, chose_first in PAPER:
    paper = Preference(f"{first} vs.", chose_first, PAPER_JUDGMENTS)
    lines += [_line(paper), f"    {second}"]
  lines += [
    "",
    "Intervals are Wilson's; seconds are the median of a judgment.",
    f"{_MARK} not distinguishable from chance: the interval includes 50 % (of several "
    "subjects together, the interval over images does)",
  ]
  return "\n".join(lines)


def _line(preference):
  if not preference.judgments:
    return f"  {preference.subject:32}{0:5}  no judgments yet"
  low, high = preference.interval
  line = (
    f"  {preference.subject:32}{preference.judgments:5}  {preference.share:7.1%} "
    f"{1 - preference.share:7.1%}   [{low:.1%}, {high:.1%}]"
    f"{' ' + _MARK if preference.is_chance else ''}"
  )
  if preference.catch_shown:
    line += f"   catch trials {preference.catch_right}/{preference.catch_shown}"
  if preference.seconds is not None:
    line += f"   {preference.seconds:.1f} s"
  return line
