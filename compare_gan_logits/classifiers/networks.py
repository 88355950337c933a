"""Networks whose weights we train or convert, as graph functions.

Each takes images as its preprocessing leaves them and returns
{"logits": [b, classes], "features": [b, f]}, features being what the last layer
sees. Variables come from tf.get_variable; batch norms are folded into the
convolutions, which is exact in inference mode and the usual way to fine-tune.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_hub


SCOPE = "classifier"
# "logits" [b, classes] and "features" [b, f].
Outputs = dict  # of str to tf.Tensor
Build = Callable[[tf.Tensor], Outputs]

# EfficientNet-B0: kernel, stride, expansion, channels, repeats (Tan and Le, 2019).
_B0 = (
  (3, 1, 1, 16, 1),
  (3, 2, 6, 24, 2),
  (5, 2, 6, 40, 2),
  (3, 2, 6, 80, 3),
  (5, 1, 6, 112, 3),
  (5, 2, 6, 192, 4),
  (3, 1, 6, 320, 1),
)
# SqueezeNet-1.1: squeeze and expand channels of fire2 to fire9.
_FIRES = (
  (16, 64),
  (16, 64),
  (32, 128),
  (32, 128),
  (48, 192),
  (48, 192),
  (64, 256),
  (64, 256),
)


@gin.configurable("convnet")
def convnet(
  images: tf.Tensor,
  num_classes: int,
  widths: Sequence[int] = (24, 48, 64),
  features: int = 128,
) -> Outputs:
  """Strided 3x3 convolutions, one for each of `widths` and more down to 4 px, then
  two linear layers. Its "spatial" [b, h, w, c] is the map of about a quarter of the
  picture's size."""
  x = images
  widths = list(widths)
  maps = []
  while x.shape[1] > 4 or widths:
    width = widths.pop(0) if widths else x.shape[-1]
    x = tf.nn.relu(convolution(x, width, 3, f"conv_{x.shape[1]}", stride=2))
    maps.append(x)
  spatial = maps[len(maps) // 2]
  x = tf.reshape(x, [-1, np.prod(x.shape.as_list()[1:])])
  x = tf.nn.relu(linear(x, features, "features"))
  logits = linear(x, num_classes, "logits")
  return {"features": x, "logits": logits, "spatial": spatial}


def efficientnet_lite0(images: tf.Tensor, num_classes: int = 1000) -> Outputs:
  """EfficientNet-Lite0: B0 without squeeze-and-excitation, ReLU6 throughout."""
  x = tf.nn.relu6(convolution(images, 32, 3, "stem", stride=2))
  number = 0
  for kernel, stride, expansion, channels, repeats in _B0:
    for repeat in range(repeats):
      x = _inverted_residual(
        x, channels, kernel, stride if repeat == 0 else 1, expansion, f"block{number}"
      )
      number += 1
  x = tf.nn.relu6(convolution(x, 1280, 1, "head"))
  x = tf.reduce_mean(x, axis=[1, 2])
  return {"features": x, "logits": linear(x, num_classes, "logits")}


def _inverted_residual(x, channels, kernel, stride, expansion, name):
  with tf.variable_scope(name):
    y = x
    if expansion != 1:
      y = tf.nn.relu6(convolution(y, expansion * x.shape[-1], 1, "expand"))
    y = tf.nn.relu6(_depthwise(y, kernel, stride, "depthwise"))
    y = convolution(y, channels, 1, "project")
    return x + y if stride == 1 and x.shape[-1] == channels else y


def squeezenet1_1(images: tf.Tensor, num_classes: int = 1000) -> Outputs:
  """SqueezeNet-1.1; its features are spatial means, of which it has no linear layer:
  logits are the spatial mean of a 1x1 convolution."""
  x = tf.nn.relu(convolution(images, 64, 3, "conv1", stride=2, padding="VALID"))
  x = tf.nn.max_pool2d(x, 3, 2, "VALID")
  for number, (squeeze, expand) in enumerate(_FIRES, start=2):
    x = _fire(x, squeeze, expand, f"fire{number}")
    if number in (3, 5):
      x = tf.nn.max_pool2d(x, 3, 2, "VALID")
  logits = convolution(x, num_classes, 1, "conv10")
  return {
    "features": tf.reduce_mean(x, axis=[1, 2]),
    "logits": tf.reduce_mean(logits, axis=[1, 2]),
  }


def _fire(x, squeeze, expand, name):
  with tf.variable_scope(name):
    x = tf.nn.relu(convolution(x, squeeze, 1, "squeeze1x1"))
    return tf.nn.relu(
      tf.concat(
        [
          convolution(x, expand, 1, "expand1x1"),
          convolution(x, expand, 3, "expand3x3"),
        ],
        axis=-1,
      )
    )


def resnet152(
  images: tf.Tensor, num_classes: int = 1000, blocks: Sequence[int] = (3, 8, 36, 3)
) -> Outputs:
  """ResNet-152 (V1), or with other `blocks` a group a shallower one.

  The 3x3 convolution of a bottleneck has the stride, as in PyTorch's; the padding is
  TensorFlow's.
  """
  x = tf.nn.relu(convolution(images, 64, 7, "conv0", stride=2))
  x = tf.nn.max_pool2d(x, 3, 2, "SAME")
  for group, count in enumerate(blocks):
    for block in range(count):
      stride = 2 if group > 0 and block == 0 else 1
      x = _bottleneck(x, 64 * 2**group, stride, f"group{group}/block{block}")
  x = tf.reduce_mean(x, axis=[1, 2])
  return {"features": x, "logits": linear(x, num_classes, "linear")}


def _bottleneck(x, width, stride, name):
  with tf.variable_scope(name):
    y = tf.nn.relu(convolution(x, width, 1, "conv1"))
    y = tf.nn.relu(convolution(y, width, 3, "conv2", stride=stride))
    y = convolution(y, 4 * width, 1, "conv3")
    if x.shape[-1] != 4 * width:
      x = convolution(x, 4 * width, 1, "convshortcut", stride=stride)
    return tf.nn.relu(x + y)


def convolution(
  x: tf.Tensor,
  width: int,
  kernel: int,
  name: str,
  stride: int = 1,
  padding: str = "SAME",
  gain: float = 2.0,
) -> tf.Tensor:
  """Convolution of x [b, h, w, c] with a bias, to `width` channels.

  gain: variance of the initial weights times their fan-in; 2 is for ReLU (He et al.,
  2015), 1 for a linear layer.
  """
  with tf.variable_scope(name):
    weights = tf.get_variable(
      "kernel",
      [kernel, kernel, x.shape[-1], width],
      initializer=tf.initializers.variance_scaling(gain),
    )
    return tf.nn.conv2d(x, weights, strides=stride, padding=padding) + _bias(width)


def _depthwise(x, kernel, stride, name):
  with tf.variable_scope(name):
    weights = tf.get_variable(
      "kernel",
      [kernel, kernel, x.shape[-1], 1],
      initializer=tf.initializers.variance_scaling(2.0),
    )
    x = tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME")
    return x + _bias(x.shape[-1])


def linear(x: tf.Tensor, width: int, name: str) -> tf.Tensor:
  """Linear map of x [b, c] with a bias, to [b, width]."""
  with tf.variable_scope(name):
    weights = tf.get_variable(
      "kernel", [x.shape[-1], width], initializer=tf.initializers.variance_scaling(1.0)
    )
    return x @ weights + _bias(width)


def _bias(width):
  return tf.get_variable("bias", [width], initializer=tf.zeros_initializer())


def assign(values: Mapping[str, np.ndarray]) -> tf.Operation:
  """Operation that sets the variables of SCOPE named in {name: array}.

  Raises:
    ValueError: a name or a shape does not fit the network.
  """
  variables = {v.op.name[len(SCOPE) + 1 :]: v for v in tf.global_variables(SCOPE + "/")}
  unknown = set(values) - set(variables)
  if unknown:
    raise ValueError(f"the network has no {sorted(unknown)}")
  return tf.group(*[variables[name].assign(value) for name, value in values.items()])


def shapes(build: Build, shape: Sequence[int]) -> dict[str, list[int]]:
  """{variable name: shape (list)} of a network, from the images to the logits."""
  with tf.Graph().as_default():
    _build(build, shape)
    return {
      v.op.name[len(SCOPE) + 1 :]: v.shape.as_list() for v in tf.global_variables()
    }


def _build(build, shape):
  with tf.variable_scope(SCOPE):
    build(tf.placeholder(tf.float32, [None] + list(shape)))


def save(
  build: Build, shape: Sequence[int], values: Mapping[str, np.ndarray], path: str
) -> None:
  """Writes a checkpoint with every variable of the network set from `values`."""
  with tf.Graph().as_default(), tf.Session() as session:
    _build(build, shape)
    missing = len(tf.global_variables()) - len(values)
    if missing:
      raise ValueError(f"{missing} variables of the network have no value")
    session.run(assign(values))
    tf.train.Saver().save(session, path, write_meta_graph=False)


def export(build: Build, shape: Sequence[int], checkpoint: str, folder: str) -> None:
  """Writes a TF-Hub module (TF1 format) to `folder`, which must not exist.

  Args:
    build: graph function of images -> {"logits", "features"}.
    shape: [height, width, colours] of the input "images".
    checkpoint: path of one with the network's variables.
    folder: outputs are "logits" (also as "default"), "probabilities", "features".
  """

  def module():
    images = tf.placeholder(tf.float32, [None] + list(shape), "images")
    with tf.variable_scope(SCOPE):
      outputs = build(images)
    tensorflow_hub.add_signature(
      inputs={"images": images},
      outputs={
        **outputs,
        "probabilities": tf.nn.softmax(outputs["logits"]),
        "default": outputs["logits"],
      },
    )

  tensorflow_hub.create_module_spec(module).export(folder, checkpoint_path=checkpoint)


def export_values(
  build: Build, shape: Sequence[int], values: Mapping[str, np.ndarray], folder: str
) -> None:
  """`export` of a network whose weights are given as {name: array}."""
  with tempfile.TemporaryDirectory() as temporary:
    checkpoint = os.path.join(temporary, "model")
    save(build, shape, values, checkpoint)
    export(build, shape, checkpoint, folder)
