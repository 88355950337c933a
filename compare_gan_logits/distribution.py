"""One process, several replicas in one process, or several processes.

TensorFlow's strategies do the work. The batch of an update is shared out among the
replicas, and every replica computes the same step from its share.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


KINDS = ("none", "mirrored", "multi_worker")
_TF_CONFIG = "TF_CONFIG"
_EXAMPLE = (
  '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
  '"task": {"type": "worker", "index": 0}}'
)


class Distribution:
  """How many replicas train, and where.

  Make it before anything else uses TensorFlow: it fixes the devices and, for several
  workers, their connections.

  Args:
    kind: "none", "mirrored" (all GPUs of this process, or num_replicas parts of its
      CPU) or "multi_worker" (the processes that TF_CONFIG lists, one of them this).
    num_replicas: for "mirrored"; None: every GPU.

  Attributes:
    strategy: tf.distribute.Strategy or None.
    num_replicas: over all workers.
    across_processes: whether TF_CONFIG decides.
    num_workers: processes.
    worker: this one's number, 0 for the chief.
    task: (type, index) of this one in TF_CONFIG; only of "multi_worker".
    peers: "host:port" of every other process.

  Raises:
    UserError: TF_CONFIG is missing or wrong, or there are not so many devices.
  """

  def __init__(self, kind: str = "none", num_replicas: int | None = None) -> None:
    self.strategy, self.num_workers, self.worker = None, 1, 0
    self.peers = []
    self.across_processes = kind == "multi_worker"
    if kind not in KINDS:
      raise UserError(f"--distribute {kind}: {nearest(kind, KINDS)}")
    if num_replicas is not None and kind != "mirrored":
      raise UserError(
        f"--num_replicas is for --distribute mirrored, not for {kind}; leave it out"
      )
    if not self.across_processes:
      _check_readable()
    if kind == "mirrored":
      self.strategy = tf.distribute.MirroredStrategy(_devices(num_replicas))
    elif kind == "multi_worker":
      addresses, self.worker, self.task = _cluster()
      self.num_workers = len(addresses)
      self.peers = [a for i, a in enumerate(addresses) if i != self.worker]
      print(
        f"worker {self.worker} of {self.num_workers}, waiting for the others",
        file=sys.stderr,
        flush=True,
      )
      self.strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy()
    self.num_replicas = self.strategy.num_replicas_in_sync if self.strategy else 1

  @property
  def is_chief(self) -> bool:
    """Whether this process writes, prints and exports."""
    return self.worker == 0

  def share(self, batch_size: int) -> int:
    """One replica's part of a batch.

    Raises:
      UserError: the batch is not a multiple of the replicas.
    """
    if batch_size % self.num_replicas:
      raise UserError(
        f"options.batch_size {batch_size} is not a multiple of the "
        f"{self.num_replicas} replicas; change one of them"
      )
    return batch_size // self.num_replicas

  def session_config(self) -> tf.ConfigProto | None:
    """What sessions of the training need; None: nothing."""
    if self.strategy is None or self.across_processes:
      return None
    # Without its count of CPUs a session has one, and without a thread for each a
    # replica waits for ever for another that waits for its thread.
    count = len(tf.config.list_logical_devices("CPU"))
    return tf.ConfigProto(
      allow_soft_placement=True,
      device_count={"CPU": count},
      inter_op_parallelism_threads=max(os.cpu_count(), 2 * count + 2),
      use_per_session_threads=True,
    )


def input_share(
  input_context: tf.distribute.InputContext | None = None, tpu_context: Any = None
) -> dict[str, int]:
  """The part of the data that this process reads.

  Args:
    input_context: tf.distribute.InputContext or None.
    tpu_context: TPUEstimator's, on a TPU, or None.

  Returns:
    dict of shard, num_shards (processes) and replicas (of this process): arguments
    of ModularGAN.input_fn.
  """
  if tpu_context is not None:
    _, host, hosts, cores = tpu_context.current_input_fn_deployment()
    return {"shard": host, "num_shards": hosts, "replicas": cores}
  if input_context is not None:
    pipelines = input_context.num_input_pipelines
    return {
      "shard": input_context.input_pipeline_id,
      "num_shards": pipelines,
      "replicas": input_context.num_replicas_in_sync // pipelines,
    }
  return {}


def _devices(num_replicas):
  """Names of the devices of MirroredStrategy."""
  gpus = tf.config.list_physical_devices("GPU")
  if gpus:
    if num_replicas is not None and num_replicas > len(gpus):
      raise UserError(
        f"--num_replicas {num_replicas}, but there are {len(gpus)} GPUs; "
        "name no more than there are"
      )
    return [f"/gpu:{i}" for i in range(num_replicas or len(gpus))]
  if num_replicas is None:
    raise UserError(
      "--distribute mirrored found no GPU; leave it out, or name the "
      "parts to make of the CPU with --num_replicas"
    )
  (cpu,) = tf.config.list_physical_devices("CPU")
  tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * num_replicas
  )
  return [f"/cpu:{i}" for i in range(num_replicas)]


def _check_readable():
  """TensorFlow reads TF_CONFIG in every training.

  Raises:
    UserError: it is no JSON object.
  """
  text = os.environ.get(_TF_CONFIG) or "{}"
  try:
    readable = isinstance(json.loads(text), dict)
  except ValueError:
    readable = False
  if not readable:
    raise UserError(
      f"{_TF_CONFIG} is {text[:200]!r}, which does not describe a cluster; unset it, "
      f"or make it like {_EXAMPLE}"
    )


def _cluster():
  """(addresses, this one's number, its task) by TF_CONFIG; the chief is the first.

  Raises:
    UserError: it is missing or wrong.
  """
  text = os.environ.get(_TF_CONFIG)
  if not text:
    raise UserError(
      f"--distribute multi_worker needs {_TF_CONFIG} in the environment, "
      f"such as {_EXAMPLE}"
    )
  try:
    config = json.loads(text)
    cluster, task = config["cluster"], config["task"]
    chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
    names = [("chief", i) for i in range(len(chiefs))]
    names += [("worker", i) for i in range(len(workers))]
    task = task["type"], int(task["index"])
    place = names.index(task)
    sound = (
      len(chiefs) <= 1
      and set(cluster) <= {"chief", "worker"}
      and all(
        isinstance(address, str) and address.rpartition(":")[2].isdecimal()
        for address in [*chiefs, *workers]
      )
    )
  except (AttributeError, KeyError, TypeError, ValueError):
    sound = False
  if not sound:
    raise UserError(
      f"{_TF_CONFIG} is {text[:200]!r}, which names no chief or worker; make it like "
      f"{_EXAMPLE}, index being that of this process"
    )
  return [*chiefs, *workers], place, task
