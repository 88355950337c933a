"""The TF-Hub module of a ModularGAN: the reference's tags, signatures and values."""

import os
import types

import gin
import gin.tf.external_configurables
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits.gans import modular_gan


CONFIG = """
G.batch_norm_fn = @conditional_batch_norm
standardize_batch.use_moving_averages = True
resnet_biggan.Generator.ch = 1
resnet_biggan.Discriminator.ch = 2
weights.initializer = 'orthogonal'
ModularGAN.conditional = True
ModularGAN.g_use_ema = True
"""
AVERAGE = "/ExponentialMovingAverage"


def make_gan(**kwargs):
  gin.clear_config()
  gin.parse_config(CONFIG)
  dataset = types.SimpleNamespace(image_shape=(32, 32, 1), num_classes=5, seed=547)
  parameters = {"architecture": "resnet_biggan_arch", "lambda": 1, "z_dim": 8}
  return modular_gan.ModularGAN(dataset, parameters, "unused", **kwargs)


@pytest.fixture(scope="module")
def module(tmp_path_factory):
  """(path of an exported module, values of the checkpoint it was filled from)."""
  folder = tmp_path_factory.mktemp("module_spec")
  gan = make_gan()
  with tf.Graph().as_default(), tf.Session() as session:
    y = tf.zeros([1, 5])
    gan.discriminate(gan.generate(tf.zeros([1, 8]), y), y)
    gan.ema().apply(gan.generator.trainable_variables)
    averages = [v for v in tf.global_variables() if v.op.name.endswith(AVERAGE)]
    session.run(tf.global_variables_initializer())
    session.run([v.assign(0.5 * v) for v in averages])
    values = session.run({v.op.name: v for v in tf.global_variables()})
    checkpoint = tf.train.Saver().save(session, str(folder / "model.ckpt"))
  spec = gan.as_module_spec()
  assert {frozenset(tags) for tags in spec.get_tags()} == {frozenset()} | {
    frozenset([network, f"bs{size}"])
    for network in ("gen", "disc")
    for size in (8, 16, 32, 64, None)
  }
  spec.export(str(folder / "module"), checkpoint_path=checkpoint)
  return str(folder / "module"), values


def run(path, inputs, tags=None, signature=None):
  with tf.Graph().as_default(), tf.Session() as session:
    loaded = hub.Module(path, tags=tags)
    outputs = loaded(inputs, signature=signature, as_dict=True)
    session.run(tf.global_variables_initializer())
    return session.run(outputs)


def noise_and_labels(size):
  rng = np.random.default_rng(0)
  z = rng.normal(size=[size, 8]).astype(np.float32)
  return z, rng.integers(0, 5, size).astype(np.int32)


def test_a_generator_takes_integer_labels_and_has_the_averaged_weights(module):
  path, values = module
  z, labels = noise_and_labels(8)
  generated = run(path, {"z": z, "labels": labels}, {"gen", "bs8"})["generated"]
  gan = make_gan()
  with tf.Graph().as_default(), tf.Session() as session:
    images = gan.generate(tf.constant(z), tf.one_hot(labels, 5))
    for v in gan.generator.variables:
      v.load(values.get(v.op.name + AVERAGE, values[v.op.name]), session)
    np.testing.assert_allclose(session.run(images), generated, atol=1e-5)


def test_the_untagged_graph_has_any_batch_size_and_takes_mixed_classes(module):
  path, _ = module
  z, labels = noise_and_labels(3)
  by_label = run(path, {"z": z, "labels": labels})["generated"]
  one_hot = np.eye(5, dtype=np.float32)[labels]
  by_vector = run(path, {"z": z, "labels": one_hot}, signature="generator")
  np.testing.assert_allclose(by_vector["generated"], by_label, atol=1e-6)


def test_a_discriminator_gives_the_probability_and_its_logit(module):
  path, _ = module
  images = np.random.default_rng(1).uniform(size=[16, 32, 32, 1]).astype(np.float32)
  _, labels = noise_and_labels(16)
  inputs = {"images": images, "labels": labels}
  found = run(path, inputs, {"disc", "bs16"})
  assert found["prediction"].shape == (16, 1) and np.std(found["score"]) > 0
  expected = 1 / (1 + np.exp(-found["score"].astype(np.float64)))
  np.testing.assert_allclose(found["prediction"], expected, atol=1e-6)
  free = run(path, inputs, {"disc", "bsNone"})
  np.testing.assert_allclose(free["score"], found["score"], rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_without_the_discriminator_the_generator_is_all_there_is(module, tmp_path):
  whole, _ = module
  gan = make_gan()
  gin.bind_parameter("module.batch_sizes", (8,))
  gin.bind_parameter("module.discriminator", False)
  spec = gan.as_module_spec()
  assert {frozenset(tags) for tags in spec.get_tags()} == {
    frozenset(),
    frozenset({"gen", "bs8"}),
  }
  path = str(tmp_path / "module")
  spec.export(path, checkpoint_path=os.path.join(os.path.dirname(whole), "model.ckpt"))
  variables = os.path.join(path, "variables", "variables")
  names = [name for name, _ in tf.train.list_variables(variables)]
  assert names and all(name.startswith("generator/") for name in names)
  z, labels = noise_and_labels(8)
  inputs = {"z": z, "labels": labels}
  expected = run(whole, inputs)["generated"]
  np.testing.assert_allclose(run(path, inputs)["generated"], expected, atol=1e-6)
