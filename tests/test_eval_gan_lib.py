"""Scores of exported modules: the form of the result, statistics, other people's tasks."""

import os

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits import datasets
from compare_gan_logits import eval_gan_lib
from compare_gan_logits import eval_utils
from compare_gan_logits import test_utils
from compare_gan_logits.metrics import accuracy
from compare_gan_logits.metrics import eval_task
from compare_gan_logits.metrics import fid_score
from compare_gan_logits.metrics import jacobian_conditioning


class Noise(eval_task.EvalTask):
  """Mean of the generated images, which is that of the noise here."""

  _LABEL = "noise"
  reads_activations = False

  def run_after_session(self, fake_dset, real_dset):
    assert len(fake_dset.images) == len(real_dset.images) == 100
    return {"low": fake_dset.images.min(), "high": fake_dset.images.max()}


def write_module(path, accumulates=False):
  """A generator of (z[:, 0] + 1) / 2 everywhere, a discriminator of one grey level,
  which takes images of even classes for their negatives."""

  def generator():
    z = tf.placeholder(tf.float32, [64, 3])
    labels = tf.placeholder(tf.int32, [64])
    level = (z[:, 0] + 1) / 2 + 0.0 * tf.cast(labels, tf.float32)
    if accumulates:
      with tf.variable_scope("generator/accu"):
        counter = tf.get_variable("accu_counter", initializer=1e-12, use_resource=True)
        on = tf.get_variable("update_accus", initializer=0, use_resource=True)
      with tf.control_dependencies([counter.assign_add(tf.cast(on, tf.float32))]):
        level = tf.identity(level)
    generated = tf.ones([1, 28, 28, 1]) * level[:, None, None, None]
    hub.add_signature(
      inputs={"z": z, "labels": labels}, outputs={"generated": generated}
    )

  def discriminator():
    images = tf.placeholder(tf.float32, [64, 28, 28, 1])
    labels = tf.placeholder(tf.int32, [64])
    level = tf.reduce_mean(images, [1, 2])
    prediction = tf.where(tf.equal(labels % 2, 0), 1 - level, level)
    hub.add_signature(
      inputs={"images": images, "labels": labels}, outputs={"prediction": prediction}
    )

  def small():
    z = tf.placeholder(tf.float32, [8, 3])
    scaled = z @ tf.constant(np.diag([1.0, 2.0, 4.0]), tf.float32)
    hub.add_signature(inputs={"z": z}, outputs={"generated": scaled[:, :, None, None]})

  spec = hub.create_module_spec(
    lambda build: build(),
    [
      ({"gen", "bs64"}, {"build": generator}),
      ({"disc", "bs64"}, {"build": discriminator}),
      ({"gen", "bs8"}, {"build": small}),
    ],
  )
  with tf.Graph().as_default(), tf.Session() as session:
    module = hub.Module(spec, tags={"gen", "bs64"})
    session.run(tf.global_variables_initializer())
    module.export(str(path), session)
  return str(path)


class EvaluationTest(test_utils.CompareGanTestCase):
  def setUp(self):
    super().setUp()
    gin.bind_parameter("dataset.name", "mnist")
    self.folder = os.path.join(self._get_empty_model_dir(), "module")

  def evaluate(self, tasks, runs=2):
    return eval_gan_lib.evaluate_tfhub_module(self.folder, tasks, False, runs)

  def test_the_form_of_the_result(self):
    write_module(self.folder)
    found = self.evaluate([fid_score.FIDScoreTask(), Noise()])
    for name in ("fid_score", "low", "high"):
      values = [float(x) for x in found[f"{name}_list"].split("_")]
      assert len(values) == 2 and values[0] != values[1]
      assert found[f"{name}_mean"] == pytest.approx(np.mean(values), rel=1e-6)
      assert found[f"{name}_std"] == pytest.approx(np.std(values), rel=1e-4)
    # eval_z is uniform in [-1, 1] where gin says nothing.
    assert 0 < found["low_mean"] < 10 and 245 < found["high_mean"] < 255
    assert self.evaluate([Noise()]) == self.evaluate([Noise()])

  def test_eval_z_by_gin(self):
    write_module(self.folder)
    gin.bind_parameter("eval_z.distribution_fn", tf.random.stateless_uniform)
    gin.bind_parameter("eval_z.minval", 0.5)
    assert self.evaluate([Noise()], 1)["low_mean"] > 0.75 * 255 - 1

  def test_empty_statistics_are_filled(self):
    write_module(self.folder, accumulates=True)
    assert self.evaluate([]) is None
    path = os.path.join(self.folder, "model-with-accu.ckpt")
    counter = tf.train.load_variable(path, "gen_module/generator/accu/accu_counter")
    assert counter == pytest.approx(204800 / 64)
    assert tf.train.load_variable(path, "gen_module/generator/accu/update_accus") == 0

  def test_accuracy_and_condition_number(self):
    write_module(self.folder)
    tasks = [
      accuracy.AccuracyTask(),
      jacobian_conditioning.GeneratorConditionNumberTask(),
    ]
    found = self.evaluate(tasks, 1)
    (fake,) = eval_gan_lib._samples(self.folder, _Digits(), 100, 1)
    assert len(np.unique(fake.labels)) > 5
    dark = fake.images.mean((1, 2, 3)) < 127.5
    share = np.mean(dark == (fake.labels % 2 == 1))
    assert found["fake_accuracy_mean"] == pytest.approx(share, abs=0.02)
    assert found["real_accuracy_mean"] == pytest.approx(  # made-up images have class 1
      np.mean(_real().mean((1, 2, 3)) >= 127.5), abs=0.02
    )
    assert found["log_condition_number_mean"] == pytest.approx(np.log(16), rel=1e-4)

  def test_accuracy_is_of_each_side_with_its_own_classes(self):
    """The discriminator sees odd classes as they are and even ones as negatives."""
    write_module(self.folder)
    bright, grey, dark = 255.0, 127.5, 0.0

    def sample(levels, labels):
      pixels = np.broadcast_to(np.reshape(levels, [-1, 1, 1, 1]), [70, 28, 28, 3])
      return eval_utils.EvalDataSample(pixels, np.array(labels, np.int32))

    real = sample([bright] * 35 + [grey] * 14 + [dark] * 21, [1] * 70)
    fake = sample([bright] * 7 + [grey] * 21 + [dark] * 42, [1] * 28 + [0] * 42)
    found = accuracy.AccuracyTask().run_on_module(self.folder, fake, real)
    assert found == {"real_accuracy": 0.7, "fake_accuracy": 0.0}
    fake = sample([bright] * 7 + [grey] * 21 + [dark] * 42, [0] * 28 + [1] * 42)
    found = accuracy.AccuracyTask().run_on_module(self.folder, fake, real)
    assert found == {"real_accuracy": 0.7, "fake_accuracy": 0.7}

  def test_what_is_no_module_is_refused(self):
    with self.assertRaisesRegex(ValueError, "cannot be loaded"):
      self.evaluate([Noise()])


@pytest.fixture
def clean():
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("reads_activations", [False, True])
def test_without_inception_fewer_images_are_enough(reads_activations, monkeypatch):
  """evaluation.num_images, drawn by evaluation.seed, and no generated ones beyond them."""
  seen = []

  class Seen(Noise):
    def run_after_session(self, fake_dset, real_dset):
      seen.append(real_dset)
      return {"fakes": len(fake_dset.images)}

  gin.parse_config("dataset.name = 'fake:90@12'\nevaluation.num_images = 20")
  gin.bind_parameter("evaluation.seed", 5)
  dataset = datasets.get_dataset()
  empty = lambda spec, dataset, number, runs: [  # noqa: E731
    eval_utils.EvalDataSample(np.zeros([number, 12, 12, 3])) for _ in range(runs)
  ]
  monkeypatch.setattr(eval_gan_lib, "_samples", empty)
  monkeypatch.setattr(eval_utils, "inception_transform_np", lambda *_: (None, None))
  monkeypatch.setattr(Seen, "reads_activations", reads_activations)
  found = eval_gan_lib.evaluate_tfhub_module("unused", [Seen()], False, 1)
  total = dataset.eval_test_samples if reads_activations else 20
  assert found["fakes_mean"] == len(seen[0].images) == total
  if not reads_activations:
    number = dataset.num_examples("validation")
    ids = np.sort(np.random.default_rng(5).permutation(number)[:20])
    images, labels = dataset.arrays("validation", indices=ids)
    np.testing.assert_allclose(seen[0].images, 255 * images, atol=1e-3)
    np.testing.assert_array_equal(seen[0].labels, labels)


class _Digits:
  num_classes = 10


def _real():
  from compare_gan_logits import datasets

  return eval_utils.get_real_images(datasets.get_dataset(), 100)
