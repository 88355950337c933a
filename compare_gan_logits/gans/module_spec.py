"""The TF-Hub module of a GAN, with the reference's tags and signatures.

The untagged graph and those tagged {"gen", "bs<n>"} take `z` and, from a conditional
generator, `labels` (int32) or `logits`, and give `generated`. Those tagged
{"disc", "bs<n>"} take `images` and the same condition, and give `prediction`, the
probability that an image is real, and `score`, the logit of it. The batch size n is 8,
16, 32, 64 or None, which stands for any.

The untagged graph, of any batch size, has two more signatures, for inversion.py and
TensorFlow 2: "discriminator" and "generator". Where the condition is a class, the
latter takes it as a vector [batch, num_classes], so that classes can be mixed.

With `module.discriminator = False` there are only the generator's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from typing import Any

import gin
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub


if TYPE_CHECKING:
  from compare_gan_logits.gans import modular_gan

BATCH_SIZES = (8, 16, 32, 64, None)  # those that compare_gan's evaluation asks for
_AVERAGE = "/ExponentialMovingAverage"


@gin.configurable("module", denylist=["gan"])
def create(
  gan: modular_gan.ModularGAN,
  batch_sizes: Sequence[int | None] = BATCH_SIZES,
  discriminator: bool = True,
) -> hub.ModuleSpec:
  """The module of a GAN; variables have the names of its training checkpoints.

  Where the GAN keeps moving averages of the generator's weights, these are the weights
  of the module, under the names of the averages.

  Args:
    gan: whose networks it has.
    batch_sizes: sizes n of the tagged graphs, each of which makes the export longer.
    discriminator: whether the module has the discriminator, as compare_gan's has; of
      this program AccuracyTask alone reads it, and without it a module is much smaller.
  """
  untagged = (set(), {"build": functools.partial(_untagged, gan, discriminator)})
  networks = {"gen": _generator}
  if discriminator:
    networks["disc"] = _discriminator
  tagged = [
    ({network, f"bs{size}"}, {"build": functools.partial(build, gan, size)})
    for network, build in networks.items()
    for size in batch_sizes
  ]
  return hub.create_module_spec(
    lambda build: build(),
    tags_and_args=[untagged, *tagged],
    drop_collections=[tf.GraphKeys.MOVING_AVERAGE_VARIABLES],
  )


def _untagged(gan, discriminator):
  inputs, vectors, generated = _generator(gan, None)
  hub.add_signature(
    "generator",
    inputs={**inputs, **vectors},
    outputs={"generated": generated, "default": generated},
  )
  if discriminator:
    _discriminator(gan, None, "discriminator")


def _generator(gan, batch_size):
  """Adds the default signature; returns (inputs, conditions as vectors, images)."""
  z = tf.placeholder(tf.float32, [batch_size, gan.z_dim], "z")
  condition, y = _condition(gan, batch_size)
  with averaged_weights(gan):
    generated = gan.generate(z, y)
  taken = condition if gan.conditioning != "none" else {}
  inputs = {"z": z, **taken}
  hub.add_signature(
    inputs=inputs, outputs={"generated": generated, "default": generated}
  )
  return inputs, {name: y for name in taken}, generated


def _discriminator(gan, batch_size, signature=None):
  images = tf.placeholder(tf.float32, [batch_size, *gan.image_shape], "images")
  condition, y = _condition(gan, batch_size)
  condition = condition if gan.discriminator_is_conditional else {}
  score = gan.discriminate(images, y)
  probability = tf.sigmoid(score)
  hub.add_signature(
    signature,
    inputs={"images": images, **condition},
    outputs={"prediction": probability, "score": score, "default": probability},
  )


def _condition(gan, batch_size):
  """({name: placeholder}, condition [batch, n]); ({}, None) for an unconditional GAN."""
  if not gan.conditional:
    return {}, None
  if gan.condition_name == "logits":
    y = tf.placeholder(tf.float32, [batch_size, gan.condition_size], "logits")
    return {"logits": y}, y
  labels = tf.placeholder(tf.int32, [batch_size], "labels")
  return {"labels": labels}, tf.one_hot(labels, gan.condition_size)


def average_name(weight: tf.Variable) -> str:
  """The name, in a module, of the moving average of a generator's weight."""
  return weight.op.name + _AVERAGE


def averaged_weights(gan: modular_gan.ModularGAN) -> AbstractContextManager[Any]:
  """Scope in which the generator's weights are their moving averages, if there are."""
  if not gan.g_use_ema:
    return tf.variable_scope(tf.get_variable_scope())

  def averaged(getter, name, *args, **kwargs):
    # Only trainable variables have an average; None means trainable.
    if kwargs.get("trainable") is not False:
      name += _AVERAGE
    return getter(name, *args, **kwargs)

  return tf.variable_scope(tf.get_variable_scope(), custom_getter=averaged)
