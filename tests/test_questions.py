"""Open questions: parts are made once, numbers are right, and answers say what they are."""

import dataclasses
import os
import types

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from PIL import Image
from scipy import stats

from compare_gan_logits import classifiers
from compare_gan_logits import configuration
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits import questions
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import estimates
from compare_gan_logits.questions import architectures
from compare_gan_logits.questions import content
from compare_gan_logits.questions import decoders
from compare_gan_logits.questions import invertibility
from compare_gan_logits.questions import parts as part_lib
from compare_gan_logits.questions import robustness
from compare_gan_logits.questions import semantic_mixup
from compare_gan_logits.questions import study
from compare_gan_logits.questions.settings import Settings


SETTINGS = Settings(seeds=(0, 1, 2), epsilons=(0.1, 0.3), shown_epsilon=0.3)


def _fake_question(made, fails_at=None):
  """Numbers are arm + seed / 10; making (arm b, seed `fails_at`) is interrupted."""

  def make(arm, seed):
    def of(workshop):
      if (arm, seed) == ("b", fails_at):
        raise KeyboardInterrupt
      made.append((arm, seed))
      return {"x": {"a": 1.0, "b": 2.0}[arm] + seed / 10}

    return of

  def parts(settings):
    return [part_lib.Part(a, s, make(a, s)) for s in settings.seeds for a in "ab"]

  def answer(found, settings):
    difference = part_lib.paired(found, "b", "a", "x")
    return part_lib.Answer(
      f"b minus a: {part_lib.text(difference, 1)}",
      ("x",),
      {arm: (part_lib.text(part_lib.over_seeds(found, arm, "x")),) for arm in found},
      objections=("It is made up.",),
    )

  return types.SimpleNamespace(
    TITLE="Fake",
    QUESTION="Is b more?",
    DEPENDS_ON=("images",),
    parts=parts,
    answer=answer,
  )


@pytest.fixture
def asked(monkeypatch):
  """Makes the given question the only one."""

  def ask(question):
    monkeypatch.setattr(questions, "QUESTIONS", ("fake",))
    monkeypatch.setattr(questions, "get", lambda name: question)

  return ask


def test_a_damaged_part_is_told(asked, tmp_path):
  asked(_fake_question([]))
  study.run(["fake"], str(tmp_path), SETTINGS, log=lambda line: None)
  part = next((tmp_path / "fake" / "parts").iterdir())
  for damage in ("{}", "[]"):
    part.write_text(damage)
    with pytest.raises(UserError, match=f"{part.name} is damaged; remove it"):
      study.found("fake", str(tmp_path), SETTINGS)


def test_parts_are_made_once_and_resumed(asked, tmp_path):
  folder, made = str(tmp_path / "out"), []
  asked(_fake_question(made, fails_at=1))
  with pytest.raises(KeyboardInterrupt):
    study.run(["fake"], folder, SETTINGS, log=lambda line: None)
  assert made == [("a", 0), ("b", 0), ("a", 1)]
  text = files.read_text(os.path.join(folder, "answers.md"))
  assert "3 of 6 trainings are finished" in text and "(one training)" in text
  asked(_fake_question(made))
  answers = study.run(["fake"], folder, SETTINGS, log=lambda line: None)
  assert made == [(arm, seed) for seed in range(3) for arm in "ab"]
  assert answers["fake"].sentence == "b minus a: 1.0 [1.0, 1.0]"
  text = files.read_text(os.path.join(folder, "answers.md"))
  low, high = stats.t.interval(0.95, 2, 1.1, stats.sem([1.0, 1.1, 1.2]))
  assert f"| a | 1.100 [{low:.3f}, {high:.3f}] |" in text
  assert "It is made up." in text
  # More seeds are no other settings; other test images are.
  fewer = dataclasses.replace(SETTINGS, seeds=(0,))
  study.run(["fake"], folder, fewer, trains=False)
  assert "2 of 2" in files.read_text(os.path.join(folder, "answers.md"))
  with pytest.raises(UserError, match="other settings"):
    study.run(["fake"], folder, dataclasses.replace(SETTINGS, images=7))
  gin.bind_parameter("train_classifier.batch_size", 7)
  try:
    with pytest.raises(UserError, match="other settings"):
      study.run(["fake"], folder, SETTINGS)
  finally:
    gin.clear_config()


def test_intervals_over_trainings_are_students():
  values = [3.0, 4.0, 8.0]
  found = estimates.over_trainings(values)
  low, high = stats.t.interval(0.95, 2, 5.0, np.std(values, ddof=1) / np.sqrt(3))
  assert (found.value, found.n) == (5.0, 3)
  np.testing.assert_allclose([found.low, found.high], [low, high])
  one = estimates.over_trainings([3.0])
  assert (one.low, one.high) == (-np.inf, np.inf)
  assert part_lib.outcome(one) == "not decided"
  assert part_lib.outcome(estimates.over_trainings([1.0, 1.1, 1.2])) == "larger"
  assert part_lib.outcome(estimates.over_trainings([-1.0, -1.1, -1.2])) == "smaller"


def test_calibration_error_in_closed_form():
  """Confidence .9 and .6 in two bins; right in 1 of 2 and in 2 of 2."""
  confidence = np.array([0.9, 0.9, 0.6, 0.6])
  logits = np.log(np.stack([confidence, 1 - confidence], axis=1))
  labels = np.array([0, 1, 0, 0])
  expected = 0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6)
  assert robustness.calibration_error(logits, labels) == pytest.approx(expected)


def test_calibration_error_has_fifteen_bins_of_equal_width():
  """The last bin holds a confidence of 1 as well, which is wrong here."""
  random = np.random.default_rng(0)
  confidence = random.uniform(0.5, 1.0, 200)
  labels = (random.uniform(size=200) > confidence).astype(int)
  labels[confidence > 14 / 15] = 0
  confidence[0], labels[0] = 1.0, 1
  with np.errstate(divide="ignore"):
    logits = np.log(np.stack([confidence, 1 - confidence], axis=1))
  expected = 0.0
  for number in range(15):
    low, high = number / 15, (number + 1) / 15
    inside = (confidence >= low) & ((confidence < high) | (number == 14))
    if inside.any():
      gap = np.mean(labels[inside] == 0) - np.mean(confidence[inside])
      expected += np.mean(inside) * abs(gap)
  assert robustness.calibration_error(logits, labels) == pytest.approx(expected)


def test_attacks_on_a_linear_classifier():
  """Both attacks find the worst corner, so accuracy is that of a shifted margin."""
  random = np.random.default_rng(0)
  kernel = random.normal(size=[16, 2])
  images = random.uniform(0.4, 0.6, [40, 4, 4, 1]).astype(np.float32)
  classifier = tiny.LinearClassifier(kernel)
  margin = classifier.predict(images) @ [1.0, -1.0]
  labels = (margin < 0).astype(int)
  attacked = robustness.Attacked(classifier, [4, 4, 1], steps=10)
  epsilon = float(np.median(np.abs(margin)) / np.abs(kernel @ [1.0, -1.0]).sum())
  expected = np.mean(np.abs(margin) > epsilon * np.abs(kernel @ [1.0, -1.0]).sum())
  for attack in ("fgsm", "pgd"):
    found = attacked.accuracy(attack, images, labels, epsilon)
    assert found == pytest.approx(expected, abs=0.03)
  assert robustness.accuracy(classifier, images, labels) == 1.0


def test_the_steps_of_an_attack_are_two_and_a_half_radii_together():
  """Where the loss is highest inside the ball, steps pass over that point and return."""

  class Valley:
    """Two classes, whose first is least likely at 0.56."""

    def __call__(self, images):
      distance = tf.reduce_sum(tf.square(images - 0.56), axis=[1, 2, 3])
      return tf.stack([distance, tf.zeros_like(distance)], axis=1)

  attacked = robustness.Attacked(Valley(), [1, 1, 1], steps=10)
  image = np.full([1, 1, 1, 1], 0.5, np.float32)
  found = attacked.images("pgd", image, [0], 0.1)  # .525 .55 .575 .55 .575 ...
  np.testing.assert_allclose(found, 0.55, atol=1e-6)


def test_a_decoder_is_trained_on_all_pictures():
  vectors = np.array([[0.0], [1.0]], np.float32)
  pictures = np.stack([np.zeros([2, 2, 1]), np.ones([2, 2, 1])]).astype(np.float32)
  decoder = decoders.Decoder(vectors, pictures, 200, 0, hidden=32)
  assert np.abs(decoder(vectors) - pictures).max() < 0.3
  decoder.close()


def test_a_decoder_finds_what_vectors_hold_and_nothing_else():
  """Pictures of two brightnesses: from both numbers all is found, from one its half."""
  random = np.random.default_rng(0)
  vectors = random.uniform(0.2, 0.8, [400, 2]).astype(np.float32)
  pictures = np.repeat(np.repeat(vectors, 8, axis=1).reshape(400, 1, 16, 1), 4, axis=1)
  errors = []
  for given in (vectors, vectors[:, :1]):
    decoder = decoders.Decoder(given[:300], pictures[:300], 200, 0, hidden=32)
    errors.append(np.mean(np.square(decoder(given[300:]) - pictures[300:])))
    decoder.close()
  assert errors[0] < 4e-3
  assert errors[1] == pytest.approx(0.6**2 / 12 / 2, rel=0.3)  # half a variance


def test_the_extra_loss_is_the_weighted_pixel_error():
  images = np.random.default_rng(0).uniform(size=[3, 8, 8, 1]).astype(np.float32)
  with tf.Graph().as_default(), tf.Session() as session:
    outputs = {"logits": tf.zeros([3, 4]), "features": None}
    loss = invertibility.invertible("logits", 5.0).loss(tf.constant(images), outputs)
    session.run(tf.global_variables_initializer())
    with tf.variable_scope("decoder", reuse=True):
      pictures = decoders.convolutional(outputs["logits"], [8, 8, 1])
    found, pictures = session.run([loss, pictures])
  assert pictures.shape == images.shape
  assert found == pytest.approx(5.0 * np.mean((pictures - images) ** 2), rel=1e-5)


def _numbers(pgd, transfer=0.9):
  two = lambda value: [value, value]  # noqa: E731
  return {
    "clean": 0.9,
    "calibration error": 0.1,
    "fgsm": two(0.5),
    "pgd": two(pgd),
    "transfer": two(transfer),
    **{
      f"{layer} {name}": 0.1
      for layer in invertibility.LAYERS
      for name in ("error", "lpips")
    },
  }


def test_the_answer_about_invertibility_goes_by_intervals():
  """One arm's gain is sure over three trainings, another's is one training's luck."""
  found = {
    "ordinary": {s: _numbers(0.3 + s / 100) for s in range(3)},
    "adversarial": {s: _numbers(0.8 + s / 100) for s in range(3)},
    "logits, weight 100": {s: _numbers(0.4 + s / 90) for s in range(3)},
    "features, weight 100": {s: _numbers((0.3, 0.3, 0.9)[s], 0.1) for s in range(3)},
  }
  answer = invertibility.answer(found, SETTINGS)
  assert answer.sentence.startswith("Yes, in some: of 2 ways")
  assert "1 raise and 0 lower" in answer.sentence
  assert answer.sentence.endswith("changes it by 50.0 [50.0, 50.0] points.")
  gains = {arm: row[4] for arm, row in answer.rows.items()}
  assert (gains["ordinary"], gains["adversarial"]) == ("-", "50.0 [50.0, 50.0]")
  assert "features, weight 100 at epsilon 0.1" in answer.objections[-1]
  assert set(answer.rows) == set(found)
  none = {arm: of for arm, of in found.items() if not arm.startswith("logits")}
  assert invertibility.answer(none, SETTINGS).sentence.startswith("Not shown")
  every = {arm: of for arm, of in found.items() if not arm.startswith("features")}
  assert invertibility.answer(every, SETTINGS).sentence.startswith("Yes: of 1 ways")
  every["logits, weight 100"] = {s: _numbers(0.2 + s / 90) for s in range(3)}
  sentence = invertibility.answer(every, SETTINGS).sentence
  assert sentence.startswith("Not shown") and "0 raise and 1 lower" in sentence


def test_mixed_batches_against_numpy():
  """Half of a batch stays; the rest is the same mean of pictures and of labels."""
  random = np.random.default_rng(0)
  images = random.uniform(size=[8, 4, 4, 1]).astype(np.float32)
  labels = np.arange(8) % 4
  mix = lambda step, alpha=1.0: semantic_mixup.half_mixed(  # noqa: E731
    semantic_mixup.mixed_pixels, alpha, 4, 5, images, labels, step
  )
  mixed, targets = mix(3)
  np.testing.assert_array_equal(mixed[:4], images[:4])
  np.testing.assert_array_equal(targets[:4], np.eye(4))
  np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
  for image, own, target in zip(mixed[4:], range(4, 8), targets[4:]):
    weight = target[labels[own]]
    partner = int(np.argmax(np.where(np.arange(4) == labels[own], -1.0, target)))
    if weight < 1.0:  # else its partner has its label
      expected = weight * images[own] + (1 - weight) * images[partner]
      np.testing.assert_allclose(image, expected, atol=1e-5)
  np.testing.assert_array_equal(mix(3)[0], mixed)  # as a resumed run has it
  assert np.any(mix(4)[0] != mixed)
  np.testing.assert_array_equal(mix(3, alpha=None)[0], images)
  labels = np.array([0, 1, 2, 3, 0, 0, 0, 0])
  classes = [set(np.flatnonzero(mix(step)[1][4:].sum(axis=0))) for step in range(9)]
  assert set.union(*classes) == {0, 1, 2, 3}  # any image of the first half mixes


def test_flips_and_shifts_move_pixels_and_bring_black():
  images = np.random.default_rng(0).uniform(0.5, 1.0, [200, 8, 8, 1])
  moved = semantic_mixup.flipped_and_shifted(
    images, images, np.ones(200), np.random.default_rng(1)
  )
  ways = set()
  for image, found in zip(images, moved):
    options = []
    for flipped in (image, image[:, ::-1]):
      padded = np.pad(flipped, [(1, 1), (1, 1), (0, 0)])
      options += [padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    (way,) = [i for i, option in enumerate(options) if np.array_equal(found, option)]
    ways.add(way)
  assert ways == set(range(18))


class _Trained(Exception):
  """Ends a part once its classifier would be there."""


class _Recorder:
  """A workshop that notes what is to be trained, and trains nothing."""

  settings = SETTINGS

  def __init__(self):
    self.test = self.train = np.zeros([4, 8, 8, 1], np.float32), np.zeros(4, int)
    self.asked = []

  def dataset(self):
    return types.SimpleNamespace(num_classes=8)

  def classifier(
    self, name, seed, network="cnn", robust=False, extras=None, examples=None
  ):
    self.asked.append(
      types.SimpleNamespace(
        seed=seed, network=network, robust=robust, extras=extras, examples=examples
      )
    )
    return name

  def inverter(self, name, classifier, seed, examples=None):
    assert name == classifier
    return f"module of {name}_{seed}, {examples}"


def _asked_for(monkeypatch, part):
  """The classifier that a part trains for itself, after those that it builds on."""

  def stop(path):
    raise _Trained

  monkeypatch.setattr(classifiers, "load", stop)
  workshop = _Recorder()
  with pytest.raises(_Trained):
    part.make(workshop)
  return workshop.asked[-1]


def test_each_arm_trains_what_its_name_says(monkeypatch):
  monkeypatch.setattr(inversion.Inverter, "load", lambda module: module)
  for question in (invertibility, content, architectures, semantic_mixup):
    for part in question.parts(SETTINGS):
      asked = _asked_for(monkeypatch, part)
      assert asked.seed == part.seed
      assert asked.robust == part.arm.endswith("adversarial")
      network = part.arm.split(",")[0] if question is architectures else "cnn"
      assert asked.network == network
      few = f"{SETTINGS.few_examples} images"
      assert asked.examples == (SETTINGS.few_examples if few in part.arm else None)
      plain = ("ordinary", "adversarial", semantic_mixup.NONE)
      if question in (content, architectures) or part.arm.startswith(plain):
        assert asked.extras is None
      elif question is invertibility:
        assert asked.extras.name == f"decoder of {part.arm}"
      else:
        assert asked.extras.name.startswith(part.arm.split(",")[0])


def test_decoded_mixtures_are_of_logits_with_the_weights_of_the_labels(monkeypatch):
  """Logits are twice the pixels, and pictures half of them: means of both agree."""

  def generate(logits, z):
    assert z.shape == (4, 3)
    return logits.reshape(-1, 8, 8, 1) / 2

  inverter = types.SimpleNamespace(
    z_dim=3, logits=lambda images: 2 * images.reshape(-1, 64), generate=generate
  )
  loaded = []
  monkeypatch.setattr(
    inversion.Inverter, "load", lambda module: loaded.append(module) or inverter
  )
  images = np.random.default_rng(0).uniform(size=[8, 8, 8, 1]).astype(np.float32)
  for arm, mixes in ((semantic_mixup.LOGITS, True), (semantic_mixup.UNMIXED, False)):
    parts = semantic_mixup.parts(SETTINGS)
    part = next(p for p in parts if p.arm == f"{arm}, all images" and p.seed == 2)
    mix = _asked_for(monkeypatch, part).extras.mix
    assert loaded.pop() == "module of cnn_ordinary_2, None"
    mixed, targets = mix(images, np.arange(8), 5)
    np.testing.assert_allclose(mixed, np.tensordot(targets, images, 1), atol=1e-5)
    assert mixes == (not np.array_equal(targets, np.eye(8)))


def test_reductions_of_logits():
  logits = np.array([[3.0, 1.0, 2.0, 0.0, -1.0, -2.0, 5.0]], np.float32)
  found = content.reductions(logits)
  np.testing.assert_array_equal(found["ranks"], [[1, 3, 2, 4, 5, 6, 0]])
  np.testing.assert_array_equal(found["predicted class"], [[0, 0, 0, 0, 0, 0, 1]])
  np.testing.assert_allclose(
    found["probabilities"], np.exp(logits) / np.exp(logits).sum(), rtol=1e-6
  )
  kept = [[3, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 1]]
  np.testing.assert_array_equal(found["top 2"], kept)
  rest = [[0, 0, 0, 0, -1, -2, 0, 0, 0, 0, 0, 1, 1, 0]]
  np.testing.assert_array_equal(found["all but the top 5"], rest)


def test_answers_of_the_other_questions(tmp_path):
  """Each is written from made-up numbers, with few trainings and with none of some."""
  measures = ("error", "lpips", "psnr", "ssim", "kept", "kept by judge")
  inputs = (
    content.COLOUR,
    "predicted class",
    "ranks",
    "probabilities",
    "top 1",
    "top 2",
    "top 5",
    content.ALL,
    *content.LAYERS,
  )
  held = {
    f"{name}: {m}": 0.1 / (i + 1) for i, name in enumerate(inputs) for m in measures
  }
  held[content._NUMBER] = 7
  answer = content.answer({"ordinary": {0: held, 1: held}}, SETTINGS)
  assert "(0.1000 to 0.0125; ordinary, 2 trainings)" in answer.sentence
  assert "predicted class 57%" in answer.sentence  # (.1 - .05) / (.1 - .0125)
  (curves,) = answer.pictures
  assert list(curves.x) == [1, 2, 5, 7]
  few = SETTINGS.few_examples
  found = {
    f"{way}, {few} images": {
      s: {"clean": x + s / 100, "calibration error": 0.1, "pgd": [0.5, 0.4]}
      for s in range(3)
    }
    for way, x in (
      (semantic_mixup.NONE, 0.7),
      (semantic_mixup.PIXELS, 0.8),
      (semantic_mixup.LOGITS, 0.6),
    )
  }
  answer = semantic_mixup.answer(found, SETTINGS)
  assert f"With {few} training images, decoded mixed logits lower" in answer.sentence
  assert "With all training images: not measured yet." in answer.sentence
  assert (
    "-10.0 [-10.0, -10.0] points against no augmentation, -20.0 [-20.0, -20.0] against "
    "mixed pixels, - against flips and shifts"
  ) in answer.sentence
  gains = {arm: row[2] for arm, row in answer.rows.items()}
  assert gains[f"{semantic_mixup.PIXELS}, {few} images"] == "10.0 [10.0, 10.0]"
  numbers = {"clean": 0.9, "pgd": [0.5, 0.4], "ssim": 0.5, "kept": 0.9}
  numbers["kept by judge"] = 0.8
  found = {
    f"cnn, {way}": {s: {**numbers, "lpips": x + s / 100} for s in range(3)}
    for way, x in (("ordinary", 0.3), ("adversarial", 0.2))
  }
  answer = architectures.answer(found, SETTINGS)
  assert "cnn, adversarial has the lowest mean LPIPS" in answer.sentence
  assert "for 1 of 1 kinds" in answer.sentence
  assert "adversarial minus ordinary: cnn -0.100 [-0.100, -0.100]" in answer.sentence
  for picture in answer.pictures:
    study._draw(picture, str(tmp_path / (picture.name + ".png")))
    with Image.open(tmp_path / (picture.name + ".png")) as drawn:
      assert drawn.width > 500


def test_every_question_has_its_form():
  gin.clear_config()
  configuration.parse_gin(["questions.gin"], [])
  settings = Settings()
  gin.clear_config()
  for name in questions.QUESTIONS:
    question = questions.get(name)
    made = question.parts(settings)
    keys = [(part.arm, part.seed) for part in made]
    assert len(set(keys)) == len(keys)
    assert {seed for _, seed in keys} == set(settings.seeds)
    assert question.TITLE and question.QUESTION.endswith("?")
    assert set(question.DEPENDS_ON) <= set(dataclasses.asdict(settings))
  with pytest.raises(UserError, match="did you mean 'invertibility'"):
    questions.get("invertability")


def test_fewer_training_images():
  few, all_images = (datasets.get_dataset(n) for n in ("embedded:30", "embedded"))
  assert (few.num_examples("train"), few.num_examples("validation")) == (30, 2000)
  np.testing.assert_array_equal(
    few.arrays("train")[0], all_images.arrays("train", limit=30)[0]
  )
  assert few.fingerprint("train") != all_images.fingerprint("train")
  for wrong in ("embedded:0", "embedded:many", "embedded:12001"):
    with pytest.raises(UserError, match="from 1 to 12000"):
      datasets.get_dataset(wrong)


@pytest.mark.parametrize("name", ["invertibility", "several_trainings"])
def test_the_command_imports_what_gin_configures_before_it_reads_a_file(
  server, tmp_path, name
):
  done = server.run(
    tmp_path, "questions", "--only", name, "--show", "--output", tmp_path / "answers"
  )
  assert done.returncode == 1
  assert "no finished training" in done.stderr  # gin's file was read without an error
  assert not (tmp_path / "answers").exists()


def test_missing_gin_files_of_inverters_are_refused_before_classifiers_are_trained():
  for name in ("inverter_config", "baseline_config"):
    with pytest.raises(UserError, match="no gin file gone.gin"):
      Settings(**{name: "gone.gin"})
