"""Tests compute as the commands do: the package's settings precede TensorFlow.

COMPARE_GAN_LOGITS_NO_SKIPS makes a skip a failure, but for the reasons in _EXCUSES.
"""

import atexit
import collections
import importlib.util
import os
import shutil
import signal
import tempfile

import forking
import pytest

import compare_gan_logits  # noqa: F401


# What is found in folders of pictures is kept in the user's cache folder.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="compare_gan_logits-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# A shell's background job ignores Ctrl-C, and so would the commands that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


_OF_PYTORCH = [
  "test_bad_input_torch.py",
  "test_classifiers_real.py",
  "test_classifiers_torch.py",
  "test_pytorch_example.py",
]
collect_ignore = [] if importlib.util.find_spec("torch") else _OF_PYTORCH


def pytest_report_header():
  if collect_ignore:
    return f"no PyTorch (pip install '.[test-torch]'): without {', '.join(_OF_PYTORCH)}"
  return None


def pytest_collection_modifyitems(items):
  """Files with long tests come first: at the end no process waits for another's."""
  long = collections.Counter(i.path for i in items if i.get_closest_marker("long"))
  items.sort(key=lambda item: -long[item.path])


@pytest.fixture(scope="session")
def server():
  """Runs the real commands, in forks of one process."""
  with forking.Server() as running:
    yield running


# What no machine of the continuous integration can have, and what is no test.
_EXCUSES = (
  "this machine has a GPU",
  "lpips is not installed",
  # What `make smoke` of .ci/run shows in its environment.
  "no second environment was named",
  "keras is not Keras 3 here",
  "Not a test.",  # tf.test.TestCase has a method called test_session
)


def _refuse_skip(report):
  reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else ""
  unwanted = report.skipped and isinstance(report.longrepr, tuple)
  if unwanted and not any(excuse in reason for excuse in _EXCUSES):
    report.outcome = "failed"
    report.longrepr = f"a skip, where none is wanted: {reason}"


if os.environ.get("COMPARE_GAN_LOGITS_NO_SKIPS"):

  @pytest.hookimpl(hookwrapper=True)
  def pytest_runtest_makereport():
    _refuse_skip((yield).get_result())

  @pytest.hookimpl(hookwrapper=True)
  def pytest_make_collect_report():
    _refuse_skip((yield).get_result())
