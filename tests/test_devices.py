"""GPUs, as far as they can be tested without one."""

import functools
import types

import gin
import gin.tf.external_configurables
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import kernels

from compare_gan_logits import allocator
from compare_gan_logits import configuration
from compare_gan_logits import datasets
from compare_gan_logits import devices
from compare_gan_logits import runner_lib
from compare_gan_logits.classifiers import from_gin
from compare_gan_logits.gans import fidelity_gan  # noqa: F401, gin knows it


SMALL = [
  "resnet_biggan.Generator.ch = 4",
  "resnet_biggan.Discriminator.ch = 4",
  "options.batch_size = 4",
]


def training_step(gin_file, *bindings):
  """(graph, operation of a whole training step, operations of the input pipeline)."""
  gin.clear_config()
  configuration.parse_gin([gin_file], [*SMALL, *bindings])
  run = runner_lib.Run(
    datasets.get_dataset(),
    from_gin(),
    runner_lib.get_options_dict(),
    runner_lib.make_run_config(runner_lib.get_run_settings(), "unused"),
  )
  params = {"batch_size": 4 * run.gan.num_sub_steps, "seed": 0}
  with tf.Graph().as_default() as graph:
    tf.train.get_or_create_global_step()
    features, labels = run.gan.input_fn(params).make_one_shot_iterator().get_next()
    fed = set(graph.get_operations())
    train_op = run.gan.model_fn(features, labels, params, "train").train_op
  return graph, train_op, fed


def needed(train_op, fed):
  """NodeDefs that a step executes, those of the functions that it calls as well."""
  functions = {
    f.signature.name: f for f in train_op.graph.as_graph_def().library.function
  }
  seen, waiting, nodes = set(), [train_op], []
  while waiting:
    op = waiting.pop()
    if op not in seen and op not in fed:
      seen.add(op)
      nodes.append(op.node_def)
      waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
  for node in nodes:  # grows
    for value in node.attr.values():
      for name in [value.func.name, *(f.name for f in value.list.func)]:
        if name in functions:
          nodes += functions.pop(name).node_def
  return nodes


def has_gpu_kernel(node):
  """Whether TensorFlow has a kernel on GPUs for this operation with its types."""
  for kernel in gpu_kernels(node.op):
    fits = all(
      node.attr[constraint.name].type in constraint.allowed_values.list.type
      for constraint in kernel.constraint
      if node.attr[constraint.name].type
    )
    if fits:
      return True
  return False


@functools.cache
def gpu_kernels(op):
  return [
    kernel
    for kernel in kernels.get_registered_kernels_for_op(op).kernel
    if kernel.device_type in ("GPU", "DEFAULT")
  ]


CONTROL = ("_Arg", "_Retval", "If", "StatelessIf", "While", "StatelessWhile")


@pytest.mark.long
@pytest.mark.parametrize(
  "configuration_",
  [
    ("quickstart.gin", "classifier.handle = 'embedded_robust'"),
    ("paper.gin", "dataset.name = 'fake:10@64'", "compute.dtype = 'bfloat16'"),
  ],
  ids=["quickstart", "paper in bfloat16"],
)
def test_no_operation_of_a_training_step_is_for_the_cpu_alone(configuration_):
  if not tf.test.is_built_with_cuda():
    pytest.skip("tensorflow-cpu has no GPU kernels to look among")
  assert not has_gpu_kernel(tf.NodeDef(op="DecodeJpeg"))
  _, train_op, fed = training_step(*configuration_)
  nodes = needed(train_op, fed)
  assert {"Conv2DBackpropFilter", "ResourceApplyAdam"} <= {node.op for node in nodes}
  on_the_cpu = {
    (
      node.op,
      tf.as_dtype(node.attr["dtype"].type).name if node.attr["dtype"].type else "",
    )
    for node in nodes
    if not has_gpu_kernel(node)
  }
  # global_step_disc is a counter that no tensor of the networks depends on.
  on_the_cpu -= {("VarHandleOp", "int32")}
  assert {op for op, _ in on_the_cpu} <= set(CONTROL), on_the_cpu


def test_batches_are_prefetched_to_another_device():
  """The CPU's second half stands for a GPU; an Estimator takes such a data set."""
  numbers = np.arange(8, dtype=np.float32)
  config = tf.ConfigProto(device_count={"CPU": 2})
  with tf.Graph().as_default(), tf.Session(config=config) as session:
    dataset = tf.data.Dataset.from_tensor_slices(numbers).batch(4)
    iterator = tf.data.make_initializable_iterator(devices.prefetch(dataset, "/cpu:1"))
    batch = iterator.get_next()
    assert batch.op.device.lower().endswith("cpu:1")
    session.run(iterator.initializer)
    found = [session.run(batch), session.run(batch)]
  np.testing.assert_array_equal(np.concatenate(found), numbers)


def test_without_a_gpu_it_is_said_and_freed_memory_is_kept(monkeypatch):
  if devices.gpus():
    pytest.skip("this machine has a GPU")
  kept = []
  monkeypatch.setattr(allocator, "keep_freed_memory", lambda: kept.append(True))
  devices.configure()
  assert kept and devices.describe().startswith("no GPU: training on the CPU (")
  dataset = tf.data.Dataset.range(3)
  assert devices.prefetch(dataset) is dataset


def test_with_gpus_each_is_named_with_its_memory(monkeypatch):
  """And the C library is left alone. What CUDA tells is made up here."""
  kept = []
  monkeypatch.setattr(allocator, "keep_freed_memory", lambda: kept.append(True))
  monkeypatch.setattr(
    tf.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"]
  )
  monkeypatch.setattr(
    tf.config.experimental,
    "get_device_details",
    lambda device: {"device_name": f"Some card {device}"},
  )
  monkeypatch.setattr(devices, "_memory", lambda: [80_000_000_000, 16_500_000_000])
  devices.configure()
  assert not kept
  assert devices.gpus() == ["/gpu:0", "/gpu:1"]
  assert devices.describe().splitlines() == [
    "GPU 0: Some card GPU:0, 80.0 GB",
    "GPU 1: Some card GPU:1, 16.5 GB",
  ]


def test_memory_of_a_gpu_is_what_the_session_may_take(monkeypatch):
  found = [
    types.SimpleNamespace(device_type=kind, memory_limit_bytes=size)
    for kind, size in (("CPU", 1), ("GPU", 2), ("XLA_GPU", 3), ("GPU", 4))
  ]
  monkeypatch.setattr(tf.Session, "list_devices", lambda session: found)
  assert devices._memory() == [2, 4]


@pytest.mark.parametrize("value", [True, False])
def test_tensor_float_32_is_by_gin(value):
  gin.clear_config()
  try:
    configuration.parse_gin([], [f"devices.tensor_float_32 = {value}"])
    devices.configure()
    assert tf.config.experimental.tensor_float_32_execution_enabled() is value
  finally:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    gin.clear_config()
