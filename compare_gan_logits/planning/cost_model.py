"""What a training step costs on a machine that need not be there.

The operations, the bytes and the all-reduces are read off the graph that training
builds, at two small batches: all of them are affine in the batch, so two graphs give
every batch. Seconds follow by a roofline for each operation, and for messages by
latency and bandwidth. What a Device holds is a data sheet's or measured; the share of
the peak that convolutions reach is an assumption unless it was fitted.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import ops
from tensorflow.python.tpu import tpu_function

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.gans import modular_gan


GB = 1e9

# Devices ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Device:
  """One replica's hardware.

  Attributes:
    peak: FLOP/s of matrix products by compute.dtype.
    memory: bytes.
    bandwidth: bytes/s of that memory.
    efficiency: share of the peak that convolutions and matrix products reach.
    link_bandwidth, link_latency: bytes/s, each way, and seconds of a message between
      replicas of one node.
    node: replicas that such links join.
    network_bandwidth, network_latency: the same between nodes, per replica.
    op_overhead: seconds to start one operation.
    fuses: a compiler joins elementwise operations to their neighbours, so that they
      move no bytes of their own.
    source: where the figures come from.
  """

  peak: Mapping[str, float]
  memory: float
  bandwidth: float
  efficiency: float
  link_bandwidth: float
  link_latency: float
  node: int
  network_bandwidth: float
  network_latency: float
  op_overhead: float
  fuses: bool
  source: str

  def __post_init__(self):
    positive = {
      "peak": min(self.peak.values()),
      "memory": self.memory,
      "bandwidth": self.bandwidth,
      "efficiency": self.efficiency,
      "link bandwidth": self.link_bandwidth,
      "network bandwidth": self.network_bandwidth,
      "node": self.node,
    }
    for name, value in positive.items():
      if not 0 < value < math.inf:
        raise UserError(f"a device's {name} is {value:g}; it must be more than zero")
    for name in ("link_latency", "network_latency", "op_overhead"):
      if not 0 <= getattr(self, name) < math.inf:
        raise UserError(
          f"a device's {name} is {getattr(self, name):g}; it must be zero or more"
        )
    if self.efficiency > 1:
      raise UserError(
        f"an efficiency of {self.efficiency:g} is more than the peak; give "
        "a share between 0 and 1"
      )


_ASSUMED = 0.3  # of the peak, on hardware that was not available
_TPU_V3 = (
  "Cloud TPU documentation, 'TPU v3': a chip of two cores has 123 TFLOP/s "
  "(bfloat16; float32 convolutions are rounded to it by default), 32 GiB, 900 "
  "GB/s; a pod of 1024 chips all-reduces 340 TB/s, of which a ring is given a "
  "half; latency assumed"
)
_NVIDIA = "; latencies and launch time assumed"


def _tpu_v3(cores):
  return Device(
    peak={"float32": cores * 61.5e12, "bfloat16": cores * 61.5e12},
    memory=cores * 16 * 2**30,
    bandwidth=cores * 450 * GB,
    efficiency=_ASSUMED,
    link_bandwidth=cores * 83 * GB,
    link_latency=3e-6,
    node=2048 // cores,
    network_bandwidth=cores * 83 * GB,
    network_latency=3e-6,
    op_overhead=0.0,
    fuses=True,
    source=_TPU_V3,
  )


def _dgx(memory, bandwidth, peak, nvlink, network, source, efficiency=_ASSUMED):
  """One of the eight GPUs of NVIDIA's DGX."""
  return Device(
    peak=peak,
    memory=memory,
    bandwidth=bandwidth,
    efficiency=efficiency,
    link_bandwidth=nvlink,
    link_latency=8e-6,
    node=8,
    network_bandwidth=network,
    network_latency=15e-6,
    op_overhead=4e-6,
    fuses=False,
    source=source + _NVIDIA,
  )


_A100 = {
  "peak": {"float32": 156e12, "bfloat16": 312e12},
  "nvlink": 300 * GB,
  "network": 25 * GB,
  "source": "NVIDIA's A100 data sheet: TF32 (TensorFlow's default for float32) and "
  "bfloat16 without sparsity, NVLink 600 GB/s both ways; DGX A100: 8 on a "
  "node, 200 Gbit/s of network each",
}
_HOPPER = {
  "peak": {"float32": 495e12, "bfloat16": 990e12},
  "nvlink": 450 * GB,
  "network": 50 * GB,
  "source": "NVIDIA's H100 SXM and H200 data sheets: TF32 (TensorFlow's default for "
  "float32) and bfloat16 without sparsity, NVLink 900 GB/s both ways; DGX H100: 8 on a "
  "node, 400 Gbit/s of network each",
}
DEVICES = {
  "tpu_v3_core": _tpu_v3(1),
  "tpu_v3_chip": _tpu_v3(2),
  "a100_40gb": _dgx(40 * GB, 1555 * GB, **_A100),
  "a100_80gb": _dgx(80 * GB, 2039 * GB, **_A100),
  "h100_80gb": _dgx(80 * GB, 3350 * GB, **_HOPPER),
  "h200_141gb": _dgx(141 * GB, 4800 * GB, **_HOPPER),
  "v100_32gb": _dgx(
    32 * GB,
    900 * GB,
    peak={"float32": 15.7e12},
    nvlink=150 * GB,
    network=6.25 * GB,
    efficiency=0.5,
    source="NVIDIA's V100 SXM2 data sheet: float32 without tensor cores, which take "
    "float16 alone, NVLink 300 GB/s both ways; DGX-1: 4 x 100 Gbit/s for 8",
  ),
}


def device(name: str, **overrides: float | None) -> Device:
  """A device of the table, with the fields that are not None replaced.

  Args:
    name: key of DEVICES.
    **overrides: fields of Device; `peak` is one number, for every dtype.

  Raises:
    UserError: there is no such device, or a figure is not positive.
  """
  if name not in DEVICES:
    raise UserError(f"--device {name!r}: {nearest(name, [*DEVICES, 'cpu'])}")
  return replaced(DEVICES[name], **overrides)


def replaced(hardware: Device, **overrides: float | None) -> Device:
  """`hardware` with the fields that are not None replaced; as `device`."""
  given = {field: value for field, value in overrides.items() if value is not None}
  if "peak" in given:
    given["peak"] = {dtype: given["peak"] for dtype in ("float32", "bfloat16")}
  if given:
    given["source"] = f"{hardware.source}; {', '.join(sorted(given))} as given"
  return dataclasses.replace(hardware, **given)


# Counting --------------------------------------------------------------------


class Affine(NamedTuple):
  """constant + per_image * batch."""

  constant: float
  per_image: float

  def at(self, batch: float) -> float:
    return self.constant + self.per_image * batch


class Operation(NamedTuple):
  """One operation of the step: its floating-point operations and the bytes it moves."""

  type: str
  flops: Affine
  traffic: Affine

  @property
  def is_matrix(self) -> bool:
    return self.type in _MATRIX

  @property
  def is_update(self) -> bool:
    """Whether it writes weights: once an update, however many micro-batches it has."""
    return self.type in _UPDATE_TRAFFIC


class Buffer(NamedTuple):
  """A tensor in memory from the operation that makes it to the last that reads it."""

  size: Affine
  first: int
  last: int


@dataclasses.dataclass(frozen=True)
class Step:
  """A training step, read off its graph.

  Attributes:
    operations: in the order in which the graph was built. Operations whose results
      nothing reads are left out, as TensorFlow leaves them out when it runs.
    buffers: the tensors between them.
    variables: bytes by kind: "weights", "optimizer", "average".
    parameters: number of trainable parameters by network.
    moments: bytes of each all-reduce of batch moments, forwards and backwards.
    gradients: bytes of the gradients of each update.
  """

  operations: tuple
  buffers: tuple
  variables: Mapping[str, int]
  parameters: Mapping[str, int]
  moments: tuple
  gradients: tuple

  def flops(self, batch: float) -> dict[str, float]:
    """{operation type: floating-point operations of a step}."""
    totals = collections.Counter()
    for operation in self.operations:
      totals[operation.type] += operation.flops.at(batch)
    return totals

  def activations(self, batch: float) -> float:
    """Bytes of the tensors that live at the same time, at most.

    Operations run in the order in which they were built, every tensor is freed after
    its last use, and elementwise results take the place of an operand that is freed.
    """
    change = collections.Counter()
    for buffer in self.buffers:
      size = buffer.size.at(batch)
      change[buffer.first, 1] += size
      in_place = (
        buffer.first < buffer.last and not self.operations[buffer.last].is_matrix
      )
      change[buffer.last, 0 if in_place else 2] -= size
    peak = held = 0
    for when in sorted(change):
      held += change[when]
      peak = max(peak, held)
    return peak


_MATRIX = {
  "Conv2D",
  "Conv2DBackpropInput",
  "Conv2DBackpropFilter",
  "MatMul",
  "BatchMatMul",
  "BatchMatMulV2",
  "BatchMatMulV3",
}
# These move nothing: the result is the operand's memory, or a constant.
_VIEWS = {
  "Reshape",
  "Identity",
  "IdentityN",
  "StopGradient",
  "Squeeze",
  "ExpandDims",
  "ReadVariableOp",
  "PreventGradient",
}
_FREE = _VIEWS | {
  "Const",
  "Placeholder",
  "VarHandleOp",
  "NoOp",
  "Shape",
  "BroadcastGradientArgs",
}
# What an update moves, in units of its operand: Adam reads the gradient, and reads and
# writes the weights and both moments.
_UPDATE_TRAFFIC = {
  "ResourceApplyAdam": 7,
  "AssignSubVariableOp": 3,
  "AssignAddVariableOp": 3,
  "AssignVariableOp": 2,
}
# A compiler cannot join these to what comes before them.
_REDUCTIONS = {
  "Sum",
  "Mean",
  "BiasAddGrad",
  "AvgPool",
  "AvgPoolGrad",
  "MaxPool",
  "MaxPoolGrad",
  "Softmax",
  "AddN",
}


def count(gan: modular_gan.ModularGAN) -> Step:
  """The Step of a ModularGAN; its classifier's cost is not in it.

  Raises:
    UserError: the trainer is another one, whose step calls networks that a count of
      its own graph would miss.
  """
  first, second = _traces(gan)
  operations = tuple(
    Operation(a.type, _affine(a.flops, b.flops), _affine(a.traffic, b.traffic))
    for a, b in zip(first.ops, second.ops)
  )
  buffers = tuple(
    Buffer(_affine(a, b), *life)
    for a, b, life in zip(first.sizes, second.sizes, first.lives)
  )
  sizes = {name: 4 * total for name, total in first.parameters.items()}
  updates = gan.num_sub_steps - 1
  return Step(
    operations,
    buffers,
    first.variables,
    first.parameters,
    collectives(gan)[0],
    (sizes["discriminator"],) * updates + (sizes["generator"],),
  )


def flops(gan: modular_gan.ModularGAN, batch: int) -> dict[str, float]:
  """{operation type: floating-point operations of a step}, as Step.flops."""
  totals = collections.Counter()
  for a, b in zip(*(trace.ops for trace in _traces(gan))):
    totals[a.type] += _affine(a.flops, b.flops).at(batch)
  return totals


# Two batches tell a line; a graph of the paper's batch would tell nothing more.
_BATCHES = (8, 16)


def _affine(first, second):
  slope = (second - first) / (_BATCHES[1] - _BATCHES[0])
  return Affine(first - slope * _BATCHES[0], slope)


def _traces(gan):
  if type(gan) is not modular_gan.ModularGAN:
    raise UserError(
      f"the cost model does not know the steps of {type(gan).__name__}, "
      "only those of options.gan_class = @ModularGAN"
    )
  first, second = (_trace(gan, batch) for batch in _BATCHES)
  if [op.type for op in first.ops] != [op.type for op in second.ops]:
    raise UserError(
      "this configuration's graph depends on the batch, so that its cost "
      "cannot be scaled from small batches"
    )
  return first, second


class _Counted(NamedTuple):
  type: str
  flops: float
  traffic: float


class _Trace(NamedTuple):
  ops: list  # of _Counted
  lives: list  # of each tensor: (place of its maker, place of its last reader)
  sizes: list  # of each tensor: bytes
  variables: dict
  parameters: dict


def _build(gan, batch, replicas=1):
  """The op of one whole training step in the default graph, fed by placeholders."""
  size = batch * gan.num_sub_steps
  tf.train.get_or_create_global_step()
  condition = tf.placeholder(tf.float32, [size, gan.condition_size], "condition")
  features = {
    "images": tf.placeholder(tf.float32, [size, *gan.image_shape], "images"),
    "z": tf.placeholder(tf.float32, [size, gan.z_dim], "z"),
    "sampled_y": condition,
  }
  return gan.train_step(features, condition, {"use_tpu": replicas > 1})[0]


def _trace(gan, batch):
  with tf.Graph().as_default() as graph:
    needed = _needed(_build(gan, batch))
    counted = [op for op in graph.get_operations() if op in needed]
    return _Trace(
      [_Counted(op.type, _flops(graph, op), _traffic(op)) for op in counted],
      *_lives(counted),
      _variables(),
      _parameters(gan),
    )


def _needed(op):
  """The operations that running `op` computes.

  Optimizers make a gradient wait for its layer's other gradients, read or not. What is
  waited for and neither read nor has a side effect TensorFlow replaces by nothing.
  """
  computed, passed, waiting = set(), set(), [(op, True)]
  while waiting:
    current, read = waiting.pop()
    read = read or current.op_def.is_stateful
    if current in computed or (current in passed and not read):
      continue
    (computed if read else passed).add(current)
    waiting += [(tensor.op, read) for tensor in current.inputs]
    waiting += [(before, False) for before in current.control_inputs]
  return computed


def executed_flops(op: tf.Operation) -> float:
  """Floating-point operations of running `op`, as TensorFlow counts each."""
  return sum(_flops(op.graph, needed) for needed in _needed(op))


def _flops(graph, op):
  """As TensorFlow's profiler counts them."""
  return ops.get_stats_for_node_def(graph, op.node_def, "flops").value or 0


def _bytes(tensor):
  if tensor.dtype.base_dtype in (tf.resource, tf.variant, tf.string):
    return 0
  return tensor.shape.num_elements() * tensor.dtype.size


def _traffic(op):
  if op.type in _FREE:
    return 0
  read = sum(_bytes(tensor) for tensor in op.inputs)
  if op.type in _UPDATE_TRAFFIC:
    return _UPDATE_TRAFFIC[op.type] * read
  return read + sum(_bytes(tensor) for tensor in op.outputs)


def _lives(counted):
  """(place of its maker, place of its last reader) of every tensor, and its bytes.

  Views are their operand; what belongs to a variable or to the graph is left out.
  """
  root, lives, sizes = {}, {}, {}
  for place, op in enumerate(counted):
    for tensor in op.inputs:
      owner = root.get(tensor.name)
      if owner in lives:
        lives[owner] = (lives[owner][0], place)
    for number, tensor in enumerate(op.outputs):
      if op.type in _VIEWS:
        root[tensor.name] = root.get(op.inputs[number].name) if op.inputs else None
      elif op.type not in _FREE or op.type == "Placeholder":
        root[tensor.name] = tensor.name
        lives[tensor.name] = (place, place)
        sizes[tensor.name] = _bytes(tensor)
  return list(lives.values()), list(sizes.values())


def _variables():
  """Bytes of the default graph's variables by kind."""
  kinds = {"weights": 0, "optimizer": 0, "average": 0}
  for variable in tf.global_variables():
    name = variable.op.name
    kind = (
      "average"
      if name.endswith("ExponentialMovingAverage")
      else "optimizer"
      if "/d_opt" in name or "/g_opt" in name
      else "weights"
    )
    kinds[kind] += variable.shape.num_elements() * variable.dtype.size
  return kinds


def _parameters(gan):
  return {
    network.name: sum(v.shape.num_elements() for v in network.trainable_variables)
    for network in (gan.generator, gan.discriminator)
  }


def collectives(
  gan: modular_gan.ModularGAN,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """The all-reduces of a step, read off the graph that a core of a TPU is given.

  Returns:
    (bytes of each all-reduce of batch moments, bytes of each one of a gradient).
  """
  moments, gradients = [], []
  with tf.Graph().as_default() as graph, tpu_function.tpu_shard_context(2):
    needed = _needed(_build(gan, _BATCHES[0], replicas=2))
    for op in graph.get_operations():
      if op.type == "CrossReplicaSum" and op in needed:
        updates = any(
          c.type.startswith("ResourceApply") for c in op.outputs[0].consumers()
        )
        (gradients if updates else moments).append(_bytes(op.outputs[0]))
  return tuple(moments), tuple(gradients)


# Predicting ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a step costs on so many replicas; seconds of a step, bytes of a replica.

  Attributes:
    replicas, micro_batches: how a batch is divided.
    matrix_seconds: convolutions and matrix products.
    other_seconds: everything else but the writing of weights.
    update_seconds: optimizer and moving averages.
    moment_seconds, gradient_seconds: all-reduces, none of them overlapped.
    resident: bytes of weights, optimizer and averages, and with micro-batches of the
      gradients that are summed up.
    activations: bytes, an estimate (Step.activations).
  """

  replicas: int
  micro_batches: int
  matrix_seconds: float
  other_seconds: float
  update_seconds: float
  moment_seconds: float
  gradient_seconds: float
  resident: float
  activations: float

  @property
  def communication_seconds(self) -> float:
    return self.moment_seconds + self.gradient_seconds

  @property
  def seconds(self) -> float:
    return (
      self.matrix_seconds
      + self.other_seconds
      + self.update_seconds
      + self.communication_seconds
    )

  @property
  def memory(self) -> float:
    return self.resident + self.activations


def plan(
  step: Step,
  hardware: Device,
  batch: int,
  replicas: int = 1,
  micro_batches: int | None = None,
  dtype: str = "float32",
) -> Plan:
  """The Plan of a batch divided among replicas.

  Args:
    step: Step.
    hardware: Device.
    batch: images an update, over all replicas.
    replicas: that share it.
    micro_batches: parts in which a replica computes its share one after the other,
      adding up gradients; None: as few (a power of two) as fit into its memory.
    dtype: gin's compute.dtype.

  Raises:
    UserError: a number does not divide the batch, or the device has no such dtype.
  """
  check_dtype(hardware, dtype)
  check_division(batch, [replicas], micro_batches)
  if micro_batches is None:
    micro_batches = _fewest(step, hardware, batch // replicas)
  size = batch // (replicas * micro_batches)
  seconds = step_seconds(step, hardware, size, dtype)
  return Plan(
    replicas,
    micro_batches,
    micro_batches * seconds["matrix"],
    micro_batches * seconds["other"],
    seconds["update"],
    micro_batches
    * sum(all_reduce_seconds(n, replicas, hardware) for n in step.moments),
    sum(all_reduce_seconds(n, replicas, hardware) for n in step.gradients),
    _resident(step, micro_batches),
    step.activations(size),
  )


def check_dtype(hardware: Device, dtype: str) -> None:
  """Raises UserError if the device does not multiply in gin's compute.dtype."""
  if dtype not in hardware.peak:
    raise UserError(
      f"this device has no peak for compute.dtype {dtype!r}; use "
      f"{' or '.join(hardware.peak)}, or give its peak"
    )


def check_division(
  batch: int, replicas: Sequence[int], micro_batches: int | None
) -> None:
  """Raises UserError if a batch is not so many times divided into equal parts."""
  parts = 1 if micro_batches is None else micro_batches
  for number in replicas:
    if number < 1 or parts < 1 or batch % (number * parts):
      raise UserError(
        f"a batch of {batch} cannot be divided among {number} replicas in "
        f"{parts} micro-batches each; choose divisors of {batch}"
      )


def _resident(step, micro_batches):
  summed = max(step.gradients) if micro_batches > 1 else 0
  return sum(step.variables.values()) + summed


def _fewest(step, hardware, batch):
  """The least number of micro-batches that fits, else the most that there can be."""
  parts = 1
  while batch % (2 * parts) == 0 and (
    _resident(step, parts) + step.activations(batch // parts) > hardware.memory
  ):
    parts *= 2
  return parts


def step_seconds(
  step: Step, hardware: Device, batch: float, dtype: str = "float32"
) -> dict[str, float]:
  """{"matrix", "other", "update"}: seconds of a step on one replica, no messages.

  An operation takes as long as the slower of its arithmetic and its bytes. Arithmetic
  outside convolutions and matrix products is taken to be hidden behind its bytes.
  """
  seconds = {"matrix": 0.0, "other": 0.0, "update": 0.0}
  speed = hardware.peak[dtype] * hardware.efficiency
  for operation in step.operations:
    if operation.type in _FREE:
      continue
    moving = operation.traffic.at(batch) / hardware.bandwidth
    if operation.is_matrix:
      kind, taken = "matrix", max(operation.flops.at(batch) / speed, moving)
    elif operation.is_update:
      kind, taken = "update", moving
    else:
      fused = hardware.fuses and operation.type not in _REDUCTIONS
      kind, taken = "other", 0.0 if fused else moving
    seconds[kind] += taken + hardware.op_overhead
  return seconds


def all_reduce_seconds(num_bytes: float, replicas: int, hardware: Device) -> float:
  """Seconds to sum num_bytes over replicas: within nodes, and then between them.

  Each level takes the better of recursive doubling, log2(p) messages of everything,
  and a ring, 2 (p - 1) messages of a p-th (Thakur et al. 2005).
  """
  inside = min(replicas, hardware.node)
  nodes = math.ceil(replicas / hardware.node)
  return _level(
    num_bytes, inside, hardware.link_bandwidth, hardware.link_latency
  ) + _level(
    num_bytes / inside, nodes, hardware.network_bandwidth, hardware.network_latency
  )


def _level(num_bytes, members, bandwidth, latency):
  if members == 1:
    return 0.0
  doubling = math.ceil(math.log2(members)) * (latency + num_bytes / bandwidth)
  ring = 2 * (members - 1) * (latency + num_bytes / members / bandwidth)
  return min(doubling, ring)


def fitted_efficiency(
  step: Step, hardware: Device, batch: float, seconds: float
) -> float:
  """The efficiency at which a step of `batch` takes `seconds` on one replica.

  Raises:
    UserError: bytes alone take longer, or the peak itself is too slow.
  """
  low, high = 1e-3, 1.0

  def predicted(efficiency):
    at = dataclasses.replace(hardware, efficiency=efficiency)
    return sum(step_seconds(step, at, batch).values())

  if not predicted(high) <= seconds <= predicted(low):
    raise UserError(
      f"a step of {seconds:.3g} s cannot be explained by any efficiency: "
      f"at the peak it takes {predicted(high):.3g} s; measure again with "
      "--rounds 5, or on an idle machine"
    )
  for _ in range(50):
    middle = math.sqrt(low * high)
    low, high = (middle, high) if predicted(middle) > seconds else (low, middle)
  return high


def classifier_seconds(
  hardware: Device, dtype: str, images: float, flops_per_image: float
) -> float:
  """Seconds to compute the logits of so many images on one replica."""
  return images * flops_per_image / (hardware.peak[dtype] * hardware.efficiency)


# Classifiers -----------------------------------------------------------------

# GFLOP of one image at the classifier's own size, two for each multiplication with its
# addition, as their authors publish them.
CLASSIFIER_GFLOP = {
  "resnet152": 22.6,
  "robust_resnet152": 22.6,  # He et al. 2016, Table 1
  "robust_resnet152_linf16": 22.6,
  "inception_v3": 11.4,  # Szegedy et al. 2016: 5.7 billion multiplications
  "efficientnet_lite0": 0.81,  # its repository: 407 million
  "squeezenet1_1": 0.70,  # its repository: 350 million
}


def classifier_gflop(handle: str | None, given: float | None = None) -> float | None:
  """GFLOP of one image, or None where it is not known."""
  return CLASSIFIER_GFLOP.get(handle) if given is None else given
