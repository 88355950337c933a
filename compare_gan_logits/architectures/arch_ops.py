"""The layers of compare_gan, under its names, with its arguments and variables.

Every function creates its variables in the current variable scope, so a second call
under reuse is the same layer. Tensors are float32 NHWC; with compute.dtype bfloat16
convolutions return bfloat16. What makes them fast lies in scaled_convolutions.py,
attention.py and network_pass.py.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import attention
from compare_gan_logits.architectures import network_pass as network_pass_lib
from compare_gan_logits.architectures import scaled_convolutions
from compare_gan_logits.architectures.network_pass import NetworkPass
from compare_gan_logits.architectures.network_pass import network_pass
from compare_gan_logits.errors import UserError
from compare_gan_logits.tpu import tpu_ops


__all__ = [
  "NetworkPass",
  "batch_norm",
  "compute_dtype",
  "conditional_batch_norm",
  "conv1x1",
  "conv2d",
  "deconv2d",
  "flatten",
  "layer_norm",
  "linear",
  "lrelu",
  "network_pass",
  "no_batch_norm",
  "non_local_block",
  "scaled_conv2d",
  "self_modulated_batch_norm",
  "spectral_norm",
  "standardize_batch",
  "variable",
  "weight_initializer",
  "weight_norm_conv2d",
  "weight_norm_deconv2d",
  "weight_norm_linear",
]


@gin.configurable("weights")
def weight_initializer(initializer: str = "normal", stddev: float = 0.02) -> Any:
  """The initializer of kernels.

  Args:
    initializer: "normal", "truncated" or "orthogonal".
    stddev: of the first two. The layers below hand over their own, so that a
      binding of `weights.stddev` reaches direct calls only, as in compare_gan.

  Raises:
    UserError: another name.
  """
  if initializer == "normal":
    return tf.random_normal_initializer(stddev=stddev)
  if initializer == "truncated":
    return tf.truncated_normal_initializer(stddev=stddev)
  if initializer == "orthogonal":
    return tf.orthogonal_initializer()
  raise UserError(
    f"weights.initializer {initializer!r} is not one of normal, truncated, orthogonal"
  )


def variable(
  name: str,
  shape: Sequence[int],
  initializer: Any,
  trainable: bool = True,
  dtype: tf.DType = tf.float32,
  collections: Sequence[str] | None = None,
) -> tf.Variable:
  """A resource variable; one that is only assigned keeps the first replica's value."""
  return tf.get_variable(
    name,
    shape,
    dtype=dtype,
    initializer=initializer,
    trainable=trainable,
    collections=collections,
    use_resource=True,
    aggregation=(
      tf.VariableAggregation.NONE
      if trainable
      else tf.VariableAggregation.ONLY_FIRST_REPLICA
    ),
  )


@gin.configurable("compute")
def compute_dtype(dtype: str = "float32") -> tf.DType:
  """The type that convolutions multiply in: "float32" or "bfloat16".

  With bfloat16 convolutions and attention take and return bfloat16. Weights,
  spectral norm, moments, linear layers and losses stay float32, and checkpoints
  are the same.

  Raises:
    UserError: another type.
  """
  if dtype not in ("float32", "bfloat16"):
    raise UserError(f"compute.dtype {dtype!r} is not one of float32, bfloat16")
  return tf.as_dtype(dtype)


# Spectral norm ---------------------------------------------------------------


@gin.configurable(denylist=["inputs"])
def spectral_norm(
  inputs: tf.Variable | tf.Tensor,
  epsilon: float = 1e-12,
  singular_value: str = "left",
) -> tf.Tensor:
  """Divides a kernel by its largest singular value (Miyato et al. 2018).

  One power iteration, which starts from the variable `<name>/u_var` in the current
  scope, where <name> is the last part of the kernel's own name. In training the
  iteration's result replaces it: when the returned kernel is computed, or, inside of a
  network_pass, among its updates and once, by the first kernel of that name. Where no
  network says whether it is in training, it is.

  Args:
    inputs: kernel [..., output channels], seen as a matrix [-1, channels].
    epsilon: added under the roots of the two vectors' norms.
    singular_value: which vector is kept, "left" [rows, 1], "right" [1, cols] or
      "auto", the shorter one.

  Returns:
    The normalised kernel. The vectors are constants for the gradient.

  Raises:
    UserError: a kernel with less than two axes, or an unknown singular_value.
  """
  if inputs.shape.rank is None or inputs.shape.rank < 2:
    raise UserError(
      f"spectral_norm takes kernels of two axes or more, not of shape {inputs.shape}"
    )
  if singular_value not in ("left", "right", "auto"):
    raise UserError(
      f"spectral_norm.singular_value {singular_value!r} is not one of left, right, auto"
    )
  vector_name = f"{_own_name(inputs)}/u_var"
  vector_key = f"{tf.get_variable_scope().name}/{vector_name}"
  key = vector_key, _source_name(inputs)
  in_training = network_pass_lib.current_phase() is not False
  current = network_pass_lib.current_pass() if in_training else None
  if current is not None and key in current.kernels:
    return current.kernels[key]

  matrix = tf.reshape(inputs, [-1, _channels(inputs)])
  rows, columns = matrix.shape.as_list()
  left = singular_value == "left" or (singular_value == "auto" and rows <= columns)
  if current is not None and vector_key in current.vectors:
    # Another kernel's iteration has its update already.
    sigma, _ = _power_iteration(matrix, current.vectors[vector_key], left, epsilon)
    current.kernels[key] = inputs * (1.0 / sigma)
    return current.kernels[key]
  u_var = variable(
    vector_name,
    [rows, 1] if left else [1, columns],
    tf.random_normal_initializer(),
    trainable=False,
  )
  vector = tf.convert_to_tensor(u_var)
  sigma, kept = _power_iteration(matrix, vector, left, epsilon)
  # Times the reciprocal: the gradient of a division passes over the kernel thrice more.
  scale = 1.0 / sigma
  if not in_training:
    return inputs * scale
  # The first replica's value is assigned to all: not before each has read its own.
  with tf.control_dependencies([kept]):
    update = u_var.assign(kept)
  if current is None:
    with tf.control_dependencies([update]):
      return inputs * tf.identity(scale)
  current.updates.append(update)
  current.vectors[vector_key] = vector
  current.kernels[key] = inputs * scale
  return current.kernels[key]


def _source_name(weight: tf.Variable | tf.Tensor) -> str:
  """The full name of a variable, also of its value; of any other tensor its own."""
  if not isinstance(weight, tf.Variable) and weight.op.type == "ReadVariableOp":
    return weight.op.inputs[0].name
  return weight.name


def _own_name(weight: tf.Variable | tf.Tensor) -> str:
  """The last part of a variable's name, also of its moving average and its value."""
  name = _source_name(weight).split(":")[0]
  suffix = "/ExponentialMovingAverage"
  if name.endswith(suffix):
    name = name[: -len(suffix)]
  return name.rsplit("/", 1)[-1]


def _power_iteration(
  matrix: tf.Tensor, vector: tf.Tensor, left: bool, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor]:
  """(estimate of the largest singular value, vector to keep)."""
  constant = tf.stop_gradient(matrix)
  normalize = functools.partial(tf.math.l2_normalize, epsilon=epsilon)
  if left:
    v = normalize(tf.matmul(constant, vector, transpose_a=True))
    u = normalize(tf.matmul(constant, v))
  else:
    u = normalize(tf.matmul(constant, vector, transpose_b=True))
    v = normalize(tf.matmul(constant, u, transpose_a=True))
  return tf.reduce_sum(u * tf.matmul(matrix, v)), u if left else tf.transpose(v)


def _channels(tensor: tf.Tensor) -> int:
  return tensor.shape.as_list()[-1]


def _kernel(shape: Sequence[int], stddev: float, use_sn: bool) -> tf.Tensor:
  kernel = variable("kernel", shape, weight_initializer(stddev=stddev))
  return spectral_norm(kernel) if use_sn else tf.convert_to_tensor(kernel)


def _add_bias(outputs: tf.Tensor, start: float = 0.0) -> tf.Tensor:
  bias = variable("bias", [_channels(outputs)], tf.constant_initializer(start))
  return tf.nn.bias_add(outputs, tf.cast(bias, outputs.dtype))


# Linear and convolutional layers ---------------------------------------------


def linear(
  inputs: tf.Tensor,
  output_size: int,
  scope: str | None = None,
  stddev: float = 0.02,
  bias_start: float = 0.0,
  use_sn: bool = False,
  use_bias: bool = True,
) -> tf.Tensor:
  """[batch, n] -> [batch, output_size]; variables `kernel`, `bias`.

  Args:
    inputs: float32 [batch, n].
    output_size: width of the output.
    scope: variable scope, "linear" if None.
    stddev: of the kernel's initializer.
    bias_start: value of the bias at the start.
    use_sn: spectral norm.
    use_bias: add a bias.
  """
  with tf.variable_scope(scope or "linear"):
    kernel = _kernel([_channels(inputs), output_size], stddev, use_sn)
    outputs = tf.matmul(inputs, kernel)
    return _add_bias(outputs, bias_start) if use_bias else outputs


def conv2d(
  inputs: tf.Tensor,
  output_dim: int,
  k_h: int,
  k_w: int,
  d_h: int,
  d_w: int,
  stddev: float = 0.02,
  name: str = "conv2d",
  use_sn: bool = False,
  use_bias: bool = True,
) -> tf.Tensor:
  """A convolution with padding SAME; variables `kernel` [k_h, k_w, in, out], `bias`.

  Args:
    inputs: [batch, h, w, channels].
    output_dim: number of output channels.
    k_h, k_w: size of the kernel.
    d_h, d_w: strides.
    stddev: of the kernel's initializer.
    name: variable scope.
    use_sn: spectral norm.
    use_bias: add a bias per channel.

  Returns:
    [batch, ceil(h / d_h), ceil(w / d_w), output_dim] of compute.dtype.
  """

  def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    if d_h == d_w == 1:
      return scaled_convolutions.convolve(x, kernel)
    return tf.nn.conv2d(x, kernel, strides=[d_h, d_w], padding="SAME")

  return _convolution(
    inputs, [k_h, k_w, _channels(inputs), output_dim], convolve, stddev, name, use_sn,
    use_bias,
  )  # fmt: skip


conv1x1 = functools.partial(conv2d, k_h=1, k_w=1, d_h=1, d_w=1)


def scaled_conv2d(
  inputs: tf.Tensor,
  output_dim: int,
  kernel_size: Sequence[int],
  scale: str,
  stddev: float = 0.02,
  name: str = "conv2d",
  use_sn: bool = False,
  use_bias: bool = True,
) -> tf.Tensor:
  """conv2d of stride 1 with compare_gan's scaling folded in.

  Args:
    inputs: [batch, h, w, channels].
    output_dim: number of output channels.
    kernel_size: (k_h, k_w).
    scale: "none", "up" (zero insertion, then the convolution: [2h, 2w]) or "down" (the
      convolution, then a 2x2 mean: [ceil(h/2), ceil(w/2)]).
    stddev, name, use_sn, use_bias: as in conv2d.
  """
  return _convolution(
    inputs,
    [*kernel_size, _channels(inputs), output_dim],
    functools.partial(scaled_convolutions.convolve, scale=scale),
    stddev,
    name,
    use_sn,
    use_bias,
  )


def deconv2d(
  inputs: tf.Tensor,
  output_shape: Sequence[int | None],
  k_h: int,
  k_w: int,
  d_h: int,
  d_w: int,
  stddev: float = 0.02,
  name: str = "deconv2d",
  use_sn: bool = False,
) -> tf.Tensor:
  """A transposed convolution, SAME; variables `kernel` [k_h, k_w, out, in], `bias`.

  Args:
    inputs: [batch, h, w, channels].
    output_shape: [batch, h', w', output channels]; batch may be None, for the inputs'.
    k_h, k_w: size of the kernel.
    d_h, d_w: strides.
    stddev: of the kernel's initializer.
    name: variable scope.
    use_sn: spectral norm of the kernel as a matrix whose columns are input channels.

  Returns:
    output_shape, of compute.dtype.
  """
  batch, *size = output_shape

  def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    shape = tf.stack([tf.shape(x)[0] if batch is None else batch, *size])
    outputs = tf.nn.conv2d_transpose(
      x, kernel, shape, strides=[1, d_h, d_w, 1], padding="SAME"
    )
    if batch is None:
      outputs.set_shape([x.shape[0], *size])
    return outputs

  kernel_shape = [k_h, k_w, size[-1], _channels(inputs)]
  return _convolution(inputs, kernel_shape, convolve, stddev, name, use_sn)


def _convolution(
  inputs: tf.Tensor,
  kernel_shape: Sequence[int],
  convolve: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
  stddev: float,
  name: str,
  use_sn: bool,
  use_bias: bool = True,
) -> tf.Tensor:
  with tf.variable_scope(name):
    kernel = _kernel(kernel_shape, stddev, use_sn)
    dtype = compute_dtype()
    outputs = convolve(tf.cast(inputs, dtype), tf.cast(kernel, dtype))
    return _add_bias(outputs) if use_bias else outputs


def flatten(inputs: tf.Tensor) -> tf.Tensor:
  """[batch, ...] -> [batch, n]; all axes but the batch are known."""
  return tf.reshape(inputs, [-1, math.prod(inputs.shape.as_list()[1:])])


def lrelu(inputs: tf.Tensor, leak: float = 0.2, name: str = "lrelu") -> tf.Tensor:
  """max(x, leak * x), whose gradient at 0 is 1."""
  return tf.maximum(inputs, leak * inputs, name=name)


# Weight normalisation --------------------------------------------------------


def weight_norm_linear(
  input_: tf.Tensor,
  output_size: int,
  init: bool = False,
  init_scale: float = 1.0,
  name: str = "wn_linear",
  initializer: Callable[..., Any] = tf.truncated_normal_initializer,
  stddev: float = 0.02,
) -> tf.Tensor:
  """A linear layer with weight normalisation (Salimans & Kingma 2016).

  A first call with init=True makes the variables `V`, `g` and `b`, the latter two
  from the batch, so that each output has mean 0 and deviation init_scale. A later call
  under reuse is the layer x V g / |V| + b.

  Args:
    input_: [batch, n].
    output_size: width of the output.
    init: whether this is the first call.
    init_scale: deviation of the outputs of the first call.
    name: variable scope.
    initializer: class of V's initializer, which takes stddev.
    stddev: of V at the start.
  """
  return _weight_norm(
    tf.matmul,
    input_,
    [_channels(input_), output_size],
    0,
    [0],
    init and init_scale,
    1e-10,
    name,
    initializer(stddev=stddev),
  )


def weight_norm_conv2d(
  input_: tf.Tensor,
  output_dim: int,
  k_h: int,
  k_w: int,
  d_h: int,
  d_w: int,
  init: bool,
  init_scale: float,
  stddev: float = 0.02,
  name: str = "wn_conv2d",
  initializer: Callable[..., Any] = tf.truncated_normal_initializer,
) -> tf.Tensor:
  """A SAME convolution with weight normalisation; see weight_norm_linear."""

  def convolve(x: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, v, strides=[d_h, d_w], padding="SAME")

  return _weight_norm(
    convolve,
    input_,
    [k_h, k_w, _channels(input_), output_dim],
    [0, 1, 2],
    [0, 1, 2],
    init and init_scale,
    1e-8,
    name,
    initializer(stddev=stddev),
  )


def weight_norm_deconv2d(
  x: tf.Tensor,
  output_dim: int,
  k_h: int,
  k_w: int,
  d_h: int,
  d_w: int,
  init: bool = False,
  init_scale: float = 1.0,
  stddev: float = 0.02,
  name: str = "wn_deconv2d",
  initializer: Callable[..., Any] = tf.truncated_normal_initializer,
) -> tf.Tensor:
  """A transposed convolution with weight normalisation; see weight_norm_linear.

  compare_gan looks for a variable `v` in the later calls and does not find it; here
  they find `V`.
  """
  _, height, width, channels = x.shape.as_list()

  def convolve(inputs: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
    shape = tf.stack([tf.shape(inputs)[0], height * d_h, width * d_w, output_dim])
    outputs = tf.nn.conv2d_transpose(
      inputs, v, shape, strides=[1, d_h, d_w, 1], padding="SAME"
    )
    outputs.set_shape([x.shape[0], height * d_h, width * d_w, output_dim])
    return outputs

  return _weight_norm(
    convolve,
    x,
    [k_h, k_w, output_dim, channels],
    [0, 1, 3],
    [0, 1, 2],
    init and init_scale,
    1e-8,
    name,
    initializer(stddev=stddev),
  )


def _weight_norm(
  apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
  inputs: tf.Tensor,
  shape: Sequence[int],
  norm_axis: int | Sequence[int],
  moment_axis: Sequence[int],
  init_scale: float,
  epsilon: float,
  name: str,
  initializer,
) -> tf.Tensor:
  """A layer that is linear in its kernel V; init_scale is false in later calls."""
  with tf.variable_scope(name):
    v = variable("V", shape, initializer)
    if init_scale:
      # g and b are initialised with V, so from what V will be.
      start = tf.cond(v.is_initialized(), v.read_value, lambda: v.initial_value)
      kernel = tf.math.l2_normalize(start, norm_axis)
      outputs = apply(inputs, kernel)
      mean, variance = tf.nn.moments(outputs, moment_axis)
      scale = init_scale / tf.sqrt(variance + epsilon)
      tf.get_variable("g", initializer=scale, use_resource=True)
      tf.get_variable("b", initializer=-mean * scale, use_resource=True)
      return scale * (outputs - mean)
    g = tf.get_variable("g", use_resource=True)
    b = tf.get_variable("b", use_resource=True)
    norm = tf.sqrt(tf.reduce_sum(tf.square(v), norm_axis))
    return g / norm * apply(inputs, tf.convert_to_tensor(v)) + b


# Batch norms -----------------------------------------------------------------


@gin.configurable(
  allowlist=["decay", "epsilon", "use_cross_replica_mean", "use_moving_averages"]
)
def standardize_batch(
  inputs: tf.Tensor,
  is_training: bool,
  decay: float = 0.999,
  epsilon: float = 1e-3,
  data_format: str = "NHWC",
  use_moving_averages: bool = True,
  use_cross_replica_mean: bool | None = None,
  *,
  gamma: tf.Tensor | None = None,
  beta: tf.Tensor | None = None,
) -> tf.Tensor:
  """Zero mean and unit variance per channel.

  Args:
    inputs: [batch, c], or [batch, h, w, c] in data_format.
    is_training: True normalises by the batch's moments.
    decay: of the moving averages.
    epsilon: added to the variance.
    data_format: "NHWC" or "NCHW".
    use_moving_averages: True keeps moving_mean and moving_variance for
      inference. False keeps sums over batches (scope `accu`) that a pass over
      the data fills while `update_accus` is 1: standing statistics.
    use_cross_replica_mean: moments over all replicas; None means yes.
    gamma, beta: float32 [c] or, for every example, [batch, c]: a scale and a shift
      that cost no further pass over the inputs. compare_gan's function has none.

  Returns:
    gamma * (inputs - mean) / sqrt(variance + epsilon) + beta, with the shape and the
    type of the inputs.

  Raises:
    UserError: another rank, an unknown number of channels or data_format.
  """
  _check_standardizable(inputs, data_format)
  channel_axis = 1 if data_format == "NCHW" else inputs.shape.rank - 1
  axis = [i for i in range(inputs.shape.rank) if i != channel_axis]
  if use_cross_replica_mean is False:
    mean, variance = _moments(inputs, axis)
  else:
    mean, variance = tpu_ops.cross_replica_moments(inputs, axis)
  if use_moving_averages:
    mean, variance = _moving_moments_for_inference(mean, variance, is_training, decay)
  else:
    mean, variance = _accumulated_moments_for_inference(mean, variance, is_training)

  # One product and one sum per element: the parameters are combined first.
  inverse_deviation = tf.rsqrt(variance + epsilon)
  scale = inverse_deviation if gamma is None else gamma * inverse_deviation
  shift = -mean * scale if beta is None else beta - mean * scale
  scale, shift = (_beside(x, inputs.shape.rank, data_format) for x in (scale, shift))
  return tf.cast(tf.cast(inputs, tf.float32) * scale + shift, inputs.dtype)


def _check_standardizable(inputs: tf.Tensor, data_format: str) -> None:
  if data_format not in ("NHWC", "NCHW"):
    raise UserError(f"data_format {data_format!r} is not one of NHWC, NCHW")
  if inputs.shape.rank not in (2, 4):
    raise UserError(
      f"standardize_batch takes tensors of rank 2 or 4, not of shape {inputs.shape}"
    )
  if inputs.shape.as_list()[1 if data_format == "NCHW" else -1] is None:
    raise UserError(
      f"standardize_batch needs a known number of channels, which {inputs.shape} "
      "does not have"
    )


def _beside(values: tf.Tensor, rank: int, data_format: str) -> tf.Tensor:
  """[c] or [batch, c] in a shape that broadcasts against inputs of that rank."""
  if rank == 2 or (values.shape.rank == 1 and data_format == "NHWC"):
    return values
  if data_format == "NCHW":
    return values[..., tf.newaxis, tf.newaxis]
  return values[:, tf.newaxis, tf.newaxis, :]


def _moments(inputs: tf.Tensor, axis: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
  inputs = tf.cast(inputs, tf.float32)
  mean = tf.reduce_mean(inputs, axis)
  return mean, tf.reduce_mean(tf.square(inputs), axis) - tf.square(mean)


def _moving_moments_for_inference(
  mean: tf.Tensor, variance: tf.Tensor, is_training: bool, decay: float
) -> tuple[tf.Tensor, tf.Tensor]:
  """The moments to normalise by: the batch's in training, else the moving averages."""
  collections = [
    tf.GraphKeys.GLOBAL_VARIABLES,
    tf.GraphKeys.MODEL_VARIABLES,
    tf.GraphKeys.MOVING_AVERAGE_VARIABLES,
  ]
  moving_mean, moving_variance = (
    variable(name, mean.shape, start, trainable=False, collections=collections)
    for name, start in (
      ("moving_mean", tf.zeros_initializer()),
      ("moving_variance", tf.ones_initializer()),
    )
  )
  if not is_training:
    return tf.convert_to_tensor(moving_mean), tf.convert_to_tensor(moving_variance)
  for moving, value in ((moving_mean, mean), (moving_variance, variance)):
    network_pass_lib.update_moving_average(moving, value, decay)
  return mean, variance


def _accumulated_moments_for_inference(
  mean: tf.Tensor, variance: tf.Tensor, is_training: bool
) -> tuple[tf.Tensor, tf.Tensor]:
  """The moments to normalise by: the batch's in training, else the means of the sums."""
  with tf.variable_scope("accu"):
    accu_mean = variable(
      "accu_mean", mean.shape, tf.zeros_initializer(), trainable=False
    )
    accu_variance = variable(
      "accu_variance", variance.shape, tf.zeros_initializer(), trainable=False
    )
    # Not zero, so that inference before any accumulation is no division by zero.
    accu_counter = variable(
      "accu_counter", [], tf.constant_initializer(1e-12), trainable=False
    )
    update_accus = variable(
      "update_accus", [], tf.zeros_initializer(), trainable=False, dtype=tf.int32
    )
  if is_training:
    return mean, variance
  updates = []
  current = network_pass_lib.current_pass()
  if current is None or current.accumulate:
    update = tf.cast(update_accus, tf.float32)
    updates = [
      accu_mean.assign_add(update * mean),
      accu_variance.assign_add(update * variance),
      accu_counter.assign_add(update),
    ]
  # The layers above see what this batch adds, as in the reference.
  with tf.control_dependencies(updates):
    counter = accu_counter.read_value()
    return accu_mean.read_value() / counter, accu_variance.read_value() / counter


def no_batch_norm(inputs: tf.Tensor) -> tf.Tensor:
  """The inputs."""
  return inputs


gin.external_configurable(no_batch_norm, "no_batch_norm", allowlist=[])


@gin.configurable(denylist=["inputs", "is_training", "center", "scale", "name"])
def batch_norm(
  inputs: tf.Tensor,
  is_training: bool,
  center: bool = True,
  scale: bool = True,
  name: str = "batch_norm",
) -> tf.Tensor:
  """Unconditional: `gamma` and `beta` are one trained number per channel.

  Args:
    inputs: [batch, c] or [batch, h, w, c].
    is_training: True normalises by the batch's moments.
    center: add beta.
    scale: multiply by gamma.
    name: variable scope.
  """
  with tf.variable_scope(name):
    channels = [_channels(inputs)]
    gamma = beta = None
    if scale:
      gamma = tf.convert_to_tensor(variable("gamma", channels, tf.ones_initializer()))
    if center:
      beta = tf.convert_to_tensor(variable("beta", channels, tf.zeros_initializer()))
    return standardize_batch(inputs, is_training, gamma=gamma, beta=beta)


@gin.configurable(
  denylist=["inputs", "z", "is_training", "use_sn", "center", "scale", "name"]
)
def self_modulated_batch_norm(
  inputs: tf.Tensor,
  z: tf.Tensor | None,
  is_training: bool,
  use_sn: bool,
  center: bool = True,
  scale: bool = True,
  name: str = "batch_norm",
  num_hidden: int = 32,
) -> tf.Tensor:
  """Chen et al. 2018: gamma and beta are functions of the noise z.

  Args:
    inputs: [batch, c] or [batch, h, w, c].
    z: noise [batch, n].
    is_training: True normalises by the batch's moments.
    use_sn: spectral norm of the linear layers.
    center: add beta.
    scale: multiply by gamma, whose bias starts at 1.
    name: variable scope.
    num_hidden: width of the one hidden layer that they share; 0 for none.

  Raises:
    UserError: there is no z.
  """
  if z is None:
    raise UserError(
      "self_modulated_batch_norm needs the noise z, which this layer "
      "of the architecture does not have"
    )
  with tf.variable_scope(name):
    with tf.variable_scope("sbn"):
      h = z
      if num_hidden > 0:
        h = tf.nn.relu(linear(h, num_hidden, "hidden", use_sn=use_sn))
      channels = _channels(inputs)
      gamma = beta = None
      if scale:
        gamma = linear(h, channels, "gamma", bias_start=1.0, use_sn=use_sn)
      if center:
        beta = linear(h, channels, "beta", use_sn=use_sn)
    return standardize_batch(inputs, is_training, gamma=gamma, beta=beta)


@gin.configurable(
  denylist=["inputs", "y", "is_training", "use_sn", "center", "scale", "name"]
)
def conditional_batch_norm(
  inputs: tf.Tensor,
  y: tf.Tensor | None,
  is_training: bool,
  use_sn: bool,
  center: bool = True,
  scale: bool = True,
  name: str = "batch_norm",
  use_bias: bool = False,
  center_gamma: bool = False,
) -> tf.Tensor:
  """gamma and beta are linear maps of the condition y.

  Args:
    inputs: [batch, c] or [batch, h, w, c].
    y: condition [batch, n].
    is_training: True normalises by the batch's moments.
    use_sn: spectral norm of the linear maps.
    center: add beta.
    scale: multiply by gamma.
    name: variable scope.
    use_bias: give the two linear maps a bias.
    center_gamma: gamma = 1 + the linear map. compare_gan has no such 1, and a
      small condition then multiplies every channel by almost nothing.

  Raises:
    UserError: there is no y, or its rank is not 2.
  """
  if y is None:
    raise UserError(
      "conditional_batch_norm needs a condition: bind "
      "ModularGAN.conditional = True, or G.batch_norm_fn = @batch_norm"
    )
  if y.shape.rank != 2:
    raise UserError(
      f"conditional_batch_norm takes a condition [batch, n], not of shape {y.shape}"
    )
  with tf.variable_scope(name):
    with tf.variable_scope("condition"):
      channels = _channels(inputs)
      gamma = beta = None
      if scale:
        gamma = linear(y, channels, "gamma", use_sn=use_sn, use_bias=use_bias)
        gamma = gamma + 1.0 if center_gamma else gamma
      if center:
        beta = linear(y, channels, "beta", use_sn=use_sn, use_bias=use_bias)
    return standardize_batch(inputs, is_training, gamma=gamma, beta=beta)


def layer_norm(
  input_: tf.Tensor, is_training: bool, scope: str | None = "layer_norm"
) -> tf.Tensor:
  """Ba et al. 2016: moments over all axes but the batch, gamma and beta per channel.

  Args:
    input_: [batch, ..., c].
    is_training: whether gamma and beta are trainable.
    scope: variable scope.
  """
  with tf.variable_scope(scope, "LayerNorm"):
    values = tf.cast(input_, tf.float32)
    axis = list(range(1, input_.shape.rank))
    mean, variance = tf.nn.moments(values, axis, keepdims=True)
    channels = [_channels(input_)]
    gamma = variable("gamma", channels, tf.ones_initializer(), trainable=is_training)
    beta = variable("beta", channels, tf.zeros_initializer(), trainable=is_training)
    return tf.cast(
      tf.nn.batch_normalization(values, mean, variance, beta, gamma, 1e-12),
      input_.dtype,
    )


# Attention -------------------------------------------------------------------


def non_local_block(x: tf.Tensor, name: str, use_sn: bool) -> tf.Tensor:
  """Self-attention (Zhang et al. 2018, as in BigGAN): x + sigma * attention.

  Variables: `conv2d_theta`, `conv2d_phi`, `conv2d_g` and `conv2d_attn_g`, 1x1
  convolutions without bias, and the scalar `sigma`, which starts at 0.

  Args:
    x: [batch, h, w, c] with even h and w. Queries and keys have c // 8 channels (at
      least 1), values c // 2.
    name: variable scope.
    use_sn: spectral norm.
  """
  with tf.variable_scope(name):
    _, height, width, channels = x.shape.as_list()
    key_channels = max(channels // 8, 1)
    project = functools.partial(conv1x1, use_sn=use_sn, use_bias=False)

    def flatten(t: tf.Tensor) -> tf.Tensor:
      return tf.reshape(t, [-1, t.shape[1] * t.shape[2], t.shape[3]])

    theta = flatten(project(x, key_channels, name="conv2d_theta"))
    phi = project(x, key_channels, name="conv2d_phi")
    phi = flatten(tf.nn.max_pool2d(phi, 2, 2, "VALID"))
    g = project(x, channels // 2, name="conv2d_g")
    g = flatten(tf.nn.max_pool2d(g, 2, 2, "VALID"))
    in_training = network_pass_lib.current_phase()
    attend = attention.attend_in_training if in_training else attention.attend
    attended = tf.reshape(attend(theta, phi, g), [-1, height, width, channels // 2])
    sigma = variable("sigma", [], tf.zeros_initializer())
    attended = project(attended, channels, name="conv2d_attn_g")
    return x + tf.cast(sigma * tf.cast(attended, tf.float32), x.dtype)
