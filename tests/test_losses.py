"""Losses and penalties against their formulas in numpy."""

import gin
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.gans import loss_lib
from compare_gan_logits.gans import penalty_lib


REAL = np.array([[2.0], [0.5], [-1.0]], np.float32)
FAKE = np.array([[-2.0], [0.3], [1.5]], np.float32)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


EXPECTED = {  # d_loss, d_loss_real, d_loss_fake, g_loss
  "hinge": (
    np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean(),
    np.maximum(0, 1 - REAL).mean(),
    np.maximum(0, 1 + FAKE).mean(),
    -FAKE.mean(),
  ),
  "wasserstein": (FAKE.mean() - REAL.mean(), -REAL.mean(), FAKE.mean(), -FAKE.mean()),
  "non_saturating": (
    helpers.softplus(-REAL).mean() + helpers.softplus(FAKE).mean(),
    helpers.softplus(-REAL).mean(),
    helpers.softplus(FAKE).mean(),
    helpers.softplus(-FAKE).mean(),
  ),
  "least_squares": (
    0.5 * (((sigmoid(REAL) - 1) ** 2).mean() + (sigmoid(FAKE) ** 2).mean()),
    ((sigmoid(REAL) - 1) ** 2).mean(),
    (sigmoid(FAKE) ** 2).mean(),
    0.5 * ((sigmoid(FAKE) - 1) ** 2).mean(),
  ),
}


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_loss_by_gin(name):
  gin.parse_config(f"loss.fn = @{name}")
  losses = loss_lib.get_losses(
    d_real=tf.sigmoid(REAL),
    d_fake=tf.sigmoid(FAKE),
    d_real_logits=tf.constant(REAL),
    d_fake_logits=tf.constant(FAKE),
  )
  with tf.Session() as session:
    np.testing.assert_allclose(session.run(losses), EXPECTED[name], rtol=1e-5)


def test_the_paper_s_l_d_is_the_hinge_loss_up_to_a_constant():
  """L_D = E[max(-1, D(fake)) - min(1, D(real))] of section 3."""
  paper = (np.maximum(-1, FAKE) - np.minimum(1, REAL)).mean()
  assert EXPECTED["hinge"][0] == pytest.approx(paper + 2, rel=1e-5)


class LinearDiscriminator:
  """The score of an image is its product with weights."""

  trainable_variables = ()

  def __init__(self, weights):
    self._weights = weights

  def __call__(self, x, y, is_training, reuse):
    assert y == "condition" and is_training and reuse
    score = tf.reduce_sum(x * self._weights, axis=[1, 2, 3])[:, tf.newaxis]
    return tf.sigmoid(score), score, None


@pytest.mark.parametrize("name", ["wgangp_penalty", "dragan_penalty"])
def test_gradient_penalty_of_a_linear_discriminator(name):
  """Its gradient is the same everywhere, so the penalty is (|w| - 1)^2."""
  gin.parse_config(f"penalty.fn = @{name}")
  rng = np.random.default_rng(0)
  weights = rng.normal(size=[4, 4, 3]).astype(np.float32)
  x, x_fake = (tf.constant(rng.uniform(size=[5, 4, 4, 3]), tf.float32) for _ in "ab")
  penalty = penalty_lib.get_penalty_loss(
    discriminator=LinearDiscriminator(weights),
    x=x,
    x_fake=x_fake,
    y="condition",
    is_training=True,
    architecture="linear",
  )
  with tf.Session() as session:
    assert session.run(penalty) == pytest.approx(
      (np.sqrt((weights**2).sum()) - 1) ** 2, rel=1e-4
    )


def test_l2_penalty_is_of_kernels_and_none_is_the_default():
  discriminator = LinearDiscriminator(None)
  discriminator.trainable_variables = [
    tf.get_variable(f"{name}/{kind}", initializer=value, use_resource=True)
    for name, kind, value in (
      ("a", "kernel", [3.0, 4.0]),
      ("b", "kernel", [[1.0]]),
      ("b", "bias", [100.0]),
    )
  ]
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    penalty = penalty_lib.l2_penalty(discriminator=discriminator)
    assert session.run(penalty) == pytest.approx(6.5)
    assert session.run(penalty_lib.get_penalty_loss(discriminator=discriminator)) == 0


def test_the_default_loss_is_non_saturating():
  losses = loss_lib.get_losses(
    d_real_logits=tf.constant(REAL), d_fake_logits=tf.constant(FAKE)
  )
  with tf.Session() as session:
    np.testing.assert_allclose(
      session.run(losses), EXPECTED["non_saturating"], rtol=1e-5
    )


@pytest.mark.parametrize(
  "shape, part", [([3], "batch, 1"), ([2, 1], "differ in shape")]
)
def test_scores_of_a_wrong_shape_are_refused(shape, part):
  with pytest.raises(ValueError, match=part):
    loss_lib.hinge(d_real_logits=tf.zeros(shape), d_fake_logits=tf.constant(FAKE))
