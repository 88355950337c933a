"""Tests compute as the commands do: the package's settings precede TensorFlow."""

import atexit
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


@pytest.fixture(scope="session")
def server():
  """Runs the real commands, in forks of one process."""
  with forking.Server() as running:
    yield running
