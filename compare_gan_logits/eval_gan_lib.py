"""Scores of one exported module on images it was not trained on.

What is scored is a list of eval tasks (metrics/eval_task.py). Their images are samples
of the module with random noise and random classes, as in compare_gan; a module that is
conditioned on a classifier's logits reconstructs the real images instead, one by one.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tqdm

from compare_gan_logits import datasets
from compare_gan_logits import eval_utils
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits import module_format
from compare_gan_logits import utils
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import first_line
from compare_gan_logits.errors import nearest
from compare_gan_logits.errors import sentence
from compare_gan_logits.metrics import accuracy  # noqa: F401, gin knows all tasks
from compare_gan_logits.metrics import eval_task
from compare_gan_logits.metrics import fid_score
from compare_gan_logits.metrics import fractal_dimension  # noqa: F401
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import gilbo  # noqa: F401
from compare_gan_logits.metrics import inception
from compare_gan_logits.metrics import inception_score
from compare_gan_logits.metrics import inversion_tasks
from compare_gan_logits.metrics import jacobian_conditioning  # noqa: F401
from compare_gan_logits.metrics import kid_score  # noqa: F401
from compare_gan_logits.metrics import ms_ssim_score  # noqa: F401
from compare_gan_logits.metrics import prd_score  # noqa: F401


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier


_NETWORKS = ("alex", "vgg", "inception")
_BATCH_SIZE = 64
_TAGS = {"gen", f"bs{_BATCH_SIZE}"}
_SEED = 42
# Generated images whose moments become the standing statistics of a module without.
NUM_ACCU_EXAMPLES = 204800

z_generator = eval_utils.z_generator


@gin.configurable("evaluation")
@dataclasses.dataclass(frozen=True)
class Settings:
  """What is scored, and with which features.

  Attributes:
    num_images: at most this many validation images for the scores of inversion, and
      for all where no task reads Inception's features.
    seed: of the choice of images.
    frechet_network: features of the Frechet distance: "alex" or "vgg" (the weights of
      LPIPS), or "inception", which makes it an FID (see metrics/inception.py).
    tasks: further eval tasks, such as (@KIDScoreTask(), @my_module.MyTask()).

  Raises:
    UserError: there is no such network; the weights of Inception are not there.
  """

  num_images: int = 1000
  seed: int = 0
  frechet_network: str = "alex"
  tasks: Sequence[eval_task.EvalTask] = ()

  def __post_init__(self):
    if self.frechet_network not in _NETWORKS:
      raise UserError(
        f"evaluation.frechet_network {self.frechet_network!r}: "
        f"{nearest(str(self.frechet_network), _NETWORKS)}"
      )
    if self.frechet_network == "inception":
      inception.load()

  def frechet(
    self, originals: np.ndarray, pictures: np.ndarray, reference: str
  ) -> frechet.Score:
    """frechet.Score between two sets of images."""
    if self.frechet_network != "inception":
      return frechet.score(originals, pictures, self.frechet_network, reference)
    return frechet.score(
      originals, pictures, inception.load(), reference, is_inception=True
    )


def default_tasks(classifier: Classifier | None = None) -> list[eval_task.EvalTask]:
  """The tasks of a run: compare_gan's two, those of inversion, those that gin adds.

  Inception score and FID need the weights of Inception; without them they are left out,
  with a message.

  Args:
    classifier: classifiers.Classifier whose logits are inverted, or None.

  Raises:
    UserError: gin binds an inception.path that does not serve, or wrong settings.
  """
  settings = Settings()
  tasks: list[eval_task.EvalTask] = []
  if inception.is_bound():
    inception.load()
  try:
    eval_utils.get_inception_graph_def()
    tasks += [inception_score.InceptionScoreTask(), fid_score.FIDScoreTask()]
  except UserError as error:
    print(f"no Inception score, no FID: {sentence(error)}", file=sys.stderr, flush=True)
  if classifier is not None:
    tasks.append(
      inversion_tasks.ReconstructionTask(classifier, settings.num_images, settings.seed)
    )
  tasks.append(
    inversion_tasks.FrechetTask(settings.frechet, settings.num_images, settings.seed)
  )
  return [*tasks, *settings.tasks]


def evaluate_tfhub_module(
  module_spec: str,
  eval_tasks: Sequence[eval_task.EvalTask],
  use_tpu: bool,
  num_averaging_runs: int,
  classifier: Classifier | None = None,
) -> dict[str, float | str] | None:
  """Scores a module on the evaluation images of gin's dataset.

  There are as many generated images as dataset.eval_test_samples, or
  evaluation.num_images where these are fewer and no task reads Inception's features.
  A module whose batch norms have empty standing statistics gets them first, over
  204,800 generated images; its folder then holds model-with-accu.ckpt.

  Args:
    module_spec: folder of the TF-Hub module, which has the tags {"gen", "bs64"} and a
      signature from z, and labels or logits, to `generated`.
    eval_tasks: metrics.eval_task.EvalTask.
    use_tpu: accepted; what is measured is made on the host.
    num_averaging_runs: samples of the module that are scored.
    classifier: classifiers.Classifier of a module that inverts one; None: the one that
      its inversion.json names.

  Returns:
    For each score k of a task: k_mean and k_std over the samples, and k_list, all
    values joined by "_". None for no tasks.

  Raises:
    NanFoundError: generated images hold values that are no number.
    UserError: there is no such module; there are not enough images; a task cannot
      compute its score.
  """
  del use_tpu
  dataset = datasets.get_dataset()
  datasets.pad_for(dataset, str(utils.bound_value("options.architecture", "")))
  # A task of others' has no such attribute.
  needs_inception = any(getattr(t, "reads_activations", True) for t in eval_tasks)
  settings = Settings()
  number = dataset.eval_test_samples
  if not needs_inception:
    number = min(number, settings.num_images)
  np.random.seed(_SEED)
  if _inverts_logits(module_spec):
    if not eval_tasks:
      return None  # an exported inverter's statistics are there
    real, fakes = _reconstructions(
      inversion.Inverter.load(module_spec, classifier),
      dataset,
      number,
      num_averaging_runs,
      settings.seed,
    )
  else:
    fakes = _samples(
      module_spec, dataset, number, num_averaging_runs if eval_tasks else 0
    )
    if not eval_tasks:
      return None
    real = _real_images(dataset, number, settings.seed)
  if needs_inception:
    for sample in (real, *fakes):
      sample.set_inception_features(
        *eval_utils.inception_transform_np(sample.images, _BATCH_SIZE)
      )
  return _scores(module_spec, eval_tasks, real, fakes)


def _scores(module_spec, eval_tasks, real, fakes):
  """k_mean, k_std and k_list of each score k of each task."""
  values = {}
  for task in eval_tasks:
    run = getattr(task, "run_on_module", None)
    for fake in fakes:
      scores = (
        run(module_spec, fake, real) if run else task.run_after_session(fake, real)
      )
      for name, value in scores.items():
        values.setdefault(name, []).append(value)
  result = {}
  for name, found in values.items():
    result[f"{name}_mean"] = float(np.mean(found))
    result[f"{name}_std"] = float(np.std(found))
    result[f"{name}_list"] = "_".join(map(str, found))
  return result


def _inverts_logits(module_spec):
  if not isinstance(module_spec, str):
    return False
  path = os.path.join(module_spec, module_format.FILE)
  return files.is_file(path) and files.read_json(path).get("conditioning") == "logits"


def _real_images(dataset, number, seed):
  """EvalDataSample of all evaluation images, or of some that are drawn by seed."""
  if number == dataset.eval_test_samples:
    return eval_utils.get_real_sample(dataset, number)
  images, labels = _chosen_examples(dataset, number, seed)
  return eval_utils.EvalDataSample(eval_utils.to_rgb_bytes(images), labels)


def _chosen_examples(dataset, number, seed):
  """Images [n, h, w, c] in [0, 1] of the validation split, at most `number`; labels."""
  total = dataset.num_examples("validation")
  chosen = np.random.default_rng(seed).permutation(total)[:number]
  return dataset.arrays("validation", indices=np.sort(chosen))[:2]


def _reconstructions(inverter, dataset, number, num_runs, seed):
  """(EvalDataSample of originals, one of their reconstructions for each run)."""
  images, _ = _chosen_examples(dataset, number, seed)
  logits = inverter.logits(images)
  with tf.Graph().as_default(), tf.Session() as session:
    tf.set_random_seed(_SEED)
    z = z_generator([len(images), inverter.z_dim])
    noise = [session.run(z) for _ in range(num_runs)]
  pictures = [inverter.generate(logits, z=each) for each in noise]
  if not np.isfinite(pictures).all():
    raise eval_utils.NanFoundError("reconstructions hold values that are no number")
  return eval_utils.EvalDataSample(eval_utils.to_rgb_bytes(images)), [
    eval_utils.EvalDataSample(eval_utils.to_rgb_bytes(each)) for each in pictures
  ]


def _samples(module_spec, dataset, number, num_runs):
  """EvalDataSamples of `number` images with random noise and random classes."""
  with tf.Graph().as_default(), tf.Session() as session:
    tf.set_random_seed(_SEED)
    images, labels = _generated(module_spec, dataset)
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    _fill_standing_statistics(session, images, module_spec)
    samples = [
      eval_utils.sample_fake_dataset(
        session, images, math.ceil(number / _BATCH_SIZE), labels
      )
      for _ in range(num_runs)
    ]
  for sample in samples:
    sample.set_num_examples(number)
  return samples


def _generated(module_spec, dataset):
  """Images [64, h, w, c] of a module in the current graph; their classes, or None."""
  try:
    module = hub.Module(module_spec, name="gen_module", tags=_TAGS)
  except (RuntimeError, OSError, tf.errors.OpError, ValueError) as error:
    raise UserError(
      f"{module_spec} cannot be loaded as a module with the tags {sorted(_TAGS)} "
      f"({first_line(error)}); export the checkpoint again"
    ) from error
  taken = module.get_input_info_dict()
  inputs = {"z": z_generator([_BATCH_SIZE, int(taken["z"].get_shape()[1])])}
  if "labels" in taken:
    inputs["labels"] = tf.random.uniform(
      [_BATCH_SIZE], maxval=dataset.num_classes, dtype=tf.int32
    )
  return module(inputs, as_dict=True)["generated"], inputs.get("labels")


def _fill_standing_statistics(session, images, module_spec):
  """Accumulates moments over generated images, where the module has none yet."""
  switches, counters = (
    [v for v in tf.global_variables() if v.op.name.endswith(f"accu/{name}")]
    for name in ("update_accus", "accu_counter")
  )
  if not switches or min(session.run(counters)) >= 1:
    return
  session.run([tf.assign(switch, 1) for switch in switches])
  num_batches = NUM_ACCU_EXAMPLES // _BATCH_SIZE
  for _ in tqdm.trange(num_batches, desc="standing statistics", disable=None):
    session.run(images.op)
  session.run([tf.assign(switch, 0) for switch in switches])
  if isinstance(module_spec, str):
    path = os.path.join(module_spec, "model-with-accu.ckpt")
    tf.train.Saver().save(session, path)
