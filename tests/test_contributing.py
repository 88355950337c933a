"""The examples of CONTRIBUTING.md, run as they stand there."""

import os
import re
import types

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from compare_gan_logits import datasets
from compare_gan_logits import eval_utils
from compare_gan_logits import runner_lib
from compare_gan_logits.architectures import registry
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.experiments import data as data_lib
from compare_gan_logits.inversion import Inverter


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CONFIG = """
options.architecture = 'mapped_cifar_arch'
options.batch_size = 2
options.gan_class = @WeightedGAN
options.training_steps = 1
options.z_dim = 4
G.batch_norm_fn = @halved_batch_norm
loss.fn = @logistic
penalty.fn = @score_drift
run_config.tf_random_seed = 1
"""


@pytest.fixture(scope="module")
def examples():
  """The names that the examples define."""
  with open(os.path.join(ROOT, "CONTRIBUTING.md"), encoding="utf-8") as f:
    blocks = re.findall(r"```python\n(.*?)```", f.read(), re.DOTALL)
  names = {"__name__": "contributing"}
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(registry, "_registered", dict(registry._registered))
    patch.setitem(datasets.DATASETS, "shades", None)  # taken out again at the end
    for block in blocks:
      exec(block, names)
    yield types.SimpleNamespace(**names)


@pytest.mark.long
def test_parts_of_one_s_own_train_a_step(examples, tmp_path):
  gin.clear_config()
  gin.parse_config(_CONFIG)
  options = runner_lib.get_options_dict()
  gan = options["gan_class"](
    dataset=datasets.get_dataset("fake:5@32", colors=3),
    parameters=options,
    model_dir=str(tmp_path),
  )
  config = tf.estimator.tpu.RunConfig(model_dir=str(tmp_path), tf_random_seed=1)
  estimator = gan.as_estimator(config, batch_size=2, use_tpu=False)
  estimator.train(gan.input_fn, steps=1)
  gin.clear_config()
  reader = tf.train.load_checkpoint(str(tmp_path))
  assert reader.get_tensor("global_step") == 1
  assert reader.has_tensor("generator/mapping/kernel")
  assert reader.has_tensor("generator/B1/bn1/gamma")


def test_a_loss_in_closed_form(examples):
  real, fake = np.float32([[0.3], [-2.0]]), np.float32([[1.0], [0.1]])
  with tf.Graph().as_default(), tf.Session() as session:
    found = session.run(examples.logistic(tf.constant(real), tf.constant(fake)))
  of_real, of_fake = helpers.softplus(-real).mean(), helpers.softplus(fake).mean()
  np.testing.assert_allclose(
    found, [of_real + of_fake, of_real, of_fake, -of_fake], rtol=1e-6
  )


def test_a_set_of_images(examples):
  dataset = datasets.get_dataset("shades")
  images, labels = dataset.arrays("validation")
  shades = np.linspace(0, 1, 10)
  np.testing.assert_allclose(images, shades[:, None, None, None] * np.ones([32, 32, 3]))
  np.testing.assert_array_equal(labels, shades > 0.5)
  assert dataset.num_examples("train") == 20


def test_a_score(examples):
  images = np.random.default_rng(0).uniform(0, 255, [3, 4, 4, 3])
  sample = eval_utils.EvalDataSample(images)
  scores = examples.MeanColour().run_after_session(sample, sample)
  assert scores == {"mean_colour": pytest.approx(images.mean())}


def test_a_source_of_logits(examples):
  images = np.random.default_rng(0).uniform(size=[3, 4, 4, 3]).astype(np.float32)
  bound = examples.MeanColourModel().bind(Spec(name="mean", handle="mean"))
  with tf.Graph().as_default(), tf.Session() as session:
    logits = session.run(bound.call(tf.constant(images)))
  np.testing.assert_allclose(logits, images.mean(axis=(1, 2)), rtol=1e-6)


def test_an_experiment(examples, tmp_path):
  """The module's pictures are darker than all originals by their brightness."""
  path = tiny.write_module(tmp_path / "black", lambda z, y: 0.0 * y @ tf.zeros([4, 64]))
  inverter = Inverter.load(path, tiny.LinearClassifier(np.ones([64, 4])))
  images = np.random.default_rng(0).uniform(size=[20, 8, 8, 1])
  data = data_lib.Data(tiny.Images(images, np.zeros(20)))
  result = examples.run({"black": inverter}, data, examples.Settings(images=20))
  change = result.summary()["change of brightness"]["black"]
  assert change["value"] == pytest.approx(-images.mean(), rel=1e-4)
  assert change["n"] == 20
