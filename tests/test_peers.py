"""The watch over other workers, with sockets in their place."""

import socket
import threading

import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import peers


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr(peers, "PATIENCE_SECONDS", 0.2)
  monkeypatch.setattr(peers, "_PAUSE_SECONDS", 0.02)


@pytest.fixture
def lost():
  """(event, addresses): set once a worker is lost."""
  event, addresses = threading.Event(), []

  def note(address):
    addresses.append(address)
    event.set()

  return event, addresses, note


def listen():
  server = socket.create_server(("localhost", 0))
  return server, f"localhost:{server.getsockname()[1]}"


def test_a_port_that_answered_and_closes_is_a_lost_worker(lost):
  event, addresses, note = lost
  (alive, alive_at), (dying, dying_at) = listen(), listen()
  with alive, peers.PeerWatch([alive_at, dying_at], note).watching():
    assert not event.wait(0.5)  # longer than the patience
    dying.close()
    assert event.wait(10)
  assert addresses == [dying_at]


def test_a_worker_that_has_not_begun_is_waited_for(lost):
  event, _, note = lost
  server, address = listen()
  server.close()
  with peers.PeerWatch([address], note).watching():
    assert not event.wait(0.5)


def test_the_watch_ends_before_the_last_step(lost):
  event, _, note = lost
  server, address = listen()
  watch = peers.PeerWatch([address], note)
  with tf.Graph().as_default(), watch.watching():
    advance = tf.train.get_or_create_global_step().assign_add(1)
    hook = peers.LastStep(watch, max_steps=5)
    with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
      session.run(advance)
      assert not watch._ended.is_set()
      for _ in range(3):
        session.run(advance)
      assert watch._ended.is_set()
  server.close()
  assert not event.wait(0.5)
