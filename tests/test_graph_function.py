"""GraphFunction against numpy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.classifiers import foreign
from compare_gan_logits.graph_function import GraphFunction


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_any_number_of_examples_in_any_number_of_batches(n):
  function = GraphFunction(
    lambda x, i: x * tf.cast(i, tf.float32)[:, None],
    [tf.TensorSpec([3]), tf.TensorSpec([], tf.int64)],
    batch_size=4,
  )
  x, i = RNG.normal(size=[n, 3]).astype(np.float32), np.arange(n)
  found = function(x, i)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, x * i[:, None], rtol=1e-6)


def test_it_is_built_once_and_its_variables_are_initialised():
  built = []

  def build(x):
    built.append(x)
    local = tf.get_local_variable("b", initializer=2.0, use_resource=True)
    return x + tf.get_variable("a", initializer=1.0, use_resource=True) + local

  function = GraphFunction(build, [tf.TensorSpec([])])
  assert not built
  np.testing.assert_allclose(function(np.zeros(2)), 3)
  np.testing.assert_allclose(function(np.ones(3)), 4)
  assert len(built) == 1


def test_a_call_may_have_a_batch_size_of_its_own():
  sizes = lambda x: tf.fill([tf.shape(x)[0]], tf.shape(x)[0])  # noqa: E731
  function = GraphFunction(sizes, [tf.TensorSpec([])], batch_size=4)
  x = np.zeros(5)
  assert function(x).tolist() == [4, 4, 4, 4, 1]
  assert function(x, batch_size=3).tolist() == [3, 3, 3, 2, 2]
  assert function(x).tolist() == [4, 4, 4, 4, 1]


def test_arrays_of_unequal_length_are_refused():
  function = GraphFunction(tf.add, [tf.TensorSpec([])] * 2)
  with pytest.raises(ValueError, match="of one length"):
    function(np.zeros(2), np.zeros(3))
  with pytest.raises(ValueError, match="2 arrays"):
    function(np.zeros(2))


@pytest.mark.parametrize("n", [1, 4, 6])
def test_a_function_of_a_fixed_number_of_images_takes_any(n):
  sizes = []

  def function(x, y):
    sizes.append((len(x), len(y)))
    return 10 * x + y

  x, y = RNG.normal(size=[2, n, 3])
  found = foreign.in_batches(function, 4)(x, y)
  np.testing.assert_array_equal(found, 10 * x + y)
  assert set(sizes) == {(4, 4)} and len(sizes) == -(-n // 4)
  assert foreign.in_batches(function, None) is function
