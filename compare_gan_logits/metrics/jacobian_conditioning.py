"""Conditioning of the generator's Jacobian (Odena et al. 2018, arXiv:1802.08768)."""

from __future__ import annotations

from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits import eval_utils
from compare_gan_logits.metrics import eval_task


_BATCH_SIZE = 8


@gin.configurable
class GeneratorConditionNumberTask(eval_task.EvalTask):
  """Conditioning of a module's generator in its noise: "log_condition_number".

  The logarithm of the largest over the smallest eigenvalue of J'J, mean over noise
  vectors of eval_z. Logits are drawn from a standard normal, and the class is the first.

  Args:
    num_batches: of 8 noise vectors each.
  """

  _LABEL = "log_condition_number"
  reads_activations = False

  def __init__(self, num_batches: int = 1):
    self._num_batches = num_batches

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    raise NotImplementedError(
      "GeneratorConditionNumberTask needs the module; call run_on_module"
    )

  def run_on_module(
    self, module_dir: str, fake_dset: Any, real_dset: Any
  ) -> dict[str, float]:
    del fake_dset, real_dset
    with tf.Graph().as_default(), self._create_session() as session:
      module = hub.Module(module_dir, tags={"gen", f"bs{_BATCH_SIZE}"})
      taken = module.get_input_info_dict()
      inputs = {k: tf.placeholder(i.dtype, i.get_shape()) for k, i in taken.items()}
      images = module(inputs, as_dict=True)["generated"]
      session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
      numbers = [
        analyze_jacobian(_jacobian(session, inputs, images))["metric_tensor"]
        for _ in range(self._num_batches)
      ]
    return {self._LABEL: float(np.mean([n["log_condition_number"] for n in numbers]))}


def _jacobian(session, inputs, images):
  """d images / d z [8, pixels, z_dim] at random inputs, a column of z at a time.

  The product of J with a vector is the gradient of the gradient's product with another.
  """
  z = inputs["z"]
  fx = tf.layers.flatten(images)
  other, direction = tf.zeros_like(fx), tf.placeholder(z.dtype, z.shape)
  (column,) = tf.gradients(tf.gradients(fx, z, other), other, direction)
  feeds = {z: session.run(eval_utils.z_generator(z.shape.as_list()))}
  for name, value in inputs.items():
    if name == "labels":
      feeds[value] = np.zeros(value.shape.as_list())
    elif name == "logits":
      feeds[value] = np.random.standard_normal(value.shape.as_list())
  units = np.eye(int(z.shape[1]))[:, None].repeat(_BATCH_SIZE, axis=1)
  columns = [session.run(column, {direction: unit, **feeds}) for unit in units]
  return np.stack(columns, axis=-1)


def compute_jacobian(xs: tf.Tensor, fx: tf.Tensor) -> tf.Tensor:
  """d fx[b, i] / d xs[b, j].

  Args:
    xs: [batch, x].
    fx: [batch, f], a function of xs row by row, f known.

  Returns:
    [batch, f, x].
  """
  return tf.stack(
    [tf.gradients(fx[:, i], xs)[0] for i in range(int(fx.shape[1]))], axis=1
  )


def analyze_jacobian(jacobian_array: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
  """Spectra of the metric tensor J'J that the generator induces on its inputs.

  Args:
    jacobian_array: J, [batch, fx, x].

  Returns:
    {"metric_tensor": of each J'J, "mean_metric_tensor": of their mean over the batch},
    each a dict of float64 arrays whose first axis is the batch (1 for the mean):
    eigenvalues [batch, x], ascending; logdet [batch], of the determinant;
    log_condition_number [batch], of the largest over the smallest eigenvalue.
  """
  jacobian = np.asarray(jacobian_array, np.float64)
  metric = np.matmul(np.swapaxes(jacobian, 1, 2), jacobian)
  return {
    "metric_tensor": _spectrum(metric),
    "mean_metric_tensor": _spectrum(metric.mean(0, keepdims=True)),
  }


def _spectrum(metric: np.ndarray) -> dict[str, np.ndarray]:
  eigenvalues = np.linalg.eigvalsh(metric)
  with np.errstate(divide="ignore", invalid="ignore"):
    logs = np.log(eigenvalues)
  return {
    "eigenvalues": eigenvalues,
    "logdet": np.linalg.slogdet(metric)[1],
    "log_condition_number": logs[:, -1] - logs[:, 0],
  }
