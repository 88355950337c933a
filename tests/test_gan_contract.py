"""What compare_gan's users rely on around a training step: small networks, real runs."""

import json
import os

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tiny
from tensorflow.python.ops import summary_ops_v2

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import eval_utils
from compare_gan_logits import export
from compare_gan_logits import introduction
from compare_gan_logits import utils as gan_utils
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import dummy
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import abstract_gan
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.gans import s3gan
from compare_gan_logits.gans import self_supervision
from compare_gan_logits.gans import ssgan
from compare_gan_logits.gans import utils
from compare_gan_logits.tpu import tpu_ops
from compare_gan_logits.tpu import tpu_random
from compare_gan_logits.tpu import tpu_summaries


with open(
  os.path.join(os.path.dirname(__file__), "data", "golden.json"), encoding="utf-8"
) as f:
  GOLDEN = json.load(f)
BATCH = 8


@pytest.fixture(autouse=True)
def clean():
  gin.clear_config()
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield
  gin.clear_config()


def make_gan(gan_class=modular_gan.ModularGAN, model_dir="unused", z_dim=8, **kwargs):
  return gan_class(
    dataset=datasets.get_dataset("fake:5@32", colors=3),
    parameters={"architecture": "dummy_arch", "lambda": 1, "z_dim": z_dim},
    model_dir=str(model_dir),
    **kwargs,
  )


def train(gan, steps, more=None):
  """Runs the estimator; returns the variables of the last checkpoint."""
  config = tf.estimator.tpu.RunConfig(
    model_dir=gan._model_dir,
    tf_random_seed=1,
    save_summary_steps=1,
    session_config=tf.ConfigProto(
      inter_op_parallelism_threads=1, intra_op_parallelism_threads=1
    ),
  )
  estimator = gan.as_estimator(config, batch_size=BATCH, use_tpu=False)
  estimator.train(more or gan.input_fn, steps=steps)
  reader = tf.train.load_checkpoint(gan._model_dir)
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def events(folder):
  return [
    (event.step, value)
    for path in folder.glob("events*")
    for event in tf.train.summary_iterator(str(path))
    for value in event.summary.value
  ]


def test_an_estimator_trains_and_goes_on_with_the_same_numbers(tmp_path):
  """Penalties' random numbers, noise and labels are functions of the seed and step."""
  gin.parse_config("penalty.fn = @wgangp_penalty")
  settings = {"conditional": True, "g_use_ema": True}
  whole = train(make_gan(model_dir=tmp_path / "whole", **settings), 3)
  parts = make_gan(model_dir=tmp_path / "parts", **settings)
  train(parts, 1)
  resumed = train(parts, 2, lambda params: parts.input_fn(params, start_step=1))
  assert whole.keys() == resumed.keys()
  for name, value in whole.items():
    np.testing.assert_array_equal(value, resumed[name], err_msg=name)
  assert {
    "disc_step_1/beta1_power",
    "disc_step_1/beta2_power",
    "gen_step/beta1_power",
    "gen_step/beta2_power",
    "discriminator/linear/kernel/d_opt",
    "generator/fc_noise/kernel/ExponentialMovingAverage",
    "generator/fc_noise/kernel/g_opt_1",
    "global_step",
    "global_step_disc",
  } <= set(whole)
  assert (whole["global_step"], whole["global_step_disc"]) == (3, 3)

  found = events(tmp_path / "whole")
  names = {value.tag for _, value in found}
  assert {"loss", "loss/d_0", "loss/g", "real_images", "fake_images"} <= names
  # The estimator's loss is that of the first update of the discriminator.
  losses = [float(tf.make_ndarray(v.tensor)) for _, v in found if v.tag == "loss/d_0"]
  reported = [v.simple_value for _, v in found if v.tag == "loss"]
  assert reported and set(reported) <= set(losses)
  assert sorted(step for step, v in found if v.tag == "loss/g") == [0, 1, 2]


def test_overrides_draw_with_compare_gan_s_arguments():
  class Constants(modular_gan.ModularGAN):
    def z_generator(self, shape, name=None):
      return tf.fill(shape, 3.0, name=name)

    def label_generator(self, shape, name=None):
      return tf.fill(shape, 4, name=name)

  gan = make_gan(Constants, conditional=True)
  features, _ = gan_utils.next_element(gan.input_fn({"batch_size": 4}))
  sampled = gan.sampled_condition({"images": features["images"]}, tf.constant([1, 2]))
  with tf.Session() as session:
    found, sampled = session.run([features, sampled])
  np.testing.assert_array_equal(found["z"], np.full([4, 8], 3))
  np.testing.assert_array_equal(found["sampled_labels"], np.full([4], 4))
  np.testing.assert_array_equal(sampled, np.eye(5)[[4] * 4])


@pytest.mark.parametrize("features", ["none", "maps"])
def test_features_of_one_s_own_discriminator_are_of_any_form(features):
  class Critic(dummy.Discriminator):
    def apply(self, x, y, is_training):
      probability, score, _ = super().apply(x, y, is_training)
      return probability, score, [x, {"score": score}] if features == "maps" else None

  class Custom(modular_gan.ModularGAN):
    discriminator = Critic()

  gan = make_gan(Custom)
  one_sub_step(gan)
  images = tf.random.uniform([BATCH, 32, 32, 3])
  real, fake = gan._discriminate_both(images, 1 - images, None, None, True)
  if features == "none":
    assert real[2] is fake[2] is None
  else:
    assert real[2][0].shape == images.shape
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      found = session.run([real, fake, images])
    np.testing.assert_array_equal(found[0][2][0], found[2])
    np.testing.assert_array_equal(found[1][2][1]["score"], found[1][1])


class Standardized(modular_gan.ModularGAN):
  """Its generator standardises the noise and the condition, and keeps their moments."""

  class _Generator(dummy.Generator):
    def apply(self, z, y, is_training):
      z = tf.concat([z, y], axis=1)
      z = arch_ops.standardize_batch(z, is_training, use_moving_averages=False)
      return super().apply(z, y, is_training)

  generator = _Generator(image_shape=(32, 32, 3))


KERNEL = np.random.default_rng(0).normal(size=[3072, 4]) / 50


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """(GAN, its module, what inversion.json says), exported inside of a graph."""
  gin.clear_config()
  gin.bind_parameter("module.batch_sizes", ())
  folder = tmp_path_factory.mktemp("exported")
  handle = tiny.write_classifier(folder / "classifier", KERNEL, 32, 3)
  classifier = classifiers.load(handle)
  settings = {"conditional": True, "g_use_ema": True, "classifier": classifier}
  module = str(folder / "module")
  with tf.Graph().as_default(), tf.Session() as session:
    gan = make_gan(Standardized, folder, **settings)
    y, step = tf.zeros([2, 4]), tf.train.get_or_create_global_step()
    gan.discriminate(gan.generate(tf.zeros([2, 8]), y), y)
    gan.ema().apply(gan.generator.trainable_variables)
    session.run(tf.global_variables_initializer())
    session.run(step.assign(7))
    facts = export.export_module(
      gan,
      gan._dataset,
      classifier,
      "dummy_arch",
      tf.train.Saver().save(session, str(folder / "model.ckpt")),
      module,
      seed=3,
      standing_images=13,
      standing_batch_size=4,
      training_seconds=5.0,
    )
  return gan, module, facts


def test_a_module_is_exported_where_eager_execution_is_off(exported):
  """Inside of a graph, as after tf.disable_v2_behavior; the SavedModel as well."""
  _, module, _ = exported
  rng = np.random.default_rng(0)
  given = {
    name: rng.normal(size=[3, size]).astype(np.float32)
    for name, size in (("z", 8), ("logits", 4))
  }
  generated = hub.Module(module)(given)
  with tf.Session() as session:
    path = os.path.join(module, "saved_model")
    signature = tf.saved_model.load(session, ["serve"], path).signature_def["generator"]
    inputs = {signature.inputs[name].name: value for name, value in given.items()}
    saved = session.run(signature.outputs["generated"].name, inputs)
    session.run(tf.global_variables_initializer())
    np.testing.assert_allclose(saved, session.run(generated), atol=1e-6)


def test_a_module_says_what_it_was_made_of_and_holds_nothing_else(exported):
  gan, module, facts = exported
  assert (facts["step"], facts["training_seconds"]) == (7, 5.0)
  assert facts["class_names"] == gan._classifier.class_names
  assert facts["dataset_bindings"] == gan._dataset.bindings
  assert (facts["num_logits"], facts["z_dim"], facts["feature_shape"]) == (4, 8, None)
  assert {name.partition(".")[0] for name in os.listdir(module)} == {
    "assets",
    "inversion",
    "saved_model",
    "tfhub_module",
    "variables",
  }


def _accumulated(module):
  """{last part of the name: value} of a module's sums over batches."""
  weights = helpers.weights(os.path.join(module, "variables", "variables"))
  return {
    name.rsplit("/", 1)[1]: value for name, value in weights.items() if "/accu/" in name
  }


def test_a_module_keeps_the_moments_of_the_first_training_images(exported):
  """In three batches of four images, with noise that follows from the seed."""
  gan, module, _ = exported
  found = _accumulated(module)
  assert found["accu_counter"] == 3 and found["update_accus"] == 0
  batch = gan_utils.next_element(gan._dataset.train(12))
  seeds = [tpu_random.step_seed(3, "standing statistics", i) for i in range(3)]
  noise = tf.stack([eval_utils.z_generator([4, 8], seed=seed) for seed in seeds])
  with tf.Session() as session:
    images, noise = session.run([batch["image"], noise])
  logits = (images.reshape([-1, 3072]) @ KERNEL).reshape([3, 4, 4])
  inputs = np.concatenate([noise, logits], axis=2)
  for name, moments in (
    ("mean", inputs.mean(axis=1)),
    ("variance", inputs.var(axis=1)),
  ):
    np.testing.assert_allclose(found[f"accu_{name}"], moments.sum(axis=0), atol=1e-4)


@pytest.mark.parametrize("z_dim", [8, 9])
def test_fewer_images_than_a_batch_are_one_and_another_latent_is_refused(
  exported, tmp_path, z_dim
):
  gan, module, _ = exported
  settings = {"conditional": True, "g_use_ema": True, "classifier": gan._classifier}
  arguments = (
    make_gan(Standardized, tmp_path, z_dim, **settings),
    gan._dataset,
    gan._classifier,
    "dummy_arch",
    os.path.join(os.path.dirname(module), "model.ckpt"),
    str(tmp_path / "module"),
  )
  sizes = {"standing_images": 3, "standing_batch_size": 4, "with_saved_model": False}
  if z_dim == 9:
    with pytest.raises(UserError, match="does not fit .* another shape there"):
      export.export_module(*arguments, **sizes)
    assert not os.listdir(tmp_path)
    return
  export.export_module(*arguments, **sizes)
  assert _accumulated(str(tmp_path / "module"))["accu_counter"] == 1


class Constant(abstract_gan.AbstractGAN):
  """A trainer of the reference's contract: no classifier, no ModularGAN."""

  def __init__(self, dataset, parameters, model_dir):
    super().__init__(dataset, parameters, model_dir)
    self.z_dim = parameters["z_dim"]

  def as_estimator(self, run_config, batch_size, use_tpu):
    return tf.estimator.tpu.TPUEstimator(
      self.model_fn, config=run_config, train_batch_size=batch_size, use_tpu=use_tpu
    )

  def as_module_spec(self):
    raise NotImplementedError

  def input_fn(self, params, mode):
    assert mode == tf.estimator.ModeKeys.TRAIN
    return self._dataset.input_fn(params, mode)

  def model_fn(self, features, labels, params, mode):
    weight = tf.get_variable("weight", [], use_resource=True)
    loss = tf.reduce_mean(weight * features)
    step = tf.train.get_or_create_global_step()
    train_op = tf.train.GradientDescentOptimizer(0.1).minimize(loss, step)
    return tf.estimator.tpu.TPUEstimatorSpec(mode, loss=loss, train_op=train_op)


def test_a_trainer_of_one_s_own_has_the_same_contract(tmp_path):
  assert train(make_gan(Constant, tmp_path), 2)["global_step"] == 2


def test_an_override_that_training_would_not_call_is_refused():
  class Preprocessed(modular_gan.ModularGAN):
    def _preprocess_fn(self, images, labels, seed=None):
      return {"images": 1 - images}, labels

  class Repeated(datasets.ImageDatasetV2):
    def train_input_fn(self, params=None, preprocess_fn=None):
      return super().train_input_fn(params, preprocess_fn).repeat()

  gan = make_gan(Preprocessed)
  with pytest.raises(ValueError, match="Preprocessed._preprocess_fn.*input_fn of the"):
    gan.input_fn({"batch_size": 4})
  gan = make_gan()
  gan._dataset = Repeated("repeated", "none", 32, 3, 5, 40, 1)
  with pytest.raises(ValueError, match="Repeated.train_input_fn.*_train_transform_fn"):
    gan.input_fn({"batch_size": 4})


# Self-supervision ------------------------------------------------------------


def numpy_rotation_loss(features, kernel, bias, number):
  logits = features[-4 * number :] @ kernel + bias
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  right = probabilities[np.arange(4 * number), np.repeat(np.arange(4), number)]
  return -np.log(right + 1e-10).mean()


def rotation_losses(values, images):
  """Of real and of generated images, whose last two are turned in four ways."""
  layer = "discriminator_rotation/score_classify"
  return [
    numpy_rotation_loss(  # of means, which do not change when an image is turned
      np.tile(pictures[-2:].mean(axis=(1, 2)), [4, 1]),
      values[f"{layer}/kernel"],
      values[f"{layer}/bias"],
      2,
    )
    for pictures in images
  ]


def one_sub_step(gan):
  """The graph of create_loss on made-up images, in the pass of an update."""
  rng = np.random.default_rng(0)
  images, generated = (
    tf.constant(rng.uniform(size=[BATCH, 32, 32, 3]), tf.float32) for _ in "ab"
  )
  labels = tf.constant([0, 1, 2, 3, 4, -1, -1, -1])
  features = {"images": images, "generated": generated}
  if gan.conditional:
    features["sampled_y"] = tf.one_hot(tf.zeros([BATCH], tf.int32), 5)
  gan.create_loss(features, labels, {})
  variables = {v.op.name: v for v in tf.global_variables()}
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    losses = session.run([gan.d_loss, gan.g_loss, gan._scores])
    return (*losses, session.run(variables), session.run([images, generated]))


@pytest.mark.parametrize("kind", ["rotation_gan", "rotation_only"])
def test_ssgan_adds_the_rotation_losses(kind):
  gin.bind_parameter("weights.initializer", "orthogonal")  # losses that differ
  gan = make_gan(ssgan.SSGAN, self_supervision=kind, rotated_batch_size=8)
  d_loss, g_loss, scores, values, images = one_sub_step(gan)
  assert gan.discriminator.call_arg_list[0]["x"].shape[0] == 2 * (BATCH + 6)
  expected = rotation_losses(values, images)
  real, fake = scores["d_real_logits"], scores["d_fake_logits"]
  d_gan = helpers.softplus(-real).mean() + helpers.softplus(fake).mean()
  g_gan = helpers.softplus(-fake).mean()
  if kind == "rotation_only":
    d_gan = g_gan = 0
  assert d_loss == pytest.approx(d_gan + expected[0], rel=1e-4)
  assert g_loss == pytest.approx(g_gan + 0.2 * expected[1], rel=1e-4)
  names = [v.op.name for v in gan.discriminator.trainable_variables]
  assert "discriminator_rotation/score_classify/kernel" in names


def test_turned_images_are_in_the_order_of_the_angles():
  images = tf.constant(np.arange(3 * 4 * 4, dtype=np.float32).reshape(3, 4, 4, 1))
  with tf.Session() as session:
    before, turned = session.run([images, self_supervision.add_turned(images, 2)])
  expected = [before] + [np.rot90(before[-2:], k, axes=(1, 2)) for k in (1, 2, 3)]
  np.testing.assert_array_equal(turned, np.concatenate(expected))


@pytest.mark.parametrize("soft", [False, True])
def test_s3gan_completes_labels_and_projects_on_them(soft):
  gan = make_gan(
    s3gan.S3GAN,
    self_supervision="none",
    rotated_batch_fraction=2,
    conditional=True,
    project_y=True,
    use_predictor=True,
    use_soft_pred=soft,
    weight_class_loss=0.5,
  )
  d_loss, _, scores, values, (images, _) = one_sub_step(gan)
  features = images.mean(axis=(1, 2))
  linear = "discriminator_predictor/predictor_linear/"
  logits = features @ values[linear + "kernel"] + values[linear + "bias"]
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  y = np.eye(5)[[0, 1, 2, 3, 4, 0, 0, 0]]
  y[5:] = probabilities[5:] if soft else np.eye(5)[logits[5:].argmax(1)]
  plain = features @ values["discriminator/linear/kernel"]
  plain += values["discriminator/linear/bias"]
  projected = (y @ values["discriminator_projection/kernel"] * features).sum(1)
  np.testing.assert_allclose(
    scores["d_real_logits"], plain + projected[:, None], rtol=1e-4, atol=1e-6
  )
  class_loss = -np.log(probabilities[np.arange(5), np.arange(5)]).mean()
  adversarial = helpers.softplus(-scores["d_real_logits"]).mean()
  adversarial += helpers.softplus(scores["d_fake_logits"]).mean()
  assert d_loss == pytest.approx(adversarial + 0.5 * class_loss, rel=1e-4)


@pytest.mark.parametrize(
  "gan_class, settings, part",
  [
    (ssgan.SSGAN, {"rotated_batch_size": 6}, "multiple of 4"),
    (ssgan.SSGAN, {"rotated_batch_size": 4, "self_supervision": "x"}, "rotation_gan"),
    (s3gan.S3GAN, {"rotated_batch_fraction": 2, "project_y": True}, "conditional"),
  ],
)
def test_wrong_settings_are_refused(gan_class, settings, part):
  with pytest.raises(ValueError, match=part):
    make_gan(gan_class, **settings)


class FewLabels(datasets.ImageDatasetV2):
  """Forty images, of which five have a label: the others -1, or a row of zeros."""

  def __init__(self, soft):
    super().__init__("few", "none", 32, 3, 5, 40, 1)
    self._soft = soft

  def _load_dataset(self, split):
    def pair(i):
      label = tf.cast(tf.where(tf.equal(i % 8, 0), i % 5, -1), tf.int32)
      image = tf.random.stateless_uniform([32, 32, 3], [i, 0])
      return image, tf.one_hot(label, 5) if self._soft else label

    return tf.data.Dataset.range(40).map(pair)


@pytest.mark.long
@pytest.mark.parametrize("soft", [False, True])
def test_s3gan_trains_and_exports_with_few_labels(tmp_path, soft, capsys):
  dataset = FewLabels(soft)
  gan = s3gan.S3GAN(
    dataset=dataset,
    parameters={"architecture": "dummy_arch", "lambda": 1, "z_dim": 8},
    model_dir=str(tmp_path),
    rotated_batch_fraction=4,
    conditional=True,
    use_predictor=True,
    use_soft_labels=soft,
  )
  introduction.introduce(gan, dataset, None, None, str(tmp_path))
  assert "5 classes of " in capsys.readouterr().out
  train(gan, 1)
  module = str(tmp_path / "module")
  export.export_module(
    gan,
    dataset,
    None,
    "dummy_arch",
    tf.train.latest_checkpoint(str(tmp_path)),
    module,
    standing_images=8,
    standing_batch_size=4,
    with_saved_model=False,
  )
  assert os.path.isfile(os.path.join(module, "saved_model.pb"))
  # Batch norms are accumulated over classes as training draws them, not over zeros.
  batch = gan_utils.next_element(dataset.train(40))
  features = {"images": batch["image"], "labels": batch["label"]}
  drawn = gan.sampled_condition(features, tf.constant([1, 2]))
  with tf.Session() as session:
    drawn = session.run(drawn)
  np.testing.assert_array_equal(drawn.sum(axis=1), np.ones(40))
  assert (drawn.sum(axis=0) > 0).all()


@pytest.mark.long
def test_s3gan_with_rotations_trains(tmp_path):
  gin.parse_config("D.spectral_norm = True")
  gan = make_gan(s3gan.S3GAN, tmp_path, rotated_batch_fraction=4)
  assert train(gan, 1)["discriminator_rotation/score_classify/kernel"].shape == (3, 4)


# Small things of gans and tpu ------------------------------------------------


@pytest.mark.parametrize("offset", [1, 2])
def test_random_numbers_are_compare_gan_s(offset):
  tpu_random.set_random_offset_from_features(
    {"_RANDOM_OFFSET": tf.constant([offset, 9])}
  )
  alpha = tpu_random.uniform([3], name="alpha")
  beta = tpu_random.normal([2, 2], name="beta")
  with tf.name_scope("disc_step_1"):
    scoped = tpu_random.uniform([3], name="alpha")
  with tf.Session() as session:
    alpha, beta, scoped = session.run([alpha, beta, scoped])
  golden = GOLDEN["tpu_random"][f"offset {offset}"]
  np.testing.assert_allclose(alpha, golden["uniform([3],alpha)"], rtol=1e-6)
  np.testing.assert_allclose(beta, golden["normal([2,2],beta)"], rtol=1e-5)
  key = "uniform([3],alpha) in name scope disc_step_1"
  np.testing.assert_allclose(scoped, golden[key], rtol=1e-6)


def test_examples_are_numbered():
  data = tf.data.Dataset.from_tensors(({"x": 5}, 7)).repeat(3)
  data = tpu_random.add_random_offset_to_features(data, start=4)
  element = tf.data.make_one_shot_iterator(data).get_next()
  with tf.Session() as session:
    numbers = [session.run(element)[0]["_RANDOM_OFFSET"] for _ in range(3)]
  assert numbers == [4, 5, 6] and numbers[0].dtype == np.int32


def test_rotations_are_compare_gan_s():
  images = tf.constant(np.arange(8.0).reshape(2, 2, 2, 1))
  with tf.Session() as session:
    turned = session.run(utils.rotate_images(images))
  (expected,) = GOLDEN["rotate_images"].values()
  np.testing.assert_array_equal(turned[..., 0], expected)


def test_var_of_gaussian_is_the_deviation():
  assert utils.gaussian(4000, 5, mean=3.0, var=2.0).std() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("number, rows, columns", [(1, 1, 1), (9, 2, 4), (100, 8, 8)])
def test_a_grid_has_powers_of_two(number, rows, columns):
  pictures = np.random.default_rng(0).uniform(size=[number, 2, 3, 1])
  with tf.Session() as session:
    grid = session.run(utils.square_grid(tf.constant(pictures)))
  expected = np.vstack(
    [np.hstack(pictures[r * columns : (r + 1) * columns]) for r in range(rows)]
  )
  np.testing.assert_array_equal(grid[0], expected)


def test_moments_of_both_kinds_are_numpy_s():
  x = np.random.default_rng(0).normal(2, 3, size=[5, 4, 4, 3]).astype(np.float32)
  for parallel in (True, False):
    with tf.Session() as session:
      mean, variance = session.run(
        tpu_ops.cross_replica_moments(x, [0, 1, 2], parallel=parallel)
      )
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=1e-4)


def test_joining_the_values_of_replicas():
  value = tf.zeros([2])
  assert tpu_ops.cross_replica_concat(value, 0, 1) is value
  with pytest.raises(ValueError, match="reshape"):
    tpu_ops.cross_replica_concat(tf.constant(1.0), 0, 2)


def test_summaries_reduce_and_can_be_turned_off(tmp_path):
  summaries = tpu_summaries.TpuSummaries(str(tmp_path), save_summary_steps=2)
  summaries.scalar("largest", tf.constant(3.0), reduce_fn=tf.reduce_max)
  summaries.image("half", tf.ones([1, 4, 4, 1]), reduce_fn=lambda x: 0.5 * x)
  summaries.record = False
  summaries.scalar("absent", tf.constant(1.0))
  function, (step, *tensors) = summaries.get_host_call()
  assert len(tensors) == 2
  step = tf.placeholder(tf.int64, [1])
  # As from two cores of a TPU.
  write = function(step, tf.constant([3.0, 4.0]), tensors[1])
  with tf.Session() as session:
    writers = summary_ops_v2.summary_writer_initializer_op()
    session.run(writers)
    for number in (1, 2, 3):
      session.run(write, {step: [number]})
    flush = [tf.raw_ops.FlushSummaryWriter(writer=op.inputs[0]) for op in writers]
    session.run(flush)
  found = {value.tag: (step, value) for step, value in events(tmp_path)}
  assert {tag: step for tag, (step, _) in found.items()} == {"largest": 2, "half": 2}
  assert tf.make_ndarray(found["largest"][1].tensor) == 4


def test_s3gan_projects_generated_images_on_their_own_labels():
  gan = make_gan(
    s3gan.S3GAN,
    self_supervision="none",
    rotated_batch_fraction=2,
    conditional=True,
    project_y=True,
    use_predictor=True,
    use_soft_pred=True,
  )
  _, _, scores, values, (_, generated) = one_sub_step(gan)
  features = generated.mean(axis=(1, 2))
  expected = features @ values["discriminator/linear/kernel"]
  expected += values["discriminator/linear/bias"]
  of_class_0 = values["discriminator_projection/kernel"][0]
  np.testing.assert_allclose(
    scores["d_fake_logits"], expected + (features @ of_class_0)[:, None], rtol=1e-4
  )
  # What the classifier says moves the score, the score does not move the classifier.
  (kernel,) = tf.trainable_variables("discriminator_predictor/predictor_linear/kernel")
  assert tf.gradients(gan._scores["d_real_logits"], kernel) == [None]


def test_s3gan_adds_the_rotation_losses():
  gin.bind_parameter("weights.initializer", "orthogonal")  # losses that differ
  gan = make_gan(
    s3gan.S3GAN,
    rotated_batch_fraction=4,
    weight_rotation_loss_d=0.5,
    weight_rotation_loss_g=0.3,
  )
  d_loss, g_loss, scores, values, images = one_sub_step(gan)
  of_real, of_generated = rotation_losses(values, images)
  assert scores["d_real_logits"].shape == (BATCH, 1)
  real, fake = scores["d_real_logits"], scores["d_fake_logits"]
  adversarial = helpers.softplus(-real).mean() + helpers.softplus(fake).mean()
  assert d_loss == pytest.approx(adversarial + 0.5 * of_real, rel=1e-5)
  g_gan = helpers.softplus(-fake).mean()
  assert g_loss == pytest.approx(g_gan + 0.3 * of_generated, rel=1e-5)
  assert abs(of_real - of_generated) > 1e-4


def test_s3gan_takes_vectors_of_more_than_a_half_for_labels():
  gan = make_gan(
    s3gan.S3GAN,
    self_supervision="none",
    rotated_batch_fraction=2,
    conditional=True,
    use_predictor=True,
    use_soft_labels=True,
  )
  y = np.eye(5, dtype=np.float32)[[0, 1, 2, 3]] * np.float32(
    [[0.6], [0.5], [0.7], [0.0]]
  )
  features = tf.constant(np.random.default_rng(0).normal(size=[4, 3]), tf.float32)
  gan.discriminate(tf.zeros([1, 32, 32, 3]), None)
  loss, completed = gan._predict(features, tf.constant(y))
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    (kernel,) = tf.trainable_variables("discriminator_predictor/.*kernel")
    loss, completed, features, kernel = session.run([loss, completed, features, kernel])
  logits = features @ kernel
  log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  labelled = [0, 2]
  assert loss == pytest.approx(-(y * log_p).sum(1)[labelled].mean(), rel=1e-4)
  np.testing.assert_allclose(completed[labelled], y[labelled])
  np.testing.assert_array_equal(completed[[1, 3]], np.eye(5)[logits[[1, 3]].argmax(1)])
