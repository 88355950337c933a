"""How often the discriminator is right about images it was not trained on."""

from __future__ import annotations

import os
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits import eval_utils
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits import module_format
from compare_gan_logits.errors import UserError
from compare_gan_logits.metrics import eval_task


_BATCH_SIZE = 64


@gin.configurable
class AccuracyTask(eval_task.EvalTask):
  """Accuracy of the module's discriminator at a probability of 1/2.

  "real_accuracy" is the share of evaluation images that it calls real, "fake_accuracy"
  that of generated images that it does not. A discriminator conditioned on classes gets
  those of the images, one conditioned on logits those of the real images, for their
  reconstructions as well.
  """

  _LABEL = "accuracy"
  reads_activations = False

  def metric_list(self) -> frozenset[str]:
    return frozenset({"real_accuracy", "fake_accuracy"})

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    raise NotImplementedError("AccuracyTask needs the module; call run_on_module")

  def run_on_module(
    self, module_dir: str, fake_dset: Any, real_dset: Any
  ) -> dict[str, float]:
    """As EvalTask.run_on_module.

    Raises:
      UserError: the discriminator is conditioned on classes, and the images have none.
    """
    logits = _logits(module_dir, real_dset.images)
    probabilities = []
    for sample in (real_dset, fake_dset):
      condition = {"labels": sample.labels, "logits": logits}
      probabilities.append(
        discriminator_probability(
          module_dir,
          sample.images,
          {name: value for name, value in condition.items() if value is not None},
        )
      )
    real_probability, fake_probability = probabilities
    return {
      "real_accuracy": float(np.mean(real_probability >= 0.5)),
      "fake_accuracy": float(np.mean(fake_probability < 0.5)),
    }


def _logits(module_dir, images):
  """The logits of images, for a module that is conditioned on them, or None."""
  if not files.is_file(os.path.join(module_dir, module_format.FILE)):
    return None
  inverter = inversion.Inverter.load(module_dir)
  if inverter.info["conditioning"] != "logits":
    return None
  return inverter.logits(eval_utils.from_rgb_bytes(images))


def discriminator_probability(
  module_dir: str, images: np.ndarray, condition: dict[str, np.ndarray] | None = None
) -> np.ndarray:
  """The probability that images are real, by a module's discriminator.

  Args:
    module_dir: folder of a TF-Hub module with the tags {"disc", "bs64"}.
    images: [n, h, w, 3] in [0, 255].
    condition: further inputs by name, each [n, ...].

  Returns:
    float32 [n].

  Raises:
    UserError: the discriminator takes what is not there.
  """
  with tf.Graph().as_default(), tf.Session() as session:
    module = hub.Module(module_dir, tags={"disc", f"bs{_BATCH_SIZE}"})
    taken = module.get_input_info_dict()
    colors = int(taken["images"].get_shape()[-1])
    feeds: dict[str, Any] = {"images": images[..., :colors] / np.float32(255)}
    feeds.update({k: v for k, v in (condition or {}).items() if k in taken})
    if set(feeds) != set(taken):
      raise UserError(
        f"the discriminator of {module_dir} takes {', '.join(sorted(taken))}, and only "
        f"{', '.join(sorted(feeds))} are known of these images"
      )
    inputs = {k: tf.placeholder(i.dtype, i.get_shape()) for k, i in taken.items()}
    output = module(inputs, as_dict=True)["prediction"]
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    found = []
    for start in range(0, len(images), _BATCH_SIZE):
      places = np.arange(start, start + _BATCH_SIZE).clip(max=len(images) - 1)
      found.append(
        session.run(output, {inputs[k]: v[places] for k, v in feeds.items()})
      )
  return np.concatenate(found)[: len(images), 0]
