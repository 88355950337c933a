"""Convolutions with compare_gan's scaling folded in.

compare_gan upsamples before a convolution by inserting zeros and downsamples after
one by a 2x2 mean. Both are one strided convolution with the same result and a quarter
of the operations. All tensors are NHWC, kernels [k, k, channels in, channels out].
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


# Up to this size one product of all taps is faster than a transposed convolution.
_SMALL_MAP = {tf.float32: 8, tf.bfloat16: 16}  # pixels

_plain: contextvars.ContextVar[bool] = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_formulation() -> Iterator[None]:
  """Graphs built in this context scale as compare_gan does, by operations of their own.

  And training steps score real images where compare_gan does. The results are the same;
  it is there to measure what the fast forms save.
  """
  token = _plain.set(True)
  try:
    yield
  finally:
    _plain.reset(token)


def is_plain() -> bool:
  """Whether the graph is built in the plain formulation."""
  return _plain.get()


@gin.configurable("upsampling")
def upsampling_method(method: str = "zeros") -> str:
  """What doubles the size of maps in front of a convolution, in every architecture.

  Args:
    method: "zeros" inserts them, as compare_gan does; "nearest" repeats every value, as
      BigGAN does (Brock et al. 2019, appendix B); "bilinear" interpolates. Zeros leave
      a woven texture in pictures of short trainings; Odena et al. 2016,
      "Deconvolution and Checkerboard Artifacts", explain it and recommend the others.

  Raises:
    UserError: another name.
  """
  if method not in _UPSAMPLINGS:
    raise UserError(
      f"upsampling.method {method!r}: {nearest(str(method), _UPSAMPLINGS)}"
    )
  return method


def upsample(inputs: tf.Tensor) -> tf.Tensor:
  """[batch, h, w, channels] -> [batch, 2h, 2w, channels] by upsampling.method."""
  return _UPSAMPLINGS[upsampling_method()](inputs)


def convolve(inputs: tf.Tensor, kernel: tf.Tensor, scale: str = "none") -> tf.Tensor:
  """A SAME convolution of stride 1, after upsampling or before a 2x2 mean.

  Args:
    inputs: [batch, h, w, channels].
    kernel: [k, k, channels, output channels] of the same type.
    scale: "none"; "up" doubles the size first by upsampling.method: [2h, 2w]; "down"
      takes the mean (SAME, of what there is at an odd edge) afterwards:
      [ceil(h/2), ceil(w/2)].
  """
  foldable = scale == "none" or _foldable(inputs, kernel, scale)
  if scale == "up":
    method = upsampling_method()
    if foldable and method in _CONVOLUTIONS_UP:
      return _CONVOLUTIONS_UP[method](inputs, kernel)
    return conv_same(upsample(inputs), kernel)
  if foldable:
    return _CONVOLUTIONS[scale](inputs, kernel)
  return tf.nn.avg_pool2d(conv_same(inputs, kernel), 2, 2, "SAME")


def _foldable(inputs: tf.Tensor, kernel: tf.Tensor, scale: str) -> bool:
  multiple = 2 if scale == "down" else 1
  fits = all(size and size % multiple == 0 for size in inputs.shape.as_list()[1:3])
  return fits and kernel.shape.as_list()[:2] in ([1, 1], [3, 3]) and not is_plain()


def conv_same(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """A SAME convolution of stride 1."""
  _, height, width, channels = inputs.shape.as_list()
  if kernel.shape.as_list()[:2] != [1, 1] or None in (height, width):
    return tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
  # A matrix product, whose gradients are faster than a convolution's.
  outputs = tf.matmul(tf.reshape(inputs, [-1, channels]), kernel[0, 0])
  return tf.reshape(outputs, [-1, height, width, kernel.shape[-1]])


def conv_up(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """Zero insertion (values at even positions), then a SAME convolution.

  Only the taps that meet a value matter. A 1x1 kernel meets zeros or one value, so
  zeros can be inserted after it. A 3x3 one is a transposed convolution of stride 2
  with the flipped kernel, whose output starts one row and column early.
  """
  if kernel.shape[0] == 1:
    return insert_zeros(conv_same(inputs, kernel))
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


def _transposed_conv(
  inputs: tf.Tensor, kernel: tf.Tensor, size: list[int], **padding
) -> tf.Tensor:
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


def insert_zeros(inputs: tf.Tensor) -> tf.Tensor:
  """Doubles every spatial axis: values at even positions, zeros at odd ones.

  Args:
    inputs: [batch, *sizes, channels] with known sizes.
  """
  *sizes, channels = inputs.shape.as_list()[1:]
  *outer, last = sizes
  # A size of 1 behind each axis but the last is padded to 2. The last one's zeros are
  # further channels, which saves an axis.
  spread = [side for size in outer for side in (size, 1)]
  padding = [[0, 0]] + [[0, side] for _ in outer for side in (0, 1)]
  padded = tf.pad(
    tf.reshape(inputs, [-1, *spread, last, channels]),
    [*padding, [0, 0], [0, channels]],
  )
  outputs = tf.reshape(padded, [-1, *(2 * size for size in sizes), channels])
  outputs.set_shape([inputs.shape[0], *outputs.shape[1:]])
  return outputs


def _conv_up_by_taps(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
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

  def row(i: int) -> tf.Tensor:
    """Even and odd columns of row i of the kernel, interleaved."""
    odd = tap[3 * i] + _next(tap[3 * i + 2], axis=2)
    return tf.stack([tap[3 * i + 1], odd], axis=3)

  outputs = tf.stack([row(1), row(0) + _next(row(2), axis=1)], axis=2)
  return tf.reshape(outputs, [-1, 2 * height, 2 * width, output_dim])


def _next(values: tf.Tensor, axis: int) -> tf.Tensor:
  """Each place gets its successor's value along the axis, the last one zero."""
  begin = [int(i == axis) for i in range(values.shape.rank)]
  rest = tf.slice(values, begin, [-1] * values.shape.rank)
  return tf.pad(rest, [[0, b] for b in begin])


def conv_up_nearest(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """Every value repeated 2x2, then a SAME convolution, from four 2x2 convolutions.

  The 3x3 taps of a pixel of the result fall on 2x2 different values. Those that fall
  on the same one are added up beforehand: 16 products a value in the place of 36.
  """
  if kernel.shape[0] == 1:
    return repeat_values(conv_same(inputs, kernel))
  rows = _paired_taps(kernel, axis=0)
  kernels = [taps for row in rows for taps in _paired_taps(row, axis=1)]
  _, height, width, _ = inputs.shape.as_list()
  padded = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
  # One convolution with four times the channels, over windows that start one early.
  outputs = tf.nn.conv2d(padded, tf.concat(kernels, -1), strides=1, padding="VALID")
  parts = iter(tf.split(outputs, 4, axis=-1))  # [batch, h + 1, w + 1, channels] each

  def row(top: int) -> tf.Tensor:
    """Rows of one parity: even and odd columns, interleaved."""
    columns = [
      tf.slice(next(parts), [0, top, left, 0], [-1, height, width, -1])
      for left in (0, 1)
    ]
    return tf.stack(columns, axis=3)

  outputs = tf.stack([row(0), row(1)], axis=2)
  return tf.reshape(outputs, [-1, 2 * height, 2 * width, kernel.shape[-1]])


def _paired_taps(kernel: tf.Tensor, axis: int) -> list[tf.Tensor]:
  """Three taps along the axis as two, for the even and for the odd places.

  An even place sees the value before it, by the first tap, and its own; an odd one its
  own and the next one, by the last tap.
  """
  first, middle, last = tf.unstack(kernel, axis=axis)
  return [
    tf.stack([first, middle + last], axis),
    tf.stack([first + middle, last], axis),
  ]


def repeat_values(inputs: tf.Tensor) -> tf.Tensor:
  """[batch, h, w, channels] -> [batch, 2h, 2w, channels]: every value four times."""
  _, height, width, channels = inputs.shape.as_list()
  # Not tf.tile: its gradient, a sum over short axes, takes five times as long.
  columns = tf.concat([inputs, inputs], axis=3)
  rows = tf.reshape(columns, [-1, height, 2 * width * channels])
  repeated = tf.concat([rows, rows], axis=2)
  return tf.reshape(repeated, [-1, 2 * height, 2 * width, channels])


def interpolate(inputs: tf.Tensor) -> tf.Tensor:
  """[batch, h, w, channels] -> [batch, 2h, 2w, channels], bilinear."""
  _, height, width, _ = inputs.shape.as_list()
  size = [2 * height, 2 * width]
  outputs = tf.image.resize_bilinear(inputs, size, half_pixel_centers=True)
  return tf.cast(outputs, inputs.dtype)


def conv_down(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """A SAME convolution, then a 2x2 mean: a 2x2 mean, then a convolution of stride 2.

  Means and convolutions commute, so the mean is taken first, of every 2x2 window,
  and the convolution computes only what the pooled result has: a quarter.
  """
  if kernel.shape[0] == 1:
    return conv_same(tf.nn.avg_pool2d(inputs, 2, 2, "VALID"), kernel)
  inputs = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
  means = tf.nn.avg_pool2d(inputs, 2, 1, "VALID")
  return tf.nn.conv2d(means, kernel, strides=2, padding="VALID")


_CONVOLUTIONS = {"none": conv_same, "down": conv_down}
_CONVOLUTIONS_UP = {"zeros": conv_up, "nearest": conv_up_nearest}
_UPSAMPLINGS = {
  "zeros": insert_zeros,
  "nearest": repeat_values,
  "bilinear": interpolate,
}
