"""Notices that another worker of a cluster has died.

A collective operation waits for every worker. Where one is gone TensorFlow may wait for
minutes, or for ever, so each worker looks for the others' ports itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import tensorflow.compat.v1 as tf


PATIENCE_SECONDS = 20.0  # a network may lose a connection for some seconds
_PAUSE_SECONDS = 2.0
_CONNECT_SECONDS = 5.0


class PeerWatch:
  """Looks for the ports of other workers, from the first time that each has answered.

  Args:
    addresses: "host:port" of each of the others.
    lost: called once, in the watch's thread, with the address that has not answered for
      PATIENCE_SECONDS.
  """

  def __init__(self, addresses: Sequence[str], lost: Callable[[str], None]):
    self._addresses = list(addresses)
    self._lost = lost
    self._ended = threading.Event()

  @contextlib.contextmanager
  def watching(self) -> Iterator[None]:
    """Watches inside of the context, or until `end` is called."""
    threading.Thread(target=self._watch, daemon=True).start()
    try:
      yield
    finally:
      self.end()

  def end(self) -> None:
    self._ended.set()

  def _watch(self):
    seen: dict[str, float] = {}
    while not self._ended.wait(_PAUSE_SECONDS):
      for address in self._addresses:
        if _answers(address):
          seen[address] = time.monotonic()
        elif time.monotonic() - seen.get(address, time.monotonic()) > PATIENCE_SECONDS:
          if not self._ended.is_set():
            self._lost(address)
          return


def _answers(address):
  host, _, port = address.rpartition(":")
  try:
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
  except OSError:
    return False
  return True


def lost_sentence(worker: str) -> str:
  """That a worker is lost, and the remedy."""
  return (
    f"{worker} has ended or cannot be reached; start all workers again with the same "
    "commands, which go on from the last checkpoint"
  )


def leave(address: str) -> None:
  """Ends this process with a sentence: its main thread may wait inside TensorFlow."""
  print(
    f"error: {lost_sentence(f'the worker at {address}')}",
    file=sys.stderr,
    flush=True,
  )
  os._exit(1)


class LastStep(tf.train.SessionRunHook):
  """Ends a watch before the last step: who has made it leaves while others still write.

  Args:
    watch: PeerWatch.
    max_steps: global step at which training ends.
  """

  def __init__(self, watch: PeerWatch, max_steps: int):
    self._watch = watch
    self._max_steps = max_steps

  def begin(self) -> None:
    self._step = tf.train.get_global_step()

  def after_create_session(self, session: tf.Session, coord: Any) -> None:
    del coord
    self._look(session.run(self._step))

  def before_run(self, run_context: Any) -> tf.train.SessionRunArgs:
    del run_context
    return tf.train.SessionRunArgs(self._step)

  def after_run(self, run_context: Any, run_values: Any) -> None:
    del run_context
    # What was fetched may be of before the step or of after it.
    self._look(run_values.results + 1)

  def _look(self, step):
    if step >= self._max_steps - 1:
      self._watch.end()
