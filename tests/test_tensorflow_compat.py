"""TensorFlow 2.15 to 2.21 under one program."""

import importlib.metadata
import os
import subprocess
import sys
import types

import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import tensorflow_compat
from compare_gan_logits.errors import UserError


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def python(code):
  """A fresh interpreter runs the code; its stdout, after its stderr was empty."""
  done = subprocess.run(
    [sys.executable, "-W", "ignore", "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0 and not done.stderr, done.stderr
  return done.stdout.split()


def test_the_package_alone_does_not_import_tensorflow():
  code = "import sys, compare_gan_logits; print('tensorflow' in sys.modules)"
  assert python(code) == ["False"]


_USE = """
import tensorflow.compat.v1 as tf, tensorflow_hub as hub, tensorflow_gan as gan
print(tf.estimator.tpu.TPUEstimator.__name__, hub.Module.__name__)
print(gan.losses.wargs.__name__, tf.keras.Model.__module__.split(".")[0])
"""


@pytest.mark.parametrize(
  "before",
  [
    "import compare_gan_logits",
    # Without this program TensorFlow says what it likes.
    "import os; stderr = os.dup(2); os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
    "import tensorflow, compare_gan_logits; os.dup2(stderr, 2)",
  ],
)
@pytest.mark.long
def test_what_tensorflow_2_15_had_is_there_in_either_order_of_imports(before):
  words = python(before + _USE)
  assert words[:2] == ["TPUEstimator", "Module"] and "wargs" in words[2]
  assert words[3] in ("keras", "tf_keras")


@pytest.mark.parametrize("version", ["2.14.1", "2.22.0", "2.22.0-rc1", "3.0.0"])
def test_a_version_that_was_not_tried_is_refused(version):
  with pytest.raises(UserError, match=f"2.15 to 2.21, not {version}"):
    tensorflow_compat.prepare(types.SimpleNamespace(__version__=version))


def test_two_builds_over_each_other_are_refused(monkeypatch):
  monkeypatch.setattr(
    importlib.metadata, "files", lambda name: ["tensorflow/__init__.py"]
  )
  with pytest.raises(UserError, match="both installed"):
    tensorflow_compat._before_import()


def test_a_tpu_is_refused_where_tensorflow_lost_what_it_needs():
  if tf.__version__.startswith("2.15."):
    tensorflow_compat.check_tpu()
  else:
    with pytest.raises(UserError, match="--use_tpu needs TensorFlow 2.15"):
      tensorflow_compat.check_tpu()


def test_keras_3_in_tensorflow_is_refused():
  """As it is where tf.keras was used before this package was imported."""
  keras = types.SimpleNamespace(_tfll_initialized=True, _tfll_keras_version="keras_3")
  fake = types.SimpleNamespace(__version__="2.21.0", keras=keras)
  with pytest.raises(UserError, match="already Keras 3"):
    tensorflow_compat.prepare(fake)
