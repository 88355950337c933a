"""The trainer: what conditions whom, what is trained, what a step does."""

import types

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import datasets
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import modular_gan


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
    yield


def make_gan(classifier=None, disc_iters=2, **kwargs):
  dataset = types.SimpleNamespace(resolution=32, colors=1, num_classes=5)
  parameters = {
    "architecture": "resnet_biggan_arch",
    "disc_iters": disc_iters,
    "lambda": 1,
    "z_dim": 8,
  }
  return modular_gan.ModularGAN(
    dataset, parameters, "unused", classifier=classifier, **kwargs
  )


def features(gan):
  rng = np.random.default_rng(0)
  n = gan.num_sub_steps * BATCH
  return {
    "images": tf.constant(rng.uniform(size=[n, 32, 32, 1]), tf.float32),
    "labels": tf.constant(rng.integers(0, 5, n), tf.int32),
  }


def test_label_is_the_logit_vector_when_a_classifier_is_bound():
  gan = make_gan(MeanClassifier(), conditional=True)
  data = features(gan)
  condition = gan.condition(data)
  with helpers.session() as session:
    value, images = session.run([condition, data["images"]])
  np.testing.assert_allclose(value[:, 1], 2 * images.mean(axis=(1, 2, 3)), rtol=1e-5)
  assert tf.gradients(condition, data["images"]) == [None]
  assert gan.conditioning == "logits" and gan.condition_size == 3
  assert gan._fake_condition(condition, None) is condition


def test_cached_logits_take_the_classifier_s_place():
  gan = make_gan(MeanClassifier(), conditional=True)
  cached = tf.constant(7.0, shape=[12, 3])
  assert gan.condition(dict(features(gan), logits=cached)) is cached


def test_label_is_one_hot_without_a_classifier():
  gan = make_gan(conditional=True)
  data = features(gan)
  condition = gan.condition(data)
  fake = gan._fake_condition(condition, [1, 2])
  with helpers.session() as session:
    real, labels, fake = session.run([condition, data["labels"], fake])
  np.testing.assert_array_equal(real, np.eye(5)[labels])
  np.testing.assert_array_equal(fake.sum(1), 1)
  assert not np.array_equal(real, fake)
  assert gan.conditioning == "labels"


def test_fitted_label_distribution_is_that_of_the_data():
  gan = make_gan(conditional=True, fit_label_distribution=True)
  condition = gan.condition(features(gan))
  assert gan._fake_condition(condition, None) is condition


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
  dataset = types.SimpleNamespace(resolution=32, colors=1, num_classes=5)
  parameters = {"architecture": "resnet_biggan", "z_dim": 8, "lambda": 1}
  gan = modular_gan.ModularGAN(dataset, parameters, "unused")
  with pytest.raises(NotImplementedError, match="did you mean 'resnet_biggan_arch'"):
    _ = gan.generator


def run_steps(gan, steps, fetch):
  """Runs training steps; returns the fetched values before and after."""
  tf.train.get_or_create_global_step()
  spec = gan.model_fn(features(gan), None, {"batch_size": BATCH, "seed": 1}, "train")
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


def test_moving_average_starts_at_its_step_and_then_decays():
  gan = make_gan(g_use_ema=True, ema_decay=0.75, ema_start_step=2)

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


@pytest.mark.parametrize(
  "option", ["deprecated_split_disc_calls", "experimental_joint_gen_for_disc"]
)
def test_other_forms_of_the_step_run(option):
  before, after = run_steps(
    make_gan(**{option: True}), 1, tf.train.get_or_create_global_step
  )
  assert (before, after) == (0, 1)


@pytest.mark.parametrize("penalty", ["wgangp_penalty", "dragan_penalty", "l2_penalty"])
def test_a_penalty_changes_the_discriminator_s_loss(penalty):
  gin.parse_config(f"penalty.fn = @{penalty}")
  gan = make_gan(disc_iters=1)
  x, z = tf.random.stateless_uniform([8, 32, 32, 1], [1, 2]), tf.zeros([8, 8])
  y = tf.zeros([8, 5])
  _, losses = gan.train_step(x, z, y, y)
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    values = session.run(losses)
  hinge = values["d_loss_real"] + values["d_loss_fake"]
  assert values["penalty"] > 0
  assert values["d_loss"] == pytest.approx(hinge + values["penalty"], rel=1e-5)


def test_generator_loss_needs_real_images_only_where_the_discriminator_mixes_them():
  for norm, mixes in ((None, False), ("@batch_norm", True)):
    with tf.Graph().as_default():
      if norm:
        gin.parse_config(f"D.batch_norm_fn = {norm}")
      gan = make_gan()
      assert gan.discriminator.has_batch_statistics == mixes
      x, fake, y = tf.zeros([2, 32, 32, 1]), tf.ones([2, 32, 32, 1]), tf.zeros([2, 5])
      with network_pass.network_pass():
        loss = gan._generator_loss({"x": x, "y_real": y, "y_fake": y}, fake)
      assert (tf.gradients(loss, x)[0] is not None) == mixes


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
    modular_gan.sample_z([500, 8], tf.constant(seed))
    for seed in ([1, 2], [1, 2], [1, 3])
  ]
  with helpers.session() as session:
    first, same, other = session.run(z)
  np.testing.assert_array_equal(first, same)
  assert np.abs(first - other).max() > 0.1
  mean, deviation = (0, 1) if "normal" in distribution else (0.5, 12**-0.5)
  assert first.mean() == pytest.approx(mean, abs=0.05)
  assert first.std() == pytest.approx(deviation, abs=0.05)


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


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_micro_batches_average_the_gradients_of_their_parts(network):
  rates = {
    "discriminator": {"d_lr": 1.0, "g_lr": 0.0},
    "generator": {"d_lr": 0.0, "g_lr": 1.0},
  }[network]
  gan = descending_gan(2, **rates)
  x, z, y = step_inputs()
  update, _ = gan.train_step(x, z, y, y)
  weights = getattr(gan, network).trainable_variables
  half = BATCH // 2
  oracles = []
  for part in range(2):
    start = part * half + (BATCH if network == "generator" else 0)
    rows = slice(start, start + half)
    with network_pass.network_pass():
      fake = gan._fake(z[rows], y[rows])
      real, fake = (gan._score(images, y[rows])[1] for images in (x[rows], fake))
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
    names = {"x": x, "fake": fakes, "y_real": y, "y_fake": y}
    parts = [
      dict(zip(names, part))
      for part in zip(*(tf.split(value, number) for value in names.values()))
    ]
    with network_pass.network_pass():
      results.append(
        modular_gan.mean_gradients(
          optimizer,
          lambda part: gan._discriminator_losses(part, part["fake"]),
          parts,
          gan.discriminator,
        )
      )
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    (whole, losses), (averaged, mean_losses) = session.run(
      [([g for g, _ in pairs], losses) for pairs, losses in results]
    )
  for name, value in losses.items():
    assert mean_losses[name] == pytest.approx(value, rel=1e-5)
  for expected, found in zip(whole, averaged):
    # Real and generated images' shares cancel, their rounding does not.
    np.testing.assert_allclose(
      found, expected, rtol=1e-4, atol=3e-4 * np.abs(expected).max()
    )


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
      update, _ = gan.train_step(x, z, y, y)
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
  gan = modular_gan.ModularGAN(
    dataset,
    {"architecture": "resnet_biggan_arch", "disc_iters": 2, "z_dim": 8, "lambda": 1},
    "unused",
  )
  logits = np.arange(512, dtype=np.float32)[:, np.newaxis]  # the images' ids

  def elements(number, **kwargs):
    with tf.Graph().as_default(), tf.Session() as session:
      data = gan.input_fn(start_step=3, logits=logits, **kwargs)
      element = data.make_one_shot_iterator().get_next()
      assert all(value.shape.is_fully_defined() for value in element.values())
      return [session.run(element) for _ in range(number)]

  batch = 8
  own = batch // (workers * replicas)
  whole = elements(2, params={"batch_size": 3 * batch})
  assert all("rows" not in element for element in whole)
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
    rows = [part["rows"].reshape(3, own) for part in of_step]
    for update in range(3):
      places = np.sort(np.concatenate([r[update] for r in rows]))
      np.testing.assert_array_equal(places, update * batch + np.arange(batch))
    for part in of_step:
      for name in ("images", "labels", "logits"):
        np.testing.assert_array_equal(part[name], expected[name][part["rows"]])
