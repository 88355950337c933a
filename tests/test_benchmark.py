"""The benchmark's figures, at a size at which they take no time."""

import json
import os
import subprocess
import sys

import pytest


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def benchmark(*arguments):
  return subprocess.run([sys.executable, "tools/benchmark.py", *arguments], cwd=ROOT,
                        capture_output=True, text=True, check=False)


@pytest.mark.long
def test_this_program_computes_less_than_the_plain_formulation(tmp_path):
  path = tmp_path / "figures.json"
  done = benchmark("--part", "sizes", "--size", "32:4:2", "--rounds", "1", "--steps", "1",
                   "--json", str(path))
  assert done.returncode == 0, done.stderr
  figures = json.loads(path.read_text())
  ours, plain = (figures["sizes"]["32:4:2"][way]
                 for way in ("this program", "plain formulation"))
  assert figures["peak_gflop_per_s"] > 1
  assert ours["gflop_computed"] < 0.7 * plain["gflop_computed"]
  assert ours["gflop_needed"] == plain["gflop_needed"] == ours["gflop_computed"]
  assert ours["images_per_s"] == pytest.approx(2 / ours["seconds_per_step"])
  assert 0 < ours["share_of_peak"] < 1 and 0.1 < ours["peak_memory_gb"] < 10


def test_a_wrong_part_is_answered_with_the_list():
  done = benchmark("--part", "stpe")
  assert done.returncode != 0 and "step" in done.stderr
  assert "Traceback" not in done.stderr
