"""Norms conditioned on a feature map: the formula, a training, its module."""

import os
import subprocess
import sys
import types

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tiny
from PIL import Image

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits.architectures import dummy
from compare_gan_logits.architectures import infogan
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.architectures import resnet_biggan
from compare_gan_logits.architectures import spatial_conditioning
from compare_gan_logits.classifiers import logit_cache
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import fidelity_gan
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.gans import penalty_lib
from compare_gan_logits.gans import s3gan
from compare_gan_logits.gans import ssgan
from compare_gan_logits.inversion import Inverter


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EPSILON = 1e-3  # of standardize_batch


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield
  gin.clear_config()


def random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def resized(maps, height, width):
  """Maps [b, h, w, c], each resized by Pillow."""
  planes = [
    np.asarray(Image.fromarray(m[..., c]).resize((width, height), Image.BILINEAR))
    for m in maps
    for c in range(m.shape[-1])
  ]
  stacked = np.reshape(planes, [len(maps), maps.shape[-1], height, width])
  return stacked.transpose(0, 2, 3, 1)


def norm(x, y, maps, **kwargs):
  with network_pass.network_pass():
    return spatial_conditioning.spatial_conditional_batch_norm(
      tf.constant(x),
      y=tf.constant(y),
      feature_map=tf.constant(maps),
      is_training=True,
      use_sn=False,
      **kwargs,
    )


@pytest.mark.parametrize("size", [(8, 6), (2, 3), None])
def test_the_formula(size):
  """Numpy and Pillow, at larger and smaller layers than the map, and at one position."""
  x, y, maps = random(4, *(size or ()), 5), random(4, 3, seed=1), random(4, 4, 4, 2)
  gin.bind_parameter("spatial_conditional_batch_norm.num_hidden", 7)
  output = norm(x, y, maps)
  variables = {v.op.name: v for v in tf.trainable_variables()}
  values = {n: random(*v.shape, seed=i) for i, (n, v) in enumerate(variables.items())}
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for name, value in values.items():
      variables[name].load(value, session)
    found = session.run(output)

  def weights(layer):
    place = f"batch_norm/condition/{layer}"
    return values[f"{place}/kernel"], values[f"{place}/bias"]

  at_layer = resized(maps, *(size or (1, 1)))
  beside = np.broadcast_to(y[:, None, None], [*at_layer.shape[:3], 3])
  kernel, bias = weights("hidden")
  hidden = np.maximum(np.concatenate([at_layer, beside], -1) @ kernel + bias, 0)
  gamma, beta = (hidden @ k + b for k, b in (weights("gamma"), weights("beta")))
  if not size:
    gamma, beta = gamma[:, 0, 0], beta[:, 0, 0]
  mean, variance = (f(x, axis=tuple(range(x.ndim - 1))) for f in (np.mean, np.var))
  expected = (1 + gamma) * (x - mean) / np.sqrt(variance + EPSILON) + beta
  np.testing.assert_allclose(found, expected, atol=2e-5)


def test_it_starts_as_the_plain_norm_and_can_learn():
  x = random(8, 4, 4, 5)
  output = norm(x, random(8, 3, seed=1), random(8, 2, 2, 6))
  last = [v for v in tf.trainable_variables() if "hidden" not in v.op.name]
  gradients = tf.gradients(tf.reduce_sum(output * random(8, 4, 4, 5, seed=2)), last)
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    value, *gradients = session.run([output, *gradients])
  expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + EPSILON)
  np.testing.assert_allclose(value, expected, atol=2e-5)
  assert len(gradients) == 4 and all(np.abs(g).max() > 1e-3 for g in gradients)


def bind_small_networks():
  gin.parse_config("""
    G.batch_norm_fn = @spatial_conditional_batch_norm
    G.spectral_norm = True
    resnet_biggan.Generator.ch = 1
    resnet_biggan.Discriminator.ch = 2
  """)


@pytest.mark.parametrize("architecture", [resnet_biggan, infogan])
def test_every_norm_of_a_generator_gets_the_map(architecture):
  bind_small_networks()
  generator = architecture.Generator(image_shape=(32, 32, 3))
  generator(tf.zeros([2, 8]), tf.zeros([2, 4, 4, 6]), is_training=True)
  hidden = [v for v in tf.trainable_variables() if v.op.name.endswith("hidden/kernel")]
  assert len(hidden) == {resnet_biggan: 6, infogan: 3}[architecture]
  with pytest.raises(UserError, match="whose output is a feature map"):
    generator(tf.zeros([2, 8]), tf.zeros([2, 6]), is_training=True)


def make_gan(architecture, gan_class=modular_gan.ModularGAN, **settings):
  """A GAN whose classifier gives maps [4, 4, 6]."""
  bind_small_networks()
  classifier = types.SimpleNamespace(num_logits=96, feature_shape=(4, 4, 6))
  dataset = types.SimpleNamespace(image_shape=(32, 32, 3), num_classes=5, seed=1)
  parameters = {"architecture": architecture, "z_dim": 8, "lambda": 1}
  return gan_class(
    dataset=dataset,
    parameters=parameters,
    model_dir="unused",
    classifier=classifier,
    conditional=True,
    **settings,
  )


def test_a_discriminator_is_projected_on_the_means():
  gan = make_gan("resnet_biggan_arch")
  images, maps = tf.constant(random(2, 32, 32, 3)), random(2, 4, 4, 6)
  scores = [
    gan.discriminate(images, tf.constant(maps.reshape(2, -1))),
    gan.discriminator(images, tf.constant(maps.mean(axis=(1, 2))), False)[1],
  ]
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    np.testing.assert_allclose(*session.run(scores), rtol=1e-4)


@pytest.mark.parametrize(
  "gan_class, settings",
  [
    (fidelity_gan.FidelityGAN, {"mismatch_weight": 1.0}),
    (ssgan.SSGAN, {"rotated_batch_size": 4}),
    (s3gan.S3GAN, {"rotated_batch_fraction": 2, "project_y": True}),
  ],
)
def test_the_discriminator_of_a_training_gets_means(gan_class, settings):
  gin.bind_parameter("penalty.fn", penalty_lib.wgangp_penalty)
  gin.bind_parameter("D.project_y", True)
  gan = make_gan("dummy_arch", gan_class, **settings)
  y = tf.zeros([4, 96])
  features = {"images": tf.zeros([4, 32, 32, 3]), "z": tf.zeros([4, 8]), "sampled_y": y}
  gan.train_step(features, y)
  calls = gan.discriminator.call_arg_list
  assert calls and all(call["y"].shape[1:] == [6] for call in calls)


def test_networks_of_one_s_own_get_a_condition_of_any_rank_unchanged():
  """A mask, for instance, which no norm takes."""
  given = []

  class Painter(dummy.Generator):
    def apply(self, z, y, is_training):
      given.append(y)
      return super().apply(z, None, is_training)

  class Critic(dummy.Discriminator):
    def apply(self, x, y, is_training):
      given.append(y)
      return super().apply(x, None, is_training)

  mask = tf.zeros([2, 8, 8, 1])
  Painter(image_shape=(8, 8, 3))(tf.zeros([2, 4]), mask, is_training=True)
  Critic()(tf.zeros([2, 8, 8, 3]), mask, is_training=True)
  assert len(given) == 2 and all(y is mask for y in given)


def write_feature_map(folder):
  """A module whose one output is a map [4, 4, 3] of an image: brightness and edges."""

  def build():
    images = tf.placeholder(tf.float32, [None, 32, 32, 1])
    kernel = tf.get_variable(
      "kernel", use_resource=True, initializer=tf.constant(random(8, 8, 1, 3) / 8)
    )
    maps = tf.nn.conv2d(images, kernel, strides=8, padding="VALID")
    hub.add_signature(inputs={"images": images}, outputs={"features": maps})

  return tiny.export(str(folder), build)


@pytest.mark.long
def test_from_a_cache_of_maps_to_pictures(tmp_path):
  handle = write_feature_map(tmp_path / "maps")
  config = tiny.write_training(
    str(tmp_path),
    f"""
classifier.handle = '{handle}'
classifier.output = 'features'
classifier.cache_dir = '{tmp_path}/logits'
G.batch_norm_fn = @spatial_conditional_batch_norm
ModularGAN.g_lr = 0.05
ModularGAN.ema_decay = 0.0
options.training_steps = 2
""",
  )
  classifier = classifiers.load(handle, output="features")
  assert (classifier.num_logits, classifier.feature_shape) == (48, (4, 4, 3))
  garments = datasets.get_dataset("embedded")
  logit_cache.write(classifier, garments, "train", f"{tmp_path}/logits", shards=1)
  command = [sys.executable, "-m", "compare_gan_logits.main"]
  subprocess.run(
    [*command, f"--gin_config={config}", f"--model_dir={tmp_path}/run"],
    check=True,
    env={**os.environ, "PYTHONPATH": ROOT},
  )

  inverter = Inverter.load(tmp_path / "run" / "module")
  assert inverter.info["feature_shape"] == [4, 4, 3]
  images, _ = garments.arrays("validation", limit=2)
  maps = classifier.predict(images).reshape(2, 4, 4, 3)
  whole = inverter.reconstruct(images, seed=1)[:, 0]
  again = inverter.generate(maps, inverter.noise(2, 1))
  np.testing.assert_array_equal(again, whole)
  # The means are the same: only a norm that sees positions tells the two apart.
  mirrored = inverter.generate(maps[:, :, ::-1], inverter.noise(2, 1))
  assert np.abs(mirrored - whole).max() > 0.01


def test_the_hidden_layer_alone_is_spectrally_normalised():
  spatial_conditioning.spatial_conditional_batch_norm(
    tf.zeros([2, 4, 4, 5]),
    tf.zeros([2, 3]),
    True,
    True,
    feature_map=tf.zeros([2, 2, 2, 6]),
  )
  vectors = [v.op.name for v in tf.global_variables() if v.op.name.endswith("u_var")]
  assert vectors == ["batch_norm/condition/hidden/kernel/u_var"]
