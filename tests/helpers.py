"""What several tests need."""

import numpy as np
import tensorflow.compat.v1 as tf


def session():
  """A session without graph rewriting, which takes longer than a few small steps."""
  config = tf.ConfigProto()
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  return tf.Session(config=config)


def softplus(x):
  """log(1 + exp(x)) in float64: in float32 exp overflows from 89 on."""
  return np.logaddexp(0, np.asarray(x, np.float64))


def weights(checkpoint):
  """{name: value} of a checkpoint."""
  reader = tf.train.load_checkpoint(str(checkpoint))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same_training(expected, found, rate, steps):
  """Two dicts of variables come from the same steps, but for rounding.

  Sums over another number of parts round otherwise. Adam divides a gradient by its
  size, so that where one is zero but for rounding (a bias in front of a batch norm) its
  whole step is rounding. So gradients are compared, as Adam's moments, in units of the
  network's largest, and the weights to a hundredth of a step where the gradient is not
  negligible; elsewhere to what Adam can move at most.

  Args:
    expected, found: {name: value}.
    rate: the larger learning rate.
    steps: updates of a weight since the two were equal.
  """
  assert expected.keys() == found.keys()
  largest = {}
  for name, value in expected.items():
    if name.endswith(("d_opt", "g_opt")):
      network = name.split("/")[0]
      largest[network] = max(largest.get(network, 0), np.abs(value).max())
  assert len(largest) == 2
  for name, value in expected.items():
    network, kind = name.split("/")[0], name.rsplit("/", 1)[-1]
    difference = np.abs(found[name].astype(np.float64) - value)
    weight = name[: -len("/" + kind)] if kind == "ExponentialMovingAverage" else name
    slot = f"{weight}/{'d' if network == 'discriminator' else 'g'}_opt"
    if slot in expected:
      strong = np.abs(expected[slot]) > 1e-3 * largest[network]
      assert np.all(difference <= np.where(strong, 0.01, 2.0) * rate * steps), name
    elif kind in ("d_opt", "g_opt"):
      assert np.all(difference <= 1e-3 * largest[network]), name
    elif kind in ("d_opt_1", "g_opt_1"):
      assert np.all(difference <= 1e-3 * largest[network] ** 2), name
    else:
      assert np.all(difference <= 1e-3 * np.abs(value).max()), name
