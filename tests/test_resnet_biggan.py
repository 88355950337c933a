"""Sizes of the networks: the paper's tables and the reference's counts."""

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import resnet_biggan
from compare_gan_logits.errors import UserError


NETWORKS = """
G.batch_norm_fn = @conditional_batch_norm
G.spectral_norm = True
D.spectral_norm = True
"""


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  gin.parse_config(NETWORKS)
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


def build(resolution, z_dim=120, classes=1000, batch=2):
  generator = resnet_biggan.Generator(image_shape=(resolution, resolution, 3))
  discriminator = resnet_biggan.Discriminator()
  y = tf.zeros([batch, classes])
  images = generator(tf.zeros([batch, z_dim]), y, is_training=False)
  return generator, discriminator, images, discriminator(images, y, is_training=False)


def count(network):
  return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def test_parameter_counts_at_128_px_are_the_reference_s():
  generator, discriminator, _, _ = build(128)
  assert count(generator) == 70_433_988
  assert count(discriminator) == 87_982_370


@pytest.mark.parametrize(
  "resolution", [32, 64, 128, 256, pytest.param(512, marks=pytest.mark.long)]
)
def test_every_resolution_builds(resolution):
  for network in ("Generator", "Discriminator"):
    gin.bind_parameter(f"resnet_biggan.{network}.ch", 8)
  _, _, images, (probability, score, features) = build(resolution, z_dim=840)
  assert images.shape.as_list() == [2, resolution, resolution, 3]
  assert probability.shape.as_list() == score.shape.as_list() == [2, 1]
  assert features.shape.rank == 2


def outputs_of(scope):
  """Shape of the last tensor of each residual block below a scope."""
  shapes = {}
  for op in tf.get_default_graph().get_operations():
    parts = op.name.split("/")
    in_block = len(parts) > 2 and parts[0] == scope and parts[1].startswith("B")
    if in_block and op.outputs and op.outputs[0].shape.rank == 4:
      shapes[parts[1]] = op.outputs[0].shape.as_list()[1:]
  return shapes


def test_tables_3_and_4():
  _, _, images, (_, _, features) = build(64)
  assert outputs_of("generator") == {
    "B1": [8, 8, 1536],
    "B2": [16, 16, 768],
    "B3": [32, 32, 384],
    "B4": [64, 64, 192],
  }
  assert outputs_of("discriminator") == {
    "B1": [32, 32, 192],
    "B2": [16, 16, 384],
    "B3": [8, 8, 768],
    "B4": [4, 4, 1536],
    "B5": [4, 4, 1536],
  }
  variables = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
  assert variables["generator/fc_noise/bias"] == [4 * 4 * 1536]
  assert variables["generator/non_local_block/conv2d_attn_g/kernel"][-1] == 192
  assert variables["discriminator/non_local_block/conv2d_attn_g/kernel"][-1] == 192
  assert features.shape.as_list() == [2, 1536]


def test_eq_2_projects_the_features_on_the_logits():
  """D(x, z) = (w1 + W2 z)' psi(x), with the reference's bias in the first term."""
  gin.bind_parameter("D.spectral_norm", False)
  gin.bind_parameter("resnet_biggan.Discriminator.ch", 4)
  discriminator = resnet_biggan.Discriminator()
  rng = np.random.default_rng(0)
  y = rng.normal(size=[3, 11]).astype(np.float32)
  _, score, features = discriminator(
    tf.constant(rng.uniform(size=[3, 32, 32, 3]), tf.float32), tf.constant(y), False
  )
  variables = {v.op.name: v for v in tf.trainable_variables()}
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    score, psi, w1, bias, w2 = session.run(
      [
        score,
        features,
        variables["discriminator/final_fc/kernel"],
        variables["discriminator/final_fc/bias"],
        variables["discriminator/embedding_fc/kernel"],
      ]
    )
  expected = ((w1[:, 0] + y @ w2) * psi).sum(1, keepdims=True) + bias
  np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
  "network, public, papers",
  [
    ("Generator", "embed_y", "embed_labels"),
    ("Discriminator", "project_y", "project_labels"),
  ],
)
def test_both_names_of_one_thing_are_an_error(network, public, papers):
  gin.bind_parameter(f"resnet_biggan.{network}.{public}", True)
  gin.bind_parameter(f"resnet_biggan.{network}.{papers}", True)
  with pytest.raises(UserError, match=f"{public} and {papers}"):
    build(32)


@pytest.mark.parametrize("name", ["embed_y", "embed_labels"])
def test_either_name_turns_the_embedding_off(name):
  gin.bind_parameter(f"resnet_biggan.Generator.{name}", False)
  generator, _, _, _ = build(32)
  assert not any("embed_y" in v.name for v in generator.trainable_variables)


def test_three_norms_a_block_by_gin():
  gin.bind_parameter("resnet_biggan.Generator.shortcut_norm", True)
  generator, _, _, _ = build(32)
  norms = {
    v.op.name.split("/")[2]
    for v in generator.trainable_variables
    if v.op.name.startswith("generator/B1/bn")
  }
  assert norms == {"bn1", "bn2", "bn_shortcut"}


@pytest.mark.parametrize(
  "call, part",
  [(lambda: build(48), "48 px"), (lambda: build(64, z_dim=121), "z_dim 121")],
)
def test_what_does_not_fit_is_refused(call, part):
  with pytest.raises(UserError, match=part):
    call()


def test_orthogonal_initialisation_is_orthogonal():
  gin.bind_parameter("weights.initializer", "orthogonal")
  kernel = tf.get_variable(
    "kernel", [3, 3, 8, 16], initializer=arch_ops.weight_initializer()
  )
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    matrix = session.run(kernel).reshape(-1, 16)
  np.testing.assert_allclose(matrix.T @ matrix, np.eye(16), atol=1e-5)
