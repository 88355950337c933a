"""What one TensorFlow makes, another takes.

COMPARE_GAN_LOGITS_OTHER_PYTHON names the interpreter of the other environment.
"""

import os
import sys

import environments
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from compare_gan_logits.inversion import Inverter


OTHER_PYTHON = os.environ.get("COMPARE_GAN_LOGITS_OTHER_PYTHON")


@pytest.mark.long
@pytest.mark.skipif(not OTHER_PYTHON, reason="no second environment was named")
@pytest.mark.parametrize("made_here", [True, False])
def test_a_checkpoint_and_a_module_are_taken_by_the_other(tmp_path, made_here):
  maker, taker = sys.executable, OTHER_PYTHON
  if not made_here:
    maker, taker = taker, maker
  tiny.write_training(tmp_path, tiny.DCGAN)
  environments.train(maker, tmp_path, 2)
  module = tmp_path / "run" / "module"
  expected, found = (
    environments.generate(python, environments.GENERATE, module, tmp_path)
    for python in (maker, taker)
  )
  np.testing.assert_allclose(found, expected, atol=1e-5)
  environments.train(taker, tmp_path, 4)
  assert tf.train.latest_checkpoint(str(tmp_path / "run")).endswith("-4")
  assert Inverter.load(str(module)).info["step"] == 4
