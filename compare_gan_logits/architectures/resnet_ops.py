"""The residual block of BigGAN, for generators and discriminators."""

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops


class BigGanResNetBlock:
  """norm, relu, conv1, norm, relu, conv2, plus a 1x1 shortcut.

  Args:
    name: variable scope, "B1" and so on.
    out_channels: channels of the output (conv1 changes them).
    scaling: "up" (conv1 doubles the size), "down" (conv2 halves it) or "same".
    is_gen_block: False leaves the shortcut out, the identity as well, where in and
      out channels agree: so the reference has it.
    batch_norm: function of (inputs, z, y, is_training, name).
    spectral_norm: normalise the kernels.
    shortcut_norm: a third norm, in front of the shortcut's convolution.
  """

  def __init__(
    self,
    name,
    out_channels,
    scaling,
    is_gen_block,
    batch_norm,
    spectral_norm,
    shortcut_norm=False,
  ):
    self._name = name
    self._out_channels = out_channels
    self._scaling = scaling
    self._is_gen_block = is_gen_block
    self._batch_norm = batch_norm
    self._spectral_norm = spectral_norm
    self._shortcut_norm = shortcut_norm

  def __call__(self, inputs, z, y, is_training):
    """[batch, h, w, c] -> [batch, h', w', out_channels]."""
    scale1 = "up" if self._scaling == "up" else "same"
    scale2 = "down" if self._scaling == "down" else "same"

    def norm(x, name):
      return self._batch_norm(x, z=z, y=y, is_training=is_training, name=name)

    def conv(x, size, scaling, suffix):
      return arch_ops.conv2d(
        x,
        self._out_channels,
        size,
        f"{scaling}_conv{suffix}",
        is_training,
        scaling=scaling,
        use_sn=self._spectral_norm,
      )

    with tf.variable_scope(self._name):
      outputs = tf.nn.relu(norm(inputs, "bn1"))
      outputs = conv(outputs, 3, scale1, "1")
      outputs = tf.nn.relu(norm(outputs, "bn2"))
      outputs = conv(outputs, 3, scale2, "2")
      if self._is_gen_block or inputs.shape[-1] != self._out_channels:
        shortcut = norm(inputs, "bn_shortcut") if self._shortcut_norm else inputs
        outputs += conv(shortcut, 1, self._scaling, "_shortcut")
      return outputs
