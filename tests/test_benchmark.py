"""The benchmark's figures, at a size at which they take no time."""

import json
import os
import subprocess
import sys

import gin
import pytest
from absl.testing import flagsaver

from compare_gan_logits import main
from compare_gan_logits.planning import plan


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def benchmark(*arguments):
  return subprocess.run(
    [sys.executable, "tools/benchmark.py", *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.long
def test_this_program_computes_less_than_the_plain_formulation(tmp_path):
  path = tmp_path / "figures.json"
  done = benchmark(
    "--part",
    "sizes",
    "--size",
    "32:4:2",
    "--rounds",
    "1",
    "--steps",
    "1",
    "--json",
    str(path),
  )
  assert done.returncode == 0, done.stderr
  figures = json.loads(path.read_text())
  ours, plain = (
    figures["sizes"]["32:4:2"][way] for way in ("this program", "plain formulation")
  )
  assert figures["peak_gflop_per_s"] > 1
  assert ours["gflop_computed"] < 0.7 * plain["gflop_computed"]
  assert ours["gflop_needed"] == plain["gflop_needed"] == ours["gflop_computed"]
  assert ours["images_per_s"] == pytest.approx(2 / ours["seconds_per_step"])
  assert 0 < ours["share_of_peak"] < 1 and 0.1 < ours["peak_memory_gb"] < 10


@pytest.mark.long
def test_a_wrong_part_is_answered_with_the_list():
  done = benchmark("--part", "stpe")
  assert done.returncode != 0 and "step" in done.stderr
  assert "Traceback" not in done.stderr


PLAN = (
  "--plan",
  "--gin_config",
  "gin_configs/paper.gin",
  "--gin_bindings",
  "resnet_biggan.Generator.ch = 1",
  "--gin_bindings",
  "resnet_biggan.Discriminator.ch = 4",
  "--gin_bindings",
  "dataset.name = 'fake:10@32'",
  "--gin_bindings",
  "options.disc_iters = 1",
  "--gin_bindings",
  "options.batch_size = 64",
  # Graphs that take half the time to build.
  "--gin_bindings",
  "G.spectral_norm = False",
  "--gin_bindings",
  "weights.initializer = 'normal'",
)


def test_a_plan_divides_the_batch_itself():
  """The graph that is counted has the whole batch, whatever gin binds."""
  with flagsaver.flagsaver():
    main.parse_gin(
      [f"{ROOT}/{PLAN[2]}"], [*PLAN[4::2], "ModularGAN.micro_batches = 16"]
    )
    gan, *_ = plan._trainer()
  gin.clear_config()
  assert gan._micro_batches == 1


@pytest.mark.long
def test_a_plan_needs_neither_data_nor_classifier(server, tmp_path):
  """And its wrong inputs are sentences, before anything is counted."""
  path = tmp_path / "plan.json"
  wrong = {
    ("--device", "v100"): "did you mean 'v100_32gb'",
    ("--bandwidth_gbs", "-3"): "must be more than zero",
    ("--replicas", "3"): "cannot be divided among 3 replicas",
    ("--gin_config", "gone.gin"): "no gin file gone.gin",
    (
      "--device",
      "v100_32gb",
      "--gin_bindings",
      "compute.dtype = 'bfloat16'",
    ): "no peak for compute.dtype 'bfloat16'",
  }
  right = server.start(
    tmp_path / "right",
    "benchmark",
    *PLAN,
    "--gin_bindings",
    "classifier.handle = 'robust_resnet152'",
    "--replicas",
    1,
    "--replicas",
    16,
    "--json",
    path,
  )
  for number, (arguments, words) in enumerate(wrong.items()):
    done = server.run(tmp_path / str(number), "benchmark", *PLAN, *arguments)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1
  done = right.wait(900)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("counting the operations")
  assert "22.6 GFLOP an image" in done.stdout and "TPU v3" in done.stdout
  figures = json.loads(path.read_text())
  one, sixteen = figures["rows"]
  assert figures["tflop"] < 0.7 * figures["plain_tflop"]
  assert one["efficiency"] == 1 and one["communication"] == 0
  assert 0 < sixteen["efficiency"] < 1 and sixteen["micro_batch"] == 4
  assert sixteen["days"] < sixteen["days_with_classifier"]
