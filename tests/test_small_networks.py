"""The small networks: sizes, shapes, patches, and that they learn."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers import small_networks
from compare_gan_logits.errors import UserError


SIZES = [(32, 1), (32, 3), (64, 3)]


@pytest.mark.parametrize(("size", "colors"), SIZES)
def test_parameters_within_a_factor_of_two(size, colors):
  """And as many as the published layouts have, counted by hand."""
  counts = {
    name: sum(
      int(np.prod(shape))
      for shape in networks.shapes(
        lambda images, build=kind.build: build(images, num_classes=10),
        [size, size, colors],
      ).values()
    )
    for name, kind in small_networks.KINDS.items()
  }
  assert max(counts.values()) < 2 * min(counts.values()), counts
  d, patch = 64, (size // 8) ** 2 * colors
  head = d * 10 + 10
  block = (3 * d * d + 3 * d) + (d * d + d) + (8 * d * d + 5 * d) + 4 * d
  assert counts["vit"] == patch * d + d + d + 65 * d + 3 * block + 2 * d + head
  tokens = 64 * 32 + 32 + 32 * 64 + 64
  block = tokens + (8 * d * d + 5 * d) + 4 * d
  assert counts["mixer"] == patch * d + d + 4 * block + 2 * d + head


@pytest.mark.parametrize("name", list(small_networks.KINDS))
def test_shapes(name):
  with tf.Graph().as_default():
    outputs = small_networks.kind(name).build(tf.zeros([2, 64, 64, 3]), num_classes=4)
    assert outputs["logits"].shape.as_list() == [2, 4]
    assert outputs["features"].shape.rank == 2
    assert outputs["spatial"].shape.as_list()[:3] == [2, 8, 8]


@pytest.mark.parametrize(
  ("name", "smaller"),
  [
    ("cnn", {}),
    ("resnet", {"widths": (8, 16)}),
    ("vit", {"grid": 4, "blocks": 2}),
    pytest.param("mixer", {"grid": 4}, marks=pytest.mark.long),
  ],
)
def test_learns_which_corner_is_bright(name, smaller):
  kind = small_networks.kind(name)
  random = np.random.default_rng(0)
  labels = np.arange(40) % 4
  images = random.uniform(0.0, 0.5, [40, 32, 32, 1]).astype(np.float32)
  for image, label in zip(images, labels):
    top, left = 16 * (label // 2), 16 * (label % 2)
    image[top : top + 16, left : left + 16] += 0.4
  with tf.Graph().as_default(), tf.Session() as session:
    tf.set_random_seed(0)
    logits = kind.build(tf.constant(images), num_classes=4, **smaller)["logits"]
    loss = tf.reduce_mean(
      tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    update = tf.train.AdamOptimizer(kind.learning_rate).minimize(loss)
    session.run(tf.global_variables_initializer())
    for _ in range(60):
      session.run(update)
    predicted = session.run(logits).argmax(axis=1)
  assert np.mean(predicted == labels) > 0.9


def test_a_patch_embedding_against_numpy():
  images = np.random.default_rng(0).normal(size=[2, 12, 12, 3]).astype(np.float32)
  with tf.Graph().as_default(), tf.Session() as session:
    tokens = small_networks.patch_embedding(tf.constant(images), 5, 3)
    session.run(tf.global_variables_initializer())
    found, *weights = session.run([tokens, *tf.global_variables()])
  kernel, bias = weights
  patches = images.reshape(2, 3, 4, 3, 4, 3).transpose(0, 1, 3, 2, 4, 5)
  expected = patches.reshape(2, 9, -1) @ kernel.reshape(-1, 5) + bias
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_attention_against_numpy():
  """One block's attention, with its parameters, head by head."""
  x = np.random.default_rng(1).normal(size=[2, 5, 8]).astype(np.float32)
  with tf.Graph().as_default(), tf.Session() as session:
    mixed = small_networks._attention(tf.constant(x), heads=2)
    session.run(tf.global_variables_initializer())
    found = session.run(mixed)
    w = {v.op.name: session.run(v) for v in tf.global_variables()}
  parts = x @ w["attention/qkv/kernel"]
  heads = []
  for h in range(2):
    query, key, value = (parts[..., 8 * i + 4 * h :][..., :4] for i in range(3))
    scores = np.exp(query @ key.transpose(0, 2, 1) / 2.0)
    heads.append(scores / scores.sum(-1, keepdims=True) @ value)
  expected = np.concatenate(heads, axis=-1) @ w["attention/out/kernel"]
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_refusals():
  with pytest.raises(UserError, match="did you mean 'mixer'"):
    small_networks.kind("mixr")
  with (
    tf.Graph().as_default(),
    pytest.raises(UserError, match="do not divide into 8 x 8"),
  ):
    small_networks.vit(tf.zeros([1, 30, 30, 1]), num_classes=2)
