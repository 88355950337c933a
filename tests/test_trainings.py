"""Several reports as one: intervals over trainings, and what images alone would decide."""

import os

import numpy as np
import pytest
from scipy import stats

from compare_gan_logits import files
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import trainings
from compare_gan_logits.questions import several_trainings
from compare_gan_logits.questions.settings import Settings


def report(number, value, difference, margin=None, images=9, **run):
  """A report whose statement is decided by its interval over images."""
  entry = lambda v, half: {"value": v, "low": v - half, "high": v + half, "n": 9}  # noqa: E731
  return {
    "run": {
      "modules": {"robust": {"path": f"/runs/{number}"}},
      **{k: run.get(k, 0) for k in (*trainings.SAME, "dataset")},
    },
    "experiments": {
      "comparison": {
        "settings": {"images": images},
        "summary": {"LPIPS": {"robust": entry(value, 0.01 * (number + 1))}},
        "verdicts": [
          {
            "statement": "Robust is closer",
            "evidence": entry(difference, 0.05),
            "evidence_is": "LPIPS",
            "margin": margin,
            "outcome": "holds" if difference > 0.05 else "does not hold",
          }
        ],
      }
    },
  }


def test_intervals_and_what_hides_behind_them():
  """The statement holds for the images of each training, by very different numbers."""
  values, differences = [0.2, 0.21, 0.25], [0.1, 0.9, 0.2]
  reports = [report(i, v, d) for i, (v, d) in enumerate(zip(values, differences))]
  number, statement = trainings.summarise(reports)
  low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
  np.testing.assert_allclose(
    [number.trainings.value, number.trainings.low, number.trainings.high],
    [np.mean(values), low, high],
  )
  assert number.images == pytest.approx((0.22, 0.28))  # the third's is the widest
  assert statement.outcomes == ("holds",) * 3
  assert (statement.outcome, statement.hides) == ("not decided", True)
  text = trainings.text([number, statement], 3)
  assert "not decided: images alone would decide it" in text
  steady = [report(i, 0.2, 0.5 + i / 100) for i in range(3)]
  _, statement = trainings.summarise(steady)
  assert (statement.outcome, statement.hides) == ("holds", False)


def test_the_answer_about_several_trainings_counts_outcomes():
  differences = {
    "A": (0.5, 0.51, 0.52),
    "B": (0.6, 0.61, 0.62),
    "C": (0.7, 0.71, 0.72),
    "D": (-0.5, -0.51, -0.52),
    "one value hides another": (0.1, 0.9, 0.2),
    "not even alike": (-0.1, 0.9, 0.2),
  }
  reports = {}
  for seed in range(3):
    reports[seed] = report(seed, 0.2, 0.0)
    reports[seed]["experiments"]["comparison"]["verdicts"] = [
      {
        **report(seed, 0.2, of_seed[seed])["experiments"]["comparison"]["verdicts"][0],
        "statement": statement,
      }
      for statement, of_seed in differences.items()
    ]
  answer = several_trainings.answer({"three modules": reports}, Settings())
  assert answer.sentence.startswith(
    "Over 3 trainings, of 6 statements 3 holds, 1 does not hold, 2 not decided; for 1 the "
  )
  outcomes = {what[0]: row[2:] for what, row in answer.rows.items()}
  assert outcomes["A"] == ("holds", "holds, holds, holds")
  assert outcomes["o"][0] == "not decided: images alone would have decided"
  assert outcomes["n"] == ("not decided", "does not hold, holds, holds")


def test_what_is_negligible_is_judged_by_its_margin():
  """A large difference, alike in all trainings, makes `negligible` fail."""
  for difference, outcome in ((0.3, "does not hold"), (0.0, "holds")):
    steady = [report(i, 0.2, difference + i / 1000, margin=0.02) for i in range(3)]
    _, statement = trainings.summarise(steady)
    assert statement.outcome == outcome
  loose = [report(i, 0.2, 0.02 * i, margin=0.01 * (i + 1)) for i in range(3)]
  _, statement = trainings.summarise(loose)
  assert statement.outcome == "not decided"
  assert statement.what == "Robust is closer (LPIPS; negligible below 0.02)"


def test_a_share_of_no_images_is_left_out():
  reports = [report(i, 0.2, 0.5) for i in range(3)]
  empty = {"value": None, "low": 0.0, "high": 1.0, "n": 0}
  reports[1]["experiments"]["comparison"]["summary"]["LPIPS"]["robust"] = empty
  assert [line.what for line in trainings.summarise(reports)] == [
    "Robust is closer (LPIPS)"
  ]
  reports = [report(i, 0.2, 0.5) for i in range(3)]
  unknown = {"value": None, "low": None, "high": None, "n": 0}
  reports[1]["experiments"]["comparison"]["verdicts"][0]["evidence"] = unknown
  assert [line.what for line in trainings.summarise(reports)] == ["LPIPS"]


def test_refusals(tmp_path):
  for name, made in (("a", report(0, 1, 1)), ("b", report(0, 1, 1))):
    os.makedirs(tmp_path / name)
    files.write_json(str(tmp_path / name / "results.json"), made)
  folders = [str(tmp_path / "a"), str(tmp_path / "b")]
  with pytest.raises(UserError, match="at least two"):
    trainings.read(folders[:1])
  with pytest.raises(UserError, match="are both of /runs/0"):
    trainings.read(folders)
  with pytest.raises(UserError, match="it is no report; make one with"):
    trainings.read([folders[0], str(tmp_path / "none")])
  twice = report(1, 1, 1)
  twice["run"]["modules"]["judged"] = {"path": "/runs/1"}
  files.write_json(str(tmp_path / "b" / "results.json"), twice)
  assert len(trainings.read(folders)) == 2  # one module with two classifiers
  with pytest.raises(UserError, match="differ in seed"):
    trainings.summarise([report(0, 1, 1), report(1, 1, 1, seed=5)])
  with pytest.raises(UserError, match=r"differ in comparison.images \(8, 9\)"):
    trainings.summarise([report(0, 1, 1), report(1, 1, 1, images=8)])
  renamed = report(1, 1, 1, dataset="./photos@64")
  other = renamed["experiments"]["comparison"]
  renamed["run"]["modules"] = {"r58": renamed["run"]["modules"]["robust"]}
  other["summary"]["LPIPS"] = {"r58": other["summary"]["LPIPS"]["robust"]}
  statement = "Robust is closer (LPIPS)"
  lines = trainings.summarise([report(0, 1, 1), renamed])
  assert [line.what for line in lines] == [statement]
  other["verdicts"] = []
  with pytest.raises(UserError, match=r"same labels of --module .*r58; robust"):
    trainings.summarise([report(0, 1, 1), renamed])
