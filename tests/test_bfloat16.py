"""compute.dtype = 'bfloat16': whole networks and whole steps against float32."""

import types

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import dosovitskiy_brox
from compare_gan_logits.gans import modular_gan


CONFIG = """
G.batch_norm_fn = @logit_conditional_batch_norm
G.spectral_norm = True
D.spectral_norm = True
resnet_biggan.Generator.ch = 4
resnet_biggan.Generator.blocks_with_attention = 'B3'
resnet_biggan.Discriminator.ch = 8
dosovitskiy_brox.Generator.ch = 2
dosovitskiy_brox.Generator.fc_dim = 16
ModularGAN.conditional = True
ModularGAN.g_use_ema = True
loss.fn = @hinge
penalty.fn = @no_penalty
weights.initializer = 'orthogonal'
"""
BATCH = 8


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  gin.parse_config(CONFIG)
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


def make_gan():
  dataset = types.SimpleNamespace(image_shape=(32, 32, 1), num_classes=5, seed=547)
  parameters = {
    "architecture": "resnet_biggan_arch",
    "disc_iters": 1,
    "lambda": 1,
    "z_dim": 8,
  }
  return modular_gan.ModularGAN(dataset, parameters, "unused")


def inputs(images):
  rng = np.random.default_rng(0)
  return [
    tf.constant(value, tf.float32)
    for value in (
      rng.uniform(size=[images, 32, 32, 1]),
      rng.normal(size=[images, 8]),
      rng.normal(size=[images, 5]),
    )
  ]


def scores_and_gradients(gan):
  """Scores of generated images; gradients by each network's weights, end to end."""
  images, z, y = inputs(BATCH)
  with tf.variable_scope("", reuse=tf.AUTO_REUSE):
    scores = gan.discriminate(
      tf.concat([gan.generate(z, y), images], 0), tf.concat([y, y], 0)
    )
  weights = gan.generator.trainable_variables + gan.discriminator.trainable_variables
  return scores, tf.gradients(tf.reduce_mean(tf.tanh(scores)), weights), weights


def relative_error(value, expected):
  return np.linalg.norm(value - expected) / np.linalg.norm(expected)


@pytest.mark.long
def test_scores_and_gradients_of_the_networks_are_float32_s_to_a_few_percent():
  gan = make_gan()
  results = []
  for dtype in ("float32", "bfloat16"):
    gin.bind_parameter("compute.dtype", dtype)
    *result, weights = scores_and_gradients(gan)
    results.append(result)
  # Attention counts only where sigma is not zero, as it is at the start.
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    session.run([v.assign(0.5) for v in weights if v.op.name.endswith("sigma")])
    (scores, gradients), (rounded_scores, rounded) = session.run(results)
  assert 1e-5 < relative_error(rounded_scores, scores) < 2**-5
  whole = [np.concatenate([g.ravel() for g in side]) for side in (rounded, gradients)]
  assert 1e-5 < relative_error(*whole) < 2**-4


@pytest.mark.long
def test_weights_slots_vectors_moments_and_losses_of_a_step_stay_float32():
  gin.bind_parameter("compute.dtype", "bfloat16")
  gan = make_gan()
  images, z, y = inputs(2 * BATCH)
  tf.train.get_or_create_global_step()
  with tf.variable_scope("", reuse=tf.AUTO_REUSE):
    step, losses = gan.train_step({"images": images, "z": z, "sampled_y": y}, y)
  kinds = {
    v.op.name.rsplit("/", 1)[-1]: v.dtype.base_dtype
    for v in tf.global_variables()
    if v.dtype.base_dtype.is_floating
  }
  assert {"kernel", "g_opt", "g_opt_1", "d_opt", "u_var", "moving_variance"} <= set(
    kinds
  )
  assert set(kinds.values()) == {tf.float32}
  assert {loss.dtype for loss in losses.values()} == {tf.float32}
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    session.run(step)
    assert all(np.isfinite(loss) for loss in session.run(list(losses.values())))


def test_the_rival_s_generator_in_bfloat16():
  generator = dosovitskiy_brox.Generator(image_shape=(32, 32, 3))
  outputs = []
  for dtype in ("float32", "bfloat16"):
    gin.bind_parameter("compute.dtype", dtype)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
      outputs.append(generator(None, inputs(4)[2], is_training=True))
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    exact, rounded = session.run(outputs)
  assert rounded.dtype == np.float32
  assert 0 < relative_error(rounded - 0.5, exact - 0.5) < 2**-5
