"""Layers of the reference, under its names.

Every layer function creates its variables in the current variable scope, so a
second call under reuse is the same layer. Tensors are NHWC.
"""

import contextlib
import contextvars

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError
from compare_gan_logits.tpu import tpu_ops


@gin.configurable("weights")
def weight_initializer(initializer="normal", stddev=0.02):
  """The initializer of kernels: "normal", "truncated" or "orthogonal"."""
  if initializer == "normal":
    return tf.random_normal_initializer(stddev=stddev)
  if initializer == "truncated":
    return tf.truncated_normal_initializer(stddev=stddev)
  if initializer == "orthogonal":
    return tf.orthogonal_initializer()
  raise UserError(
    f"weights.initializer {initializer!r} is not one of normal, truncated, orthogonal"
  )


def variable(name, shape, initializer, trainable=True, dtype=tf.float32):
  """A resource variable; one that is only assigned keeps the first replica's value."""
  return tf.get_variable(
    name,
    shape,
    dtype=dtype,
    initializer=initializer,
    trainable=trainable,
    use_resource=True,
    aggregation=(
      tf.VariableAggregation.NONE
      if trainable
      else tf.VariableAggregation.ONLY_FIRST_REPLICA
    ),
  )


# Spectral norm ---------------------------------------------------------------

_current_pass = contextvars.ContextVar("current_pass", default=None)


class NetworkPass:
  """What layers do besides computing their output.

  Args:
    accumulate: at inference, let batch norms add the moments of the batch to
      their standing statistics while `update_accus` is 1.

  Attributes:
    kernels: normalised kernels by scope: within one pass a kernel takes one power
      iteration, however often its layer is called.
    updates: ops that write spectral norm's vectors and moving averages. Whoever
      opens the pass runs them.
  """

  def __init__(self, accumulate=False):
    self.accumulate = accumulate
    self.kernels = {}
    self.updates = []
    self._last_update = {}

  def update_moving_average(self, moving, value, decay):
    """Appends moving -= (1 - decay) * (moving - value), after earlier calls' updates.

    The reference leaves the order of a step's calls to chance.
    """
    name = moving.op.name
    with tf.control_dependencies(self._last_update.get(name, [])):
      difference = moving.read_value() - tf.stop_gradient(value)
      update = moving.assign_sub((1 - decay) * difference)
    self._last_update[name] = [update]
    self.updates.append(update)


@contextlib.contextmanager
def network_pass(opened=None, accumulate=False):
  """Opens a NetworkPass, or goes on with one that was opened before.

  Training calls of a network happen in one; plain inference needs none.
  """
  token = _current_pass.set(opened or NetworkPass(accumulate))
  try:
    yield _current_pass.get()
  finally:
    _current_pass.reset(token)


@gin.configurable(denylist=["kernel", "name", "is_training"])
def spectral_norm(kernel, name, is_training, epsilon=1e-12, singular_value="left"):
  """Divides a kernel by its largest singular value (Miyato et al. 2018).

  One power iteration. The vector it starts from is kept in the variable
  `<name>/u_var` and, in training, replaced by the iteration's result.

  Args:
    kernel: tensor [..., output channels], seen as a matrix [-1, channels].
    name: the kernel's name in the current scope.
    is_training: bool, whether to update the vector.
    epsilon: added under the roots of the two vectors' norms.
    singular_value: which vector is kept, "left" [rows, 1], "right" [1, cols] or
      "auto", the shorter one.

  Returns:
    The normalised kernel. The vectors are constants for the gradient.
  """
  key = (tf.get_variable_scope().name, name)
  if is_training and key in _current_pass.get().kernels:
    return _current_pass.get().kernels[key]
  matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
  rows, columns = matrix.shape.as_list()
  if singular_value == "auto":
    singular_value = "left" if rows <= columns else "right"
  left = singular_value == "left"
  u_var = variable(
    f"{name}/u_var",
    [rows, 1] if left else [1, columns],
    tf.random_normal_initializer(),
    trainable=False,
  )

  constant = tf.stop_gradient(matrix)
  if left:
    v = tf.math.l2_normalize(
      tf.matmul(constant, u_var, transpose_a=True), epsilon=epsilon
    )
    u = tf.math.l2_normalize(tf.matmul(constant, v), epsilon=epsilon)
  else:
    u = tf.math.l2_normalize(
      tf.matmul(constant, u_var, transpose_b=True), epsilon=epsilon
    )
    v = tf.math.l2_normalize(tf.matmul(constant, u, transpose_a=True), epsilon=epsilon)
  sigma = tf.reduce_sum(u * tf.matmul(matrix, v))
  # Times the reciprocal: the gradient of a division passes over the kernel thrice more.
  normalized = kernel * (1.0 / sigma)
  if is_training:
    kept = u if left else tf.transpose(v)
    # The first replica's value is assigned to all: not before each has read its own.
    with tf.control_dependencies([kept]):
      _current_pass.get().updates.append(u_var.assign(kept))
    _current_pass.get().kernels[key] = normalized
  return normalized


def _kernel(shape, use_sn, is_training, initializer=None):
  kernel = variable("kernel", shape, initializer or weight_initializer())
  if use_sn:
    return spectral_norm(kernel, "kernel", is_training)
  return tf.convert_to_tensor(kernel)


# Linear and convolutional layers ---------------------------------------------


@gin.configurable("compute")
def compute_dtype(dtype="float32"):
  """The type that convolutions multiply in: "float32" or "bfloat16".

  With bfloat16 convolutions and attention take and return bfloat16. Weights,
  spectral norm, moments, linear layers and losses stay float32, and checkpoints
  are the same.
  """
  if dtype not in ("float32", "bfloat16"):
    raise UserError(f"compute.dtype {dtype!r} is not one of float32, bfloat16")
  return tf.as_dtype(dtype)


def linear(
  inputs, output_size, scope, is_training, use_sn=False, use_bias=True, initializer=None
):
  """[batch, n] -> [batch, output_size]."""
  with tf.variable_scope(scope):
    kernel = _kernel([inputs.shape[-1], output_size], use_sn, is_training, initializer)
    outputs = tf.matmul(inputs, kernel)
    if use_bias:
      outputs += variable("bias", [output_size], tf.zeros_initializer())
    return outputs


def conv2d(
  inputs,
  output_dim,
  kernel_size,
  scope,
  is_training,
  scaling="same",
  use_sn=False,
  use_bias=True,
):
  """A convolution with padding SAME, with the reference's scaling folded in.

  The reference upsamples before the convolution by inserting zeros and
  downsamples after it by a 2x2 mean. Both are one strided convolution with the
  same result and a quarter of the operations.

  Args:
    inputs: [batch, h, w, channels].
    output_dim: number of output channels.
    kernel_size: 1 or 3.
    scope: name of the layer's variable scope.
    is_training: whether spectral norm's vectors are updated.
    scaling: "same", "up" (zero insertion, then the convolution: [2h, 2w]) or
      "down" (the convolution, then a 2x2 mean: [h/2, w/2]).
    use_sn: spectral norm.
    use_bias: add a bias per channel.

  Returns:
    [batch, h', w', output_dim] of compute.dtype.
  """
  with tf.variable_scope(scope):
    kernel = _kernel(
      [kernel_size, kernel_size, inputs.shape[-1], output_dim], use_sn, is_training
    )
    dtype = compute_dtype()
    outputs = CONVOLUTIONS[scaling](tf.cast(inputs, dtype), tf.cast(kernel, dtype))
    if use_bias:
      bias = variable("bias", [output_dim], tf.zeros_initializer())
      outputs = tf.nn.bias_add(outputs, tf.cast(bias, dtype))
    return outputs


def _conv_same(inputs, kernel):
  if kernel.shape[0] != 1:
    return tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
  # A matrix product, whose gradients are faster than a convolution's.
  _, height, width, channels = inputs.shape.as_list()
  outputs = tf.matmul(tf.reshape(inputs, [-1, channels]), kernel[0, 0])
  return tf.reshape(outputs, [-1, height, width, kernel.shape[-1]])


# Up to this size one product of all taps is faster than a transposed convolution.
_SMALL_MAP = {tf.float32: 8, tf.bfloat16: 16}  # pixels


def conv_up(inputs, kernel):
  """Zero insertion (values at even positions), then a SAME convolution.

  Only the taps that meet a value matter. A 1x1 kernel meets zeros or one value, so
  zeros can be inserted after it. A 3x3 one is a transposed convolution of stride 2
  with the flipped kernel, whose output starts one row and column early.
  """
  if kernel.shape[0] == 1:
    return _insert_zeros(_conv_same(inputs, kernel))
  if inputs.shape[1] <= _SMALL_MAP[inputs.dtype]:
    return _conv_up_by_taps(inputs, kernel)
  flipped = tf.transpose(tf.reverse(kernel, axis=[0, 1]), [0, 1, 3, 2])
  _, height, width, _ = inputs.shape.as_list()
  if inputs.dtype == tf.bfloat16:
    # oneDNN has no kernel for it with explicit padding: cut off what starts early.
    early = _transposed_conv(
      inputs, flipped, [2 * height + 1, 2 * width + 1], padding="VALID"
    )
    # Not [:, 1:, 1:], whose gradient is slow.
    return tf.slice(early, [0, 1, 1, 0], [-1, -1, -1, -1])
  return _transposed_conv(
    inputs,
    flipped,
    [2 * height, 2 * width],
    padding="EXPLICIT",
    explicit_paddings=[0, 0, 1, 0, 1, 0, 0, 0],
  )


def _transposed_conv(inputs, kernel, size, **padding):
  """The transposed convolution of stride 2: [b, h, w, c] -> [b, *size, c']."""
  output_dim = kernel.shape[2]
  outputs = tf.raw_ops.Conv2DBackpropInput(
    input_sizes=tf.stack([tf.shape(inputs)[0], *size, output_dim]),
    filter=kernel,
    out_backprop=inputs,
    strides=[1, 2, 2, 1],
    **padding,
  )
  outputs.set_shape([inputs.shape[0], *size, output_dim])
  return outputs


def _insert_zeros(inputs):
  """[b, h, w, c] -> [b, 2h, 2w, c]: values at even positions, zeros at odd ones."""
  _, height, width, channels = inputs.shape.as_list()
  spread = tf.pad(
    tf.reshape(inputs, [-1, height, 1, width, channels]),
    [[0, 0], [0, 0], [0, 1], [0, 0], [0, channels]],
  )
  return tf.reshape(spread, [-1, 2 * height, 2 * width, channels])


def _conv_up_by_taps(inputs, kernel):
  """conv_up of a 3x3 kernel: all nine taps of every pixel in one matrix product.

  An even row of the result meets the kernel's middle row alone, an odd one the
  first row of the pixel above it and the last of the one below; so do columns.
  """
  _, height, width, channels = inputs.shape.as_list()
  output_dim = int(kernel.shape[-1])
  matrix = tf.reshape(tf.transpose(kernel, [2, 0, 1, 3]), [channels, 9 * output_dim])
  products = tf.matmul(tf.reshape(inputs, [-1, channels]), matrix)
  products = tf.reshape(products, [-1, height, width, 9 * output_dim])
  tap = tf.split(products, 9, axis=-1)

  def row(i):  # Even and odd columns of row i of the kernel, interleaved.
    odd = tap[3 * i] + _next(tap[3 * i + 2], axis=2)
    return tf.stack([tap[3 * i + 1], odd], axis=3)

  outputs = tf.stack([row(1), row(0) + _next(row(2), axis=1)], axis=2)
  return tf.reshape(outputs, [-1, 2 * height, 2 * width, output_dim])


def _next(values, axis):
  """Each place gets its successor's value along the axis, the last one zero."""
  begin = [int(i == axis) for i in range(values.shape.rank)]
  rest = tf.slice(values, begin, [-1] * values.shape.rank)
  return tf.pad(rest, [[0, b] for b in begin])


def conv_down(inputs, kernel):
  """A SAME convolution, then a 2x2 mean: a 2x2 mean, then a convolution of stride 2.

  Means and convolutions commute, so the mean is taken first, of every 2x2 window,
  and the convolution computes only what the pooled result has: a quarter.
  """
  if kernel.shape[0] == 1:
    return _conv_same(tf.nn.avg_pool2d(inputs, 2, 2, "VALID"), kernel)
  inputs = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
  means = tf.nn.avg_pool2d(inputs, 2, 1, "VALID")
  return tf.nn.conv2d(means, kernel, strides=2, padding="VALID")


CONVOLUTIONS = {"same": _conv_same, "up": conv_up, "down": conv_down}


# Batch norms -----------------------------------------------------------------


@gin.configurable(denylist=["inputs", "is_training"])
def standardize_batch(
  inputs,
  is_training,
  decay=0.999,
  epsilon=1e-3,
  use_cross_replica_mean=None,
  use_moving_averages=True,
):
  """Zero mean and unit variance per channel.

  Args:
    inputs: [batch, c] or [batch, h, w, c].
    is_training: True normalises by the batch's moments.
    decay: of the moving averages.
    epsilon: added to the variance.
    use_cross_replica_mean: moments over all replicas; None means yes.
    use_moving_averages: True keeps moving_mean and moving_variance for
      inference. False keeps sums over batches (scope `accu`) that a pass over
      the data fills while `update_accus` is 1: standing statistics.

  Returns:
    A pair (inverse deviation, mean), both [c] and differentiable: the caller
    folds them into its own scale and shift.
  """
  channels = inputs.shape[-1]
  axis = list(range(inputs.shape.rank - 1))
  if use_cross_replica_mean is False:
    mean, variance = _moments(inputs, axis)
  else:
    mean, variance = tpu_ops.cross_replica_moments(inputs, axis)
  if use_moving_averages:
    mean, variance = _moving_moments(mean, variance, channels, decay, is_training)
  else:
    mean, variance = _accumulated_moments(mean, variance, channels, is_training)
  return tf.rsqrt(variance + epsilon), mean


def _moments(inputs, axis):
  inputs = tf.cast(inputs, tf.float32)
  mean = tf.reduce_mean(inputs, axis)
  return mean, tf.reduce_mean(tf.square(inputs), axis) - tf.square(mean)


def _moving_moments(mean, variance, channels, decay, is_training):
  moving_mean = variable(
    "moving_mean", [channels], tf.zeros_initializer(), trainable=False
  )
  moving_variance = variable(
    "moving_variance", [channels], tf.ones_initializer(), trainable=False
  )
  if not is_training:
    return tf.convert_to_tensor(moving_mean), tf.convert_to_tensor(moving_variance)
  for moving, value in ((moving_mean, mean), (moving_variance, variance)):
    _current_pass.get().update_moving_average(moving, value, decay)
  return mean, variance


def _accumulated_moments(mean, variance, channels, is_training):
  with tf.variable_scope("accu"):
    accu_mean = variable(
      "accu_mean", [channels], tf.zeros_initializer(), trainable=False
    )
    accu_variance = variable(
      "accu_variance", [channels], tf.zeros_initializer(), trainable=False
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
  current = _current_pass.get()
  if current is not None and current.accumulate:
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


def _scale_and_shift(inputs, inverse_deviation, mean, gamma=None, beta=None):
  """gamma * (inputs - mean) * inverse_deviation + beta in two passes over inputs.

  gamma and beta are [c] or per example [batch, c].
  """
  scale = inverse_deviation if gamma is None else gamma * inverse_deviation
  shift = -mean * scale if beta is None else beta - mean * scale
  if scale.shape.rank == 2 and inputs.shape.rank == 4:
    scale, shift = (x[:, tf.newaxis, tf.newaxis, :] for x in (scale, shift))
  elif shift.shape.rank == 2 and inputs.shape.rank == 4:
    shift = shift[:, tf.newaxis, tf.newaxis, :]
  return tf.cast(tf.cast(inputs, tf.float32) * scale + shift, inputs.dtype)


def no_batch_norm(inputs, **_):
  return inputs


gin.external_configurable(no_batch_norm, "no_batch_norm", allowlist=[])


@gin.configurable(denylist=["inputs", "is_training", "center", "scale", "name"])
def batch_norm(inputs, is_training, center=True, scale=True, name="batch_norm", **_):
  """Unconditional: gamma and beta are one variable per channel."""
  with tf.variable_scope(name):
    moments = standardize_batch(inputs, is_training)
    channels = inputs.shape[-1]
    gamma = variable("gamma", [channels], tf.ones_initializer()) if scale else None
    beta = variable("beta", [channels], tf.zeros_initializer()) if center else None
    return _scale_and_shift(
      inputs,
      *moments,
      gamma=None if gamma is None else tf.convert_to_tensor(gamma),
      beta=None if beta is None else tf.convert_to_tensor(beta),
    )


@gin.configurable(
  denylist=["inputs", "z", "is_training", "use_sn", "center", "scale", "name"]
)
def self_modulated_batch_norm(
  inputs,
  z,
  is_training,
  use_sn,
  center=True,
  scale=True,
  name="batch_norm",
  num_hidden=32,
  **_,
):
  """Chen et al. 2018: gamma and beta are functions of the noise z.

  Args:
    num_hidden: width of the one hidden layer they share; 0 for none.
  """
  if z is None:
    raise UserError(
      "self_modulated_batch_norm needs the noise z, which this layer "
      "of the architecture does not have"
    )
  with tf.variable_scope(name):
    moments = standardize_batch(inputs, is_training)
    with tf.variable_scope("sbn"):
      h = z
      if num_hidden > 0:
        h = tf.nn.relu(linear(h, num_hidden, "hidden", is_training, use_sn))
      channels = inputs.shape[-1]
      gamma = linear(h, channels, "gamma", is_training, use_sn) if scale else None
      beta = linear(h, channels, "beta", is_training, use_sn) if center else None
    return _scale_and_shift(inputs, *moments, gamma=gamma, beta=beta)


@gin.configurable(
  denylist=["inputs", "y", "is_training", "use_sn", "center", "scale", "name"]
)
def conditional_batch_norm(
  inputs,
  y,
  is_training,
  use_sn,
  center=True,
  scale=True,
  name="batch_norm",
  use_bias=False,
  center_gamma=False,
  **_,
):
  """The reference's: gamma and beta are linear maps of the condition y.

  Args:
    inputs: [batch, h, w, c].
    y: condition [batch, n].
    use_bias: give the two linear maps a bias.
    center_gamma: gamma = 1 + the linear map. The reference has no such 1, and a
      small condition then multiplies every channel by almost nothing.
  """
  if y is None:
    raise UserError(
      "conditional_batch_norm needs a condition: bind "
      "ModularGAN.conditional = True, or G.batch_norm_fn = @batch_norm"
    )
  with tf.variable_scope(name):
    moments = standardize_batch(inputs, is_training)
    with tf.variable_scope("condition"):
      channels = inputs.shape[-1]
      gamma = beta = None
      if scale:
        gamma = linear(y, channels, "gamma", is_training, use_sn, use_bias)
        gamma = gamma + 1.0 if center_gamma else gamma
      if center:
        beta = linear(y, channels, "beta", is_training, use_sn, use_bias)
    return _scale_and_shift(inputs, *moments, gamma=gamma, beta=beta)


@gin.configurable(
  denylist=["inputs", "y", "is_training", "use_sn", "center", "scale", "name"]
)
def logit_conditional_batch_norm(
  inputs,
  y,
  is_training,
  use_sn,
  center=True,
  scale=True,
  name="batch_norm",
  num_hidden=128,
  **_,
):
  """Eq. 3 of the paper: gamma(z) and beta(z) are two-layer MLPs of the logits.

  Both start as the identity, gamma = 1 and beta = 0: the last layers are zero,
  and are therefore left out of spectral normalisation, which would divide by
  their zero singular value.

  Args:
    inputs: [batch, h, w, c].
    y: the block's condition [batch, n]: the (embedded) logits, after the block's
      share of the noise where hierarchical_z is on.
    num_hidden: width of the hidden layer of each MLP.
  """
  if y is None:
    raise UserError(
      "logit_conditional_batch_norm needs a condition: bind "
      "classifier.handle and ModularGAN.conditional = True"
    )
  with tf.variable_scope(name):
    moments = standardize_batch(inputs, is_training)
    with tf.variable_scope("condition"):
      channels = inputs.shape[-1]
      sizes = (num_hidden, channels)
      gamma = 1.0 + _mlp(y, *sizes, "gamma", is_training, use_sn) if scale else None
      beta = _mlp(y, *sizes, "beta", is_training, use_sn) if center else None
    return _scale_and_shift(inputs, *moments, gamma=gamma, beta=beta)


def _mlp(inputs, num_hidden, output_size, scope, is_training, use_sn):
  with tf.variable_scope(scope):
    hidden = tf.nn.relu(linear(inputs, num_hidden, "hidden", is_training, use_sn))
    return linear(
      hidden, output_size, "output", is_training, initializer=tf.zeros_initializer()
    )


@gin.configurable(denylist=["inputs", "scope"])
def layer_norm(inputs, scope="layer_norm", epsilon=1e-12):
  """Ba et al. 2016, over h, w and c, with gamma and beta per channel."""
  with tf.variable_scope(scope):
    values = tf.cast(inputs, tf.float32)
    axis = list(range(1, inputs.shape.rank))
    mean, variance = tf.nn.moments(values, axis, keepdims=True)
    channels = inputs.shape[-1]
    gamma = variable("gamma", [channels], tf.ones_initializer())
    beta = variable("beta", [channels], tf.zeros_initializer())
    return tf.cast(
      tf.nn.batch_normalization(values, mean, variance, beta, gamma, epsilon),
      inputs.dtype,
    )


# Attention -------------------------------------------------------------------


def non_local_block(inputs, scope, is_training, use_sn):
  """Self-attention (Zhang et al. 2018, as in BigGAN): inputs + sigma * attention.

  Args:
    inputs: [batch, h, w, c] with even h and w and c a multiple of 8.
  """
  with tf.variable_scope(scope):
    _, height, width, channels = inputs.shape.as_list()
    key_channels = max(channels // 8, 1)

    def project(x, size, name):
      return conv2d(x, size, 1, name, is_training, use_sn=use_sn, use_bias=False)

    def flatten(x):
      return tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])

    theta = flatten(project(inputs, key_channels, "conv2d_theta"))
    phi = project(inputs, key_channels, "conv2d_phi")
    phi = flatten(tf.nn.max_pool2d(phi, 2, 2, "VALID"))
    g = project(inputs, channels // 2, "conv2d_g")
    g = flatten(tf.nn.max_pool2d(g, 2, 2, "VALID"))
    # Exported modules cannot keep a gradient that is a function of Python's.
    attend = _attend_in_training if is_training else _attend
    attended = tf.reshape(attend(theta, phi, g), [-1, height, width, channels // 2])
    sigma = variable("sigma", [], tf.zeros_initializer())
    attended = project(attended, channels, "conv2d_attn_g")
    return inputs + tf.cast(sigma * tf.cast(attended, tf.float32), inputs.dtype)


def _attend(queries, keys, values):
  """softmax(queries keys') values, for every example of a batch."""
  return tf.matmul(_attention(queries, keys), values)


def _attention(queries, keys):
  return tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True))


@tf.custom_gradient
def _attend_in_training(queries, keys, values):
  """As _attend, with a gradient that needs a map less in memory, and a pass less.

  The sum over keys of the attention times its own gradient, for every query, is the
  sum over channels of the output times its gradient.
  """
  attention = _attention(queries, keys)
  outputs = tf.matmul(attention, values)

  def gradient(d_outputs):
    sums = tf.reduce_sum(
      tf.cast(d_outputs, tf.float32) * tf.cast(outputs, tf.float32),
      axis=-1,
      keepdims=True,
    )
    d_attention = tf.matmul(d_outputs, values, transpose_b=True)
    d_scores = attention * (d_attention - tf.cast(sums, queries.dtype))
    return (
      tf.matmul(d_scores, keys),
      tf.matmul(d_scores, queries, transpose_a=True),
      tf.matmul(attention, d_outputs, transpose_a=True),
    )

  return outputs, gradient
