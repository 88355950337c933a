"""The GPUs and the processor that this process computes on."""

from __future__ import annotations

import os

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import allocator


def gpus() -> list[str]:
  """Names of the GPUs as a graph has them: "/gpu:0" and so on."""
  return [f"/gpu:{i}" for i in range(len(tf.config.list_physical_devices("GPU")))]


@gin.configurable("devices", module="compare_gan_logits.devices")
def configure(tensor_float_32: bool = True) -> None:
  """Settles how memory is taken and numbers are multiplied. Call it before training.

  GPU memory is taken as it is needed, not all at once (TF_FORCE_GPU_ALLOW_GROWTH, which
  the package sets), so that several programs can share one. How the C library treats
  freed memory is changed only where the processor computes.

  Args:
    tensor_float_32: whether GPUs since the A100 round the factors of float32 products
      to 10 bits of mantissa, which is several times as fast. It changes nothing
      elsewhere.
  """
  if not gpus():
    allocator.keep_freed_memory()
  tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)


def describe() -> str:
  """What a training computes on: a line for each GPU, or one that there is none."""
  names = gpus()
  if not names:
    return f"no GPU: training on the CPU ({os.cpu_count()} cores)"
  memory = _memory()
  physical = tf.config.list_physical_devices("GPU")
  return "\n".join(
    f"GPU {i}: {tf.config.experimental.get_device_details(device).get('device_name')}, "
    f"{memory[i] / 1e9:.1f} GB"
    for i, device in enumerate(physical)
  )


def _memory():
  """Bytes of each GPU that this process can have."""
  with tf.Graph().as_default(), tf.Session() as session:
    found = session.list_devices()
  return [device.memory_limit_bytes for device in found if device.device_type == "GPU"]


def prefetch(dataset: tf.data.Dataset, device: str | None = None) -> tf.data.Dataset:
  """Copies the next batch to the device while the present one is computed.

  Args:
    dataset: of batches; this must be its last step.
    device: "/gpu:0" and the like. Default: the first GPU. Where there is none, the
      dataset is returned as it is.
  """
  device = device or next(iter(gpus()), None)
  if device is None:
    return dataset
  return dataset.apply(tf.data.experimental.prefetch_to_device(device, 2))
