"""The command users run: train, resume, export, score; and its refusals.

One tiny run is shared: a linear classifier of the embedded garments, a generator
with four channels, a few steps.
"""

import csv
import json
import os

import forking
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
import tensorflow_hub as hub
import tiny

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import inversion
from compare_gan_logits import utils


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAPER = os.path.join(ROOT, "gin_configs", "paper.gin")
CONFIG = """
ModularGAN.ema_decay = 0.5
run_config.save_summary_steps = 2
"""


@pytest.fixture(scope="module")
def command(server, tmp_path_factory):
  """Runs the program as a user does, on one thread, so that sums have one order."""
  logs = tmp_path_factory.mktemp("logs")

  def run(*args, check=True, cwd=ROOT):
    result = server.run(logs, forking.MAIN, *args, timeout=500, cwd=cwd)
    if check:
      assert result.returncode == 0, result.stderr
    return result

  return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("main")
  tiny.write_training(folder, CONFIG)
  return folder


def arguments(folder, name, steps, *more):
  return [
    "--gin_config",
    str(folder / "tiny.gin"),
    "--model_dir",
    str(folder / name),
    "--gin_bindings",
    f"options.training_steps = {steps}",
    *more,
  ]


@pytest.fixture(scope="module")
def whole(command, folder):
  """A run of four steps that is never stopped; the last has scores."""
  scored = ("--schedule", "eval_after_train", "--eval_every_steps", "4")
  return command(*arguments(folder, "whole", 4, *scored))


def weights(path):
  reader = tf.train.load_checkpoint(str(path))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_the_program_says_what_it_learns_from(whole, folder):
  assert "12000 training images of 32x32x1, 10 classes of 1200 to 1200" in whole.stdout
  assert "10 logits, mean" in whole.stdout
  assert "generator" in whole.stdout and "discriminator" in whole.stdout
  assert (folder / "whole" / "training_images.png").stat().st_size > 1000
  assert "step 4/4 reached in" in whole.stderr


@pytest.mark.long
def test_a_resumed_run_ends_with_the_same_weights(command, whole, folder):
  command(*arguments(folder, "parts", 2))
  command(*arguments(folder, "parts", 4))
  expected = weights(folder / "whole" / "model.ckpt-4")
  resumed = weights(folder / "parts" / "model.ckpt-4")
  assert expected.keys() == resumed.keys()
  for name, value in expected.items():
    np.testing.assert_array_equal(value, resumed[name], err_msg=name)


@pytest.mark.long
def test_standardised_logits_are_measured_once_and_kept_in_the_module(command, folder):
  options = [
    "--gin_bindings",
    "options.gan_class = @FidelityGAN",
    "--gin_bindings",
    "FidelityGAN.standardize_logits = 100",
  ]
  first = command(*arguments(folder, "standardised", 2, *options))
  again = command(*arguments(folder, "standardised", 4, *options))
  assert "measuring 100 training images" in first.stdout
  assert "measuring" not in again.stdout
  kept = weights(folder / "standardised" / "module" / "variables" / "variables")
  with tf.Graph().as_default():
    images = utils.next_element(datasets.get_dataset("embedded").train(64))["image"]
    with tf.Session() as session:
      images = np.concatenate([session.run(images) for _ in range(2)])[:100]
  logits = classifiers.load(str(folder / "classifier")).predict(images)
  np.testing.assert_allclose(
    kept["generator/logits/mean"], np.mean(logits, axis=0), atol=1e-4
  )
  np.testing.assert_allclose(
    kept["generator/logits/deviation"], np.std(logits, axis=0), rtol=1e-4
  )
  # Without the option the checkpoint does not fit, which is said.
  other = command(*arguments(folder, "standardised", 6), check=False)
  assert other.returncode == 1 and len(other.stderr.strip().splitlines()) < 5


@pytest.mark.long
def test_a_finished_run_is_not_trained_again(command, whole, folder):
  again = command(*arguments(folder, "whole", 4))
  assert "is trained: step 4" in again.stderr


def test_the_classifier_is_not_in_the_checkpoint(whole, folder):
  saved = weights(folder / "whole" / "model.ckpt-4")
  assert not any(value.shape == (1024, 10) for value in saved.values())
  assert any(name.endswith("ExponentialMovingAverage") for name in saved)


def test_a_scored_checkpoint_has_one_row(whole, folder):
  with open(folder / "whole" / "scores.csv", newline="", encoding="utf-8") as f:
    rows = list(csv.DictReader(f))
  assert [row["step"] for row in rows] == ["4"]
  assert all(
    0 <= float(row["agreement_mean"]) <= 1
    and float(row["psnr_mean"]) > 0
    and len(row["ssim_list"].split("_")) == 3
    and row["options.batch_size"] == "4"
    for row in rows
  )


def test_summaries_are_written(whole, folder):
  tags = set()
  for path in (folder / "whole").glob("events*"):
    for event in tf.train.summary_iterator(str(path)):
      tags |= {value.tag for value in event.summary.value}
  assert {
    "global_step/sec",
    "loss/d_0",
    "loss/g",
    "real_images",
    "fake_images",
    "scores/d_real_mean",
    "scores/d_fake_mean",
    "originals_and_reconstructions",
  } <= tags


def test_the_operative_configuration_is_saved(whole, folder):
  text = (folder / "whole" / "operative_config-0.gin").read_text()
  assert "options.training_steps = 4" in text and "ema_decay = 0.5" in text


def generate_with_hub_module(module_dir, z, logits):
  with tf.Graph().as_default(), tf.Session() as session:
    module = hub.Module(str(module_dir))
    output = module({"z": z, "logits": logits}, signature="generator", as_dict=True)
    session.run(tf.global_variables_initializer())
    return session.run(output["generated"])


@pytest.mark.long
def test_all_ways_to_load_the_module_give_the_same_images(whole, folder):
  module_dir = folder / "whole" / "module"
  rng = np.random.default_rng(1)
  for n in (1, 5):  # the batch size is free
    z = rng.normal(size=[n, 8]).astype(np.float32)
    logits = rng.normal(size=[n, 10]).astype(np.float32)
    images = generate_with_hub_module(module_dir, z, logits)
    assert images.shape == (n, 32, 32, 1)
    assert 0 <= images.min() < images.max() <= 1
    inverter = inversion.Inverter.load(str(module_dir))
    np.testing.assert_allclose(inverter.generate(logits, z), images, atol=1e-5)
    saved_model = tf2.saved_model.load(str(module_dir / "saved_model"))
    inputs = {"z": tf2.constant(z), "logits": tf2.constant(logits)}
    np.testing.assert_allclose(saved_model(inputs), images, atol=1e-5)
    np.testing.assert_allclose(saved_model.serve(inputs), images, atol=1e-5)
    served = saved_model.signatures["serving_default"](**inputs)["default"]
    np.testing.assert_allclose(served, images, atol=1e-5)
    layer = hub.KerasLayer(str(module_dir / "saved_model"), trainable=True)
    np.testing.assert_allclose(layer(inputs), images, atol=1e-5)
    assert layer.trainable_weights


def test_the_module_holds_the_averaged_weights(whole, folder):
  saved = weights(folder / "whole" / "model.ckpt-4")
  module = weights(folder / "whole" / "module" / "variables" / "variables")
  name = "generator/fc_noise/kernel"
  average = name + "/ExponentialMovingAverage"
  np.testing.assert_array_equal(module[average], saved[average])
  assert name not in module and not np.array_equal(saved[average], saved[name])
  counter = module["generator/final_norm/accu/accu_counter"]
  assert counter == pytest.approx(2)  # 64 images in batches of 32


def test_the_module_s_discriminator_answers(whole, folder):
  with tf.Graph().as_default(), tf.Session() as session:
    module = hub.Module(str(folder / "whole" / "module"))
    output = module(
      {
        "images": np.zeros([3, 32, 32, 1], np.float32),
        "logits": np.zeros([3, 10], np.float32),
      },
      signature="discriminator",
      as_dict=True,
    )
    session.run(tf.global_variables_initializer())
    assert session.run(output["prediction"]).shape == (3, 1)


def test_inversion_json_says_what_the_module_is(whole, folder):
  info = json.loads((folder / "whole" / "module" / "inversion.json").read_text())
  assert info["step"] == 4 and info["z_dim"] == 8 and info["num_logits"] == 10
  assert info["image_size"] == 32 and info["colors"] == 1
  assert info["conditioning"] == "logits" and info["dataset"] == "embedded"
  handle, relative = info["classifier"]["handle"], info["classifier"]["relative"]
  assert handle == relative and not os.path.isabs(handle)
  assert os.path.isfile(folder / "whole" / "module" / relative / "saved_model.pb")
  assert "paper" not in info["gin_config"] and "batch_size = 4" in info["gin_config"]


@pytest.mark.long
def test_without_a_classifier_it_is_a_class_conditional_gan(command, folder):
  command(
    *arguments(
      folder,
      "labels",
      1,
      "--gin_bindings",
      "classifier.handle = None",
      "--data_fake_dataset",
    )
  )
  info = json.loads((folder / "labels" / "module" / "inversion.json").read_text())
  assert info["conditioning"] == "labels" and info["classifier"] is None


@pytest.mark.parametrize(
  "bindings, part",
  [
    (["options.batch_sise = 4"], "batch_sise"),
    (["optoins.batch_size = 4"], "did you mean 'options'"),
    (["options.batch_size = -4"], "options.batch_size is -4"),
    (["options.batch_size = 'many'"], "options.batch_size is 'many'"),
    (["dataset.name = 'embeded'"], "did you mean 'embedded'"),
    (["dataset.name = 'cifar10'"], "is not prepared"),
    (["dataset.name = '/nowhere@32'"], "/nowhere does not exist"),
    (["classifier.handle = '/nowhere'"], "/nowhere"),
    (["options.architecture = 'resnet_bigan_arch'"], "resnet_biggan_arch"),
    (["resnet_biggan.Generator.embed_y = True"], "two names of the same thing"),
    (
      [
        "ModularGAN.conditional = False",
        "ModularGAN.g_inputs = []",
        "ModularGAN.d_inputs = []",
      ],
      "conditional is False",
    ),
    (["options.z_dim = 9"], "options.z_dim 9 is not a multiple"),
  ],
)
def test_wrong_bindings_end_in_one_sentence(command, folder, bindings, part):
  more = [word for binding in bindings for word in ("--gin_bindings", binding)]
  result = command(*arguments(folder, "wrong", 1, *more), check=False)
  assert result.returncode == 1
  errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
  assert len(errors) == 1 and part in errors[0], result.stderr
  assert "Traceback" not in result.stderr
  assert not list((folder / "wrong").glob("model.ckpt*"))


@pytest.mark.parametrize(
  "args, code, part",
  [
    (["--gin_config", "nowhere.gin"], 1, "no gin file nowhere.gin"),
    ([], 1, "--gin_config"),
    (["--gin_cofnig", "x"], 2, "gin_cofnig"),
    (["--schedule", "trian"], 2, "schedule"),
    (
      ["--gin_config", PAPER, "--schedule", "export", "--data_fake_dataset"],
      1,
      "no checkpoint in",
    ),
  ],
)
def test_wrong_flags_end_in_one_sentence(command, tmp_path, args, code, part):
  result = command(*args, check=False, cwd=tmp_path)
  assert result.returncode == code
  assert part in result.stderr and "Traceback" not in result.stderr
