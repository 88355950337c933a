"""Experiments on modules and images constructed so that the answers are known."""

import dataclasses
import itertools
import json
import re
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from scipy import special
from scipy import stats

from compare_gan_logits import attacks
from compare_gan_logits import experiments
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import adversarial
from compare_gan_logits.experiments import baselines
from compare_gan_logits.experiments import best_of_samples
from compare_gan_logits.experiments import brightness_sharpness
from compare_gan_logits.experiments import class_spread
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import comparison
from compare_gan_logits.experiments import data as data_lib
from compare_gan_logits.experiments import directions
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import interpolation
from compare_gan_logits.experiments import iterative_stability
from compare_gan_logits.experiments import logit_content
from compare_gan_logits.experiments import logit_interpolation
from compare_gan_logits.experiments import logit_manipulation
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import memorisation
from compare_gan_logits.experiments import misclassified
from compare_gan_logits.experiments import mixup
from compare_gan_logits.experiments import noise_interpolation
from compare_gan_logits.experiments import noise_resampling
from compare_gan_logits.experiments import optimisation
from compare_gan_logits.experiments import out_of_distribution
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import rotation
from compare_gan_logits.experiments import study
from compare_gan_logits.experiments import verdicts
from compare_gan_logits.inversion import Inverter
from compare_gan_logits.metrics import statistics


RNG = np.random.default_rng(0)
SIZE = 16
PIXELS = SIZE * SIZE
# Orthonormal columns: classifying K's combinations gives back their coefficients.
K = np.linalg.qr(RNG.normal(size=[PIXELS, 4]))[0]
LOGITS = RNG.normal(0, 0.5, [200, 4])
# Classifier logits are of the image minus the offset's, so the loop is exact.
IMAGES = (0.5 + LOGITS @ K.T).reshape(-1, SIZE, SIZE, 1).astype(np.float32)
LABELS = (IMAGES.reshape(-1, PIXELS) @ K).argmax(1)
NOISE = {"robust": 0.002, "standard": 0.02}
DIRECTIONS = RNG.normal(size=[3, PIXELS])


def _root_mean_square(a, b):
  return np.sqrt(np.square(np.asarray(a, np.float64) - b).mean(axis=(1, 2, 3)))


@pytest.fixture(autouse=True)
def _distance_in_closed_form(monkeypatch):
  monkeypatch.setattr(measures, "perceptual", _root_mean_square)
  monkeypatch.setattr(memorisation, "_by_lpips", memorisation._by_pixels)


@pytest.fixture(scope="module")
def inverters(tmp_path_factory):
  """The exact inverse of the classifier (on the images above) plus noise."""
  folder = tmp_path_factory.mktemp("modules")
  offset = 0.5 - 0.5 * np.ones(PIXELS) @ K @ K.T
  found = {}
  for label, size in NOISE.items():

    def picture(z, logits, size=size):
      flat = tf.constant(offset, tf.float32) + logits @ tf.constant(K.T, tf.float32)
      return flat + z @ tf.constant(size * DIRECTIONS, tf.float32)

    path = tiny.write_module(folder / label, picture, size=SIZE)
    found[label] = Inverter.load(path, tiny.LinearClassifier(K), role=label)
  return found


@pytest.fixture(scope="module")
def data():
  return data_lib.Data(tiny.Images(IMAGES, LABELS), seed=3)


def _value(result, name, label):
  return result.summary()[name][label]["value"]


def _outcomes(result):
  return {v.statement: v.outcome for v in result.verdicts}


# The common form -----------------------------------------------------------------


def test_every_experiment_has_the_form(inverters, data):
  closer = (
    r"\b(closer|smoother|less|reconstructed better|standard model's pictures more)\b"
  )
  compared = 0
  for name in experiments.EXPERIMENTS:
    experiment = experiments.get(name)
    assert experiment.TITLE and experiment.SECTION and experiment.QUESTION
    settings = experiments.settings_of(experiment, 8)
    assert settings.images == 8
    if name == "optimisation":
      settings = dataclasses.replace(settings, steps=5)
    result = experiment.run(inverters, data, settings)
    assert isinstance(result, common.Result)
    for entry in result.measures:
      estimate = entry.estimate
      assert np.isfinite(estimate.value) or estimate.n == 0
      assert estimate.low <= estimate.value <= estimate.high or estimate.n == 0
    for array in result.arrays.values():
      assert np.asarray(array).dtype != object
    for verdict in result.verdicts:
      if (
        verdict.evidence_is.endswith(", same images") and verdict.group == verdicts.PAIR
      ):
        # What is positive where the statement holds.
        order = ["standard", "robust"]
        first, second = order if re.search(closer, verdict.statement) else order[::-1]
        assert f": {first} minus {second}, same images" in verdict.evidence_is
        compared += 1
  assert compared > 9


def test_a_wrong_name_is_answered_with_the_nearest():
  with pytest.raises(UserError, match="rotation"):
    experiments.get("rotations")


def test_verdicts_follow_the_interval():
  def outcome(low, high, judge=verdicts.positive, **margin):
    estimate = estimates.Estimate((low + high) / 2, low, high, 9)
    return judge("s", "5", estimate, **margin, evidence_is="x").outcome

  assert outcome(0.1, 0.3) == verdicts.HOLDS
  assert outcome(-0.3, -0.1) == verdicts.FAILS
  assert outcome(-0.1, 0.3) == verdicts.OPEN
  assert outcome(-0.1, 0.1, verdicts.negligible, margin=0.2) == verdicts.HOLDS
  assert outcome(0.3, 0.4, verdicts.negligible, margin=0.2) == verdicts.FAILS
  assert outcome(0.1, 0.4, verdicts.negligible, margin=0.2) == verdicts.OPEN


def test_one_or_two_images_decide_nothing():
  for values in ([0.1], [0.1, 0.2], [0.1, 0.1]):
    verdict = verdicts.positive("s", "5", estimates.mean(values), "x")
    assert verdict.outcome == verdicts.OPEN
  with pytest.raises(UserError, match="no image is left"):
    estimates.mean([])


def test_a_set_of_one_image_ends_no_report(inverters):
  one = data_lib.Data(tiny.Images(IMAGES[:1], LABELS[:1]), seed=0)
  for name in set(experiments.EXPERIMENTS) - {"optimisation", "directions"}:
    experiment = experiments.get(name)
    settings = experiments.settings_of(experiment, 8)
    result = study._attempt(experiment, inverters, one, settings)
    assert not any(v.outcome == verdicts.HOLDS for v in result.verdicts)
    json.dumps(result.summary(), allow_nan=False)


def _recorded(role, architecture="resnet_biggan_arch", classifier="x"):
  """What roles are read from, without a module."""
  info = {"image_size": 8, "colors": 1, "z_dim": 1, "num_logits": 1, "class_names": []}
  info.update(architecture=architecture, classifier={"name": classifier})
  return Inverter("x", info, None, role=Role.of(role))


def test_roles_are_what_is_recorded_whatever_the_labels_say():
  modules = {
    "not_robust": _recorded("standard"),
    "standard": _recorded("robust", "dosovitskiy_brox_arch"),
    "nonrobust": _recorded("standard", classifier="inception_v3"),
    "vit": _recorded("robust"),
  }
  assert roles.pair(modules) == ("vit", "not_robust")
  assert roles.why_no_pair(modules) is None
  found = [roles.paper_value(m, measures.PAPER_LPIPS) for m in modules.values()]
  assert found == [0.3755, 0.3092, 0.3881, 0.3138]  # Table 2.
  others = {label: m for label, m in modules.items() if label != "not_robust"}
  assert roles.pair(others) == (
    "vit",
    "nonrobust",
  )  # Inception, where it is the only one
  # Dosovitskiy & Brox's method is no classifier of its own.
  del modules["vit"]
  assert roles.pair(modules) is None and "no pair" in roles.why_no_pair(modules)


def test_without_roles_no_pair_is_judged_and_the_reason_is_given(inverters, data):
  modules = {"robust": inverters["robust"], "standard": _recorded(None)}
  assert roles.pair(modules) is None
  assert "--role standard=robust" in roles.why_no_pair(modules)
  assert "there is no standard" in roles.why_no_pair({"a": inverters["robust"]})
  assert verdicts.robust_larger(None, "s", "5", {"robust": [1]}, "x") == ()
  unknown = {
    "robust": Inverter(
      inverters["robust"].path, inverters["robust"].info, tiny.LinearClassifier(K)
    )
  }
  settings = brightness_sharpness.Settings(images=20)
  statements = _outcomes(brightness_sharpness.run(unknown, data, settings))
  assert statements and all("sharpness" in s for s in statements)


def test_mean_and_difference_cover_what_scipy_says():
  values = RNG.normal(3, 1, 400)
  estimate = estimates.mean(values)
  theirs = stats.bootstrap([values], np.mean, random_state=0).confidence_interval
  np.testing.assert_allclose([estimate.low, estimate.high], theirs, atol=0.02)
  other = RNG.normal(2, 1, 300)
  difference = estimates.unpaired_difference(values, other)
  theirs = stats.ttest_ind(values, other).confidence_interval()
  np.testing.assert_allclose([difference.low, difference.high], theirs, atol=0.03)


# Drawing of images -----------------------------------------------------------------


def test_draw_is_by_seed_and_keeps_what_is_asked(data):
  first = data.draw(20, "a")
  np.testing.assert_array_equal(first.ids, data.draw(20, "a").ids)
  assert set(first.ids) != set(data.draw(20, "b").ids)
  np.testing.assert_array_equal(first.images, IMAGES[first.ids])
  kept = data.draw(500, "a", keep=lambda sample: sample.labels == 2)
  assert len(kept.ids) == np.sum(LABELS == 2) and (kept.labels == 2).all()


def test_classes_of_images_without_labels_are_refused(inverters):
  labels = LABELS.copy()
  labels[0] = -1
  for unlabelled in (
    tiny.Images(IMAGES, labels),
    tiny.Images(IMAGES, LABELS, num_classes=None),
  ):
    for experiment in (class_spread, iterative_stability):
      with pytest.raises(UserError, match="have no label"):
        experiment.run(inverters, data_lib.Data(unlabelled), experiment.Settings())


def test_the_first_images_of_an_outside_set_are_a_sample_of_it(tmp_path):
  """A file may be sorted by class, and an experiment takes fewer than are read."""
  path = tmp_path / "t10k-images-idx3-ubyte"
  pixels = np.repeat(np.arange(250, dtype=np.uint8), 16)
  path.write_bytes(struct.pack(">IIII", 0x803, 250, 4, 4) + pixels.tobytes())
  images = data_lib.read_outside(str(path), 4, 200, seed=0)
  levels = np.round(images[:, 0, 0, 0] * 255).astype(int)
  assert len(set(levels)) == 200
  assert levels[:50].mean() == pytest.approx(levels.mean(), abs=30)


def test_differences_of_rates_are_newcombes():
  """56/70 and 48/80: the example of Newcombe (1998), Table II, method 10."""
  first, second = np.arange(70) < 56, np.arange(80) < 48
  found = estimates.rate_difference(first, second)
  assert found.value == pytest.approx(0.2)
  assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
  # Two that are alike decide little: a bootstrap would know them exactly.
  few = estimates.rate_difference(np.arange(498) < 300, np.zeros(2, bool))
  assert few.low < 0 < few.value


def test_differences_of_paired_rates_cover_and_are_wide_where_pairs_are_few():
  random = np.random.default_rng(0)
  covered = []
  for _ in range(400):  # correlated pairs of rates .7 and .5
    shared = random.uniform(size=40)
    second = np.where(random.uniform(size=40) < 0.5, shared, random.uniform(size=40))
    found = estimates.paired_rate_difference(shared < 0.7, second < 0.5)
    covered.append(found.low <= 0.2 <= found.high)
  assert 0.92 < np.mean(covered) <= 0.99
  # 20 pairs of two successes, 12 and 2 of one, 16 of none.
  first, second = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [20, 12, 2, 16], axis=0).T
  found = estimates.paired_rate_difference(first, second)
  assert (found.value, found.n) == (pytest.approx(0.2), 50)
  assert (found.low, found.high) == pytest.approx((0.0562, 0.3290), abs=5e-4)
  alike = estimates.paired_rate_difference([1, 0] * 4, [1, 0] * 4)
  assert -alike.low == pytest.approx(alike.high) and alike.high > 0.1
  # All of three alike decide nothing; of pairs without correlation, as of two groups.
  few = estimates.paired_rate_difference(np.ones(3, bool), np.zeros(3, bool))
  apart = estimates.rate_difference(np.ones(3, bool), np.zeros(3, bool))
  assert (few.low, few.high) == pytest.approx((apart.low, apart.high)) and few.low < 0.5
  (verdict,) = verdicts.robust_larger(
    ("a", "b"), "s", "5", {"a": np.zeros(3, bool), "b": np.ones(3, bool)}, "x", sign=-1
  )
  assert verdict.evidence == few
  none = {label: np.zeros(0, bool) for label in "ab"}
  with pytest.raises(UserError, match="no image is left to measure"):
    verdicts.robust_larger(("a", "b"), "s", "5", none, "x")


@pytest.mark.parametrize("n", [3, 8, 29])
def test_intervals_of_few_values_are_wrong_as_seldom_as_they_say(n):
  random = np.random.default_rng(0)
  found = [estimates.mean(random.normal(size=n)) for _ in range(1000)]
  assert np.mean([e.low > 0 or e.high < 0 for e in found]) == pytest.approx(
    0.05, abs=0.02
  )


def test_resnet_is_compared_with_inception_where_both_are_there():
  role = SimpleNamespace(kind=roles.STANDARD)
  names = {"resnet": "resnet152", "inception": "inception_v3"}
  inverters = {
    label: SimpleNamespace(role=role, info={"classifier": {"name": name}})
    for label, name in names.items()
  }
  lpips = {"resnet": np.full(50, 0.3), "inception": np.full(50, 0.4)}
  (found,) = comparison._resnet_against_inception(inverters, lpips)
  assert found.outcome == verdicts.HOLDS and found.evidence.value == pytest.approx(0.1)
  del inverters["inception"]
  assert comparison._resnet_against_inception(inverters, lpips) == ()


def test_a_shift_acts_with_either_sign():
  random = np.random.default_rng(0)
  outcomes = []
  for slope in (0.5, -0.5, 0.0):
    slopes = slope + random.normal(size=200)
    outcomes.append(logit_manipulation._acts("s", "contrast", slopes).outcome)
  assert outcomes == [verdicts.HOLDS, verdicts.HOLDS, verdicts.OPEN]


def test_the_effect_of_shifts_is_compared_over_the_figure_s_own_range():
  """A third of the effect for a unit, and three times the shifts: the same picture."""
  inverters = {
    kind: SimpleNamespace(role=SimpleNamespace(kind=kind), info={})
    for kind in (roles.ROBUST, roles.STANDARD)
  }
  random = np.random.default_rng(0)
  slope = {"robust": 1.2, "standard": 3.0}
  noise = 0.1 * random.normal(size=64)
  slopes = {
    kind: {
      label: {name: slope[label] + noise for name in ("contrast", "sharpness")}
      for label in inverters
    }
    for kind in ("shift", "scale")
  }
  changes = {
    label: {name: reach * value for name, value in slopes["shift"][label].items()}
    for label, reach in (("robust", 0.6), ("standard", 0.2))
  }
  moved = {label: np.arange(64.0) for label in inverters}
  found = {
    v.statement: v.outcome
    for v in logit_manipulation._verdicts(inverters, slopes, changes, moved)
  }
  more = "acts on sharpness more in the robust model"
  assert found[f"The shift {more}, from end to end of Figure 8a"] == verdicts.HOLDS
  assert found[f"A unit of shift {more}"] == verdicts.FAILS


def test_stability_is_compared_among_right_and_among_wrong_images():
  """The paper's rates: the robust model is ahead in both, and behind in all together."""

  def images(n, kept):
    return np.arange(n) < kept * n

  kept = {
    ("right", "robust"): images(600, 0.54),  # less accurate: 30 % of 2,000
    ("wrong", "robust"): images(1400, 0.35),
    ("right", "standard"): images(1600, 0.45),
    ("wrong", "standard"): images(400, 0.25),
  }
  found = iterative_stability._robust_more_stable(kept, "robust", "standard")
  assert [v.outcome for v in found] == [verdicts.HOLDS, verdicts.HOLDS]
  kept["wrong", "standard"] = images(2, 0.5)
  assert len(iterative_stability._robust_more_stable(kept, "robust", "standard")) == 1


def test_slopes_of_either_sign_move_no_mean_curve():
  """Section 13 compares expected shifts: per image, 1 and -1 would be as large as 1."""
  factors, signs = np.array([0.0, 1.0, 2.0]), np.tile([1.0, -1.0], 50)
  curves = signs[:, None] * factors
  assert brightness_sharpness._expected_slope(factors, curves).mean() == 0.0
  falling = brightness_sharpness._expected_slope(factors, -0.5 * np.abs(curves))
  np.testing.assert_allclose(falling, 0.5)


def test_a_peak_is_judged_by_its_interval():
  """Noise that puts the maximum of half of the images at the end decides nothing."""
  factors = np.array([0.5, 1.0, 1.5, 2.0])
  random = np.random.default_rng(0)

  def outcome(curve, noise):
    value = np.asarray(curve) + noise * random.normal(size=[400, 4])
    return brightness_sharpness._peak("standard", value, factors).outcome

  assert outcome([0, 1, 2, 1], 0.1) == verdicts.HOLDS
  assert outcome([0, 1, 2, 3], 0.1) == verdicts.FAILS
  assert outcome([0, 1, 1, 1], 1.0) == verdicts.OPEN


def test_draw_classes_is_balanced(data):
  sample = data.draw_classes(3, 7, "x")
  classes, counts = np.unique(sample.labels, return_counts=True)
  assert len(classes) == 3
  np.testing.assert_array_equal(counts, [min(7, np.sum(c == LABELS)) for c in classes])
  others = [
    data_lib.Data(data.dataset, seed=s).draw_classes(3, 7, "x") for s in range(9)
  ]
  assert set(np.concatenate([other.labels for other in others])) == set(range(4))
  of_one = [set(other.ids[other.labels == classes[0]]) for other in others]
  assert len(set.union(*of_one)) > 7  # other images of it as well


def test_targets_need_matching_classes(inverters):
  other = data_lib.Data(tiny.Images(IMAGES, LABELS, num_classes=7))
  with pytest.raises(UserError, match="is not known"):
    other.targets(inverters["robust"], LABELS)


def test_outside_sets_from_idx_and_folder(tmp_path):
  import gzip

  from PIL import Image

  values = RNG.integers(0, 256, [5, 4, 3]).astype(np.uint8)
  head = np.array([0x803, 5, 4, 3], ">u4").tobytes()
  path = tmp_path / "digits-ubyte.gz"
  path.write_bytes(gzip.compress(head + values.tobytes()))
  read = np.round(data_lib.read_outside(str(path), 8, 99, 0)[..., 0] * 255)
  assert sorted(map(tuple, read.reshape(5, -1))) == sorted(
    map(tuple, values.reshape(5, -1))
  )
  path.write_bytes(gzip.compress(head + values.tobytes()[:-2]))
  with pytest.raises(UserError, match="cut off"):
    data_lib.read_outside(str(path), 8, 99, 0)
  packed = bytearray(gzip.compress(head + values.tobytes()))
  packed[10] = 0xFF  # no kind of block of a compressed stream
  path.write_bytes(packed)
  with pytest.raises(UserError, match="is damaged"):
    data_lib.read_outside(str(path), 8, 99, 0)
  Image.fromarray(values[0]).save(tmp_path / "a.png")
  assert data_lib.read_outside(str(tmp_path), 8, 99, 0).shape == (1, 8, 8, 3)
  for level in range(9):
    Image.new("L", (4, 4), level).save(tmp_path / f"b{level}.png")
  drawn = {data_lib.read_outside(str(tmp_path), 8, 2, s).tobytes() for s in range(4)}
  assert len(drawn) > 1


# One experiment after another ------------------------------------------------------


def test_comparison_of_an_exact_inverse(inverters, data):
  result = comparison.run(inverters, data, comparison.Settings(images=100))
  for label, size in NOISE.items():
    assert _value(result, "class of the original kept", label) > 0.9
    # Noise is all that differs: its mean size is known.
    noise = inverters[label].noise(100, data.seed) @ (size * DIRECTIONS)
    expected = np.sqrt(np.square(noise).mean(axis=1)).mean()
    assert _value(result, measures.NAMES["lpips"], label) == pytest.approx(
      expected, rel=0.02
    )
  assert set(_outcomes(result).values()) == {verdicts.HOLDS}
  entry = result.summary()[measures.NAMES["lpips"]]["robust"]
  assert entry["paper"] == 0.3138 and entry["n"] == 100


def test_pixel_deviation_against_numpy(inverters, data):
  result = noise_resampling.run(inverters, data, noise_resampling.Settings(images=30))
  assert set(v.outcome for v in result.verdicts if "Resampling" in v.statement) == {
    verdicts.HOLDS
  }
  noise = inverters["robust"].noise(30 * 8, data.seed).reshape(30, 8, 3)
  pixels = noise @ (NOISE["robust"] * DIRECTIONS)
  expected = np.sqrt(pixels.var(axis=1).mean(axis=1)).mean()
  assert _value(result, "pixel deviation across noise", "robust") == pytest.approx(
    expected, rel=1e-3
  )


def test_flips_are_found_where_they_were_made():
  base = RNG.uniform(size=[5, 1, SIZE, SIZE, 1])
  mirrored = np.concatenate([base, base[:, :, :, ::-1], base], axis=1)
  np.testing.assert_allclose(noise_resampling.flip_rate(mirrored, 2, 0.5), 2 / 3)
  np.testing.assert_allclose(noise_resampling.flip_rate(mirrored, 1, 0.5), 0)
  upended = np.concatenate([base, base[:, :, ::-1]], axis=1)
  np.testing.assert_allclose(noise_resampling.flip_rate(upended, 2, 0.5), 0)
  np.testing.assert_allclose(noise_resampling.flip_rate(upended, 1, 0.5), 1)


@pytest.mark.parametrize(
  "experiment, wrong",
  [
    (noise_interpolation, {"tiles": 1}),
    (logit_interpolation, {"tiles": 3}),
    (brightness_sharpness, {"factors": (1.0, 2.0)}),
    (brightness_sharpness, {"factors": (2.0, 1.0, 0.5)}),
    (best_of_samples, {"samples": (4,)}),
    (brightness_sharpness, {"factors": (0.5, 1.0, float("nan"))}),
    (best_of_samples, {"samples": (4, 1)}),
    (logit_manipulation, {"shifts": (0.1,)}),
    (logit_manipulation, {"shifts_robust": (0.0, -0.1, 0.1)}),
    (logit_manipulation, {"log_scales": (0.0, 0.0)}),
  ],
)
def test_settings_that_leave_nothing_to_compare_are_refused(experiment, wrong):
  (name,) = wrong
  with pytest.raises(
    UserError, match=rf"\.{name} .*(at least|or more numbers that rise)"
  ):
    experiment.Settings(**wrong)


def test_paths_of_a_linear_generator_are_straight_and_even(inverters, data):
  settings = noise_interpolation.Settings(images=20)
  result = noise_interpolation.run(inverters, data, settings)
  assert set(_outcomes(result).values()) == {verdicts.HOLDS}
  for label in inverters:
    assert _value(result, "path length, LPIPS", label) == pytest.approx(
      _value(result, "LPIPS between the ends", label), rel=1e-3
    )
    assert _value(result, "unevenness of the steps (0 is even)", label) < 1e-2
  ends = inverters["robust"].noise(40, data.seed).reshape(2, 20, 3)
  pixels = (ends[1] - ends[0]) @ (NOISE["robust"] * DIRECTIONS)
  assert _value(result, "path length, LPIPS", "robust") == pytest.approx(
    np.sqrt(np.square(pixels).mean(axis=1)).mean(), rel=1e-3
  )


def test_logits_of_two_images_are_gone_between_with_one_noise(inverters, data):
  settings = logit_interpolation.Settings(images=20)
  result = logit_interpolation.run(inverters, data, settings)
  a, b = (IMAGES[result.arrays["ids"]].reshape(2, 20, -1)) @ K
  for label in inverters:
    assert _value(result, "unevenness of the steps (0 is even)", label) < 1e-2
    length = np.linalg.norm(a - b, axis=1) / SIZE
    np.testing.assert_allclose(result.arrays[f"ends/{label}"], length, rtol=1e-3)


def test_images_of_another_set_are_as_many_as_are_asked_for(inverters, data):
  outside = {"noise": RNG.uniform(size=[30, SIZE, SIZE, 1]).astype(np.float32)}
  more = data_lib.Data(data.dataset, seed=3, outside=outside)
  result = out_of_distribution.run(
    inverters, more, out_of_distribution.Settings(images=10)
  )
  robust, standard = (result.arrays[f"noise/lpips/{label}"] for label in inverters)
  (verdict,) = result.verdicts
  assert verdict.statement.startswith("noise is reconstructed better")
  assert verdict.evidence.n == 10
  assert verdict.evidence.value == pytest.approx((standard - robust).mean())


def test_unevenness_in_closed_form():
  np.testing.assert_allclose(interpolation.unevenness(np.array([[1.0, 3.0]])), 0.5)
  path = interpolation.between(np.zeros([1, 2]), np.ones([1, 2]), 5)
  np.testing.assert_allclose(path[0, :, 0], [0, 0.25, 0.5, 0.75, 1])


def test_misclassified_finds_a_quality_difference_that_was_made(inverters, data):
  """Images off the generator's range are worse; give just those wrong labels."""
  noisy = RNG.uniform(size=[60, SIZE, SIZE, 1]).astype(np.float32)
  wrong = ((noisy.reshape(60, -1) @ K).argmax(1) + 1) % 4
  mixed = data_lib.Data(
    tiny.Images(
      np.concatenate([IMAGES[:60], noisy]), np.concatenate([LABELS[:60], wrong])
    )
  )
  result = misclassified.run(inverters, mixed, misclassified.Settings(images=120))
  assert _value(result, "classified right", "robust") == 0.5
  assert set(_outcomes(result).values()) == {verdicts.FAILS}
  assert _value(result, "Mann-Whitney p, right against wrong, LPIPS", "robust") < 1e-10
  alike = data_lib.Data(
    tiny.Images(IMAGES, np.where(np.arange(200) % 2, LABELS, (LABELS + 1) % 4))
  )
  result = misclassified.run(
    {"robust": inverters["robust"]},
    alike,
    misclassified.Settings(images=200, margin=0.5),
  )
  assert set(_outcomes(result).values()) == {verdicts.HOLDS}
  right = result.arrays["right/robust"]
  margin = 0.5 * result.arrays["lpips/robust"][right].mean()
  assert result.verdicts[0].margin == pytest.approx(margin)


def test_attack_on_a_linear_classifier_is_the_known_step(inverters):
  attacked = adversarial.attack(
    inverters["robust"], IMAGES[:5], LABELS[:5], "FGSM", 0.1, 10
  )
  for image, label, result in zip(IMAGES[:5], LABELS[:5], attacked):
    logits = image.reshape(-1) @ K
    probability = np.exp(logits) / np.exp(logits).sum()
    gradient = K @ (probability - np.eye(4)[label])
    expected = np.clip(image.reshape(-1) + 0.1 * np.sign(gradient), 0, 1)
    np.testing.assert_allclose(result.reshape(-1), expected, atol=1e-6)


def test_pgd_takes_steps_of_two_and_a_half_times_epsilon_in_all(inverters):
  classifier = inverters["robust"].classifier
  found = adversarial.attack(inverters["robust"], IMAGES[:5], LABELS[:5], "PGD", 0.1, 4)
  with tf.Graph().as_default(), tf.Session() as session:
    images, labels = tf.constant(IMAGES[:5]), tf.constant(LABELS[:5])
    step = 2.5 * 0.1 / 4
    expected = session.run(attacks.pgd(classifier, images, labels, 0.1, step, 4))
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_shift_and_scale_of_logits_held_noise(inverters, data):
  np.testing.assert_allclose(
    logit_manipulation.manipulate(LOGITS, "shift", 0.15), LOGITS + 0.15
  )
  np.testing.assert_allclose(
    logit_manipulation.manipulate(LOGITS, "scale", 0.3), LOGITS * 10**0.3
  )
  result = logit_manipulation.run(
    inverters, data, logit_manipulation.Settings(images=40)
  )
  # Brightness is linear in the shift, with the mean of K's rows as slope.
  expected = K.sum(axis=1).mean()
  for label in inverters:
    assert _value(
      result, "brightness gained per unit of shift", label
    ) == pytest.approx(expected, abs=1e-4)
    # A vector of four normal numbers has a length of 1.88 on average.
    moved = np.sqrt(0.55) * 1.88 / SIZE
    name = "LPIPS moved by the perturbation"
    assert _value(result, name, label) == pytest.approx(moved, rel=0.1)
  assert result.arrays["shift/values/robust"][0] == -0.3
  assert result.arrays["shift/values/standard"][0] == -0.1


def test_looks_in_closed_form():
  flat = np.full([1, 8, 8, 1], 0.3)
  stripes = np.zeros([1, 8, 8, 1])
  stripes[:, :, ::2] = 1.0
  assert measures.brightness(flat)[0] == pytest.approx(0.3)
  assert measures.contrast(flat)[0] == pytest.approx(0, abs=1e-12)
  assert measures.sharpness(flat)[0] == pytest.approx(0, abs=1e-12)
  assert measures.contrast(stripes)[0] == pytest.approx(0.5)
  assert measures.sharpness(stripes)[0] == pytest.approx(2.0)
  grey = np.repeat(stripes, 3, axis=-1)
  np.testing.assert_allclose(measures.luma(grey), stripes[..., 0], atol=2e-4)


def test_slope_against_scipy():
  x, y = RNG.uniform(size=6), RNG.normal(size=[4, 6])
  np.testing.assert_allclose(
    measures.slope(x, y), [stats.linregress(x, row).slope for row in y]
  )


def test_class_spread_against_numpy(inverters, data):
  logits, labels = RNG.normal(size=[50, 4]), RNG.integers(0, 3, 50)
  expected = [
    np.linalg.norm(logits[i] - logits[labels == labels[i]].mean(0)) for i in range(50)
  ]
  np.testing.assert_allclose(class_spread.spread(logits, labels), expected)
  result = class_spread.run(inverters, data, class_spread.Settings(images=40))
  _, counts = np.unique(LABELS, return_counts=True)
  assert len(result.arrays["ids"]) == np.minimum(counts, 40 // 10).sum()
  entry = result.summary()["l2 distance of logits to their class mean, over classes"]
  assert entry["robust"]["n"] == len(np.unique(LABELS))
  assert entry["robust"]["paper"] == 43.78 and entry["standard"]["paper"] == 42.33
  # Both have the same classifier: nothing may be decided.
  assert set(_outcomes(result).values()) == {verdicts.OPEN}


def test_iterated_classes_of_a_projection_stay(inverters):
  pictures, predicted = iterative_stability.iterate(
    inverters["robust"], IMAGES[:50], 3, seed=0
  )
  assert len(pictures) == 3 and predicted.shape == (4, 50)
  np.testing.assert_array_equal(predicted[0], LABELS[:50])
  assert np.mean(predicted[1:] == predicted[0]) > 0.9


def test_best_fits_are_exact_on_constructed_logits():
  adjusted = RNG.normal(size=[9, 6])
  shift, scale = RNG.normal(size=[9, 1]), RNG.normal(size=[9, 1])
  np.testing.assert_allclose(
    brightness_sharpness.best_shift(adjusted + shift, adjusted), shift[:, 0]
  )
  np.testing.assert_allclose(
    brightness_sharpness.best_scale(adjusted * scale, adjusted), scale[:, 0]
  )
  # And least squares where no fit is exact.
  original = RNG.normal(size=[9, 6])
  np.testing.assert_allclose(
    brightness_sharpness.best_shift(original, adjusted), (original - adjusted).mean(1)
  )
  for row in range(9):
    fit = np.linalg.lstsq(adjusted[row][:, None], original[row], rcond=None)[0][0]
    assert brightness_sharpness.best_scale(original, adjusted)[row] == pytest.approx(
      fit
    )


def test_sharpness_and_brightness_match_pillow():
  from PIL import Image
  from PIL import ImageEnhance

  image = RNG.integers(0, 256, [12, 10]).astype(np.uint8)
  for factor in (0.0, 0.5, 1.0, 2.0):
    for enhance, ours in (
      (ImageEnhance.Sharpness, brightness_sharpness.sharpen),
      (ImageEnhance.Brightness, brightness_sharpness.brighten),
    ):
      theirs = np.asarray(enhance(Image.fromarray(image)).enhance(factor))
      result = ours(image[None, :, :, None] / np.float32(255), factor)[0, :, :, 0] * 255
      np.testing.assert_allclose(result, theirs, atol=2.01)


def test_brightness_of_a_linear_classifier(inverters, data):
  """Logits times the factor: the best scale is one over it."""
  dark = data_lib.Data(tiny.Images(IMAGES * 0.4, LABELS))
  settings = brightness_sharpness.Settings(images=30, factors=(0.5, 1.0, 2.0))
  result = brightness_sharpness.run({"robust": inverters["robust"]}, dark, settings)
  np.testing.assert_allclose(
    result.arrays["brightness/scale/robust"],
    np.tile([2.0, 1.0, 0.5], [30, 1]),
    rtol=1e-4,
  )
  for factor, scale in ((0.5, 2.0), (2, 0.5)):
    name = f"best-fit scale at brightness {factor}"
    assert _value(result, name, "robust") == pytest.approx(scale, rel=1e-4)
  deviation = result.arrays["sharpness/scale/robust"][:, -1].std()
  name = "deviation between images at sharpness 2, scale"
  assert _value(result, name, "robust") == pytest.approx(deviation, rel=1e-4)
  assert "Best-fit shift rises with brightness (robust)" in _outcomes(result)
  del data


def test_turned_symmetric_images_lose_nothing(inverters):
  """Images that a quarter turn leaves alone are reconstructed alike."""
  quarter = RNG.uniform(size=[20, SIZE, SIZE])
  whole = sum(np.rot90(quarter, k, axes=(1, 2)) for k in range(4))[..., None] / 4
  same = data_lib.Data(tiny.Images(whole, np.zeros(20, int)))
  result = rotation.run(inverters, same, rotation.Settings(images=20))
  pictures = inverters["robust"].generate(inverters["robust"].logits(whole), seed=0)
  assert result.arrays["upright/lpips/robust"].shape == (20,)
  turned_back = np.rot90(pictures, -1, axes=(1, 2))
  order = result.arrays["ids"]
  noise = inverters["robust"].noise(20, 0)
  again = inverters["robust"].generate(inverters["robust"].logits(whole[order]), noise)
  expected = _root_mean_square(whole[order], np.rot90(again, -1, axes=(1, 2)))
  np.testing.assert_allclose(result.arrays["turned/lpips/robust"], expected, atol=1e-5)
  assert turned_back.shape == pictures.shape


def test_mixup_scores_in_closed_form():
  a, b = np.array([[50.0, 0, 0]]), np.array([[0, 50.0, 0]])
  even = np.array([[10.0, 10.0, -50]])
  assert mixup.soft_error(even, a, b)[0] == pytest.approx(0, abs=1e-6)
  assert mixup.soft_error(a, a, b)[0] == pytest.approx(0.5)
  assert mixup.soft_error(np.array([[0, 0, 50.0]]), a, b)[0] == pytest.approx(1)
  assert list(mixup.one_of_two(np.array([[0, 0, 1.0], [0, 2, 1]]), a, b)) == [
    False,
    True,
  ]


@pytest.mark.parametrize("probes", [4, 2])
def test_singular_vectors_of_a_linear_generator(probes, tmp_path):
  """With fewer probes than logits, the row space of a rank-2 matrix is enough."""
  matrix = RNG.normal(0, 0.01, [4, 2]) @ RNG.normal(0, 1, [2, PIXELS])
  path = tiny.write_module(tmp_path / "m", tiny.linear(matrix), size=SIZE)
  inverter = Inverter.load(path, tiny.LinearClassifier(K))
  values, vectors = directions.singular(
    inverter, np.zeros([2, 4], np.float32), np.zeros([2, 3], np.float32), 0.5, probes
  )
  assert values.shape == (2, probes) and vectors.shape == (2, probes, 4)
  u, expected, _ = np.linalg.svd(matrix)
  for value, vector in zip(values, vectors):
    np.testing.assert_allclose(value[:2], expected[:2], rtol=1e-3)
    np.testing.assert_allclose(np.abs(vector[:2] @ u[:, :2]), np.eye(2), atol=1e-3)


def test_nearest_and_class_means_against_numpy(inverters, data):
  known, wanted = RNG.normal(size=[40, 4]), RNG.normal(size=[7, 4])
  distances = np.linalg.norm(wanted[:, None] - known[None], axis=2)
  np.testing.assert_array_equal(
    baselines.nearest(wanted, known, 3), np.argsort(distances, axis=1)[:, :3]
  )
  assert sorted(baselines.nearest(wanted[:1], known[:2], 3)[0]) == [0, 1]
  some = IMAGES[LABELS != 3]
  few = data_lib.Data(tiny.Images(some, LABELS[LABELS != 3]))
  _, _, means = baselines.training_set(inverters["robust"], few, 999)
  np.testing.assert_allclose(means[3], some.mean(0), atol=1e-5)
  ids, logits, means = baselines.training_set(inverters["robust"], data.training, 200)
  np.testing.assert_allclose(logits, IMAGES[ids].reshape(200, -1) @ K, atol=1e-4)
  for c in range(4):
    np.testing.assert_allclose(means[c], IMAGES[c == LABELS].mean(0), atol=1e-5)


def test_retrieval_of_images_that_are_there_is_perfect(inverters, data):
  """The same images serve for training here: the nearest logits are an image's own."""
  result = baselines.run(
    {"robust": inverters["robust"]}, data, baselines.Settings(images=20)
  )
  assert _value(result, measures.NAMES["lpips"] + ": retrieval", "robust") == 0
  outcome = _outcomes(result)[
    "The inverter is closer than the retrieval in LPIPS (robust)"
  ]
  assert outcome == verdicts.FAILS
  name = f"{baselines._FRECHET}: real images against others"
  assert _value(result, name, "robust") > 0  # others, not the same
  evidence, a = {v.statement: v.evidence.value for v in result.verdicts}, result.arrays
  for baseline in ("retrieval", "class mean"):
    for key, sign in (("psnr", 1), ("ssim", 1), ("lpips", -1)):
      gain = sign * (a[f"inverter/{key}/robust"] - a[f"{baseline}/{key}/robust"]).mean()
      statement = (
        f"The inverter is closer than the {baseline} in {key.upper()} (robust)"
      )
      assert evidence[statement] == pytest.approx(gain)
  kept = {way: np.arange(8) < n for way, n in zip(baselines._WAYS, (6, 2, 8))}
  values = {way: dict.fromkeys(("psnr", "ssim", "lpips"), np.zeros(8)) for way in kept}
  found = baselines._verdicts("x", values, kept)
  gains = {v.statement: v.evidence.value for v in found if "keeps" in v.statement}
  more = "The inverter keeps the class more often than the"
  assert gains == {f"{more} retrieval (x)": 0.5, f"{more} class mean (x)": -0.25}


def test_the_floor_has_as_many_images_as_the_score(inverters):
  """Where the split has too few others, training images stand in."""
  settings = baselines.Settings(images=150)
  whole = data_lib.Data(tiny.Images(IMAGES, LABELS), seed=0)
  name = f"{baselines._FRECHET}: real images against others"
  ours = {"robust": inverters["robust"]}
  assert baselines.run(ours, whole, settings).summary()[name]["robust"]["n"] == 150
  few = data_lib.Data(tiny.Images(IMAGES, LABELS, train=IMAGES[:100]), seed=0)
  assert name not in baselines.run(ours, few, settings).summary()


def test_a_figures_predicted_classes_are_those_of_the_logits(inverters, data):
  """Whose order may be another than that of the data set's classes."""
  inverter = inverters["robust"]
  names = inverter.class_names
  order = [1, 0, 2, 3]
  try:
    inverter.class_names = [data.class_names[i] for i in order]
    result = misclassified.run(
      {"robust": inverter}, data, misclassified.Settings(images=60)
    )
    sample = data.draw(60, "misclassified")
    predicted = inverter.predict(sample.images)
    wrong = np.flatnonzero(np.array(order)[predicted] != sample.labels)[:10]
    assert len(wrong)
    assert result.pictures[0].cell_labels[1] == [
      inverter.class_names[predicted[i]] for i in wrong
    ]
  finally:
    inverter.class_names = names


def test_the_gradient_of_a_search_is_in_closed_form(inverters):
  """Of |K'x - y|^2 / |y|^2 and of the mean variation, whose slopes are signs."""
  images, logits = IMAGES[:3], LOGITS[10:13].astype(np.float32)
  found = optimisation.objective_gradient(inverters["robust"], 3.0)(images, logits)
  flat = images.reshape(3, -1).astype(np.float64)
  scale = np.square(logits).sum(axis=1, keepdims=True)
  expected = (2 * (flat @ K - logits) / scale @ K.T).reshape(images.shape)
  for axis in (1, 2):
    signs = np.sign(np.diff(images, axis=axis))
    pad = [(0, 0)] * 4
    pad[axis] = (1, 1)
    expected -= 3.0 / PIXELS * np.diff(np.pad(signs, pad), axis=axis)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_search_starts_near_grey_and_takes_adam_s_steps():
  """Of a constant gradient, whatever its size, each is as long as the learning rate."""
  settings = optimisation.Settings(steps=3, learning_rate=0.01)
  images = []
  for slope in (2.0, -0.5):

    def gradient(x, logits, slope=slope):
      return np.full_like(x, slope)

    gradient.shapes = [(8, 8, 3)]
    images.append(optimisation.search(gradient, np.zeros([9, 4]), settings, seed=1))
  np.testing.assert_allclose(images[1] - images[0], 0.06, atol=1e-5)
  start = images[0] + 0.03
  assert 0.3 <= start.min() < 0.31 and 0.69 < start.max() <= 0.7


def test_search_finds_the_logits(inverters):
  settings = optimisation.Settings(steps=200)
  logits = inverters["robust"].logits(IMAGES[:4])
  gradient = optimisation.objective_gradient(inverters["robust"], prior=0.0)
  found = optimisation.search(gradient, logits, settings, seed=1)
  assert found.min() >= 0 and found.max() <= 1
  np.testing.assert_allclose(found.reshape(4, -1) @ K, logits, atol=0.05)


# Independent judge, samples to choose from, content, memory ----------------------------


def test_the_judge_is_asked_beside_the_inverted_classifier(inverters):
  kernel = RNG.normal(size=[PIXELS, 6])
  judged = data_lib.Data(
    tiny.Images(IMAGES, LABELS), judge=tiny.LinearClassifier(kernel)
  )
  result = comparison.run(inverters, judged, comparison.Settings(images=60))
  flat = IMAGES[result.arrays["ids"]].reshape(60, -1)
  for label, size in NOISE.items():
    noise = inverters[label].noise(60, 0) @ (size * DIRECTIONS)
    seen, again = flat @ kernel, np.clip(flat + noise, 0, 1) @ kernel
    kept = np.mean(seen.argmax(1) == again.argmax(1))
    assert _value(result, measures.KEPT_BY_JUDGE, label) == pytest.approx(
      kept, abs=0.02
    )
  assert list(result.headlines()) == [
    "LPIPS",
    "PSNR",
    "SSIM",
    "class kept",
    "class kept (judge)",
  ]


def test_the_best_sample_is_the_one_with_the_nearest_logits(inverters, data):
  inverter = inverters["standard"]
  samples = inverter.reconstruct(IMAGES[:20], 5, seed=3)
  chosen = inverter.reconstruct(IMAGES[:20], 5, seed=3, select="logits")
  logits = IMAGES[:20].reshape(20, -1) @ K
  distances = np.linalg.norm(samples.reshape(20, 5, -1) @ K - logits[:, None], axis=-1)
  np.testing.assert_array_equal(
    chosen[:, 0], samples[np.arange(20), distances.argmin(1)]
  )
  with pytest.raises(UserError, match="logits"):
    inverter.reconstruct(IMAGES[:2], 2, select="psnr")
  result = best_of_samples.run(inverters, data, best_of_samples.Settings(images=60))
  lpips = [result.arrays[f"{n}/lpips/standard"].mean() for n in (1, 2, 4, 8)]
  # All that differs is noise, most of which the logits do not see.
  assert lpips[3] < lpips[0]
  settings = best_of_samples.Settings(images=20, samples=(2, 3))
  for statement in _outcomes(best_of_samples.run(inverters, data, settings)):
    assert statement.startswith("The best of 3 samples by logits is closer to the")
    assert "than the best of 2 (" in statement


def test_reduced_logits_in_closed_form():
  logits = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0], [5.0, 1.0, 0.0]])
  means = logit_content.Means.of(logits)
  np.testing.assert_allclose(means.ranked, [13 / 3, 1, 0])
  found = logit_content.conditions(logits, means, (1, 2, 3), 2)
  assert "top 3" not in found
  expected = {
    "all logits": logits,
    "top 1": [[3, 1, 1], [0, 5, -1], [5, 1, 1]],
    "top 2": [[3, 1, 2], [0, 5, -1], [5, 1, 1]],
    "all but the top 2": [[8 / 3, 1, 8 / 3], [8 / 3, 8 / 3, -1], [8 / 3, 8 / 3, 0]],
    "ranks": [[13 / 3, 0, 1], [1, 13 / 3, 0], [13 / 3, 1, 0]],
    "predicted class": [[4, 1, 1], [0, 5, -1], [4, 1, 1]],
  }
  for name, values in expected.items():
    np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)
  moved = logit_content.conditions(logits * 2 + 7, means, (1,), 2)
  np.testing.assert_allclose(moved["ranks"], found["ranks"])
  shifted = logit_content.conditions(logits + 7, means, (1,), 2)["probabilities"]
  np.testing.assert_allclose(shifted, found["probabilities"], atol=1e-5)
  given = special.softmax(found["probabilities"], axis=1)
  np.testing.assert_allclose(given, special.softmax(logits, axis=1), atol=1e-6)


def test_content_of_an_exact_inverse(inverters, data):
  """What the inverse loses is the change of its logits: K has orthonormal columns."""
  settings = logit_content.Settings(images=50, keep=(1, 2), drop=2)
  result = logit_content.run(inverters, data, settings)
  means = logit_content.Means.of(IMAGES.reshape(200, -1) @ K)
  logits = IMAGES[result.arrays["ids"]].reshape(50, -1) @ K
  given = logit_content.conditions(logits, means, (1, 2), 2)
  for name in ("top 1", "ranks", "predicted class"):
    expected = np.linalg.norm(given[name] - logits, axis=1) / SIZE
    np.testing.assert_allclose(
      result.arrays[f"{name}/lpips/robust"], expected, atol=0.004
    )
  outcomes = _outcomes(result)
  assert outcomes[
    "The logits hold more of the picture than the predicted class does (robust)"
  ] == (verdicts.HOLDS)
  evidence = {v.statement: v.evidence.value for v in result.verdicts}

  def lost(worse, better, label):
    worse, better = (result.arrays[f"{x}/lpips/{label}"] for x in (worse, better))
    return np.mean(worse - better)

  assert evidence[
    "All but the top 2 logits hold more than the top 2 (robust)"
  ] == pytest.approx(lost("top 2", "all but the top 2", "robust"))
  robust, standard = (lost("predicted class", "all logits", x) for x in inverters)
  assert evidence["Robust logits hold more beyond the predicted class"] == (
    pytest.approx(robust - standard)
  )


def test_the_floor_of_a_colour_is_that_of_the_image():
  originals = RNG.uniform(size=[3, 4, 4, 3])
  flat, _ = logit_content._floors("x", originals, originals)
  expected = np.sqrt(originals.var(axis=(1, 2)).mean(axis=1)).mean()
  assert flat.estimate.value == pytest.approx(expected)


def test_memory_is_found_where_it_was_made_and_not_elsewhere(tmp_path):
  train = RNG.uniform(size=[60, SIZE, SIZE, 1])
  held_out = RNG.uniform(size=[120, SIZE, SIZE, 1])
  data = data_lib.Data(tiny.Images(held_out, np.zeros(120), train=train))

  def recites(z, logits):
    flat = tf.constant(train[:4].reshape(4, -1), tf.float32)
    return tf.gather(flat, tf.argmax(logits, axis=1))

  def blurs(z, logits):
    return 0.5 + 0.0 * (logits @ tf.constant(K.T, tf.float32))

  modules = {
    name: Inverter.load(
      tiny.write_module(tmp_path / name, picture, size=SIZE), tiny.LinearClassifier(K)
    )
    for name, picture in (("recites", recites), ("blurs", blurs))
  }
  settings = memorisation.Settings(images=60, training_images=60)
  result = memorisation.run(modules, data, settings)
  share = "nearest is a training image, not a held-out one, pixels: reconstructions"
  known = data.training.order("memorisation")
  assert _value(result, share, "recites") == 1
  assert set(result.arrays["pixels/reconstructions/id/recites"]) <= set(range(4))
  np.testing.assert_allclose(
    result.arrays["pixels/reconstructions/distance/recites"], 0, atol=1e-6
  )
  # By brute force, for images that the generator had no part in.
  ids, queries = result.arrays["ids"], held_out[result.arrays["ids"]]
  distances = np.square(queries[:, None] - train[known][None]).mean(axis=(2, 3, 4))
  np.testing.assert_allclose(
    result.arrays["pixels/test images/distance/blurs"], distances.min(axis=1), rtol=1e-4
  )
  np.testing.assert_array_equal(
    result.arrays["pixels/test images/id/blurs"], known[distances.argmin(axis=1)]
  )
  assert len(set(ids)) == 60
  name = "nearest training image, root mean square error: test images"
  assert _value(result, name, "blurs") == pytest.approx(
    np.sqrt(distances.min(axis=1)).mean(), rel=1e-4
  )
  grey = np.square(0.5 - train).mean(axis=(1, 2, 3)).min()
  nearer = np.mean(grey < np.square(0.5 - queries).mean(axis=(1, 2, 3)))
  name = "reconstructions nearer to a training image than to their original, pixels"
  assert _value(result, name, "blurs") == pytest.approx(nearer, rel=1e-4)
  # As many of the ones as of the others, whichever are fewer.
  for images, training_images in ((90, 60), (60, 20)):
    settings = memorisation.Settings(images=images, training_images=training_images)
    found = memorisation.run({"blurs": modules["blurs"]}, data, settings).arrays
    others, n = data.order("memorisation")[images:], min(120 - images, training_images)
    queries = held_out[found["ids"]][:, None]
    to_known, to_others = (
      np.square(queries - x[None]).mean(axis=(2, 3, 4)).min(axis=1)
      for x in (train[known[:n]], held_out[others[:n]])
    )
    np.testing.assert_array_equal(
      found["pixels/test images/leaning/blurs"], to_known < to_others
    )
  outcomes = _outcomes(result)
  assert outcomes[
    "Reconstructions are drawn to training images, by pixels (recites)"
  ] == (verdicts.HOLDS)


def test_logits_from_a_file_leave_out_what_re_encodes_pictures(inverters, data):
  """Such a classifier knows the data set's own images and refuses all others."""
  classifier = tiny.LinearClassifier(K)
  classifier.only_known_images = True
  robust = inverters["robust"]
  found = {"robust": Inverter(robust.path, robust.info, classifier)}
  for experiment in (comparison, baselines):
    result = experiment.run(found, data, experiment.Settings(images=30))
    names = " ".join(result.summary())
    assert "LPIPS" in names and "kept" not in names and "re-encoded" not in names
    assert not any("keeps the class" in v.statement for v in result.verdicts)


def test_negligible_looks_at_both_ends_of_the_interval():
  def outcome(low, high):
    estimate = estimates.Estimate((low + high) / 2, low, high, 9)
    return verdicts.negligible("s", "5", estimate, 0.2, "x").outcome

  assert outcome(-0.4, -0.3) == verdicts.FAILS
  assert outcome(-0.4, 0.1) == verdicts.OPEN


def test_evidence_names_what_is_subtracted_from_what():
  values = {"a": [1, 2, 3], "b": [4, 5, 6]}
  for sign, value, words in ((1, -3, "a minus b"), (-1, 3, "b minus a")):
    (verdict,) = verdicts.robust_larger(("a", "b"), "s", "5", values, "x", sign)
    assert verdict.evidence.value == value
    assert verdict.evidence_is == f"x: {words}, same images"


def test_shared_measures_against_numpy():
  samples = RNG.uniform(size=[4, 3, 5, 5, 1])
  pairs = list(itertools.combinations(range(3), 2))
  expected = [
    np.mean([_root_mean_square(s[j : j + 1], s[k : k + 1]) for j, k in pairs])
    for s in samples
  ]
  np.testing.assert_allclose(measures.pairwise(samples), expected)
  a, b = RNG.normal(size=[2, 5, 3])
  cosines = [x @ y / np.sqrt(x @ x) / np.sqrt(y @ y) for x, y in zip(a, b)]
  np.testing.assert_allclose(measures.cosine(a, b), cosines)
  other = measures.others(np.arange(4))
  assert np.all(other != np.arange(4)) and sorted(other) == list(range(4))
  primaries = np.eye(3)[None, None]  # one red, one green, one blue pixel
  np.testing.assert_allclose(
    measures.luma(primaries)[0, 0], [0.2989, 0.5870, 0.1140], atol=1e-6
  )
  values = RNG.normal(size=[6, 2])
  means = [estimate.value for estimate in estimates.means(values)]
  np.testing.assert_allclose(means, values.mean(axis=0))


def test_intervals_are_of_95_percent():
  values, other = np.random.default_rng(0).normal(size=[2, 2000])
  other = other[:300]
  half = 1.959964 * values.std() / np.sqrt(2000)
  low, high = statistics.bootstrap_interval(values)
  assert high - low == pytest.approx(2 * half, rel=0.06)
  difference = estimates.unpaired_difference(values, other)
  half = 1.959964 * np.sqrt(values.var() / 2000 + other.var() / 300)
  assert difference.high - difference.low == pytest.approx(2 * half, rel=0.06)


def _run(experiment, inverters, data, **settings):
  """(result, its arrays, {start of a statement: evidence})."""
  result = experiment.run(inverters, data, experiment.Settings(images=60, **settings))
  return result, result.arrays, {v.statement: v.evidence.value for v in result.verdicts}


def test_evidence_is_the_difference_that_its_statement_names(
  inverters, data, monkeypatch
):
  label = "robust"
  _, a, evidence = _run(rotation, inverters, data)
  lost = a[f"turned/lpips/{label}"] - a[f"upright/lpips/{label}"]
  assert evidence[f"Rotated images are reconstructed worse ({label})"] == (
    pytest.approx(lost.mean())
  )
  _, a, evidence = _run(best_of_samples, inverters, data)
  gain = a[f"1/lpips/{label}"] - a[f"8/lpips/{label}"]
  assert evidence[
    f"The best of 8 samples by logits is closer to the original than a single one "
    f"({label})"
  ] == pytest.approx(gain.mean())
  monkeypatch.setattr(
    noise_resampling,
    "flip_rate",
    lambda samples, axis, margin: np.full(len(samples), {2: 0.75, 1: 0.25}[axis]),
  )
  _, _, evidence = _run(noise_resampling, inverters, data)
  assert evidence[
    f"Horizontal flips occur more often than vertical ones ({label})"
  ] == pytest.approx(0.5)
  result, a, evidence = _run(mixup, inverters, data)
  closer = a[f"pixels/error/{label}"] - a[f"logits/error/{label}"]
  assert evidence[
    f"Mixing logits comes closer to the mixed probabilities than mixing pixels "
    f"({label})"
  ] == pytest.approx(closer.mean())
  first, second = IMAGES[a["ids"]].reshape(2, 60, -1) @ K
  apart = first.argmax(1) != second.argmax(1)
  first, second = first[apart], second[apart]
  expected = mixup.soft_error((first + second) / 2, first, second)
  np.testing.assert_allclose(a[f"pixels/error/{label}"], expected, atol=1e-4)
  # With one noise the picture in the middle is as far from both ends.
  name = "LPIPS to the nearer end / to both"
  assert _value(result, name, label) == pytest.approx(0.5, abs=1e-3)
  result, a, evidence = _run(optimisation, inverters, data, steps=2, prior=7.0)
  gain = a[f"search with prior/lpips/{label}"] - a[f"inverter/lpips/{label}"]
  assert evidence[
    f"The inverter is closer in LPIPS than the search with prior ({label})"
  ] == pytest.approx(gain.mean())
  settings = optimisation.Settings(steps=2, prior=7.0)
  inverter = inverters[label]
  originals = inverter.prepare(IMAGES[a["ids"]])
  gradient = optimisation.objective_gradient(inverter, settings.prior)
  found = [
    optimisation.search(gradient, inverter.logits(originals), settings, data.seed + k)
    for k in range(2)
  ]
  lpips = _root_mean_square(originals, found[0])
  np.testing.assert_allclose(a[f"search with prior/lpips/{label}"], lpips, rtol=1e-4)
  between = _root_mean_square(*found).mean()
  assert _value(
    result, "LPIPS between two starts: search with prior", label
  ) == pytest.approx(between, rel=1e-4)


def test_dosovitskiy_and_brox_are_closer_where_their_distance_is_smaller():
  modules = {
    "a": _recorded("robust"),
    "b": _recorded("robust", "dosovitskiy_brox_arch"),
  }
  values = {"a": np.array([0.3, 0.4, 0.5]), "b": np.array([0.1, 0.1, 0.1])}
  (verdict,) = comparison._against_dosovitskiy_brox(modules, values)
  assert (verdict.outcome, verdict.evidence.value) == (
    verdicts.HOLDS,
    pytest.approx(0.3),
  )
  assert "a minus b" in verdict.evidence_is


def test_re_encoded_logits_are_compared_with_their_own(inverters, data):
  result, a, _ = _run(comparison, inverters, data, shown=60)
  logits = a["logits/standard"]
  again = a["pictures/standard"].reshape(60, -1) @ K
  other = np.roll(logits, 1, axis=0)
  ratio = np.linalg.norm(again - logits, axis=1) / np.linalg.norm(
    logits - other, axis=1
  )
  name = "distance of re-encoded logits / distance to another image's"
  assert _value(result, name, "standard") == pytest.approx(ratio.mean(), rel=1e-3)


def test_attacked_pictures_are_compared_where_all_attacks_succeed(inverters, data):
  kernel = K + 0.02 * RNG.normal(size=K.shape)
  standard = inverters["standard"]
  modules = {
    "robust": inverters["robust"],
    "standard": Inverter(
      standard.path, standard.info, tiny.LinearClassifier(kernel), role=standard.role
    ),
  }
  result, a, evidence = _run(adversarial, modules, data, epsilon=0.03, shown=60)
  everywhere = a["FGSM/success/robust"] & a["FGSM/success/standard"]
  either = a["FGSM/success/robust"] | a["FGSM/success/standard"]
  assert 2 < everywhere.sum() < either.sum() < len(either)
  for inverter in modules.values():  # What is wrong already cannot be attacked.
    assert np.all(inverter.predict(IMAGES[a["ids"]]) == LABELS[a["ids"]])
  lost = {}
  for label, inverter in modules.items():
    originals = inverter.prepare(IMAGES[a["ids"]])
    targets = data.targets(inverter, LABELS[a["ids"]])
    attacked = adversarial.attack(inverter, originals, targets, "FGSM", 0.03, 10)
    pictures = inverter.generate(
      inverter.logits(attacked), inverter.noise(len(originals), data.seed)
    )
    expected = _root_mean_square(originals, pictures)
    np.testing.assert_allclose(a[f"FGSM/attacked_lpips/{label}"], expected, rtol=1e-4)
    lost[label] = (expected - a[f"FGSM/lpips/{label}"])[everywhere].mean()
    assert _value(result, "LPIPS lost to FGSM", label) == pytest.approx(
      lost[label], rel=1e-3
    )
  assert evidence[
    "The robust model's reconstructions lose less fidelity under FGSM"
  ] == pytest.approx(lost["standard"] - lost["robust"], rel=1e-3)


def test_classes_that_are_kept_are_the_original_s(inverters, data):
  inverter = inverters["standard"]
  pictures, predicted = iterative_stability.iterate(inverter, IMAGES[:50], 3, seed=4)
  np.testing.assert_allclose(
    pictures[1], inverter.generate(inverter.logits(pictures[0]), seed=5), atol=1e-6
  )
  weak = data_lib.Data(
    tiny.Images(IMAGES, np.where(np.arange(200) % 3, LABELS, (LABELS + 1) % 4))
  )
  noisy = {"standard": inverter}
  result = iterative_stability.run(
    noisy, weak, iterative_stability.Settings(images=200, rounds=6)
  )
  a = result.arrays
  _, predicted = iterative_stability.iterate(inverter, IMAGES[a["ids"]], 6, weak.seed)
  kept, right = a["kept/standard"], a["right/standard"]
  np.testing.assert_array_equal(kept, predicted[1:] == predicted[0])
  assert (kept != (predicted[1:] == predicted[:-1])).any()
  name = "class kept after 6 rounds"
  assert _value(result, name, "standard") == pytest.approx(kept[5].mean(), rel=1e-4)
  shared = np.mean(predicted[1] == np.roll(predicted[0], 1))
  name = "reference: class of another image of the batch"
  assert _value(result, name, "standard") == pytest.approx(shared, rel=1e-4)
  assert np.mean(np.diff(weak.labels[a["ids"]]) != 0) > 0.5  # not class by class
  (verdict,) = [v for v in result.verdicts if v.statement.startswith("Correctly")]
  expected = kept[0][right].mean() - kept[0][~right].mean()
  assert verdict.evidence.value == pytest.approx(expected) and expected


def test_relative_spread_is_by_the_distance_to_the_mean_of_all(inverters, data):
  _, a, _ = _run(class_spread, inverters, data)
  logits = inverters["robust"].logits(IMAGES[a["ids"]])
  whole = np.linalg.norm(logits - logits.mean(0), axis=1).mean()
  np.testing.assert_allclose(
    a["relative/robust"], a["distance/robust"] / whole, rtol=1e-5
  )


def test_share_and_effective_number_of_directions(data, tmp_path):
  path = tiny.write_module(
    tmp_path / "m", tiny.linear(np.diag([0.04, 0.02, 0.01, 0.01]) @ K.T), size=SIZE
  )
  inverter = Inverter.load(path, tiny.LinearClassifier(K))
  result = directions.run({"m": inverter}, data, directions.Settings(images=4))
  name = "share of the first direction in the whole change"
  assert _value(result, name, "m") == pytest.approx(16 / 22, rel=1e-3)
  name = "effective number of directions"
  assert _value(result, name, "m") == pytest.approx(
    22**2 / (16**2 + 4**2 + 2), rel=1e-3
  )
  name = "largest singular value (pixel l2 per unit of logits)"
  assert _value(result, name, "m") == pytest.approx(0.04, rel=1e-3)
  logits = IMAGES[result.arrays["ids"]].reshape(4, -1) @ K
  scale = np.abs(logits[:, 0]) / np.linalg.norm(logits, axis=1)
  for kind, cosine in (("shift", 0.5), ("scale", scale.mean())):
    name = f"first direction's |cosine| with a {kind}"
    assert _value(result, name, "m") == pytest.approx(cosine, abs=2e-3)


def test_helpers_of_brightness_and_of_paths_in_closed_form():
  factors = np.array([0.25, 0.75, 1.0, 1.25, 2.0])
  np.testing.assert_array_equal(
    brightness_sharpness._near_one(factors), [False, True, True, True, False]
  )
  value = np.tile([0.5, 0.8, 1.0, 0.9, 0.7], [10, 1])
  verdict = brightness_sharpness._largest_unchanged("standard", value, factors)
  assert verdict.outcome == verdicts.HOLDS
  assert verdict.evidence.value == pytest.approx(0.1)
  values = RNG.normal(5, 2, 50)
  assert brightness_sharpness._deviation(values).value == pytest.approx(values.std())
  paths = np.cumsum([[0.0, 1, 2, 4]], axis=1)[..., None, None, None] / 10
  table, found = interpolation.describe("x", paths)
  assert [m.estimate.value for m in table] == pytest.approx(
    [0.7, 0.7, found["unevenness"][0], 0.4]
  )


def test_one_logit_names_no_class(data, tmp_path):
  """Measures of classes are left out; what is about classes alone is not run."""
  kernel = K[:, :1]
  path = tiny.write_module(
    tmp_path, tiny.linear(kernel.T, DIRECTIONS), size=SIZE, num_logits=1
  )
  found = {"binary": Inverter.load(path, tiny.LinearClassifier(kernel))}
  judged = data_lib.Data(data.dataset, judge=tiny.LinearClassifier(kernel))
  for experiment in (baselines, best_of_samples, logit_manipulation):
    result = experiment.run(found, judged, experiment.Settings(images=20))
    names = " ".join(result.summary())
    assert "LPIPS" in names and "kept" not in names
  for experiment in (
    comparison,
    misclassified,
    adversarial,
    iterative_stability,
    mixup,
    logit_content,
  ):
    with pytest.raises(UserError, match="single logit"):
      experiment.run(found, data, experiment.Settings(images=20))
