"""Adversarial images, as graph functions over tf.gradients.

Epsilon is in units of the image range [0, 1]. The paper's 0.1 (section 5.4) names no
range; read so, it lets every pixel and channel move by up to 25.5 of 255 grey levels.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError


def fgsm(
  logits_fn: Callable[[Any], Any], images: Any, labels: Any, epsilon: Any
) -> Any:
  """Fast gradient sign method (Goodfellow et al., 2015), untargeted.

  Args:
    logits_fn: graph function of images -> logits [b, n].
    images: [b, h, w, c] in [0, 1].
    labels: int [b]; their cross-entropy is driven up.
    epsilon: largest change of a value, in units of the image range.

  Returns:
    Attacked images, same shape, in [0, 1], within epsilon of `images`.
  """
  step = epsilon * tf.sign(_loss_gradient(logits_fn, images, labels))
  return tf.stop_gradient(tf.clip_by_value(images + step, 0.0, 1.0))


def pgd(
  logits_fn: Callable[[Any], Any],
  images: Any,
  labels: Any,
  epsilon: Any,
  step_size: Any,
  steps: int,
  norm: str = "linf",
  seed: Any = None,
) -> Any:
  """Projected gradient descent (Madry et al., 2018), untargeted.

  Args:
    logits_fn: graph function of images -> logits [b, n].
    images: [b, h, w, c] in [0, 1].
    labels: int [b]; their cross-entropy is driven up.
    epsilon: radius of the ball, in units of the image range; per value ("linf")
      or over the whole image ("l2").
    step_size: length of a step, in the same units and norm.
    steps: gradient steps.
    norm: "linf" or "l2".
    seed: int, or int tensor [2], of a start drawn uniformly from the ball (a pure
      function of it); None starts at the image.

  Returns:
    Attacked images, same shape, in [0, 1], within epsilon of `images`.

  Raises:
    UserError: another norm.
  """
  if norm not in ("linf", "l2"):
    raise UserError(f"an attack's norm is 'linf' or 'l2', not {norm!r}")
  images = tf.convert_to_tensor(images)
  attacked = images
  if seed is not None:
    seed = tf.stack([seed, 0]) if isinstance(seed, numbers.Integral) else seed
    attacked = _inside(images, _random_step(images, epsilon, norm, seed), epsilon, norm)

  def step(i, attacked):
    gradient = _loss_gradient(logits_fn, attacked, labels)
    move = step_size * (tf.sign(gradient) if norm == "linf" else _unit(gradient))
    return i + 1, _inside(images, attacked + move - images, epsilon, norm)

  _, attacked = tf.while_loop(
    lambda i, _: i < steps,
    step,
    [tf.constant(0), attacked],
    back_prop=False,
    shape_invariants=[tf.TensorShape([]), images.shape],
  )
  return tf.stop_gradient(attacked)


def _loss_gradient(logits_fn, images, labels):
  """Gradient of every image's own cross-entropy with respect to that image."""
  images = tf.convert_to_tensor(images)
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
    logits=logits_fn(images), labels=labels
  )
  return tf.gradients(tf.reduce_sum(losses), images)[0]


def _inside(images, delta, epsilon, norm):
  """The point of the ball, and of the valid images, that images + delta goes to."""
  if norm == "linf":
    delta = tf.clip_by_value(delta, -epsilon, epsilon)
  else:
    delta *= tf.minimum(1.0, epsilon / tf.maximum(_length(delta), 1e-12))
  return tf.clip_by_value(images + delta, 0.0, 1.0)


def _random_step(images, epsilon, norm, seed):
  """A point drawn uniformly from the ball, for every image."""
  if norm == "linf":
    return tf.random.stateless_uniform(tf.shape(images), seed, -epsilon, epsilon)
  # Directions are uniform on the sphere; in d dimensions the radius of a uniform
  # point is distributed as u^(1/d).
  size = tf.cast(tf.reduce_prod(tf.shape(images)[1:]), tf.float32)
  radius = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed)
  direction = _unit(tf.random.stateless_normal(tf.shape(images), seed + [0, 2**30]))
  return epsilon * radius ** (1 / size) * direction


def _length(x):
  return tf.sqrt(tf.reduce_sum(tf.square(x), axis=[1, 2, 3], keepdims=True))


def _unit(x):
  return x / tf.maximum(_length(x), 1e-12)
