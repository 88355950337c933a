"""Dosovitskiy & Brox: the networks' shapes, the losses, who is updated when."""

import types

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from compare_gan_logits.architectures import dosovitskiy_brox
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import perceptual_gan
from compare_gan_logits.tpu import tpu_random


CONFIG = """
dosovitskiy_brox.Generator.ch = 2
dosovitskiy_brox.Generator.fc_dim = 16
dosovitskiy_brox.Discriminator.ch = 2
weights.initializer = 'orthogonal'
PerceptualGAN.conditional = True
"""
KERNEL = np.random.default_rng(0).normal(size=[16 * 16, 3]).astype(np.float32) / 16


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  gin.parse_config(CONFIG)
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


def make_gan(monkeypatch, classifier=True, **kwargs):
  network = tiny.LinearClassifier(KERNEL)
  monkeypatch.setattr(perceptual_gan, "get_comparator", lambda: network)
  dataset = types.SimpleNamespace(image_shape=(16, 16, 1), num_classes=3, seed=547)
  parameters = {
    "architecture": "dosovitskiy_brox_arch",
    "disc_iters": 1,
    "lambda": 1,
    "z_dim": 1,
  }
  return perceptual_gan.PerceptualGAN(
    dataset,
    parameters,
    "unused",
    classifier=network if classifier else None,
    **kwargs,
  )


def inputs():
  rng = np.random.default_rng(1)
  return (
    tf.constant(rng.uniform(size=[4, 16, 16, 1]), tf.float32),
    tf.zeros([4, 1]),
    tf.constant(rng.normal(size=[4, 3]), tf.float32),
  )


def test_the_published_generator_at_256_px():
  gin.clear_config()
  generator = dosovitskiy_brox.Generator(image_shape=(256, 256, 3))
  images = generator(tf.zeros([2, 1]), tf.zeros([2, 1000]), is_training=False)
  assert images.shape.as_list() == [2, 256, 256, 3]
  shapes = {v.op.name: v.shape.as_list() for v in generator.trainable_variables}
  assert shapes["generator/fc1/kernel"] == [4096, 4096]
  widths = [
    shapes[f"generator/{name}/kernel"]
    for name in ("up0", "conv0", "up1", "conv1", "up2", "conv2", "up3", "up4", "image")
  ]
  assert widths == [
    [4, 4, 256, 256],
    [3, 3, 256, 512],
    [4, 4, 256, 512],
    [3, 3, 256, 256],
    [4, 4, 128, 256],
    [3, 3, 128, 128],
    [4, 4, 64, 128],
    [4, 4, 32, 64],
    [4, 4, 3, 32],
  ]


@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
def test_smaller_pictures(resolution):
  generator = dosovitskiy_brox.Generator(image_shape=(resolution, resolution, 3))
  images = generator(tf.zeros([2, 1]), tf.zeros([2, 9]), is_training=False)
  score = dosovitskiy_brox.Discriminator()(images, tf.zeros([2, 9]), False)[1]
  assert images.shape.as_list() == [2, resolution, resolution, 3]
  assert score.shape.as_list() == [2, 1]


def test_other_sizes_are_refused():
  with pytest.raises(UserError, match="no networks for 48 px"):
    dosovitskiy_brox.Generator(image_shape=(48, 48, 3))(
      tf.zeros([1, 1]), tf.zeros([1, 9]), is_training=False
    )


def test_losses_by_their_formulas(monkeypatch):
  gan = make_gan(monkeypatch)
  x, z, y = inputs()
  _, losses = gan.train_step({"images": x, "z": z}, y)
  with tf.variable_scope("", reuse=tf.AUTO_REUSE):
    made = gan.generator(z, y, is_training=True)
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    values, g, real = session.run([losses, made, x])
  difference = (g - real).reshape(4, -1)
  image = 0.5 * (difference**2).sum(1).mean()
  features = 0.5 * ((difference @ KERNEL) ** 2).sum(1).mean()
  assert values["image"] == pytest.approx(image, rel=1e-4)
  assert values["features"] == pytest.approx(features, rel=1e-3)
  assert values["g_loss"] == pytest.approx(
    0.01 * features + 100 * values["adversarial"] + 0.13 * image, rel=1e-4
  )


def changed_networks(gan):
  x, z, y = inputs()
  step, _ = gan.train_step({"images": x, "z": z}, y)
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    before = session.run(tf.trainable_variables())
    session.run(step)
    after = session.run(tf.trainable_variables())
    assert session.run(tf.train.get_global_step()) == 1
  return {
    v.op.name.split("/")[0]
    for v, a, b in zip(tf.trainable_variables(), before, after)
    if not np.array_equal(a, b)
  }


@pytest.mark.parametrize(
  "settings, expected",
  [
    ({}, {"generator", "discriminator"}),
    ({"min_loss_ratio": 1e6}, {"generator"}),  # the discriminator is far ahead
    ({"lambda_feat": 0, "lambda_adv": 0}, {"generator"}),
  ],
)
def test_who_is_updated(monkeypatch, settings, expected):
  assert changed_networks(make_gan(monkeypatch, **settings)) == expected


def test_the_2016b_variant_is_a_decoder_on_pixels(monkeypatch):
  gan = make_gan(monkeypatch, lambda_feat=0, lambda_adv=0)
  x, z, y = inputs()
  _, losses = gan.train_step({"images": x, "z": z}, y)
  gradients = [
    tf.gradients(losses[name], gan.generator.trainable_variables)
    for name in ("g_loss", "image")
  ]
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    for g, pixels in zip(*session.run(gradients)):
      np.testing.assert_allclose(g, 0.13 * pixels, rtol=1e-4, atol=1e-7)


def test_without_a_classifier_it_is_refused(monkeypatch):
  with pytest.raises(UserError, match="classifier.handle"):
    make_gan(monkeypatch, classifier=False)


def test_dropout_follows_from_the_step(monkeypatch):
  """A resumed training draws what one that was never stopped draws."""
  gan = make_gan(monkeypatch)
  x, _, y = inputs()
  step = tf.placeholder(tf.int32, [1])
  tpu_random.set_random_offset_from_features({tpu_random.RANDOM_OFFSET: step})
  scores = gan.discriminator(x, y, is_training=True)[1]
  initial = tf.global_variables_initializer()
  with helpers.session() as session:
    session.run(initial)
    values = session.run(tf.trainable_variables())
    first, second = (session.run(scores, {step: [i]}) for i in (1, 2))
  assert np.abs(first - second).max() > 0
  with helpers.session() as session:
    session.run(initial)
    for variable, value in zip(tf.trainable_variables(), values):
      variable.load(value, session)
    np.testing.assert_array_equal(session.run(scores, {step: [2]}), second)


def test_dropout_keeps_half_and_the_mean():
  net = tf.ones([100, 1000])
  with helpers.session() as session:
    dropped = session.run(dosovitskiy_brox._dropout(net))
  assert set(np.unique(dropped)) == {0, 2}
  assert dropped.mean() == pytest.approx(1, abs=0.02)


def test_the_adversarial_losses_are_those_of_the_scores(monkeypatch):
  """Of a scored image and logits, without dropout, which differs between calls."""
  monkeypatch.setattr(dosovitskiy_brox, "_dropout", lambda net: net)
  gan = make_gan(monkeypatch)
  x, z, y = inputs()
  _, losses = gan.train_step({"images": x, "z": z}, y)
  made = gan.generator(z, y, is_training=True)
  scores = [gan.discriminator(images, y, True)[1] for images in (x, made)]
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    for variable in gan.discriminator.trainable_variables:
      session.run(variable.assign(3.0 * variable))  # scores that differ
    values, (real, fake) = session.run([losses, scores])
  assert np.abs(real.mean() - fake.mean()) > 1e-3
  assert values["adversarial"] == pytest.approx(
    helpers.softplus(-fake).mean(), rel=1e-4
  )
  expected = helpers.softplus(-real).mean() + helpers.softplus(fake).mean()
  assert values["d_loss_0"] == pytest.approx(expected, rel=1e-4)


def test_the_moving_average_of_the_decoder_moves(monkeypatch):
  gan = make_gan(monkeypatch, g_use_ema=True, ema_decay=0.75, ema_start_step=0)
  x, z, y = inputs()
  step, _ = gan.train_step({"images": x, "z": z}, y)
  weight = gan.generator.trainable_variables[0]
  average = next(
    v
    for v in tf.global_variables()
    if v.op.name == f"{weight.op.name}/{gan.ema().name}"
  )
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    before = session.run(weight)
    session.run(step)
    after, found = session.run([weight, average])
  np.testing.assert_allclose(found, 0.75 * before + 0.25 * after, atol=1e-6)
  assert np.abs(after - before).max() > 1e-5
