"""The example for PyTorch users runs from the network to the report."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from compare_gan_logits import datasets
from compare_gan_logits.inversion import Inverter


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.mark.long
def test_a_pytorch_users_hour_in_short(tmp_path):
  example = os.path.join(ROOT, "examples", "pytorch_classifier.py")
  subprocess.run(
    [
      sys.executable,
      example,
      f"--output={tmp_path}",
      "--classifier_steps=30",
      "--steps=2",
      "--images=8",
    ],
    check=True,
    env={**os.environ, "PYTHONPATH": ROOT},
  )
  module = tmp_path / "inverter" / "module"
  facts = json.loads((module / "inversion.json").read_text())["classifier"]
  assert (facts["name"], facts["role"]["kind"]) == ("my network", "standard")
  assert facts["check"]["accuracy"] > 0.3 and not facts["check"]["warnings"]
  assert (tmp_path / "report" / "report.html").stat().st_size > 50_000
  results = json.loads((tmp_path / "report" / "results.json").read_text())
  for name, found in results["experiments"].items():
    assert not any(note.startswith("Not run") for note in found["notes"]), name

  scope = {"__name__": "example"}
  with open(example, encoding="utf-8") as f:
    exec(f.read(), scope)
  network = scope["build"]().eval()
  network.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
  images, _ = datasets.get_dataset("embedded").arrays("validation", limit=5)
  inputs = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  with torch.no_grad():
    expected = network((inputs - 0.29) / 0.35).numpy()
  inverter = Inverter.load(str(module))
  np.testing.assert_allclose(inverter.logits(images), expected, atol=1e-4)
