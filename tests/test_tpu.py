"""What can be known of a TPU without one: the step's graph for several cores, and that
XLA compiles the whole step and computes the same with it."""

import os
import types

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_replication

from compare_gan_logits import distribution
from compare_gan_logits.gans import modular_gan


# The machine code need not be fast.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
CONFIG = """
G.batch_norm_fn = @conditional_batch_norm
G.spectral_norm = True
D.spectral_norm = True
standardize_batch.use_moving_averages = False
resnet_biggan.Generator.ch = 1
resnet_biggan.Discriminator.ch = 4
ModularGAN.conditional = True
ModularGAN.g_use_ema = True
ModularGAN.ema_decay = 0.5
ModularGAN.ema_start_step = 0
loss.fn = @hinge
penalty.fn = @no_penalty
weights.initializer = 'orthogonal'
"""
# TensorFlow's own lists of what must not be in a TPU's program; what runs Python, which
# a TPU has not; and what draws other numbers after a resume.
REFUSED = (
  tpu_replication._DENYLISTED_OPS
  | tpu_replication._UNSUPPORTED_OPS
  | {
    "PyFunc",
    "EagerPyFunc",
    "PyFuncStateless",
    "RandomUniform",
    "RandomUniformInt",
    "RandomStandardNormal",
    "TruncatedNormal",
  }
)
CORES, BATCH = 4, 2


def make_gan(**kwargs):
  gin.clear_config()
  gin.parse_config(CONFIG)
  dataset = types.SimpleNamespace(image_shape=(32, 32, 1), num_classes=5, seed=547)
  parameters = {
    "architecture": "resnet_biggan_arch",
    "disc_iters": 1,
    "lambda": 1,
    "z_dim": 8,
  }
  return modular_gan.ModularGAN(dataset, parameters, "unused", **kwargs)


@pytest.fixture(scope="module")
def program():
  """The graph of one step for four cores, as TPUEstimator's rewriting makes it."""
  gan = make_gan()
  own = gan.num_sub_steps * BATCH
  with tf.Graph().as_default() as graph:
    images = tf.zeros([CORES * own, 32, 32, 1])
    labels = tf.zeros([CORES * own], tf.int32)
    z = tf.zeros([CORES * own, 8])
    offset = tf.range(CORES * own)
    tf.train.get_or_create_global_step()

    def step(images, labels, z, offset):
      features = {"images": images, "z": z, "_RANDOM_OFFSET": offset}
      features["sampled_labels"] = labels
      spec = gan.model_fn(features, labels, {"use_tpu": True}, "train")
      with tf.control_dependencies([spec.train_op]):
        return tf.identity(spec.loss)

    tf.tpu.shard(step, [images, labels, z, offset], num_shards=CORES)
    weights = len(gan.generator.trainable_variables)
    weights += len(gan.discriminator.trainable_variables)
  operations = [op for op in graph.get_operations() if _is_on_a_core(op)]
  return types.SimpleNamespace(operations=operations, weights=weights)


def _is_on_a_core(op):
  try:
    op.get_attr("_tpu_replicate")
  except ValueError:
    return False
  return not op.type.startswith(("TPUReplicate", "TPUCompilation"))


@pytest.mark.long
def test_every_shape_of_a_core_s_program_is_static(program):
  assert len(program.operations) > 1000
  for op in program.operations:
    for output in op.outputs:
      if output.dtype != tf.resource:
        assert output.shape.is_fully_defined(), (op.name, op.type)


@pytest.mark.long
def test_a_core_s_program_has_no_operation_that_a_tpu_refuses(program):
  assert not {op.type for op in program.operations} & REFUSED


@pytest.mark.long
def test_gradients_and_moments_are_summed_over_the_cores(program):
  sums = [op for op in program.operations if op.type == "CrossReplicaSum"]
  # One per weight, and for each of 7 batch norms and each of 2 calls of the generator
  # one of its moments, and one of their gradient in the call that is learnt from.
  moments = 7 * 3
  assert len(sums) == program.weights + moments + 1  # and of the losses
  for op in sums:
    np.testing.assert_array_equal(
      tf.make_ndarray(op.inputs[1].op.get_attr("value")), [list(range(CORES))]
    )


def test_input_is_per_host():
  """A host of a pod feeds its own cores with its own part of the data."""
  context = types.SimpleNamespace(
    current_input_fn_deployment=lambda: ("/cpu", 3, 16, 8)
  )
  assert distribution.input_share(tpu_context=context) == {
    "shard": 3,
    "num_shards": 16,
    "replicas": 8,
  }


@pytest.mark.long
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_the_whole_step_compiles_with_xla_and_computes_the_same(micro_batches):
  rng = np.random.default_rng(0)
  n = 2 * 2 * BATCH
  inputs = [
    rng.uniform(size=[n, 32, 32, 1]),
    rng.normal(size=[n, 8]),
    rng.normal(size=[n, 5]),
    rng.normal(size=[n, 5]),
  ]
  inputs = [value.astype(np.float32) for value in inputs]
  results, start = [], None
  for compiled in (False, True):
    gan = make_gan(micro_batches=micro_batches)
    with tf.Graph().as_default(), helpers.session() as session:
      tf.set_random_seed(0)  # some weights put a ReLU's input within rounding of zero
      tf.train.get_or_create_global_step()

      def step(images, z, labels, sampled_y, gan=gan):
        features = {"images": images, "z": z, "sampled_y": sampled_y}
        update, losses = gan.train_step(features, labels)
        with tf.control_dependencies([update]):
          return [tf.identity(losses[name]) for name in sorted(losses)]

      tensors = [tf.constant(value) for value in inputs]
      losses = (
        tf.xla.experimental.compile(step, tensors) if compiled else step(*tensors)
      )
      variables = {v.op.name: v for v in tf.global_variables()}
      session.run(tf.global_variables_initializer())
      if compiled:
        session.run([variables[name].assign(value) for name, value in start.items()])
      start = session.run(variables)
      results.append((session.run(losses), session.run(variables)))
  (losses, after), (xla_losses, xla_after) = results
  np.testing.assert_allclose(xla_losses, losses, rtol=1e-4, atol=1e-5)
  helpers.assert_same_training(after, xla_after, rate=2e-4, steps=1)
