"""compare_gan's example configurations train a step each, on made-up images."""

import os

import gin
import gin.tf.external_configurables  # noqa: F401, the optimisers' names
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import configuration
from compare_gan_logits import datasets
from compare_gan_logits import main  # noqa: F401, gin knows both GANs
from compare_gan_logits import runner_lib


# What makes the largest networks small enough for a test.
NARROW = {
  "biggan_imagenet128": [
    "resnet_biggan.Generator.ch = 2",
    "resnet_biggan.Discriminator.ch = 4",
    "options.disc_iters = 1",
  ],
  "resnet_cifar10": ["options.disc_iters = 1"],
  "dcgan_celeba64": [],
  "resnet_lsun-bedroom128": [],
  "sndcgan_celebahq128": [],
}


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
  monkeypatch.setattr(datasets.FLAGS["data_fake_dataset"], "value", True)
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.mark.long
@pytest.mark.parametrize("name", NARROW)
def test_one_step(name, tmp_path):
  configuration.parse_gin(
    [f"compare_gan/{name}.gin"],
    ["options.batch_size = 2", "options.training_steps = 1", *NARROW[name]],
  )
  model_dir = str(tmp_path / "run")
  run_config = runner_lib.make_run_config(runner_lib.get_run_settings(), model_dir)
  options = runner_lib.get_options_dict()
  gan = options["gan_class"](datasets.get_dataset(), options, model_dir)
  estimator = gan.as_estimator(run_config, options["batch_size"], use_tpu=False)
  estimator.train(gan.input_fn, max_steps=options["training_steps"])
  before, after = (
    tf.train.load_checkpoint(os.path.join(model_dir, f"model.ckpt-{step}"))
    for step in (0, 1)
  )
  weights = [
    n
    for n in after.get_variable_to_shape_map()
    if n.endswith("/kernel") and n.split("/")[0] in ("generator", "discriminator")
  ]
  moved = [
    n for n in weights if not np.array_equal(before.get_tensor(n), after.get_tensor(n))
  ]
  assert len(moved) > len(weights) / 2
  assert all(np.isfinite(after.get_tensor(n)).all() for n in weights)


def test_all_five_are_there_and_say_where_they_come_from():
  folder = os.path.join(configuration.gin_folder(), "compare_gan")
  assert {name[: -len(".gin")] for name in os.listdir(folder)} == set(NARROW)
  for name in NARROW:
    with open(os.path.join(folder, f"{name}.gin"), encoding="utf-8") as f:
      head = f.read().split("\n\n")[0]
    assert "arXiv:" in head and "# Needs:" in head
    assert f" --gin_config compare_gan/{name}.gin" in head
