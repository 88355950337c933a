"""The cost model: counts against TensorFlow's and closed forms, seconds by hand."""

import dataclasses
import functools
import types
from unittest import mock

import gin
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import scaled_convolutions
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.planning import cost_model
from compare_gan_logits.planning.cost_model import Affine
from compare_gan_logits.planning.cost_model import Buffer
from compare_gan_logits.planning.cost_model import Operation


CONFIG = """
G.batch_norm_fn = @conditional_batch_norm
G.spectral_norm = True
D.spectral_norm = True
resnet_biggan.Generator.ch = 2
resnet_biggan.Discriminator.ch = 4
loss.fn = @hinge
penalty.fn = @no_penalty
standardize_batch.use_moving_averages = False
"""
LOGITS, Z, G_CHANNELS, D_CHANNELS = 5, 8, 8, 8


@pytest.fixture(scope="module")
def gan():
  gin.clear_config()
  gin.parse_config(CONFIG)
  dataset = types.SimpleNamespace(image_shape=(32, 32, 3), num_classes=LOGITS, seed=547)
  parameters = {
    "architecture": "resnet_biggan_arch",
    "disc_iters": 1,
    "lambda": 1,
    "z_dim": Z,
  }
  yield modular_gan.ModularGAN(
    dataset, parameters, "unused", conditional=True, g_use_ema=True
  )
  gin.clear_config()


@pytest.fixture(scope="module")
def collectives(gan):
  return cost_model.collectives(gan)


@pytest.fixture(scope="module")
def step(gan, collectives):
  # Building a graph takes seconds.
  with mock.patch.object(cost_model, "collectives", return_value=collectives):
    return cost_model.count(gan)


def tensorflow_s_count(gan, batch):
  """Floating-point operations of the graph of a step, as TensorFlow's profiler says.

  Without the gates by which an optimizer holds on to gradients that nobody reads.
  """
  ungated = functools.partialmethod(
    tf.train.Optimizer.compute_gradients, gate_gradients=tf.train.Optimizer.GATE_GRAPH
  )
  with tf.Graph().as_default() as graph:
    with mock.patch.object(tf.train.AdamOptimizer, "compute_gradients", ungated):
      op = cost_model._build(gan, batch)
    needed = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [op.name])
  with tf.Graph().as_default() as graph:
    tf.import_graph_def(needed, name="")
    options = tf.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.profiler.profile(graph, options=options).total_float_ops


@pytest.mark.long
def test_the_count_equals_tensorflow_s_at_another_batch(gan, step):
  # TensorFlow also counts the values of losses, which are waited for and not read.
  assert sum(step.flops(24).values()) == pytest.approx(
    tensorflow_s_count(gan, 24), rel=2e-5
  )


@pytest.mark.long
def test_forward_convolutions_of_the_plain_formulation_are_the_closed_form(gan):
  """2 k^2 h w c_in c_out each: two passes of G, and of D four (two pairs)."""

  def conv(size, kernel, inputs, outputs):
    return 2 * size**2 * kernel**2 * inputs * outputs

  def block(size, inputs, outputs):
    return conv(size, 3, inputs, outputs) + conv(size, 3, outputs, outputs)

  g, d = G_CHANNELS, D_CHANNELS
  generator = sum(block(size, g, g) for size in (8, 16, 32)) + conv(32, 3, g, 3)
  # The 1x1 convolutions of shortcuts and of attention are matrix products.
  discriminator = block(32, 3, d) + sum(block(size, d, d) for size in (16, 8, 4))
  with scaled_convolutions.plain_formulation():
    counted = cost_model._trace(gan, 6).ops
  assert sum(op.flops for op in counted if op.type == "Conv2D") == 6 * (
    2 * generator + 4 * discriminator
  )


@pytest.mark.long
def test_variables_are_weights_two_moments_of_adam_and_an_average(step):
  generator, discriminator = (
    step.parameters[name] for name in ("generator", "discriminator")
  )
  assert step.variables["average"] == 4 * generator
  assert step.variables["optimizer"] == 8 * (generator + discriminator)
  assert step.variables["weights"] > 4 * (generator + discriminator)
  assert step.gradients == (4 * discriminator, 4 * generator)


@pytest.mark.long
def test_all_reduces_of_moments_and_gradients(step, collectives):
  """One a norm and pass; seven norms of G; two passes forwards, one backwards."""
  assert len(step.moments) == 7 * 3
  assert set(step.moments) == {2 * 4 * G_CHANNELS}  # means and means of squares
  assert sum(collectives[1]) == sum(step.gradients)


def test_another_trainer_is_refused():
  with pytest.raises(UserError, match="@ModularGAN"):
    cost_model.count(types.SimpleNamespace())


# Seconds and bytes, by hand --------------------------------------------------

MACHINE = cost_model.Device(
  peak={"float32": 1000.0},
  memory=1000.0,
  bandwidth=100.0,
  efficiency=0.5,
  link_bandwidth=10.0,
  link_latency=2.0,
  node=4,
  network_bandwidth=1.0,
  network_latency=5.0,
  op_overhead=0.0,
  fuses=False,
  source="made up",
)


def made_up(*operations, moments=(), gradients=(40, 20), buffers=()):
  return cost_model.Step(
    tuple(
      Operation(kind, Affine(*flops), Affine(*traffic))
      for kind, flops, traffic in operations
    ),
    buffers,
    {"weights": 100},
    {},
    moments,
    gradients,
  )


def test_an_operation_takes_the_longer_of_arithmetic_and_bytes():
  step = made_up(
    ("Conv2D", (0, 5000), (0, 10)),  # 10 s of arithmetic an image
    ("MatMul", (0, 50), (0, 300)),  # 3 s of bytes
    ("Mul", (0, 1e9), (200, 0)),  # 2 s of bytes, whatever the batch
    ("ResourceApplyAdam", (0, 0), (700, 0)),
    ("Reshape", (0, 0), (0, 0)),
  )
  assert cost_model.step_seconds(step, MACHINE, 2) == {
    "matrix": 26,
    "other": 2,
    "update": 7,
  }
  fusing = dataclasses.replace(MACHINE, fuses=True, op_overhead=1.0)
  assert cost_model.step_seconds(step, fusing, 2) == {
    "matrix": 28,
    "other": 1,
    "update": 8,
  }


def test_the_efficiency_is_found_again():
  step = made_up(("Conv2D", (0, 5000), (0, 10)), ("Mul", (0, 0), (200, 0)))
  at = dataclasses.replace(MACHINE, efficiency=0.37)
  seconds = sum(cost_model.step_seconds(step, at, 3).values())
  assert cost_model.fitted_efficiency(step, MACHINE, 3, seconds) == pytest.approx(0.37)
  with pytest.raises(UserError, match="any efficiency"):
    cost_model.fitted_efficiency(step, MACHINE, 3, seconds / 3)


def test_messages():
  def seconds(num_bytes, replicas, hardware=MACHINE):
    return cost_model.all_reduce_seconds(num_bytes, replicas, hardware)

  assert seconds(40, 1) == 0
  assert seconds(40, 2) == 2 + 40 / 10
  assert seconds(1, 4) == pytest.approx(2 * (2 + 1 / 10))  # doubling
  assert seconds(4000, 4) == pytest.approx(6 * (2 + 1000 / 10))  # a ring
  assert seconds(4, 8) == pytest.approx(2 * (2 + 4 / 10) + 5 + 1)  # two nodes
  # What is no power of two or no whole node takes as long as the next one.
  assert (seconds(1, 3), seconds(4, 6)) == (seconds(1, 4), seconds(4, 8))


def test_micro_batches_fit_into_memory():
  step = made_up(
    ("Conv2D", (0, 1), (0, 0)),
    ("Conv2D", (0, 1), (0, 0)),
    buffers=(Buffer(Affine(0, 50), 0, 1),),
    moments=(1, 1),
  )
  plan = cost_model.plan(step, MACHINE, 64, replicas=2)
  # 100 of weights and 40 of summed gradients leave room for 17 images of 32.
  assert (plan.micro_batches, plan.memory) == (2, 100 + 40 + 50 * 16)
  assert plan.moment_seconds == pytest.approx(2 * 2 * (2 + 0.1))
  assert plan.gradient_seconds == pytest.approx(2 + 4 + 2 + 2)
  assert plan.communication_seconds == pytest.approx(8.4 + 10)
  # Halves of 54 are odd, and cannot be halved again, fit or not.
  assert cost_model.plan(step, MACHINE, 54).micro_batches == 2


def test_weights_are_written_once_however_many_micro_batches_there_are():
  step = made_up(("Conv2D", (0, 5000), (0, 0)), ("ResourceApplyAdam", (0, 0), (700, 0)))
  found = cost_model.plan(step, MACHINE, 8, micro_batches=4)
  assert (found.matrix_seconds, found.update_seconds) == (8 * 10, 7)
  with pytest.raises(UserError, match="8 cannot be divided"):
    cost_model.plan(step, MACHINE, 8, replicas=4, micro_batches=4)


def test_a_compiler_does_not_join_reductions():
  step = made_up(("Mul", (0, 0), (300, 0)), ("Sum", (0, 0), (200, 0)))
  fusing = dataclasses.replace(MACHINE, fuses=True)
  assert cost_model.step_seconds(step, fusing, 1)["other"] == 2


def test_a_classifier_reaches_the_same_share_of_the_peak():
  assert cost_model.classifier_seconds(MACHINE, "float32", 10, 100) == 10 * 100 / 500


def test_a_tensor_lives_until_it_is_last_read():
  operations = [("Conv2D", (0, 0), (0, 0))] * 3
  first, second, third = (
    Buffer(Affine(0, size), *life)
    for size, life in ((10, (0, 2)), (5, (1, 2)), (20, (2, 2)))
  )
  step = made_up(*operations, buffers=(first, second, third))
  assert step.activations(3) == 3 * 35
  # An elementwise operation writes over what it reads last.
  step = made_up(
    *operations[:2], ("Mul", (0, 0), (0, 0)), buffers=(first, second, third)
  )
  assert step.activations(3) == 3 * 20


@pytest.mark.parametrize(
  "overrides, words",
  [
    (dict(bandwidth=-1.0), "bandwidth is -1"),
    (dict(peak=0.0), "peak is 0"),
    (dict(link_latency=-1e-6), "zero or more"),
    (dict(efficiency=1.5), "more than"),
    (dict(memory=float("nan")), "memory is nan"),
    (dict(node=0), "node is 0"),
  ],
)
def test_figures_that_no_device_has_are_refused(overrides, words):
  with pytest.raises(UserError, match=words):
    cost_model.device("a100_40gb", **overrides)


def test_what_does_not_go_together_is_refused():
  with pytest.raises(UserError, match="did you mean 'v100_32gb'"):
    cost_model.device("v100_32")
  with pytest.raises(UserError, match="bfloat16"):
    cost_model.plan(made_up(), cost_model.device("v100_32gb"), 8, dtype="bfloat16")
  with pytest.raises(UserError, match="64 cannot be divided among 3 replicas"):
    cost_model.plan(made_up(), MACHINE, 64, replicas=3)
