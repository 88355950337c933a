"""The study and its report: resumed, reproducible, and read by a real browser."""

import json
import re

import gin
import numpy as np
import pytest
import tiny
from PIL import Image

from compare_gan_logits import experiments
from compare_gan_logits import files
from compare_gan_logits import report
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import data as data_lib
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import study
from compare_gan_logits.experiments import verdicts
from compare_gan_logits.inversion import Inverter


RNG = np.random.default_rng(0)
SIZE = 16
KERNEL = np.linalg.qr(RNG.normal(size=[SIZE * SIZE, 4]))[0]
NAMES = ("comparison", "class_spread", "brightness_sharpness", "out_of_distribution")


@pytest.fixture(autouse=True)
def _cheap_distance(monkeypatch):
  monkeypatch.setattr(
    measures, "perceptual", lambda a, b: np.abs(a - b).mean(axis=(1, 2, 3))
  )


@pytest.fixture(scope="module")
def inverters(tmp_path_factory):
  folder = tmp_path_factory.mktemp("modules")
  path = tiny.write_module(folder / "m", tiny.linear(KERNEL.T), size=SIZE)

  class Described(tiny.LinearClassifier):
    """A classifier that can say what it is."""

    def describe(self):
      return {"name": "<linear> & co", "digest": "0123456789abcdef"}

  return {
    label: Inverter.load(path, Described(KERNEL), role=label)
    for label in ("robust", "standard")
  }


@pytest.fixture(scope="module")
def data():
  images = RNG.uniform(size=[60, SIZE, SIZE, 1])
  labels = (images.reshape(60, -1) @ KERNEL).argmax(1)
  return data_lib.Data(tiny.Images(images, labels))


def _run(inverters, data, folder):
  lines = []
  done = study.run(NAMES, inverters, data, str(folder), limit=24, log=lines.append)
  setting = study.describe(inverters, data, 24)
  study.write_results(done, setting, str(folder))
  report.write(done, setting, str(folder))
  return done, lines


@pytest.fixture(scope="module")
def finished(inverters, data, tmp_path_factory):
  folder = tmp_path_factory.mktemp("report")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      measures, "perceptual", lambda a, b: np.abs(a - b).mean(axis=(1, 2, 3))
    )
    _run(inverters, data, folder)
  return folder


def test_equal_runs_give_equal_bytes(inverters, data, finished, tmp_path):
  _run(inverters, data, tmp_path)
  for name in (
    "results.json",
    "comparison/arrays.npz",
    "comparison/comparison.png",
    "brightness_sharpness/brightness_shift_robust.png",
  ):
    assert (tmp_path / name).read_bytes() == (finished / name).read_bytes(), name


def test_every_number_has_its_size_and_interval(finished):
  results = files.read_json(str(finished / "results.json"))
  assert set(results["experiments"]) == set(NAMES)
  numbers = [
    entry
    for experiment in results["experiments"].values()
    for of_model in experiment["summary"].values()
    for entry in of_model.values()
  ]
  assert len(numbers) > 20
  for entry in numbers:
    assert entry["n"] > 0 and entry["low"] <= entry["value"] <= entry["high"]
  # Strict JSON: no NaN and no Infinity.
  json.loads(
    (finished / "results.json").read_text(),
    parse_constant=lambda name: pytest.fail(name),
  )


def test_a_finished_experiment_is_not_run_again(inverters, data, tmp_path, monkeypatch):
  _, lines = _run(inverters, data, tmp_path)
  before = (tmp_path / "results.json").read_bytes()
  for name in NAMES:
    monkeypatch.setattr(experiments.get(name), "run", None)
  _, lines = _run(inverters, data, tmp_path)
  assert [line.endswith("done before") for line in lines] == [True] * len(NAMES)
  assert (tmp_path / "results.json").read_bytes() == before
  # With other settings it is another experiment.
  with pytest.raises(TypeError):
    study.run(NAMES[:1], inverters, data, str(tmp_path), limit=25)
  # And so it is where the experiments measure otherwise than they did.
  monkeypatch.setattr(experiments, "VERSION", experiments.VERSION + 1)
  with pytest.raises(TypeError):
    _run(inverters, data, tmp_path)


def test_what_cannot_be_run_says_why(inverters, tmp_path):
  images = RNG.uniform(size=[9, SIZE, SIZE, 1])
  strange = data_lib.Data(tiny.Images(images, np.zeros(9), num_classes=7))
  for _ in range(2):  # The second time it is read from the folder.
    lines = []
    done = study.run(
      ["misclassified"], inverters, strange, str(tmp_path), log=lines.append
    )
    assert "is not known" in done["misclassified"]["notes"][0]
    assert "is not known" in lines[-1]
  report.write(done, study.describe(inverters, strange, None), str(tmp_path))


def test_wrong_settings_of_a_later_experiment_end_before_the_first(
  inverters, data, tmp_path, monkeypatch
):
  monkeypatch.setattr(experiments.get("rotation"), "run", None)
  experiments.get("best_of_samples")  # which makes it known to gin
  gin.bind_parameter("best_of_samples.samples", (4,))
  try:
    with pytest.raises(UserError, match="best_of_samples.samples is"):
      study.run(["rotation", "best_of_samples"], inverters, data, str(tmp_path / "new"))
  finally:
    gin.clear_config()
  assert not (tmp_path / "new").exists()


def test_what_could_not_be_run_is_tried_again(inverters, data, tmp_path, monkeypatch):
  experiment, lines = experiments.get("rotation"), []
  whole = experiment.run

  def fails(*arguments):
    raise UserError("pip install something")

  monkeypatch.setattr(experiment, "run", fails)
  for run, words in ((fails, "pip install something"), (whole, " s")):
    monkeypatch.setattr(experiment, "run", run)
    study.run(["rotation"], inverters, data, str(tmp_path), 8, lines.append)
    assert lines[-1].endswith(words) or words in lines[-1]


def test_other_outside_images_of_the_same_name_are_measured(inverters, data, tmp_path):
  lines = []
  for fill in (0.2, 0.8, 0.8):
    outside = {"others": np.full([8, SIZE, SIZE, 1], fill, np.float32)}
    both = data_lib.Data(data.dataset, outside=outside)
    study.run(["out_of_distribution"], inverters, both, str(tmp_path), 8, lines.append)
  assert [line.endswith("done before") for line in lines] == [False] * 4 + [True]


def test_page_holds_everything(finished):
  page = (finished / "report.html").read_text()
  assert "http://" not in page and "https://" not in page and "<script" not in page
  assert "&lt;linear&gt; &amp; co" in page and "<linear>" not in page
  assert "43.78" in page and "0.3138" in page  # the paper's values
  results = files.read_json(str(finished / "results.json"))
  for experiment in results["experiments"].values():
    for verdict in experiment["verdicts"]:
      assert report._text(verdict["statement"]) in page
      evidence = verdict["evidence"]
      if verdict["outcome"] == verdicts.HOLDS:
        assert evidence["low"] > 0
  pictures = list(finished.glob("*/*.png"))
  assert page.count("data:image/png") == len(pictures) > 8
  for name in NAMES:
    assert f'href="{name}/arrays.npz"' in page
    np.load(finished / name / "arrays.npz", allow_pickle=False)


def test_the_page_opens_with_pictures_and_headline_numbers(finished):
  page = (finished / "report.html").read_text()
  opening = page[: page.index('id="models"')]
  assert opening.index("data:image/png") < opening.index('id="numbers"')
  assert opening.count("data:image/png") == 1  # that of the comparison
  for column in ("LPIPS", "PSNR", "SSIM", "class kept"):
    assert f"<th>{column}</th>" in opening
  for group in (verdicts.PAIR, verdicts.MODEL):
    assert f"<h3>{group}</h3>" in page
  curves = finished.glob("brightness_sharpness/*.png")
  assert page.count('<figure class="curves">') == len(list(curves)) > 0


def test_where_roles_are_not_recorded_the_page_says_why(inverters, data, tmp_path):
  path = inverters["robust"].path
  unknown = {
    name: Inverter.load(path, tiny.LinearClassifier(KERNEL)) for name in inverters
  }
  for inverter in unknown.values():
    inverter.classifier.describe = lambda: {"name": "x", "digest": "y"}
  done = study.run(["class_spread"], unknown, data, str(tmp_path), 24, lambda _: None)
  report.write(done, study.describe(unknown, data, 24), str(tmp_path))
  assert not done["class_spread"]["verdicts"]
  page = (tmp_path / "report.html").read_text()
  assert "--role robust=robust" in page and "not recorded" in page
  assert f"<h3>{verdicts.PAIR}</h3>" not in page


def _estimate(value, low, high, n, **paper):
  return {"value": value, "low": low, "high": high, "n": n, **paper}


def _verdict(outcome, group, evidence, margin=None):
  return {
    "statement": f"{outcome} {evidence['n']}",
    "section": "5",
    "outcome": outcome,
    "evidence": evidence,
    "evidence_is": "a difference",
    "group": group,
    "margin": margin,
  }


@pytest.fixture
def made_up(tmp_path):
  """(done, setting) of two models whose numbers all differ; pictures of 40 x 20 px."""
  found = {
    "title": "Rotation",
    "section": "13",
    "question": "How?",
    "summary": {
      "psnr": {
        "first": _estimate(1.5, 1.25, 1.75, 11, paper=1.125),
        "second": _estimate(-2.5, -2.75, -2.25, 12),
      },
      "kept": {"second": _estimate(0.5, 0.5, 0.5, 1, paper=0.75)},
      "none": {
        "first": _estimate(None, None, None, 0),
        "second": _estimate(None, None, None, 5),
      },
    },
    "order": ["kept", "psnr", "none"],
    "headlines": [["PSNR", "psnr"], ["kept", "kept"]],
    "verdicts": [
      _verdict(verdicts.HOLDS, verdicts.PAIR, _estimate(1, 0.5, 2, 4), margin=0.125),
      _verdict(verdicts.HOLDS, verdicts.PAIR, _estimate(1, 0.5, 2, 5)),
      _verdict(verdicts.FAILS, verdicts.PAIR, _estimate(-1, -2, -0.5, 6)),
      _verdict(verdicts.OPEN, verdicts.MODEL, _estimate(0, -1, 1, 7)),
    ],
    "notes": ["a & b"],
    "pictures": [
      {"file": f"{name}.png", "caption": name, "kind": kind, "opening": False}
      for name, kind in (("lines", "curves"), ("tiles", "grid"), ("more", "grid"))
    ],
    "costs": {"total, s": 2.0, "per image, s": 0.125},
    "settings": {"images": 3},
  }
  (tmp_path / "rotation").mkdir()
  for picture in found["pictures"]:
    Image.new("L", (40, 20)).save(tmp_path / "rotation" / picture["file"])
  module = {
    "architecture": "resnet_biggan_arch",
    "trained_on": "photos",
    "image_size": 64,
    "step": 12345,
    "classifier": {"name": "resnet", "digest": "0123456789abcdef"},
    "role": {"kind": "robust", "attack": "pgd", "epsilon": 0.25},
    "path": "/m",
  }
  other = {**module, "architecture": None, "classifier": None, "role": None}
  setting = {
    "split": "validation",
    "dataset": "photos",
    "seed": 8,
    "limit": 30,
    "judge": None,
    "why_no_pair": None,
    "modules": {"first": module, "second": other},
  }
  return {"rotation": found}, setting


def _tables(page):
  """The cells of every table, [table][row][cell], as HTML."""
  return [
    [
      re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row)
      for row in re.findall("<tr>.*", table)
    ]
    for table in re.findall("<table>.*?</table>", page, re.DOTALL)
  ]


def test_numbers_stand_under_their_models_and_the_paper_s_beside_them(
  made_up, tmp_path
):
  report.write(*made_up, str(tmp_path))
  page = (tmp_path / "report.html").read_text()
  headlines, models, pair, single, measured = _tables(page)
  first = "1.5 [1.25, 1.75], n&nbsp;=&nbsp;11"
  second = "-2.5 [-2.75, -2.25], n&nbsp;=&nbsp;12".replace("-", "\N{MINUS SIGN}")
  kept = "0.5, n&nbsp;=&nbsp;1"
  assert headlines == [
    ["model", "PSNR", "kept"],
    ["first", first, ""],
    ["second", second, kept],
  ]
  assert measured == [
    ["measure", "first", "paper", "second", "paper"],
    ["kept", "", "", kept, "0.75"],
    ["psnr", first, "1.125", second, ""],
    ["none", "no such images", "", "not defined, n&nbsp;=&nbsp;5", ""],
  ]
  described = ["resnet_biggan_arch", "photos", "64 px", "12,345", "resnet"]
  described += ["robust (pgd, \N{GREEK SMALL LETTER EPSILON} = 0.25)", "0123456789ab"]
  assert models[1:] == [
    ["first", *described, "/m"],
    ["second", "unknown", *described[1:4], "none", "not recorded", "", "/m"],
  ]
  assert (len(pair), len(single)) == (4, 2)
  assert '"outcome holds">holds<' in pair[1][0]
  assert "holds 4<" in pair[1][1] and "negligible below 0.125: 1 [0.5, 2]" in pair[1][1]
  assert '"outcome fails">does not hold<' in pair[3][0]
  assert '"outcome open">not decided<' in single[1][0]
  assert "<p>holds: 2, does not hold: 1.</p>" in page
  assert "validation images of photos (seed 8, at most 30 images each)" in page
  assert "Took 2.0 s. per image, s: 0.1250." in page and "<p>a &amp; b</p>" in page


def test_models_have_one_order_in_all_tables(made_up, tmp_path):
  done, setting = made_up
  modules = dict(reversed(setting["modules"].items()))
  report.write(done, {**setting, "modules": modules}, str(tmp_path))
  headlines, models, *_, measured = _tables((tmp_path / "report.html").read_text())
  assert [row[0] for row in headlines[1:]] == ["second", "first"]
  assert [row[0] for row in models[1:]] == ["second", "first"]
  assert measured[0] == ["measure", "second", "paper", "first", "paper"]


def test_the_first_grid_opens_where_none_is_meant_to_and_pictures_keep_their_shape(
  made_up, tmp_path
):
  report.write(*made_up, str(tmp_path))
  page = (tmp_path / "report.html").read_text()
  captions = re.findall("<figcaption>(.*?)<", page)
  assert captions == ["tiles", "lines", "more"]
  assert re.findall(r'<img width="(\d+)" height="(\d+)"', page) == 3 * [("20", "10")]
  made_up[0]["rotation"]["pictures"][2]["opening"] = True
  report.write(made_up[0], {**made_up[1], "limit": None}, str(tmp_path))
  page = (tmp_path / "report.html").read_text()
  assert re.findall("<figcaption>(.*?)<", page) == ["more", "lines", "tiles"]
  assert "(seed 8)" in page


@pytest.fixture(scope="module")
def browser():
  webdriver = pytest.importorskip("selenium.webdriver")
  import shutil

  program = shutil.which("chromium") or shutil.which("chromium-browser")
  driver = shutil.which("chromedriver")
  if not (program and driver):
    pytest.skip("no chromium with its driver: apt-get install chromium chromium-driver")
  options = webdriver.ChromeOptions()
  options.binary_location = program
  for argument in (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
  ):
    options.add_argument(argument)
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  opened = webdriver.Chrome(
    options=options, service=webdriver.ChromeService(executable_path=driver)
  )
  yield opened
  opened.quit()


@pytest.mark.parametrize("width", [1200, 400])
def test_in_a_real_browser(width, browser, finished):
  """It loads, every picture has a size, the console is silent, nothing overflows."""
  browser.set_window_size(width, 900)
  # A phone's viewport is narrower than any window may be.
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
  )
  browser.get(f"file://{finished}/report.html")
  assert browser.title == "What the logits keep"
  sizes = browser.execute_script(
    "return [...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])"
  )
  assert len(sizes) == len(list(finished.glob("*/*.png")))
  assert all(done and natural > 0 and shown > 100 for done, natural, shown in sizes)
  overflow = browser.execute_script(
    "return document.documentElement.scrollWidth - window.innerWidth"
  )
  assert overflow <= 0
  broken = browser.execute_script(
    "return [...document.querySelectorAll('a[href^=\"#\"]')].filter("
    "a => !document.getElementById(a.getAttribute('href').slice(1))).length"
  )
  assert broken == 0
  assert browser.get_log("browser") == []


def test_command_lists_and_refuses(server, tmp_path):
  def run(*arguments):
    return server.run(tmp_path, "reproduce", *arguments)

  listed = run("--list")
  assert listed.returncode == 0, listed.stderr
  for name in experiments.EXPERIMENTS:
    assert name in listed.stdout
  wrong = run("--list", "--only", "rotations")
  assert wrong.returncode == 1 and "did you mean 'rotation'" in wrong.stderr
  assert "--module" in run().stderr
  absent = run(
    "--module",
    "nowhere",
    "--only",
    "comparison",
    "--gin_bindings",
    "rotation.images = 4",
  )
  assert absent.returncode == 1 and "nowhere" in absent.stderr
