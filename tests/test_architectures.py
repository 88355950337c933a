"""The architectures: their blocks, what they share, their names, the logit condition."""

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import registry
from compare_gan_logits.architectures import resnet30
from compare_gan_logits.architectures import resnet_biggan
from compare_gan_logits.architectures import resnet_cifar
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.errors import UnknownNameError
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import consts


SIZES = {"resnet30_arch": 128, "resnet_stl_arch": 48}  # of images; others have 32 px
LONG = ("resnet30_arch", "resnet_biggan_deep_arch")  # to build
SMALL = """
resnet_biggan.Generator.ch = 2
resnet_biggan.Discriminator.ch = 2
resnet_biggan_deep.Generator.ch = 4
resnet_biggan_deep.Discriminator.ch = 4
dosovitskiy_brox.Generator.ch = 2
dosovitskiy_brox.Generator.fc_dim = 16
"""


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  gin.parse_config(SMALL)
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


def build(name, y=None, batch=2, z_dim=8):
  """(images, (probability, score, features)) of an architecture in training."""
  size = SIZES.get(name, 32)
  architecture = registry.get(name)
  generator = architecture.Generator(image_shape=(size, size, 3))
  images = generator(tf.zeros([batch, z_dim]), y, is_training=True, reuse=False)
  return images, architecture.Discriminator()(images, y, is_training=True, reuse=False)


def names():
  return {v.op.name for v in tf.global_variables()}


# Names -------------------------------------------------------------------------


def test_every_architecture_of_the_reference_is_registered():
  assert set(consts.ARCHITECTURES) | {"dosovitskiy_brox_arch", "dummy_arch"} == set(
    registry.names()
  )


def test_unknown_architectures_are_refused_with_the_nearest_name():
  with pytest.raises(UnknownNameError, match="did you mean 'resnet_biggan_arch'"):
    registry.get("resnet_bigan_arch")
  with pytest.raises(NotImplementedError):
    registry.get("none")


def test_an_architecture_of_one_s_own_has_a_name(monkeypatch):
  monkeypatch.setattr(registry, "_registered", dict(registry._registered))

  class Own(resnet_cifar.Generator):
    pass

  registry.register("own_arch", Own, resnet_cifar.Discriminator)
  assert registry.get("own_arch") == (Own, resnet_cifar.Discriminator)
  with pytest.raises(UserError, match="registered already"):
    registry.register("own_arch", resnet_cifar.Generator, resnet_cifar.Discriminator)


# Networks ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["infogan_arch", "dummy_arch", "dcgan_arch"])
def test_images_are_in_0_1_and_scores_belong_to_probabilities(name):
  images, (probability, score, _) = build(name)
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    images, probability, score = session.run([images, probability, score])
  assert images.shape == (2, 32, 32, 3) and score.shape == (2, 1)
  assert images.min() >= 0 and images.max() <= 1
  np.testing.assert_allclose(probability, 1 / (1 + np.exp(-score)), rtol=1e-5)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(n, marks=pytest.mark.long if n in LONG else ())
    for n in sorted(registry.names())
  ],
)
def test_the_logit_condition_works_in_every_architecture(name, monkeypatch):
  """Eq. 3 in each generator that has norms, eq. 2 in each discriminator."""
  monkeypatch.setattr(resnet30, "_BLOCKS_EACH", 1)  # sixty blocks take long to build
  gin.parse_config("""
    G.batch_norm_fn = @logit_conditional_batch_norm
    logit_conditional_batch_norm.num_hidden = 4
    D.project_y = True
  """)
  y = tf.ones([2, 5])
  _, (_, score, features) = build(name, y)
  assert score.shape == [2, 1]
  width = int(np.prod(features.shape[1:]))
  kernels = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
  if name != "dosovitskiy_brox_arch":  # whose projection is of a hidden layer
    assert kernels["discriminator/embedding_fc/kernel"] == [5, width]
  if name not in ("dosovitskiy_brox_arch", "dummy_arch"):  # which have no norms
    assert any(k.endswith("condition/gamma/output/kernel") for k in kernels)


@pytest.mark.parametrize("name", ["dcgan_arch", "resnet_cifar_arch"])
def test_without_the_binding_small_discriminators_project_nothing(name):
  build(name, tf.ones([2, 5]))
  assert "discriminator/embedding_fc/kernel" not in names()


def test_infogan_s_generator_has_plain_norms_and_its_discriminator_those_of_gin():
  unbound = registry.get("infogan_arch").Discriminator(name="unbound")
  unbound(tf.zeros([2, 32, 32, 3]), y=None, is_training=True)
  assert not any("/d_bn" in name for name in names())
  for network in ("G", "D"):
    gin.parse_config(f"{network}.batch_norm_fn = @conditional_batch_norm")
  build("infogan_arch", tf.ones([2, 5]))
  assert {f"generator/g_bn{i}/gamma" for i in (1, 2, 3)} < names()
  assert {f"discriminator/d_bn{i}/condition/gamma/kernel" for i in (2, 3)} < names()


@pytest.mark.parametrize("name", ["dcgan_arch", "sndcgan_arch", "resnet_cifar_arch"])
def test_the_batch_may_be_of_any_size(name):
  z = tf.placeholder(tf.float32, [None, 8])
  images = registry.get(name).Generator(image_shape=(32, 32, 3))(z, None, True)
  assert images.shape.as_list() == [None, 32, 32, 3]


@pytest.mark.parametrize(
  "name, size",
  [
    ("infogan_arch", 30),
    ("sndcgan_arch", 28),
    ("resnet5_arch", 48),
    ("resnet30_arch", 32),
    ("resnet_cifar_arch", 64),
    ("resnet_stl_arch", 32),
    ("resnet_biggan_deep_arch", 48),
  ],
)
def test_sizes_that_an_architecture_does_not_have_are_refused(name, size):
  generator = registry.get(name).Generator(image_shape=(size, size, 3))
  with pytest.raises(UserError, match=f"{size}"):
    generator(tf.zeros([2, 8]), None, is_training=True)


def test_variables_are_shared_or_not_as_reuse_says():
  generator = registry.get("dummy_arch").Generator(image_shape=(4, 4, 1))
  for _ in range(2):
    generator(tf.zeros([2, 8]), None, is_training=True)
  assert len(tf.global_variables()) == 2
  with pytest.raises(ValueError, match="already exists"):
    generator(tf.zeros([2, 8]), None, is_training=True, reuse=False)
  assert [set(call) for call in generator.call_arg_list[:1]] == [
    {"z", "y", "is_training"}
  ]


def test_a_network_outside_of_a_pass_leaves_updates_and_is_still_at_inference():
  gin.parse_config("G.batch_norm_fn = @batch_norm\nG.spectral_norm = True")
  generator = resnet_cifar.Generator(image_shape=(32, 32, 3))
  generator(tf.zeros([2, 8]), None, is_training=True)
  updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
  assert len(updates) == 2 * 7
  images = generator(tf.ones([2, 8]), None, is_training=False)
  assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == updates
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(session.run(images), session.run(images))


# What networks share -------------------------------------------------------------


class Recorder(abstract_arch.AbstractGenerator):
  """Calls its norm and keeps what it was given."""

  def apply(self, z, y, is_training):
    return self.batch_norm(z, y=y, is_training=is_training, unknown=1, use_sn="own")


def test_a_norm_of_one_s_own_gets_what_it_takes():
  given = {}

  def norm(inputs, use_sn, y):
    given.update(use_sn=use_sn, y=y)
    return 2 * inputs

  outputs = Recorder(batch_norm_fn=norm)(tf.ones([1]), "condition", is_training=True)
  assert given == {"use_sn": "own", "y": "condition"}
  with tf.Session() as session:
    np.testing.assert_array_equal(session.run(outputs), [2])


def test_a_discriminator_of_one_s_own_is_taken_to_see_the_whole_batch():
  class Centred:
    def apply(self, x, y, is_training):
      return super().apply(x - tf.reduce_mean(x, 0), y, is_training)

  class Rebuilt(Centred, resnet_cifar.Discriminator):
    pass

  class Normed(resnet_cifar.Discriminator):
    def batch_norm(self, inputs, **kwargs):
      return inputs - tf.reduce_mean(inputs, 0)

  class Known(Rebuilt):
    scores_images_apart = True

  class Derived(Known):
    pass

  found = [c().has_batch_statistics for c in (Rebuilt, Normed, Known, Derived)]
  assert found == [True, True, False, True]
  assert Known(batch_norm_fn=arch_ops.batch_norm).has_batch_statistics


def test_the_program_s_discriminators_score_images_apart_but_for_batch_norms():
  together = [
    name
    for name in registry.names()
    if registry.get(name).Discriminator.__module__.startswith("compare_gan_logits.")
    and registry.get(name).Discriminator().has_batch_statistics
  ]
  assert together == ["dummy_arch"]


def test_a_head_with_the_network_s_name_in_its_own_is_trained_with_it():
  discriminator = registry.get("dummy_arch").Discriminator()
  discriminator(tf.zeros([2, 4, 4, 1]), None, is_training=True)
  with tf.variable_scope("discriminator_rotation"):
    head = arch_ops.variable("w", [3], tf.zeros_initializer())
  assert head in discriminator.trainable_variables
  assert head not in discriminator.variables


def test_layer_norm_comes_behind_the_batch_norm():
  gin.parse_config("D.layer_norm = True\nD.batch_norm_fn = @batch_norm")
  resnet_cifar.Discriminator()(tf.zeros([2, 32, 32, 3]), None, is_training=True)
  block = {n.split("/")[2] for n in names() if n.startswith("discriminator/B1/")}
  assert {"bn1", "bn2", "ln1", "ln2"} < block


# Residual blocks -----------------------------------------------------------------


def plain_unpool(x):
  doubled = np.zeros([len(x), *(2 * n for n in x.shape[1:-1]), x.shape[-1]], x.dtype)
  doubled[(slice(None), *[slice(None, None, 2)] * (x.ndim - 2))] = x
  return doubled


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 5, 4), (2, 3, 5, 2, 4)])
def test_unpool_inserts_zeros_along_every_spatial_axis(shape):
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  with tf.Session() as session:
    value = session.run(resnet_ops.unpool(tf.constant(x)))
  np.testing.assert_array_equal(value, plain_unpool(x))


@pytest.mark.parametrize("shape", [[2, 32, 3], [2, 32, 16, 3], [2, 48, 48, 3]])
def test_images_are_square_and_powers_of_two(shape):
  with pytest.raises(ValueError):
    resnet_ops.validate_image_inputs(tf.zeros(shape))
  resnet_ops.validate_image_inputs(tf.zeros([2, 48, 48, 3]), validate_power2=False)


@pytest.mark.parametrize(
  "scale, is_gen_block, convolutions, size",
  [
    ("up", True, {"up_conv1", "same_conv2", "up_conv_shortcut"}, 16),
    ("down", False, {"same_conv1", "down_conv2", "down_conv_shortcut"}, 4),
    ("none", True, {"same_conv1", "same_conv2", "same_conv_shortcut"}, 8),
  ],
)
def test_a_block_scales_where_its_scopes_say(scale, is_gen_block, convolutions, size):
  block = resnet_ops.ResNetBlock("B", 3, 5, scale, is_gen_block)
  outputs = block(tf.zeros([2, 8, 8, 3]), z=None, y=None, is_training=True)
  assert outputs.shape.as_list() == [2, size, size, 5]
  assert {n.split("/")[1] for n in names()} == convolutions
  with pytest.raises(ValueError, match="3 channels"):
    block(tf.zeros([2, 8, 8, 4]), z=None, y=None, is_training=True)


def test_a_block_s_convolution_can_be_replaced():
  class Shallow(resnet_ops.ResNetBlock):
    def _get_conv(self, inputs, in_channels, out_channels, scale, suffix, **_):
      return arch_ops.conv1x1(inputs, out_channels, name=suffix)

  block = Shallow("B", 3, 5, "none", is_gen_block=True)
  block(tf.zeros([2, 8, 8, 3]), z=None, y=None, is_training=True)
  assert {n.split("/")[1] for n in names()} == {"conv1", "conv2", "conv_shortcut"}


def test_biggan_s_shortcut_is_gin_s():
  gin.parse_config("BigGanResNetBlock.add_shortcut = False")
  block = resnet_biggan.BigGanResNetBlock(
    name="B", in_channels=3, out_channels=5, scale="up", is_gen_block=True
  )
  block(tf.zeros([2, 8, 8, 3]), z=None, y=None, is_training=True)
  assert not any("shortcut" in name for name in names())


def test_attention_is_shared_by_blocks_of_one_width_only():
  gin.parse_config("resnet_biggan.Generator.blocks_with_attention = 'B2,B3'")
  generator = resnet_biggan.Generator(image_shape=(32, 32, 3))
  generator(tf.zeros([2, 8]), None, is_training=True)
  assert "generator/non_local_block/sigma" in names()
  generator = resnet_biggan.Generator(image_shape=(64, 64, 3))
  with pytest.raises(UserError, match="different widths"):
    generator(tf.zeros([2, 10]), None, is_training=True)
