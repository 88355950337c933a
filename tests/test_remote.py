"""A run on a file system of TensorFlow's: its own in memory stands in for gs://."""

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from absl import flags

from compare_gan_logits import configuration
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits import main  # noqa: F401, its flags
from compare_gan_logits import runner_lib
from compare_gan_logits.classifiers import logit_cache
from compare_gan_logits.errors import UserError


@pytest.fixture(autouse=True)
def configured(tmp_path):
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["tests"])
  gin.clear_config()
  yield tiny.write_training(tmp_path, tiny.DCGAN + "evaluation.num_images = 20\n")
  gin.clear_config()


def run(path, steps, schedule):
  """Runs a schedule; returns the rows of scores."""
  gin.clear_config()
  configuration.parse_gin([path], [f"options.training_steps = {steps}"])
  manager = runner_lib.TaskManagerWithCsvResults("ram://run")
  settings = runner_lib.get_run_settings()
  options = runner_lib.get_options_dict()
  run_config = runner_lib.make_run_config(settings, "ram://run")
  runner_lib.run_with_schedule(schedule, run_config, manager, options, False, 1, 1)
  return manager.rows()


@pytest.mark.long
def test_train_resume_export_score_and_load(configured):
  run(configured, 2, "train")
  rows = run(configured, 3, "eval_after_train")
  assert [row["step"] for row in rows] == ["2", "3"]
  run(configured, 3, "export")  # in place of the one that is there
  inverter = inversion.Inverter.load("ram://run/module")
  assert inverter.info["step"] == 3
  images, _ = datasets.get_dataset().arrays("validation", limit=2)
  assert inverter.reconstruct(images).shape == (2, 1, 32, 32, 1)
  with tf.io.gfile.GFile("ram://run/module/inversion.json", "a") as f:
    f.write("}")
  with pytest.raises(UserError, match="ram://run/module/inversion.json is damaged"):
    inversion.Inverter.load("ram://run/module")


class Classifier:
  digest = "0"

  class spec:
    name = "made up"

  num_logits = 7
  only_known_images = False

  def describe(self):
    return {"preprocessing": {}}


def test_logits_are_cached_and_mapped(configured):
  dataset = datasets.get_dataset("fake:7@32")
  logits = np.random.default_rng(0).normal(size=[128, 7]).astype(np.float32)
  for worker in (1, 0):
    logit_cache.write(
      Classifier(),
      dataset,
      "validation",
      "ram://logits",
      3,
      logits=logits,
      worker=worker,
      num_workers=2,
    )
  cached = logit_cache.open("ram://logits", Classifier(), dataset, "validation")
  np.testing.assert_array_equal(cached[:], logits)
  assert all(isinstance(shard.base, np.memmap) for shard in cached._shards)


def test_a_folder_appears_whole_or_without_its_voucher(monkeypatch):
  def write(text):
    with files.atomic_dir("ram://folder/x", overwrite=True, voucher="a") as folder:
      for name in ("a", "b"):
        files.write_text(f"{folder}/{name}", text)

  write("old")
  copied, copy = [], tf.io.gfile.copy

  def full(source, path):
    if copied:
      raise tf.errors.ResourceExhaustedError(None, None, "no space")
    copied.append(path)
    copy(source, path)

  monkeypatch.setattr(tf.io.gfile, "copy", full)
  with pytest.raises(UserError, match="ram://folder/x.*: no space"):
    write("new")
  assert not files.is_file("ram://folder/x/a") and files.is_file("ram://folder/x/b")
  monkeypatch.undo()
  write("n")
  assert files.read_text("ram://folder/x/a") == "n"
  with (
    pytest.raises(UserError, match="is not empty"),
    files.atomic_dir("ram://folder/x"),
  ):
    pass
