"""Exports a checkpoint as a module that other programs can load.

A module folder holds the TF-Hub module (TF1 format), a TF2 SavedModel of the
same in saved_model/, and inversion.json, which says what it inverts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from typing import Any

import gin
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
from tensorflow.python.eager import context

from compare_gan_logits import checkpoints
from compare_gan_logits import eval_utils
from compare_gan_logits import files
from compare_gan_logits import module_format
from compare_gan_logits import utils
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import first_line
from compare_gan_logits.gans import module_spec
from compare_gan_logits.tpu import tpu_random


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset
  from compare_gan_logits.gans.abstract_gan import AbstractGAN
  from compare_gan_logits.gans.modular_gan import ModularGAN


SAVED_MODEL = "saved_model"
_UPDATE_ACCUS = "update_accus"
_MODULE_FILE = "saved_model.pb"


@gin.configurable("export", allowlist=["standing_images", "standing_batch_size"])
def export_module(
  gan: ModularGAN,
  dataset: ImageDataset,
  classifier: Classifier | None,
  architecture: str,
  checkpoint_path: str,
  module_dir: str,
  seed: int = 0,
  standing_images: int = 4096,
  standing_batch_size: int = 256,
  training_seconds: float | None = None,
  with_saved_model: bool = True,
) -> dict[str, Any]:
  """Writes the module folder of one checkpoint, whole or not at all.

  Args:
    gan: modular_gan.ModularGAN.
    dataset: datasets.ImageDataset that it was trained on.
    classifier: classifiers.Classifier, or None.
    architecture: its name, options.architecture.
    checkpoint_path: prefix of the checkpoint.
    module_dir: folder to write; what it holds is replaced.
    seed: of the noise of the standing statistics; their images are the first ones.
    standing_images: training images over whose logits batch-norm statistics are
      accumulated. They depend on the condition, so it is the one of training: real
      logits, or classes drawn as training draws them.
    standing_batch_size: images per batch of that pass.
    training_seconds: what the run took so far, for inversion.json.
    with_saved_model: whether to write saved_model/ as well, which takes as long as the
      rest and which an evaluation does not read.

  Returns:
    The description written to inversion.json.

  Raises:
    UserError: the checkpoint does not fit the configuration.
  """
  standing_batch_size = min(standing_batch_size, standing_images)
  with files.atomic_dir(
    module_dir, overwrite=True, voucher=module_format.FILE
  ) as folder:
    with tf.Graph().as_default():
      step, standing = _accumulate(
        gan,
        dataset,
        checkpoint_path,
        seed,
        standing_images // standing_batch_size,
        standing_batch_size,
        os.path.join(folder, "standing"),
      )
    _export_hub(gan, {}, standing, folder)
    for path in [*tf.io.gfile.glob(standing + "*"), os.path.join(folder, "checkpoint")]:
      tf.io.gfile.remove(path)
    if with_saved_model:
      _export_saved_model(folder, gan, os.path.join(folder, SAVED_MODEL))
    facts = _describe(gan, dataset, classifier, architecture, step, module_dir)
    facts["training_seconds"] = training_seconds
    return module_format.write(folder, facts, module_dir)


def export_plain(
  gan: AbstractGAN, options: dict[str, Any], checkpoint_path: str, module_dir: str
) -> None:
  """Writes the TF-Hub module of any AbstractGAN: as_module_spec, and nothing else.

  Args:
    gan: abstract_gan.AbstractGAN.
    options: its parameters.
    checkpoint_path: prefix of the checkpoint.
    module_dir: folder to write; a module there is replaced.
  """
  with files.atomic_dir(module_dir, overwrite=True, voucher=_MODULE_FILE) as folder:
    _export_hub(gan, options, checkpoint_path, folder)


def _describe(gan, dataset, classifier, architecture, step, module_dir):
  return {
    "architecture": architecture,
    "classifier": classifier.describe(module_dir) if classifier else None,
    "class_names": list(classifier.class_names if classifier else dataset.class_names),
    "colors": dataset.colors,
    "conditioning": gan.conditioning,
    "dataset": dataset.name,
    "dataset_bindings": dataset.bindings,
    "feature_shape": _feature_shape(gan, classifier),
    "gin_config": gin.operative_config_str() or gin.config_str(),
    "image_size": dataset.resolution,
    "num_logits": 0 if gan.conditioning == "none" else gan.condition_size,
    "step": step,
    "z_dim": gan.z_dim,
  }


def _feature_shape(gan, classifier):
  """[h, w, c] of logits that are a flattened feature map; None where they are none."""
  if classifier is None or classifier.feature_shape is None:
    return None
  return None if gan.conditioning == "none" else list(classifier.feature_shape)


def _accumulate(gan, dataset, checkpoint_path, seed, num_batches, batch_size, path):
  """Standing statistics over training's conditions, with the weights that are exported.

  Saves a checkpoint in which the generator's weights are their moving average, if
  the run keeps one.

  Returns:
    (training step of the checkpoint, path of the new checkpoint).
  """
  element = utils.next_element(dataset.train(batch_size))
  features = {"images": element["image"], "labels": element["label"]}
  position = tf.placeholder(tf.int32, [], "position")
  y = None
  if gan.conditional:
    label_seed = tpu_random.step_seed(seed, "standing labels", position)
    y = gan.sampled_condition(features, label_seed)
  z = eval_utils.z_generator(
    [batch_size, gan.z_dim],
    seed=tpu_random.step_seed(seed, "standing statistics", position),
  )
  with network_pass.network_pass(accumulate=True):
    images = gan.generate(z, y)
  gan.discriminate(images, y)
  weights = gan.generator.variables + gan.discriminator.variables
  step = tf.train.get_or_create_global_step()
  switches = [v for v in weights if v.op.name.endswith(_UPDATE_ACCUS)]
  turn = {value: [v.assign(value) for v in switches] for value in (0, 1)}
  names = _names(gan, weights, gan.ema().average_name)
  with tf.Session() as session:
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    _restore(session, {**names, step.op.name: step}, checkpoint_path)
    if switches:
      session.run(turn[1])
      for batch in range(num_batches):
        session.run(images.op, {position: batch})
      session.run(turn[0])
    saver = tf.train.Saver(_names(gan, weights, module_spec.average_name))
    return int(session.run(step)), saver.save(session, path, write_meta_graph=False)


def _names(gan, variables, average_name):
  """{name in a checkpoint: variable}: of averaged weights, average_name(weight).

  A module has one average, under one name, whichever of a run's it was.
  """
  averaged = set()
  if gan.g_use_ema:
    averaged = {v.op.name for v in gan.generator.trainable_variables}
  return {average_name(v) if v.op.name in averaged else v.op.name: v for v in variables}


def _restore(session, names, checkpoint_path):
  try:
    reader = tf.train.NewCheckpointReader(checkpoint_path)
    others = checkpoints.of_other_shape(reader.get_variable_to_shape_map(), names)
    if others:
      raise ValueError(f"{others[0]} has another shape there")
    tf.train.Saver(names).restore(session, checkpoint_path)
  except (tf.errors.OpError, ValueError) as error:
    raise UserError(
      f"checkpoint {checkpoint_path} does not fit this configuration, or is damaged "
      f"({first_line(error)}); use the gin file it was trained "
      "with"
    ) from error


def _export_hub(gan, options, checkpoint_path, folder):
  # compare_gan's abstract class has both arguments, its ModularGAN has none.
  spec = utils.call_with_accepted_args(
    gan.as_module_spec, params=options, mode=tf.estimator.ModeKeys.PREDICT
  )
  # TF-Hub refuses a folder that exists; its files move into ours.
  inner = os.path.join(folder, "module")
  spec.export(inner, checkpoint_path=checkpoint_path)
  for name in os.listdir(inner):
    os.rename(os.path.join(inner, name), os.path.join(folder, name))
  os.rmdir(inner)


class _Inversion(tf2.__internal__.tracking.AutoTrackable):
  """The module as a TF2 object: callable, with the variables KerasLayer looks for."""

  def __init__(self, loaded, signature):
    super().__init__()
    self.variables = list(loaded.variables)
    self.trainable_variables = [v for v in loaded.variables if v.trainable]
    self._generate = loaded.signatures["generator"]
    self._inputs = signature
    self.__call__ = tf2.function(self._call, input_signature=[signature])
    self.serve = self.__call__  # where the TFSMLayer of Keras 3 looks

  def _call(self, inputs):
    return self._generate(**inputs)["default"]


def _export_saved_model(module_dir, gan, path):
  """Loads the TF-Hub module and saves it again in TF2's format.

  `hub.load(path)({"z": z, "logits": logits})` and the signatures "generator",
  "serving_default" and, where the module has one, "discriminator" give what it gives.
  """
  sizes = {"z": gan.z_dim}
  if gan.conditioning != "none":
    sizes[gan.conditioning] = gan.condition_size
  inputs = {
    name: tf2.TensorSpec([None, size], tf.float32, name) for name, size in sizes.items()
  }
  # Users of compare_gan's TensorFlow 1 may have turned it off, or be inside of a graph.
  with context.eager_mode():
    loaded = tf2.saved_model.load(module_dir, tags=[])
    exported = _Inversion(loaded, inputs)
    signatures = {
      name: loaded.signatures[name]
      for name in ("generator", "discriminator")
      if name in loaded.signatures
    }
    signatures["serving_default"] = loaded.signatures["default"]
    tf2.saved_model.save(exported, path, signatures=signatures)
