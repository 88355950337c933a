"""The trainer: what conditions whom, what is trained, what a step does."""

import functools
import types
from unittest import mock

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import datasets
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.architectures import resnet_biggan
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.gans import penalty_lib
from compare_gan_logits.gans import update_lib
from compare_gan_logits.tpu import tpu_random


CONFIG = """
G.batch_norm_fn = @batch_norm
resnet_biggan.Generator.ch = 2
resnet_biggan.Discriminator.ch = 4
loss.fn = @hinge
penalty.fn = @no_penalty
weights.initializer = 'orthogonal'
"""
BATCH = 4


class MeanClassifier:
  """Logits are three means of the image: a stand-in with a known answer."""

  num_logits = 3

  def __call__(self, images):
    mean = tf.reduce_mean(images, axis=[1, 2, 3])
    return tf.stack([mean, 2 * mean, -mean], axis=1)


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  gin.parse_config(CONFIG)
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


class Images:
  """What a GAN asks of a dataset whose images it does not read."""

  image_shape = (32, 32, 1)
  num_classes = 5


def make_gan(
  classifier=None,
  disc_iters=2,
  gan_class=modular_gan.ModularGAN,
  dataset=None,
  **kwargs,
):
  parameters = {
    "architecture": "resnet_biggan_arch",
    "disc_iters": disc_iters,
    "lambda": 1,
    "z_dim": 8,
  }
  return gan_class(
    dataset or Images(), parameters, "unused", classifier=classifier, **kwargs
  )


def features(gan):
  rng = np.random.default_rng(0)
  n = gan.num_sub_steps * BATCH
  return {
    "images": tf.constant(rng.uniform(size=[n, 32, 32, 1]), tf.float32),
    "z": tf.constant(rng.uniform(-1, 1, size=[n, 8]), tf.float32),
    "labels": tf.constant(rng.integers(0, 5, n), tf.int32),
    "sampled_labels": tf.constant(rng.integers(0, 5, n), tf.int32),
    "_RANDOM_OFFSET": tf.range(1, n + 1),
  }


def test_label_is_the_logit_vector_when_a_classifier_is_bound():
  gan = make_gan(MeanClassifier(), conditional=True)
  data = features(gan)
  made, labels = gan._with_conditions(data, data["labels"])
  with helpers.session() as session:
    value, images = session.run([labels, data["images"]])
  np.testing.assert_allclose(value[:, 1], 2 * images.mean(axis=(1, 2, 3)), rtol=1e-5)
  assert tf.gradients(labels, data["images"]) == [None]
  assert gan.conditioning == "logits" and gan.condition_size == 3
  assert made["sampled_y"] is labels
  assert gan._get_one_hot_labels(labels) is labels


def test_cached_logits_take_the_classifier_s_place():
  gan = make_gan(MeanClassifier(), conditional=True)
  cached = tf.constant(7.0, shape=[12, 3])
  assert gan.condition(dict(features(gan), logits=cached)) is cached


def test_label_is_one_hot_without_a_classifier():
  gan = make_gan(conditional=True)
  data = features(gan)
  made, labels = gan._with_conditions(data, data["labels"])
  with helpers.session() as session:
    real, labels, fake, sampled = session.run(
      [
        gan._get_one_hot_labels(labels),
        labels,
        made["sampled_y"],
        data["sampled_labels"],
      ]
    )
  np.testing.assert_array_equal(real, np.eye(5)[labels])
  np.testing.assert_array_equal(fake, np.eye(5)[sampled])
  assert gan.conditioning == "labels"


def inputs_of(steps, seed=3, **kwargs):
  """Features and labels of the first steps, as input_fn yields them."""
  gan = make_gan(dataset=datasets.get_dataset("fake:5@32", colors=1), **kwargs)
  params = {"batch_size": 3 * BATCH, "seed": seed}
  with tf.Graph().as_default(), tf.Session() as session:
    data = gan.input_fn(params, tf.estimator.ModeKeys.TRAIN)
    element = data.make_one_shot_iterator().get_next()
    return [session.run(element) for _ in range(steps)]


def test_inputs_are_compare_gan_s():
  (first, labels), (second, _) = inputs_of(2, conditional=True)
  shapes = {name: value.shape for name, value in first.items()}
  assert shapes == {
    "images": (12, 32, 32, 1),
    "z": (12, 8),
    "sampled_labels": (12,),
    "_RANDOM_OFFSET": (12,),
  }
  assert first["sampled_labels"].dtype == first["_RANDOM_OFFSET"].dtype == np.int32
  assert labels.shape == (12,)
  assert not np.array_equal(first["sampled_labels"], labels)
  np.testing.assert_array_equal(first["_RANDOM_OFFSET"], 1 + np.arange(12))
  np.testing.assert_array_equal(second["_RANDOM_OFFSET"], 13 + np.arange(12))
  both = np.concatenate([first["z"], second["z"]])
  assert -1 <= both.min() < -0.9 and 0.9 < both.max() <= 1  # uniform without bindings
  assert "sampled_labels" not in inputs_of(1)[0][0]


def test_fitted_label_distribution_is_that_of_the_data():
  ((made, labels),) = inputs_of(1, conditional=True, fit_label_distribution=True)
  np.testing.assert_array_equal(made["sampled_labels"], labels)


@pytest.mark.parametrize(
  "g_inputs, d_inputs", [(None, None), (["label"], []), ([], ["label"]), ([], [])]
)
def test_inputs_decide_who_sees_the_condition(g_inputs, d_inputs):
  gan = make_gan(conditional=True, g_inputs=g_inputs, d_inputs=d_inputs)
  y = tf.zeros([2, 5])
  gan.discriminate(gan.generate(tf.zeros([2, 8]), y), y)
  names = {v.op.name for v in tf.trainable_variables()}
  expected_g = g_inputs is None or bool(g_inputs)
  expected_d = d_inputs is None or bool(d_inputs)
  assert ("generator/embed_y/kernel" in names) == expected_g
  assert ("discriminator/embedding_fc/kernel" in names) == expected_d


@pytest.mark.parametrize(
  "kwargs, part",
  [
    ({"conditional": True, "g_inputs": ["lable"]}, "did you mean 'label'"),
    ({"g_inputs": ["label"]}, "conditional = True"),
    ({"classifier": MeanClassifier()}, "conditional is False"),
  ],
)
def test_contradictions_are_refused(kwargs, part):
  with pytest.raises(UserError, match=part):
    make_gan(**kwargs)


def test_unknown_architecture_is_refused():
  parameters = {"architecture": "resnet_biggan", "z_dim": 8, "lambda": 1}
  gan = modular_gan.ModularGAN(Images(), parameters, "unused")
  with pytest.raises(NotImplementedError, match="did you mean 'resnet_biggan_arch'"):
    _ = gan.generator


def run_steps(gan, steps, fetch):
  """Runs training steps; returns the fetched values before and after."""
  tf.train.get_or_create_global_step()
  data = features(gan)
  spec = gan.model_fn(data, data["labels"], {"use_tpu": False}, "train")
  values = []
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(steps):
      values.append(session.run(fetch()))
      session.run(spec.train_op)
    values.append(session.run(fetch()))
  return values


def test_steps_are_counted_and_both_networks_learn():
  gan = make_gan(disc_iters=3)
  before, after = run_steps(
    gan, 1, lambda: {v.op.name: v for v in tf.global_variables()}
  )
  assert after["global_step"] == 1 and after["global_step_disc"] == 3
  for network in ("generator", "discriminator"):
    changed = [
      name
      for name in before
      if name.startswith(network + "/")
      and name.endswith("kernel")
      and not np.array_equal(before[name], after[name])
    ]
    assert changed


def test_moving_average_starts_after_its_step_and_then_decays():
  """The decay goes by the step before the update, as in compare_gan."""
  gan = make_gan(disc_iters=1, g_use_ema=True, ema_decay=0.75, ema_start_step=1)

  def fetch():
    weight = [
      v for v in tf.trainable_variables() if v.op.name == "generator/fc_noise/kernel"
    ][0]
    average = [
      v
      for v in tf.global_variables()
      if v.op.name == "generator/fc_noise/kernel/ExponentialMovingAverage"
    ]
    return weight, average[0]

  values = run_steps(gan, 3, fetch)
  np.testing.assert_array_equal(*values[1])  # step 1: before the start
  expected = values[1][1]
  for weight, average in values[2:]:
    expected = 0.75 * expected + 0.25 * weight
    np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.long
@pytest.mark.parametrize(
  "option", ["deprecated_split_disc_calls", "experimental_joint_gen_for_disc"]
)
def test_other_forms_of_the_step_run(option):
  before, after = run_steps(
    make_gan(**{option: True}), 1, tf.train.get_or_create_global_step
  )
  assert (before, after) == (0, 1)


def loss_of(gan):
  """gan's losses of one sub-step, with their gradients by real images."""
  x, _, y = step_inputs()
  fake = step_inputs(seed=1)[0]
  data = {"images": x, "generated": fake, "sampled_y": y}
  with network_pass.network_pass():
    gan.create_loss(data, y, {})
  return gan.d_loss, gan.g_loss, x


@pytest.mark.parametrize("penalty", ["wgangp_penalty", "dragan_penalty", "l2_penalty"])
def test_a_penalty_is_added_to_the_discriminator_s_loss(penalty):
  gin.parse_config(f"penalty.fn = @{penalty}")
  gan = make_gan()
  gan._lambda = 3.0
  loss = loss_of(gan)[0]
  scores = dict(gan._scores)
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    loss, value, scores = session.run([loss, gan.penalty_loss, scores])
  hinge = np.maximum(0, 1 - scores["d_real_logits"]).mean()
  hinge += np.maximum(0, 1 + scores["d_fake_logits"]).mean()
  assert value > 0
  assert loss == pytest.approx(hinge + 3 * value, rel=1e-5)


@pytest.mark.parametrize("norm", [None, "@batch_norm"])
def test_real_images_are_scored_apart_in_the_generator_s_update(norm):
  """There they are not computed; but not where the discriminator has batch moments."""
  gin.parse_config(f"D.batch_norm_fn = {norm}")
  gan = make_gan()
  gan._updates_generator = True
  _, g_loss, x = loss_of(gan)
  assert (tf.gradients(g_loss, x)[0] is not None) == (norm is not None)


# A user's own parts ----------------------------------------------------------


def relativistic(d_real_logits, d_fake_logits):
  """Couples real and generated scores, and declares only what it needs."""
  difference = tf.reduce_mean(d_real_logits) - tf.reduce_mean(d_fake_logits)
  return -difference, -difference, difference, difference


def two(is_training, architecture):
  assert is_training and architecture == "resnet_biggan_arch"
  return tf.constant(2.0)


def test_a_loss_and_a_penalty_of_one_s_own():
  gin.external_configurable(relativistic, "relativistic")
  gin.external_configurable(two, "two")
  gin.parse_config("loss.fn = @relativistic\npenalty.fn = @two")
  gan = make_gan()
  gan._updates_generator = True
  d_loss, g_loss, x = loss_of(gan)
  gradient = tf.gradients(g_loss, x)[0]  # of the generator's loss by real images
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    d_loss, g_loss, gradient = session.run([d_loss, g_loss, gradient])
  assert d_loss == pytest.approx(2 - g_loss, rel=1e-4)
  assert np.abs(gradient).max() > 0


class Doubled(modular_gan.ModularGAN):
  """Overrides what both networks minimise, and one of them."""

  calls = 0

  @property
  def generator(self):
    if self._generator is None:
      self._generator = Doubling(image_shape=self.image_shape)
    return self._generator

  def create_loss(self, features, labels, params, is_training=True):
    super().create_loss(features, labels, params, is_training)
    assert features["generated"].shape == features["images"].shape
    assert set(features) >= {"z", "sampled_y"} and labels.shape == [BATCH]
    self.calls += 1
    self.d_loss *= 2.0
    self.g_loss *= 2.0


class Doubling(resnet_biggan.Generator):
  """Makes a variable that its name's scope does not hold."""

  def apply(self, z, y, is_training):
    with tf.variable_scope(tf.VariableScope(tf.AUTO_REUSE)):
      scale = tf.get_variable("generator_scale", initializer=1.0, use_resource=True)
    return super().apply(z * scale, y, is_training)


def test_a_subclass_has_its_own_loss_and_network():
  gan = make_gan(gan_class=Doubled, conditional=True)
  before, after = run_steps(gan, 1, lambda: tf.trainable_variables("generator_scale"))
  assert gan.calls == 3  # for the generator's update as well
  assert before != after


def test_a_weight_of_neither_network_is_refused():
  tf.get_variable("head", [], use_resource=True)
  with pytest.raises(ValueError, match="head:0 belongs to neither network"):
    run_steps(make_gan(), 1, tf.train.get_global_step)


@pytest.mark.parametrize("fields", [{}, {"num_classes": None}])
def test_what_needs_labels_is_refused_without_them(fields):
  dataset = types.SimpleNamespace(image_shape=(32, 32, 1), **fields)
  with pytest.raises(ValueError, match="no classes|conditional = True"):
    gan = make_gan(dataset=dataset, conditional=bool(fields))
    gan.label_generator([3])


def test_only_training_is_built():
  with pytest.raises(ValueError, match="not for mode 'eval'"):
    make_gan().model_fn({}, None, {}, "eval")


@pytest.mark.parametrize(
  "distribution",
  [
    "tf.random.normal",
    "tf.random.stateless_normal",
    "tf.random.uniform",
    "tf.random.stateless_uniform",
  ],
)
def test_noise_is_a_function_of_seed_and_step(distribution):
  gin.parse_config(f"z.distribution_fn = @{distribution}")
  z = [
    modular_gan.z_generator([500, 8], seed=tf.constant(seed))
    for seed in ([1, 2], [1, 2], [1, 3])
  ]
  with helpers.session() as session:
    first, same, other = session.run(z)
  np.testing.assert_array_equal(first, same)
  assert np.abs(first - other).max() > 0.1
  deviation = 1 if "normal" in distribution else 3**-0.5
  assert first.mean() == pytest.approx(0, abs=0.05)
  assert first.std() == pytest.approx(deviation, abs=0.05)


def test_noise_of_one_s_own_is_drawn_for_each_example():
  shapes = []

  def one_number(shape, maxval):
    shapes.append(shape)
    return tf.fill(shape, tf.random.uniform([], 0, maxval))

  gin.external_configurable(one_number, "one_number")
  gin.parse_config("z.distribution_fn = @one_number\nz.maxval = 5.0")
  z = modular_gan.z_generator([6, 4], seed=tf.constant([1, 2]))
  with helpers.session() as session:
    z = session.run(z)
  assert shapes == [[4]]
  assert len(np.unique(z)) == 6 and np.all(z == z[:, :1]) and z.max() > 1


def test_noise_of_tensorflow_has_the_parameters_that_gin_binds():
  gin.parse_config(
    "z.distribution_fn = @tf.random.normal\ntf.random.normal.mean = 50.0"
  )
  z = [
    modular_gan.z_generator([500, 8], seed=seed)
    for seed in (tf.constant([1, 2]), tf.constant([1, 2]), None)
  ]
  with helpers.session() as session:
    first, same, unseeded = session.run(z)
  np.testing.assert_array_equal(first, same)
  for noise in (first, unseeded):
    assert noise.mean() == pytest.approx(50, abs=0.1)
    assert noise.std() == pytest.approx(1, abs=0.05)


def truncated_normal(shape, seed=547, **unused):
  return tf.random.uniform(shape, 7, 8, seed=seed)


@functools.wraps(tf.random.normal)
def shifted(shape, **unused):
  return 7.5 + tf.zeros(shape)


@pytest.mark.parametrize("noise_fn", [truncated_normal, shifted])
def test_noise_of_one_s_own_is_not_taken_for_tensorflow_s(noise_fn):
  """Whatever its name, what it wraps, or the default of its seed."""
  z = modular_gan.z_generator([6, 4], noise_fn, seed=tf.constant([1, 2]))
  with helpers.session() as session:
    z = session.run(z)
  assert z.shape == (6, 4) and z.min() >= 7 and z.max() <= 8


# Parts of a batch ------------------------------------------------------------


def step_inputs(seed=0, batch=BATCH):
  """Images, noise and condition of a step with one discriminator update."""
  rng = np.random.default_rng(seed)
  shapes = ([2 * batch, 32, 32, 1], [2 * batch, 8], [2 * batch, 5])
  return [tf.constant(rng.uniform(size=shape), tf.float32) for shape in shapes]


def descending_gan(micro_batches, d_lr, g_lr):
  """One whose weights move by learning rate times gradient."""
  return make_gan(
    disc_iters=1,
    micro_batches=micro_batches,
    d_lr=d_lr,
    g_lr=g_lr,
    g_optimizer_fn=tf.train.GradientDescentOptimizer,
  )


@pytest.mark.long
@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_micro_batches_average_the_gradients_of_their_parts(network):
  rates = {
    "discriminator": {"d_lr": 1.0, "g_lr": 0.0},
    "generator": {"d_lr": 0.0, "g_lr": 1.0},
  }[network]
  gan = descending_gan(2, **rates)
  x, z, y = step_inputs()
  update, _ = gan.train_step({"images": x, "z": z, "sampled_y": y}, y)
  weights = getattr(gan, network).trainable_variables
  half = BATCH // 2
  oracles = []
  for part in range(2):
    start = part * half + (BATCH if network == "generator" else 0)
    rows = slice(start, start + half)
    with network_pass.network_pass():
      fake = gan.generator(z[rows], None, is_training=True)
      real, fake = (
        gan.discriminator(images, None, is_training=True)[1]
        for images in (x[rows], fake)
      )
      loss = (
        -tf.reduce_mean(fake)
        if network == "generator"
        else tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + fake))
      )
    oracles.append(tf.gradients(loss, weights))
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    gradients, before = session.run([oracles, weights])
    session.run(update)
    after = session.run(weights)
  for old, new, first, second in zip(before, after, *gradients):
    scale = max(np.abs(first).max(), np.abs(second).max())
    np.testing.assert_allclose(
      old - new, (first + second) / 2, rtol=1e-3, atol=1e-4 * scale + 1e-6
    )


def test_without_batch_norm_micro_batches_change_nothing():
  x, z, y = step_inputs()
  fakes = step_inputs(seed=1)[0]
  gan = descending_gan(1, 1.0, 1.0)
  optimizer = tf.train.GradientDescentOptimizer(1.0)
  results = []
  for number in (1, 4):
    data = {"images": x, "generated": fakes, "sampled_y": y}
    parts = update_lib.split(data, y, number)

    def loss(data, labels):
      gan.create_loss(data, labels, {})
      return gan.d_loss

    with network_pass.network_pass():
      results.append(
        update_lib.mean_gradients(optimizer, loss, parts, gan.discriminator)
      )
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    (whole, loss), (averaged, mean_loss) = session.run(
      [([g for g, _ in pairs], loss) for pairs, loss in results]
    )
  assert mean_loss == pytest.approx(loss, rel=1e-5)
  for expected, found in zip(whole, averaged):
    # Real and generated images' shares cancel, their rounding does not.
    np.testing.assert_allclose(
      found, expected, rtol=1e-4, atol=3e-4 * np.abs(expected).max()
    )


@pytest.mark.long
def test_an_update_in_parts_is_one_update():
  """One power iteration per update, one step, one move of the average."""
  gin.parse_config("G.spectral_norm = True\nD.spectral_norm = True")
  results, start = [], None
  for number in (1, 2):
    with tf.Graph().as_default(), helpers.session() as session:
      gan = make_gan(
        disc_iters=1, micro_batches=number, d_lr=0.0, g_lr=0.0, g_use_ema=True
      )
      x, z, y = step_inputs()
      update, _ = gan.train_step({"images": x, "z": z, "sampled_y": y}, y)
      variables = {v.op.name: v for v in tf.global_variables()}
      session.run(tf.global_variables_initializer())
      start = start or session.run(variables)
      session.run([variables[name].assign(value) for name, value in start.items()])
      session.run(update)
      results.append(session.run(variables))
  once, parts = results
  assert (parts["global_step"], parts["global_step_disc"]) == (1, 1)
  vectors = [name for name in once if name.endswith("u_var")]
  assert len(vectors) > 10
  for name in vectors:
    assert not np.allclose(once[name], start[name])
    np.testing.assert_allclose(parts[name], once[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
  "number, part",
  [(0, "positive integer"), ("2", "positive integer"), (3, "does not divide")],
)
def test_a_wrong_number_of_parts_is_refused(number, part):
  with pytest.raises(UserError, match=part):
    run_steps(make_gan(micro_batches=number), 1, tf.train.get_global_step)


@pytest.mark.parametrize("workers, replicas", [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_replicas_share_out_the_images_of_each_update(workers, replicas):
  dataset = datasets.get_dataset("fake:5@32", colors=1)
  gan = make_gan(MeanClassifier(), dataset=dataset, conditional=True)
  logits = np.arange(512, dtype=np.float32)[:, np.newaxis]  # the images' ids

  def elements(number, **kwargs):
    with tf.Graph().as_default(), tf.Session() as session:
      data = gan.input_fn(start_step=3, logits=logits, **kwargs)
      features, labels = data.make_one_shot_iterator().get_next()
      element = dict(features, labels=labels)
      assert all(value.shape.is_fully_defined() for value in element.values())
      return [session.run(element) for _ in range(number)]

  batch = 8
  own = batch // (workers * replicas)
  whole = elements(2, params={"batch_size": 3 * batch})
  start = whole[0]["_RANDOM_OFFSET"][0]
  assert start == 1 + 3 * 3 * batch
  parts = [
    elements(
      2 * replicas,
      params={"batch_size": 3 * own},
      shard=worker,
      num_shards=workers,
      replicas=replicas,
    )
    for worker in range(workers)
  ]
  for step, expected in enumerate(whole):
    of_step = [
      part
      for worker in parts
      for part in worker[step * replicas : (step + 1) * replicas]
    ]
    rows = [part["_RANDOM_OFFSET"] - start - 3 * batch * step for part in of_step]
    for update in range(3):
      places = np.sort(np.concatenate([r.reshape(3, own)[update] for r in rows]))
      np.testing.assert_array_equal(places, update * batch + np.arange(batch))
    for part, places in zip(of_step, rows):
      for name in ("images", "labels", "logits", "z"):
        np.testing.assert_array_equal(part[name], expected[name][places])


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("updates_generator", [False, True])
def test_each_image_is_scored_with_its_own_label(split, updates_generator):
  """Labels of generated images are drawn, and are not those of the real ones."""
  gin.parse_config("D.project_y = True")
  parameters = {"architecture": "dummy_arch", "lambda": 1, "z_dim": 8}
  gan = modular_gan.ModularGAN(
    Images(), parameters, "unused", conditional=True, deprecated_split_disc_calls=split
  )
  gan._updates_generator = updates_generator
  gan.discriminator.scores_images_apart = True
  x, fake = (step_inputs(seed=seed)[0] for seed in (0, 1))
  labels, drawn = (tf.one_hot(tf.constant(8 * [k]), 5) for k in (1, 3))
  with network_pass.network_pass():
    gan.create_loss({"images": x, "generated": fake, "sampled_y": drawn}, labels, {})
    scores = [gan._scores[f"d_{name}_logits"] for name in ("real", "fake")]
    expected = [gan.discriminate(x, labels), gan.discriminate(fake, drawn)]
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    scores, expected = session.run([scores, expected])
  np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_a_penalty_sees_the_condition_of_the_real_images():
  gan = make_gan(conditional=True)
  x, _, y = step_inputs()
  data = {"images": x, "generated": step_inputs(seed=1)[0], "sampled_y": 0 * y}
  with (
    network_pass.network_pass(),
    mock.patch.object(penalty_lib, "get_penalty_loss", return_value=0.0) as penalty,
  ):
    gan.create_loss(data, y, {})
  given = penalty.call_args.kwargs
  assert given["x"] is x and given["x_fake"] is data["generated"] and given["y"] is y


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_images_made_in_one_call_go_to_their_own_updates(micro_batches):
  """Those of a generator that looks at every vector by itself."""
  seen = []

  class Recorded(modular_gan.ModularGAN):
    def create_loss(self, features, labels, params, is_training=True):
      seen.append((features["generated"], features["z"]))
      super().create_loss(features, labels, params, is_training)

  parameters = {"architecture": "dummy_arch", "lambda": 1, "z_dim": 8, "disc_iters": 2}
  gan = Recorded(
    Images(),
    parameters,
    "unused",
    conditional=True,
    experimental_joint_gen_for_disc=True,
    micro_batches=micro_batches,
  )
  data = features(gan)
  gan.model_fn(data, data["labels"], {"use_tpu": False}, "train")
  made = [gan.generate(z, None) for _, z in seen]
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    pairs = session.run([(a, b) for (a, _), b in zip(seen, made)])
  assert len(pairs) == 3 * micro_batches
  for found, expected in pairs:
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_classes_stay_with_their_images_in_the_parts_of_a_batch():
  values = {"images": tf.range(12.0), "sampled_labels": tf.range(12)}
  parts = update_lib.split(values, tf.range(12), 3)
  with helpers.session() as session:
    for number, (data, labels) in enumerate(session.run(parts)):
      for value in (data["images"], data["sampled_labels"], labels):
        np.testing.assert_array_equal(value, np.arange(4 * number, 4 * number + 4))


def test_defaults_are_compare_gan_s():
  gan = make_gan()
  assert (gan._ema_decay, gan._ema_start_step) == (0.9999, 40000)
  assert (gan._g_lr, gan._d_lr) == (0.0002, 0.0002)


def test_a_generator_s_pictures_stand_beside_their_originals():
  """Of a batch larger than the summary, whose last rows are shown."""
  shown = {}

  class Summaries:
    def scalar(self, name, value):
      pass

    def image(self, name, images, reduce_fn):
      shown[name] = images

  gan = make_gan()
  x = tf.reshape(tf.range(12.0), [12, 1, 1, 1])
  gan._summarize(Summaries(), {}, None, {"images": x, "generated": x + 100})
  with helpers.session() as session:
    pairs = session.run(shown["originals_and_reconstructions"])
  np.testing.assert_array_equal(pairs[:, 0, 1] - pairs[:, 0, 0], np.full([8, 1], 100))


def test_the_loss_tells_of_any_update_that_is_not_finite():
  """The estimator's loss is the first discriminator update's alone."""

  class Broken(modular_gan.ModularGAN):
    def create_loss(self, features, labels, params, is_training=True):
      super().create_loss(features, labels, params, is_training)
      self.g_loss *= np.nan

  parameters = {"architecture": "dummy_arch", "lambda": 1, "z_dim": 8, "disc_iters": 1}
  gan = Broken(Images(), parameters, "unused")
  data = features(gan)
  spec = gan.model_fn(data, data["labels"], {"use_tpu": False}, "train")
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    assert np.isnan(session.run(spec.loss))


def test_what_a_layer_puts_into_update_ops_runs_with_the_update():
  weight = tf.get_variable("w", initializer=1.0, use_resource=True)
  moved = tf.get_variable("m", initializer=0.0, use_resource=True, trainable=False)

  def loss(features, labels):
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, moved.assign_add(1.0))
    return 2.0 * weight

  done = update_lib.apply_update(
    tf.train.GradientDescentOptimizer(0.1),
    loss,
    [({}, None)],
    types.SimpleNamespace(trainable_variables=[weight]),
    tf.train.get_or_create_global_step(),
  )
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    assert session.run(done) == 2
    assert session.run([weight, moved]) == [pytest.approx(0.8), 1]


def test_labels_of_generated_images_are_of_every_class_and_not_of_the_noise_s_seed():
  gan = make_gan(conditional=True)
  with helpers.session() as session:
    drawn = session.run(gan.label_generator([200]))
  assert set(drawn) == set(range(5))
  ((made, _),) = inputs_of(1, conditional=True)
  with helpers.session() as session:
    seed = tpu_random.step_seed(3, "z", 0)
    same = session.run(gan.label_generator([12], seed=seed))
  assert not np.array_equal(made["sampled_labels"], same)


def test_the_scores_that_are_summarised_are_the_last_discriminator_update_s():
  made, summarised = [], []

  class Looking(modular_gan.ModularGAN):
    def create_loss(self, features, labels, params, is_training=True):
      super().create_loss(features, labels, params, is_training)
      made.append(self._scores)

    def _summarize(self, summaries, losses, scores, features):
      summarised.append(scores)

  parameters = {"architecture": "dummy_arch", "lambda": 1, "z_dim": 8, "disc_iters": 2}
  gan = Looking(Images(), parameters, "unused")
  data = features(gan)
  gan.train_step(data, data["labels"], summaries=object())
  assert len(made) == 3 and summarised[0] is made[1]
