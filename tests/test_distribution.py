"""Several replicas take the steps that one takes: the same images, noise and moments.

Each layout goes on from the same checkpoint of a run of one process, which also shows
that checkpoints do not depend on the layout.
"""

import json
import os
import shutil
import socket
import time
import types

import helpers
import pytest
import tensorflow.compat.v1 as tf
import tiny

from compare_gan_logits import distribution
from compare_gan_logits.distribution import Distribution
from compare_gan_logits.errors import UserError


TRAIN = "../tests/train_only"
PROCESSES = [
  int(n) for n in os.environ.get("COMPARE_GAN_LOGITS_PROCESSES", "2").split(",")
]
STEPS = 4
CONFIG = """
ModularGAN.ema_decay = 0.5
run_config.save_summary_steps = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("distribution")
  tiny.write_training(folder, CONFIG)
  return folder


def arguments(folder, name, steps, *more):
  return [
    "--gin_config",
    folder / "tiny.gin",
    "--model_dir",
    folder / name,
    "--gin_bindings",
    f"options.training_steps = {steps}",
    *more,
  ]


def train(server, folder, name, steps, *more):
  result = server.run(
    folder / "logs", TRAIN, *arguments(folder, name, steps, *more), timeout=900
  )
  assert result.returncode == 0, result.stderr
  return result


@pytest.fixture(scope="module")
def start(server, folder):
  """A run of one process that has made two steps."""
  train(server, folder, "start", 2)
  return folder / "start"


@pytest.fixture(scope="module")
def expected(server, folder, start):
  """Every variable after two more steps of one process."""
  shutil.copytree(start, folder / "whole")
  train(server, folder, "whole", STEPS)
  return helpers.weights(folder / "whole" / f"model.ckpt-{STEPS}")


def check(folder, name, expected):
  found = helpers.weights(folder / name / f"model.ckpt-{STEPS}")
  helpers.assert_same_training(expected, found, rate=4e-4, steps=STEPS - 2)


def keep_only(folder, name, step):
  """Removes all of a run but one checkpoint."""
  kept = folder / f"{name}_until_{step}"
  kept.mkdir()
  for path in (folder / name).glob(f"model.ckpt-{step}.*"):
    shutil.copy(path, kept)
  shutil.rmtree(folder / name)
  kept.rename(folder / name)


class Workers:
  """Processes that train together, on free ports of this machine."""

  def __init__(self, server, folder, name, number, steps=STEPS):
    sockets = [socket.socket() for _ in range(number)]
    for s in sockets:
      s.bind(("localhost", 0))
    addresses = [f"localhost:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
      s.close()
    self.commands = []
    for index in range(number):
      config = {
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": index},
      }
      self.commands.append(
        server.start(
          folder / "logs",
          TRAIN,
          *arguments(
            folder,
            name,
            steps,
            "--distribute",
            "multi_worker",
            "--gin_bindings",
            "run_config.save_checkpoints_steps = 1",
          ),
          # A collective holds a thread while it waits for the others.
          environment={"TF_CONFIG": json.dumps(config), "TF_NUM_INTEROP_THREADS": "4"},
        )
      )

  def kill_last(self):
    """Kills one worker in the middle of a step; returns how the others then end."""
    self.commands[-1].kill()
    return [command.wait(60) for command in self.commands[:-1]]

  def wait(self):
    try:
      results = [command.wait(900) for command in self.commands]
    finally:
      for command in self.commands:
        if command.poll() is None:
          command.kill()
    assert [r.returncode for r in results] == [0] * len(results), [
      r.stderr for r in results
    ]
    return results


@pytest.mark.long
def test_two_replicas_in_one_process_and_back(server, folder, start, expected):
  shutil.copytree(start, folder / "mirrored")
  train(
    server,
    folder,
    "mirrored",
    STEPS,
    "--distribute",
    "mirrored",
    "--num_replicas",
    "2",
    "--gin_bindings",
    "run_config.save_checkpoints_steps = 1",
  )
  check(folder, "mirrored", expected)
  # One file of summaries, of the mean over the replicas.
  assert (
    len(list((folder / "mirrored").glob("events*.v2")))
    == len(list(start.glob("events*.v2"))) + 1
  )
  keep_only(folder, "mirrored", step=3)
  train(server, folder, "mirrored", STEPS)
  check(folder, "mirrored", expected)


@pytest.mark.long
@pytest.mark.parametrize("number", PROCESSES)
def test_several_processes_one_of_them_killed(server, folder, start, expected, number):
  name = f"workers{number}"
  shutil.copytree(start, folder / name)
  if number == 2:
    # More steps than it can make before one of them is killed.
    workers = Workers(server, folder, name, number, steps=1000)
    while not (folder / name / "model.ckpt-3.index").exists():
      time.sleep(0.1)
      assert workers.commands[0].poll() is None
    (left,) = workers.kill_last()
    assert left.returncode == 1 and "start all workers again" in left.stderr
    assert "Traceback" not in left.stderr
    keep_only(folder, name, step=3)
  results = Workers(server, folder, name, number).wait()
  check(folder, name, expected)
  assert f"step {STEPS}/{STEPS} reached" in results[0].stderr
  assert all("training images" not in result.stdout for result in results[1:])
  assert not list((folder / name).glob("tmp_*"))


def cluster(**changes):
  return json.dumps(
    {
      "cluster": {"worker": ["a:1", "b:2"]},
      "task": {"type": "worker", "index": 0},
      **changes,
    }
  )


@pytest.mark.parametrize(
  "config",
  [
    None,
    "",
    "{",
    "[]",
    "{}",
    cluster(task={}),
    cluster(cluster={}),
    cluster(task={"type": "worker", "index": 2}),
    cluster(task={"type": "worker"}),
    cluster(cluster={"worker": "a:1"}),
    cluster(cluster={"worker": ["a"]}),
    cluster(cluster={"worker": ["a:1"], "ps": ["b:2"]}),
    cluster(cluster={"chief": ["a:1", "b:2"], "worker": ["c:3"]}),
  ],
)
def test_a_wrong_tf_config_is_explained(monkeypatch, config):
  monkeypatch.delenv("TF_CONFIG", raising=False)
  if config is not None:
    monkeypatch.setenv("TF_CONFIG", config)
  with pytest.raises(UserError, match=r"TF_CONFIG.*\"cluster\""):
    Distribution("multi_worker")


@pytest.mark.parametrize("config", ["{", "[]", "7"])
def test_a_tf_config_that_nothing_can_read_is_explained_to_one_process(
  monkeypatch, config
):
  monkeypatch.setenv("TF_CONFIG", config)
  with pytest.raises(UserError, match="unset it"):
    Distribution()


def test_the_chief_is_the_first_worker_and_all_others_are_peers(monkeypatch):
  strategy = types.SimpleNamespace(num_replicas_in_sync=3)
  monkeypatch.setattr(
    tf.distribute.experimental, "MultiWorkerMirroredStrategy", lambda: strategy
  )
  monkeypatch.setenv(
    "TF_CONFIG",
    cluster(
      cluster={"chief": ["c:1"], "worker": ["a:1", "b:2"]},
      task={"type": "worker", "index": "1"},
    ),
  )
  found = Distribution("multi_worker")
  assert (found.worker, found.num_workers, found.task) == (2, 3, ("worker", 1))
  assert found.peers == ["c:1", "a:1"] and not found.is_chief


@pytest.mark.parametrize(
  "kind, replicas, part",
  [
    ("miror", None, "did you mean 'mirrored'"),
    ("none", 2, "leave it out"),
    ("mirrored", None, "no GPU"),
  ],
)
def test_a_layout_that_is_not_there_is_explained(kind, replicas, part):
  with pytest.raises(UserError, match=part):
    Distribution(kind, replicas)


def test_replicas_are_those_of_each_process():
  """Of six replicas in three processes this one has two."""
  context = tf.distribute.InputContext(3, 1, 6)
  share = {"shard": 1, "num_shards": 3, "replicas": 2}
  assert distribution.input_share(context) == share
  assert distribution.input_share() == {}


def test_a_batch_that_cannot_be_shared_out_is_refused():
  layout = Distribution()
  layout.num_replicas = 3
  assert layout.share(12) == 4
  with pytest.raises(UserError, match="batch_size 16 is not a multiple of the 3"):
    layout.share(16)
