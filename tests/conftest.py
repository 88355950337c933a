"""Tests compute as the commands do: the package's settings precede TensorFlow."""

import signal

import forking
import pytest

import compare_gan_logits  # noqa: F401


# A shell's background job ignores Ctrl-C, and so would the commands that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server():
  """Runs the real commands, in forks of one process."""
  with forking.Server() as running:
    yield running
