"""Layers against numpy and against the plain formulation."""

import json
import os

import gin
import numpy as np
import plain_ops
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import attention
from compare_gan_logits.architectures import logit_conditioning
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.architectures import scaled_convolutions
from compare_gan_logits.errors import UserError


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


def run(*tensors):
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    return session.run(tensors)


def random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("height", [8, 12])  # Small and large maps differ in method.
@pytest.mark.parametrize("scaling", ["up", "down"])
def test_scaled_convolution_and_its_gradients_are_the_plain_ones(scaling, height, size):
  images, kernel = (
    tf.constant(random(2, height, 6, 5)),
    tf.constant(random(size, size, 5, 7, seed=1)),
  )
  fast, plain = (
    getattr(module, f"conv_{scaling}")(images, kernel)
    for module in (scaled_convolutions, plain_ops)
  )
  upstream = tf.constant(random(*plain.shape.as_list(), seed=2))
  results = [
    [output, *tf.gradients(output, [images, kernel], upstream)]
    for output in (fast, plain)
  ]
  fast_values, plain_values = run(*results)
  for value, expected in zip(fast_values, plain_values):
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("height", [8, 24])
@pytest.mark.parametrize("scale", ["none", "up", "down"])
def test_bfloat16_rounds_what_convolutions_take_and_return(scale, height, size):
  tf.set_random_seed(0)
  x = tf.constant(random(2, height, 6, 16))
  outputs = []
  for dtype in ("float32", "bfloat16"):
    gin.bind_parameter("compute.dtype", dtype)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
      outputs.append(arch_ops.scaled_conv2d(x, 8, (size, size), scale))
  kernel, bias = tf.trainable_variables()
  gradients = [tf.gradients(tf.reduce_sum(tf.square(y)), [x, kernel]) for y in outputs]
  assert [y.dtype for y in outputs] == [tf.float32, tf.bfloat16]
  assert kernel.dtype.base_dtype == bias.dtype.base_dtype == tf.float32
  outputs = [tf.cast(y, tf.float32) for y in outputs]
  gin.bind_parameter("compute.dtype", "float32")
  exact, rounded = run([outputs[0], *gradients[0]], [outputs[1], *gradients[1]])
  for value, expected in zip(rounded, exact):
    # An operand has 8 bits, and sums are long: their errors mostly cancel.
    error = np.abs(value - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 2**-4


def test_an_unknown_compute_type_is_refused():
  gin.bind_parameter("compute.dtype", "float8")
  with pytest.raises(UserError, match="bfloat16"):
    arch_ops.compute_dtype()


@pytest.mark.parametrize("singular_value", ["left", "right", "auto"])
@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (5, 40)])
def test_spectral_norm_converges_to_the_largest_singular_value(singular_value, shape):
  weights = random(*shape)
  gin.bind_parameter("spectral_norm.singular_value", singular_value)
  kernel = tf.get_variable("kernel", initializer=weights, use_resource=True)
  with network_pass.network_pass() as one_pass:
    normalized = arch_ops.spectral_norm(kernel)
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(300):
      session.run(one_pass.updates)
    value = session.run(normalized)
  largest = np.linalg.svd(weights.reshape(-1, shape[-1]), compute_uv=False)[0]
  np.testing.assert_allclose(value, weights / largest, rtol=1e-4)


def test_a_kernel_takes_one_iteration_per_pass_and_none_outside_of_training():
  x = tf.constant(random(2, 3))
  with (
    network_pass.network_pass() as one_pass,
    tf.variable_scope("", reuse=tf.AUTO_REUSE),
  ):
    for _ in range(3):
      arch_ops.linear(x, 4, "layer", use_sn=True)
    assert len(one_pass.updates) == 1
    with network_pass.phase(is_training=False):
      arch_ops.linear(x, 4, "layer", use_sn=True)
  assert len(one_pass.updates) == 1


def test_kernels_of_one_name_share_a_vector_and_nothing_else():
  """Two kernels of one scope whose names end alike, in a pass and at inference."""
  weights = {name: random(4, 4, seed=i) for i, name in enumerate("qk")}
  kernels = [
    tf.get_variable(f"{name}/kernel", initializer=value, use_resource=True)
    for name, value in weights.items()
  ]
  with (
    network_pass.network_pass() as one_pass,
    tf.variable_scope("", reuse=tf.AUTO_REUSE),
  ):
    first, second = map(arch_ops.spectral_norm, kernels)
    assert arch_ops.spectral_norm(tf.convert_to_tensor(kernels[0])) is first
    assert arch_ops.spectral_norm(kernels[1]) is second
    with network_pass.phase(is_training=False):
      expected = list(map(arch_ops.spectral_norm, kernels))
  assert len(one_pass.updates) == 1
  (vector,) = [v for v in tf.global_variables() if v.op.name.endswith("u_var")]
  assert vector.op.name == "kernel/u_var"
  found, expected = run([first, second], expected)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert np.ptp(found[1] / weights["k"]) < 1e-5


def standardized(x, epsilon=1e-3):
  axis = tuple(range(x.ndim - 1))
  return (x - x.mean(axis)) / np.sqrt(x.var(axis) + epsilon)


def test_batch_norm_is_zero_mean_and_unit_variance():
  x = 3 + 2 * random(8, 4, 4, 5)
  with network_pass.network_pass():
    (output,) = run(arch_ops.batch_norm(tf.constant(x), is_training=True))
  np.testing.assert_allclose(output, standardized(x), atol=2e-5)


def test_norms_of_bfloat16_compute_in_float32_and_return_bfloat16():
  # With a mean this far from zero, moments in 8 bits would be noise.
  x = 4 * random(64, 8, 8, 2) + 30
  rounded = tf.cast(tf.constant(x), tf.bfloat16)
  with network_pass.network_pass():
    outputs = [arch_ops.batch_norm(rounded, True), arch_ops.layer_norm(rounded, True)]
  assert {y.dtype for y in outputs} == {tf.bfloat16}
  for value, axis in zip(
    run(*(tf.cast(y, tf.float32) for y in outputs)), [(0, 1, 2), (1, 2, 3)]
  ):
    np.testing.assert_allclose(value.mean(axis), 0, atol=2e-3)
    np.testing.assert_allclose(value.std(axis), 1, atol=5e-3)


@pytest.mark.parametrize("center_gamma", [False, True])
def test_conditional_batch_norm_is_linear_in_the_condition(center_gamma):
  x, y = random(8, 4, 4, 5), random(8, 3, seed=1)
  gin.bind_parameter("conditional_batch_norm.center_gamma", center_gamma)
  gin.bind_parameter("weights.initializer", "orthogonal")
  with network_pass.network_pass():
    output = arch_ops.conditional_batch_norm(
      tf.constant(x), y=tf.constant(y), is_training=True, use_sn=False
    )
  kernels = {v.op.name: v for v in tf.trainable_variables()}
  value, gamma, beta = run(
    output,
    kernels["batch_norm/condition/gamma/kernel"],
    kernels["batch_norm/condition/beta/kernel"],
  )
  scale = (y @ gamma + center_gamma)[:, None, None]
  shift = (y @ beta)[:, None, None]
  np.testing.assert_allclose(value, standardized(x) * scale + shift, atol=1e-4)


@pytest.mark.parametrize("use_sn", [False, True])
def test_logit_conditional_batch_norm_starts_as_the_identity_and_can_learn(use_sn):
  x, y = random(8, 4, 4, 5), 20 * random(8, 10, seed=1)
  with network_pass.network_pass():
    output = logit_conditioning.logit_conditional_batch_norm(
      tf.constant(x), y=tf.constant(y), is_training=True, use_sn=use_sn
    )
  target = tf.reduce_sum(output * random(8, 4, 4, 5, seed=2))
  last_layers = [v for v in tf.trainable_variables() if "output/kernel" in v.op.name]
  value, *gradients = run(output, *tf.gradients(target, last_layers))
  np.testing.assert_allclose(value, standardized(x), atol=2e-5)
  assert len(gradients) == 2
  assert all(np.abs(g).max() > 1e-3 and np.isfinite(g).all() for g in gradients)


def test_logit_conditional_batch_norm_has_two_layer_mlps():
  gin.bind_parameter("logit_conditional_batch_norm.num_hidden", 7)
  logit_conditioning.logit_conditional_batch_norm(
    tf.constant(random(2, 4, 4, 5)),
    y=tf.constant(random(2, 10)),
    is_training=False,
    use_sn=False,
  )
  shapes = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
  for part in ("gamma", "beta"):
    assert shapes[f"batch_norm/condition/{part}/hidden/kernel"] == [10, 7]
    assert shapes[f"batch_norm/condition/{part}/output/kernel"] == [7, 5]


def test_self_modulated_batch_norm_depends_on_the_noise():
  x = np.repeat(random(4, 4, 4, 5), 2, axis=0)
  z = random(8, 6)
  gin.bind_parameter("weights.initializer", "orthogonal")
  with network_pass.network_pass():
    (output,) = run(
      arch_ops.self_modulated_batch_norm(
        tf.constant(x), z=tf.constant(z), is_training=True, use_sn=False
      )
    )
  assert np.abs(output[0] - output[1]).max() > 0.01


def test_layer_norm_is_per_image():
  x = random(3, 4, 4, 5) * np.array([1, 10, 100]).reshape(3, 1, 1, 1)
  (output,) = run(arch_ops.layer_norm(tf.constant(x, tf.float32), True))
  np.testing.assert_allclose(output.reshape(3, -1).mean(1), 0, atol=1e-5)
  np.testing.assert_allclose(output.reshape(3, -1).std(1), 1, atol=1e-4)


def test_standing_statistics_are_the_mean_of_the_batches_moments():
  gin.bind_parameter("standardize_batch.use_moving_averages", False)
  batches = [1 + random(16, 5), 3 * random(16, 5, seed=1)]
  x = tf.placeholder(tf.float32, [16, 5])
  with network_pass.network_pass(accumulate=True):
    accumulating = arch_ops.batch_norm(x, is_training=False)
  with tf.variable_scope("", reuse=True):
    plain = arch_ops.batch_norm(x, is_training=False)
  switch = [v for v in tf.global_variables() if "update_accus" in v.op.name][0]
  with tf.Session() as session:
    session.run([tf.global_variables_initializer()])
    session.run(switch.assign(1))
    for batch in batches:
      session.run(accumulating, {x: batch})
    session.run(switch.assign(0))
    value = session.run(plain, {x: batches[0]})
    session.run(accumulating, {x: 100 * batches[1]})  # the switch is off
    again = session.run(plain, {x: batches[0]})
  mean = np.mean([b.mean(0) for b in batches], 0)
  variance = np.mean([b.var(0) for b in batches], 0)
  np.testing.assert_allclose(
    value, (batches[0] - mean) / np.sqrt(variance + 1e-3), rtol=1e-4, atol=1e-5
  )
  np.testing.assert_array_equal(value, again)


def test_attention_starts_as_the_identity_and_matches_numpy():
  x = random(2, 4, 4, 16)
  output = arch_ops.non_local_block(tf.constant(x), "attention", use_sn=False)
  variables = {v.op.name.split("/", 1)[1]: v for v in tf.trainable_variables()}
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(session.run(output), x)
    weights = {
      name: random(*v.shape.as_list(), seed=3)
      for name, v in variables.items()
      if name != "sigma"
    }
    session.run([variables[name].assign(value) for name, value in weights.items()])
    session.run(variables["sigma"].assign(0.5))
    value = session.run(output)

  def pooled(t):
    return t.reshape(2, 2, 2, 2, 2, -1).max(axis=(2, 4)).reshape(2, 4, -1)

  theta = (x @ weights["conv2d_theta/kernel"][0, 0]).reshape(2, 16, -1)
  phi = pooled(x @ weights["conv2d_phi/kernel"][0, 0])
  g = pooled(x @ weights["conv2d_g/kernel"][0, 0])
  scores = theta @ phi.transpose(0, 2, 1)
  scores = np.exp(scores - scores.max(-1, keepdims=True))
  attended = (scores / scores.sum(-1, keepdims=True)) @ g
  expected = x + 0.5 * (attended @ weights["conv2d_attn_g/kernel"][0, 0]).reshape(
    x.shape
  )
  np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_gradients_of_attention_are_the_plain_formula_s_the_second_ones_too():
  inputs = [
    tf.constant(random(2, *shape, seed=seed))
    for seed, shape in enumerate([(24, 4), (6, 4), (6, 8)])
  ]
  upstream = tf.constant(random(2, 24, 8, seed=3))
  results = []
  for attend in (attention.attend_in_training, attention.attend):
    first = tf.gradients(attend(*inputs), inputs, upstream)
    norm = tf.add_n([tf.reduce_sum(tf.square(g)) for g in first])
    results.append([*first, *tf.gradients(norm, inputs)])
  for value, expected in zip(*run(*results)):
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_attention_in_bfloat16():
  inputs = [
    tf.constant(random(2, *shape, seed=seed))
    for seed, shape in enumerate([(24, 4), (6, 4), (6, 8)])
  ]
  upstream = tf.constant(random(2, 24, 8, seed=3))
  exact = attention.attend(*inputs)
  rounded = attention.attend_in_training(*(tf.cast(x, tf.bfloat16) for x in inputs))
  assert rounded.dtype == tf.bfloat16
  rounded = tf.cast(rounded, tf.float32)
  for value, expected in zip(
    *run(
      [rounded, *tf.gradients(rounded, inputs, upstream)],
      [exact, *tf.gradients(exact, inputs, upstream)],
    )
  ):
    assert 1e-5 < np.abs(value - expected).max() / np.abs(expected).max() < 2**-5


def test_unknown_initializer_is_refused():
  with pytest.raises(UserError, match="orthogonal"):
    arch_ops.weight_initializer("orthogonl")


# compare_gan's face ------------------------------------------------------------


def shapes():
  return {v.op.name: v.shape.as_list() for v in tf.global_variables()}


def test_linear_and_convolutional_layers_have_the_reference_s_variables():
  x = tf.constant(random(2, 8, 6, 5))
  assert arch_ops.linear(x[:, 0, 0], 7).shape == [2, 7]
  assert arch_ops.conv2d(x, 7, 5, 3, 2, 1, name="c", use_sn=True).shape == [2, 4, 6, 7]
  assert arch_ops.conv1x1(x, 7, name="one", use_bias=False).shape == [2, 8, 6, 7]
  outputs = arch_ops.deconv2d(x, [2, 16, 12, 3], 4, 4, 2, 2, use_sn=True)
  assert outputs.shape == [2, 16, 12, 3]
  assert shapes() == {
    "linear/kernel": [5, 7],
    "linear/bias": [7],
    "c/kernel": [5, 3, 5, 7],
    "c/kernel/u_var": [75, 1],
    "c/bias": [7],
    "one/kernel": [1, 1, 5, 7],
    "deconv2d/kernel": [4, 4, 3, 5],
    "deconv2d/kernel/u_var": [48, 1],
    "deconv2d/bias": [3],
  }


def test_a_transposed_convolution_spreads_every_pixel_by_the_kernel():
  x, kernel = random(2, 3, 5, 4), random(4, 4, 6, 4, seed=1)
  outputs = arch_ops.deconv2d(tf.constant(x), [None, 6, 10, 6], 4, 4, 2, 2)
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    session.run(tf.trainable_variables()[0].assign(kernel))
    value = session.run(outputs)
  spread = np.zeros([2, 8, 12, 6])
  for i, j in np.ndindex(4, 4):
    spread[:, i : i + 6 : 2, j : j + 10 : 2] += x @ kernel[i, j].T
  np.testing.assert_allclose(value, spread[:, 1:-1, 1:-1], rtol=1e-4, atol=1e-5)


def test_bias_start_and_lrelu():
  outputs = arch_ops.linear(tf.zeros([1, 3]), 2, bias_start=0.7)
  leaky = arch_ops.lrelu(tf.constant([-2.0, 0.0, 3.0]), leak=0.1)
  value, leaked = run(outputs, leaky)
  np.testing.assert_allclose(value, [[0.7, 0.7]])
  np.testing.assert_allclose(leaked, [-0.2, 0.0, 3.0])


def test_initialisers_are_those_of_the_recording():
  with open(os.path.join(os.path.dirname(__file__), "data", "golden.json")) as file:
    recorded = json.load(file)["initialisation"]
  gin.parse_config(recorded["gin"])
  x, z = tf.zeros([2, 8, 8, 16]), tf.zeros([2, 200])
  arch_ops.conv2d(x, 64, 3, 3, 1, 1, name="c")
  arch_ops.linear(z, 64, "l")
  arch_ops.deconv2d(x, [2, 16, 16, 64], 3, 3, 2, 2, name="d")
  arch_ops.self_modulated_batch_norm(x, z=z, is_training=True, use_sn=False, name="sbn")
  tf.get_variable("direct", [100, 100], initializer=arch_ops.weight_initializer())
  variables = {v.op.name: v for v in tf.global_variables()}
  assert sorted(variables) == sorted(recorded["names"])
  values = dict(zip(variables, run(*variables.values())))
  for name, deviation in recorded["std of kernels"].items():
    assert values[name].std() == pytest.approx(deviation, rel=0.1), name
  np.testing.assert_array_equal(values["sbn/sbn/gamma/bias"], 1)
  np.testing.assert_array_equal(values["sbn/sbn/beta/bias"], 0)


def test_outside_of_a_pass_spectral_norm_moves_its_vector_with_every_run():
  x = tf.constant(random(2, 3))
  outputs = arch_ops.linear(x, 4, "layer", use_sn=True)
  with tf.variable_scope("", reuse=True), network_pass.phase(is_training=False):
    fixed = arch_ops.linear(x, 4, "layer", use_sn=True)
  kernel, vector, _ = tf.global_variables()
  assert vector.op.name == "layer/kernel/u_var" and not vector.trainable
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    before, weights = session.run([vector, kernel])
    np.testing.assert_array_equal(session.run([fixed, fixed])[0], session.run(fixed))
    np.testing.assert_array_equal(session.run(vector), before)
    session.run(outputs)
    after = session.run(vector)
  v = weights.T @ before
  expected = weights @ (v / np.linalg.norm(v))
  np.testing.assert_allclose(after, expected / np.linalg.norm(expected), rtol=1e-5)


def test_spectral_norm_s_variable_is_named_after_the_weight():
  weights = random(3, 4)
  with tf.variable_scope("scope"):
    tf.get_variable("v/ExponentialMovingAverage", initializer=weights)
    arch_ops.spectral_norm(tf.global_variables()[0])
    arch_ops.spectral_norm(tf.convert_to_tensor(weights, name="w"))
  assert {"scope/v/u_var", "scope/w/u_var"} < set(shapes())
  with pytest.raises(ValueError, match="two axes"):
    arch_ops.spectral_norm(tf.zeros([3]))


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_standardize_batch_returns_the_normalised_tensor(data_format):
  x = 3 + 2 * random(8, 4, 4, 5)
  inputs = x if data_format == "NHWC" else x.transpose(0, 3, 1, 2)
  outputs = arch_ops.standardize_batch(
    tf.constant(inputs), is_training=True, data_format=data_format
  )
  (value,) = run(outputs)
  value = value if data_format == "NHWC" else value.transpose(0, 2, 3, 1)
  np.testing.assert_allclose(value, standardized(x), atol=2e-5)
  for bad in (tf.zeros([2, 3, 4]), tf.placeholder(tf.float32, [2, None])):
    with pytest.raises(ValueError, match="rank|channels"):
      arch_ops.standardize_batch(bad, is_training=True)


def test_outside_of_a_pass_moving_averages_are_in_update_ops():
  x = 3 + 2 * random(8, 4, 4, 5)
  arch_ops.batch_norm(tf.constant(x), is_training=True, name="bn")
  updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
  assert [u.name for u in updates] == ["bn/AssignMovingAvg", "bn/AssignMovingAvg_1"]
  moving = tf.get_collection(tf.GraphKeys.MOVING_AVERAGE_VARIABLES)
  assert [v.op.name for v in moving] == ["bn/moving_mean", "bn/moving_variance"]
  assert tf.get_collection(tf.GraphKeys.MODEL_VARIABLES) == moving
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    session.run(updates)
    mean, variance = session.run(moving)
  np.testing.assert_allclose(mean, 1e-3 * x.mean((0, 1, 2)), rtol=1e-4)
  np.testing.assert_allclose(variance, 0.999 + 1e-3 * x.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("inputs_rank", [2, 4])
def test_norms_follow_tensors_of_rank_2_as_well(inputs_rank):
  shape, y = (8, *[4] * (inputs_rank - 2), 5), random(8, 3, seed=1)
  x = random(*shape)
  outputs = arch_ops.conditional_batch_norm(
    tf.constant(x), y=tf.constant(y), is_training=True, use_sn=False
  )
  kernels = {v.op.name.split("/")[2]: v for v in tf.trainable_variables()}
  value, gamma, beta = run(outputs, kernels["gamma"], kernels["beta"])
  by_example = (-1, *[1] * (inputs_rank - 2), 5)
  expected = standardized(x) * (y @ gamma).reshape(by_example)
  np.testing.assert_allclose(
    value, expected + (y @ beta).reshape(by_example), atol=1e-4
  )


def test_layer_norm_s_variables_are_trainable_in_training_only():
  for is_training in (True, False):
    with tf.Graph().as_default():
      arch_ops.layer_norm(tf.zeros([2, 4, 4, 3]), is_training, scope="ln")
      assert shapes() == {"ln/gamma": [3], "ln/beta": [3]}
      assert bool(tf.trainable_variables()) == is_training


@pytest.mark.parametrize("layer", ["linear", "conv2d", "deconv2d"])
def test_weight_norm_starts_from_the_batch_and_goes_on_by_the_formula(layer):
  x = tf.constant(random(16, 6) if layer == "linear" else random(16, 4, 4, 6))
  sizes = () if layer == "linear" else (3, 3, 2, 2)
  function = getattr(arch_ops, f"weight_norm_{layer}")
  first = function(x, 5, *sizes, init=True, init_scale=0.5, name="wn")
  with tf.variable_scope("", reuse=True):
    later = function(x, 5, *sizes, init=False, init_scale=1.0, name="wn")
  assert {v.op.name for v in tf.trainable_variables()} == {"wn/V", "wn/g", "wn/b"}
  start, again = run(first, later)
  axis = tuple(range(start.ndim - 1))
  np.testing.assert_allclose(start.mean(axis), 0, atol=1e-4)
  np.testing.assert_allclose(start.std(axis), 0.5, rtol=1e-3)
  np.testing.assert_allclose(again, start, rtol=1e-3, atol=1e-4)


def set_all(session, seed=5):
  """Random values in all weights; returns them by name."""
  values = {}
  for number, variable in enumerate(tf.trainable_variables()):
    values[variable.op.name] = random(*variable.shape.as_list(), seed=seed + number)
    variable.load(values[variable.op.name], session)
  return values


def test_eq_3_of_the_paper_by_its_formula():
  x, y = random(8, 4, 4, 5), random(8, 3, seed=1)
  gin.bind_parameter("logit_conditional_batch_norm.num_hidden", 7)
  with network_pass.network_pass():
    output = logit_conditioning.logit_conditional_batch_norm(
      tf.constant(x), y=tf.constant(y), is_training=True, use_sn=False
    )
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    values = set_all(session)
    found = session.run(output)

  def mlp(part):
    kernels = [
      values[f"batch_norm/condition/{part}/{layer}/kernel"] for layer in LAYERS
    ]
    biases = [values[f"batch_norm/condition/{part}/{layer}/bias"] for layer in LAYERS]
    hidden = np.maximum(y @ kernels[0] + biases[0], 0)
    return (hidden @ kernels[1] + biases[1])[:, None, None]

  expected = (1 + mlp("gamma")) * standardized(x) + mlp("beta")
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


LAYERS = ("hidden", "output")


def test_eq_3_s_hidden_layers_alone_are_spectrally_normalised():
  logit_conditioning.logit_conditional_batch_norm(
    tf.constant(random(2, 4, 4, 5)), tf.constant(random(2, 3)), True, use_sn=True
  )
  vectors = {name for name in shapes() if name.endswith("u_var")}
  assert vectors == {
    f"batch_norm/condition/{part}/hidden/kernel/u_var" for part in ("gamma", "beta")
  }


def test_self_modulated_batch_norm_by_its_formula():
  x, z = random(8, 4, 4, 5), random(8, 6, seed=1)
  with network_pass.network_pass():
    output = arch_ops.self_modulated_batch_norm(
      tf.constant(x), z=tf.constant(z), is_training=True, use_sn=False, name="bn"
    )
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    values = set_all(session)
    found = session.run(output)

  def linear(inputs, layer):
    return inputs @ values[f"bn/sbn/{layer}/kernel"] + values[f"bn/sbn/{layer}/bias"]

  hidden = np.maximum(linear(z, "hidden"), 0)
  gamma, beta = (linear(hidden, part)[:, None, None] for part in ("gamma", "beta"))
  np.testing.assert_allclose(
    found, gamma * standardized(x) + beta, rtol=1e-3, atol=1e-3
  )


@pytest.mark.parametrize("everywhere", [None, False])
def test_moments_of_one_replica_are_those_of_the_batch(everywhere):
  gin.bind_parameter("standardize_batch.use_cross_replica_mean", everywhere)
  x = 3 + 2 * random(8, 4, 4, 5)
  (value,) = run(arch_ops.standardize_batch(tf.constant(x), is_training=True))
  np.testing.assert_allclose(value, standardized(x), atol=2e-5)


@pytest.mark.parametrize("height, width, size", [(6, 4, 5), (5, 7, 3)])
def test_what_cannot_be_folded_takes_the_mean_of_what_there_is(height, width, size):
  x, kernel = (
    tf.constant(random(2, height, width, 3)),
    tf.constant(random(size, size, 3, 4)),
  )
  found, whole = run(
    scaled_convolutions.convolve(x, kernel, "down"),
    tf.nn.conv2d(x, kernel, strides=1, padding="SAME"),
  )
  for i, j in np.ndindex(found.shape[1:3]):
    window = whole[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
    np.testing.assert_allclose(
      found[:, i, j], window.mean((1, 2)), rtol=1e-4, atol=1e-5
    )


def test_a_strided_convolution_of_a_block_is_halved_by_means():
  block = resnet_ops.ResNetBlock("B1", 3, 4, "down", is_gen_block=False)
  x = tf.constant(random(2, 8, 8, 3))
  found = block._get_conv(x, 3, 4, "down", "c", strides=(2, 2))
  (kernel,) = tf.trainable_variables(".*kernel")
  found, whole = run(found, tf.nn.conv2d(x, kernel, strides=2, padding="SAME"))
  expected = whole.reshape(2, 2, 2, 2, 2, 4).mean((2, 4))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_deviation_of_the_truncated_initialiser():
  initializer = arch_ops.weight_initializer("truncated", stddev=0.5)
  (value,) = run(tf.get_variable("v", [200, 200], initializer=initializer))
  assert (
    value.std() == pytest.approx(0.5 * 0.8796, rel=0.02) and np.abs(value).max() <= 1
  )
