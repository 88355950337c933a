"""Attacks against CleverHans on the same model, and against a closed form."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import attacks
from compare_gan_logits.errors import UserError


RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=[6, 8, 8, 1]).astype(np.float32)
LABELS = RNG.integers(0, 5, 6).astype(np.int32)
W1 = RNG.normal(0, 0.3, [64, 16]).astype(np.float32)
W2 = RNG.normal(0, 1, [16, 5]).astype(np.float32)


def _network(images):
  return tf.nn.relu(tf.reshape(images, [-1, 64]) @ W1) @ W2


def _evaluate(attack, logits_fn, *arguments, **options):
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(
      attack(logits_fn, tf.constant(IMAGES), tf.constant(LABELS), *arguments, **options)
    )


def test_fgsm_equals_cleverhans():
  gradient_attack = pytest.importorskip(
    "cleverhans.tf2.attacks.fast_gradient_method"
  ).fast_gradient_method
  theirs = gradient_attack(
    _network,
    tf.constant(IMAGES),
    0.1,
    np.inf,
    clip_min=0.0,
    clip_max=1.0,
    y=tf.constant(LABELS.astype(np.int64)),
  )
  np.testing.assert_allclose(_evaluate(attacks.fgsm, _network, 0.1), theirs, atol=1e-6)


@pytest.mark.parametrize(
  "norm, order, epsilon, step", [("linf", np.inf, 0.1, 0.03), ("l2", 2, 0.2, 0.07)]
)
def test_pgd_equals_cleverhans(norm, order, epsilon, step):
  projected = pytest.importorskip(
    "cleverhans.tf2.attacks.projected_gradient_descent"
  ).projected_gradient_descent
  # In l2 the library's and our order of clipping and projecting differ: stay inside.
  images = IMAGES if norm == "linf" else 0.25 + 0.5 * IMAGES
  theirs = projected(
    _network,
    tf.constant(images),
    epsilon,
    step,
    7,
    order,
    clip_min=0.0,
    clip_max=1.0,
    rand_init=False,
    y=tf.constant(LABELS.astype(np.int64)),
    sanity_checks=False,
  )
  with tf.Graph().as_default(), tf.Session() as session:
    ours = session.run(
      attacks.pgd(
        _network, tf.constant(images), tf.constant(LABELS), epsilon, step, 7, norm=norm
      )
    )
  np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_pgd_on_a_linear_model_reaches_the_corner():
  """With two classes the worst point of the box is known: epsilon against sign(w)."""
  direction = W1 @ (W2[:, 1] - W2[:, 0])
  sign = np.where(LABELS % 2 == 0, 1.0, -1.0)[:, None] * np.sign(direction)
  expected = np.clip(IMAGES.reshape(6, 64) + 0.1 * sign, 0, 1).reshape(IMAGES.shape)

  def two_classes(images):
    return tf.reshape(images, [-1, 64]) @ (W1 @ W2[:, :2])

  with tf.Graph().as_default(), tf.Session() as session:
    attacked = session.run(
      attacks.pgd(
        two_classes, tf.constant(IMAGES), tf.constant(LABELS % 2), 0.1, 0.03, 10, seed=3
      )
    )
  np.testing.assert_allclose(attacked, expected, atol=1e-6)


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.05), ("l2", 0.5)])
def test_attacks_stay_in_the_ball_and_raise_the_loss(norm, epsilon):
  attacked = _evaluate(
    attacks.pgd, _network, epsilon, epsilon / 2, 5, norm=norm, seed=1
  )
  assert attacked.min() >= 0 and attacked.max() <= 1
  change = np.reshape(attacked - IMAGES, [6, -1])
  size = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
  assert (size <= epsilon + 1e-6).all()

  def loss(images):
    logits = np.maximum(images.reshape(6, 64) @ W1, 0) @ W2
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(6), LABELS]

  assert (loss(attacked) > loss(IMAGES)).all()


def test_random_starts_depend_on_the_seed_only():
  first = _evaluate(attacks.pgd, _network, 0.1, 0.0, 1, seed=1)
  for seed in (1, np.int64(1)):
    np.testing.assert_array_equal(
      first, _evaluate(attacks.pgd, _network, 0.1, 0.0, 1, seed=seed)
    )
  assert np.abs(first - _evaluate(attacks.pgd, _network, 0.1, 0.0, 1, seed=2)).max() > 0


def test_another_norm_is_refused():
  with pytest.raises(UserError, match="linf"):
    _evaluate(attacks.pgd, _network, 0.1, 0.1, 1, norm="l1")
