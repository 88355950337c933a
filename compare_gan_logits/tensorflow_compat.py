"""The one place that knows TensorFlow's versions.

This program is written for TensorFlow 2.15, the last release with tf.estimator. From
2.16 on, the package tensorflow-estimator still works beside TensorFlow once the few
names that it imports are put back, which `prepare` does as soon as TensorFlow has been
imported. On 2.15 it changes nothing. No other module asks for a version.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import sys
import tempfile
import types

from compare_gan_logits.errors import UserError


OLDEST, NEWEST = (2, 15), (2, 21)
_LAST_WITH_ESTIMATOR = (2, 15)
# What TensorFlow's libraries say while they are loaded: notes, on a machine without a
# GPU an "error" that there is none, and three of 2.15 that it has registered a library
# of CUDA already.
_CHATTER = re.compile(
  rb"I\d{4} |WARNING: All log messages before absl::|E\d{4} .*cuInit"
  rb"|.* Unable to register cu\w+ factory: "
)
_DRIVER = "/proc/driver/nvidia"
_REMEDY = "install this program with `pip install .` into an environment of its own"


def watch() -> None:
  """Prepares TensorFlow when it is imported, or now where it already is.

  This package's __init__ calls it. It imports nothing large, so that a command's
  --help does not wait for TensorFlow.
  """
  if "tensorflow" in sys.modules:
    _before_import()
    prepare(sys.modules["tensorflow"])
  elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _Finder())


def prepare(tensorflow: types.ModuleType) -> None:
  """Puts back what tensorflow-estimator, TF-Hub and TF-GAN look for.

  Raises:
    UserError: this program was not tried with that version, or tf.keras is Keras 3.
  """
  version = _parse(tensorflow.__version__)
  if not OLDEST <= version <= NEWEST:
    raise UserError(
      f"this program supports TensorFlow {_dotted(OLDEST)} to {_dotted(NEWEST)}, not "
      f"{tensorflow.__version__}; {_REMEDY}"
    )
  if version <= _LAST_WITH_ESTIMATOR:
    return
  _check_keras(tensorflow)
  _restore_export_names()
  for module in (_distribute_coordinator(), *_removed_tpu_modules()):
    sys.modules.setdefault(module.__name__, module)
  _restore_estimator(tensorflow)


def check_tpu() -> None:
  """Refuses to train on a TPU where TensorFlow cannot do it with an Estimator.

  Raises:
    UserError: TPUEstimator's session support left TensorFlow with 2.16.
  """
  import tensorflow

  if _parse(tensorflow.__version__) > _LAST_WITH_ESTIMATOR:
    raise UserError(
      f"--use_tpu needs TensorFlow {_dotted(_LAST_WITH_ESTIMATOR)}, which runs on "
      f"Python 3.9 to 3.11; this is TensorFlow {tensorflow.__version__}"
    )


def _before_import():
  """What has to hold before TensorFlow is imported.

  Raises:
    UserError: two builds of TensorFlow are installed over each other.
  """
  if _installed("tensorflow-cpu") and _installed("tensorflow"):
    raise UserError(
      "tensorflow and tensorflow-cpu are both installed and overwrite each other's "
      "files; `pip uninstall -y tensorflow tensorflow-cpu`, then install one of them"
    )
  # From 2.16 on tf.keras is Keras 3, which cannot read what Keras 2 wrote and has no
  # layers for graphs of TensorFlow 1. tf-keras is installed there, and not beside 2.15.
  if importlib.util.find_spec("tf_keras"):
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def _installed(name):
  """Whether a distribution brings TensorFlow itself, and not only its name."""
  try:
    files = importlib.metadata.files(name) or ()
  except importlib.metadata.PackageNotFoundError:
    return False
  return any(str(path) == "tensorflow/__init__.py" for path in files)


def _parse(version):
  return tuple(int(number) for number in version.split(".")[:2])


def _dotted(version):
  return ".".join(str(number) for number in version)


def _check_keras(tensorflow):
  if getattr(tensorflow.keras, "_tfll_initialized", False) and (
    tensorflow.keras._tfll_keras_version == "keras_3"
  ):
    raise UserError(
      "tf.keras is already Keras 3; import compare_gan_logits before anything uses "
      "tf.keras, or set TF_USE_LEGACY_KERAS=1"
    )
  if not importlib.util.find_spec("tf_keras"):
    raise UserError(
      f"TensorFlow {tensorflow.__version__} needs the package tf-keras of the same "
      f"version here; {_REMEDY}"
    )


# What tensorflow-estimator 2.15 imports and TensorFlow 2.16 took out ----------


def _restore_export_names():
  """For tensorflow_estimator.python.estimator.estimator_export, all of whose decorators
  name the API that they export to."""
  from tensorflow.python.util import tf_export

  name = "estimator"
  tf_export.ESTIMATOR_API_NAME = name
  for attributes, suffix in (
    (tf_export.API_ATTRS, ""),
    (tf_export.API_ATTRS_V1, "_v1"),
  ):
    kind = type(next(iter(attributes.values())))
    attributes.setdefault(
      name, kind(f"_estimator_api_names{suffix}", f"_estimator_api_constants{suffix}")
    )


def _restore_estimator(tensorflow):
  """tf.estimator and tf.compat.v1.estimator, lazily, as TensorFlow 2.15 has them."""
  from tensorflow.python.util.lazy_loader import LazyLoader

  for module, version in ((tensorflow, "_v2"), (tensorflow.compat.v1, "_v1")):
    path = f"tensorflow_estimator.python.estimator.api.{version}.estimator"
    module.estimator = LazyLoader("estimator", vars(module), path)


def _removed_tpu_modules():
  """Modules that tensorflow_estimator's tpu folder imports, and uses on a TPU only."""

  def stand_in(name):
    if name.startswith("__"):
      raise AttributeError(name)
    return type(name, (_Removed,), {})

  for name in ("session_support", "tpu_embedding", "tpu_embedding_gradient"):
    module = types.ModuleType(f"tensorflow.python.tpu.{name}")
    vars(module)["__getattr__"] = stand_in
    yield module


class _Removed:
  """A class or function that this TensorFlow does not have any more."""

  def __init__(self, *arguments, **keywords):
    del arguments, keywords
    raise UserError(
      f"{type(self).__name__} was removed from TensorFlow in 2.16; train on a TPU "
      f"with TensorFlow {_dotted(_LAST_WITH_ESTIMATOR)}"
    )


def _distribute_coordinator():
  """For RunConfig and train_and_evaluate, which ask it who trains."""
  module = types.ModuleType("tensorflow.python.distribute.estimator_training")
  vars(module).update(
    init_run_config=_init_run_config,
    should_run_distribute_coordinator=_has_workers,
    train_and_evaluate=_train_as_worker,
  )
  return module


def _init_run_config(config, tf_config):
  """Completes a RunConfig that has a strategy, from TF_CONFIG as a dict."""
  from tensorflow.python.distribute import distribute_coordinator
  from tensorflow.python.training import server_lib

  if not tf_config.get("cluster"):
    config._init_distributed_setting_from_environment_var(tf_config)
    config._maybe_overwrite_session_config_for_distributed_training()
    config._distribute_coordinator_mode = None
    return
  config._init_distributed_setting_from_environment_var({})
  config._cluster_spec = server_lib.ClusterSpec(tf_config["cluster"])
  mode = distribute_coordinator.CoordinatorMode.INDEPENDENT_WORKER
  config._distribute_coordinator_mode = mode


def _has_workers(config):
  return getattr(config, "_distribute_coordinator_mode", None) is not None


def _train_as_worker(estimator, train_spec, eval_spec, executor):
  """Trains in this process as one of several workers; none of them evaluates."""
  from tensorflow.python.distribute import distribute_coordinator
  from tensorflow.python.distribute import distribute_coordinator_context

  del eval_spec, executor

  def work(strategy):
    context = distribute_coordinator_context.get_current_worker_context()
    worker = copy.deepcopy(estimator)
    worker._train_distribution = strategy
    _place(worker._config, strategy, context)
    worker.train(
      train_spec.input_fn, max_steps=train_spec.max_steps, hooks=train_spec.hooks
    )

  distribute_coordinator.run_distribute_coordinator(
    work,
    estimator.config.train_distribute,
    mode=estimator.config._distribute_coordinator_mode,
    session_config=estimator.config.session_config,
  )


def _place(config, strategy, context):
  """Tells a worker's RunConfig its place in the cluster."""
  tasks = [
    (kind, i)
    for kind in ("chief", "worker")
    for i in range(len(context.cluster_spec.as_dict().get(kind, ())))
  ]
  config._train_distribute = strategy
  config._cluster_spec = context.cluster_spec
  config._task_type, config._task_id = context.task_type, context.task_id
  config._master = config._evaluation_master = context.master_target
  config._service = None
  config._is_chief = context.is_chief
  config._num_ps_replicas, config._num_worker_replicas = 0, len(tasks)
  config._global_id_in_cluster = tasks.index((context.task_type, context.task_id))
  config._distribute_coordinator_mode = None  # worker.train then trains here


# Acting at TensorFlow's import ------------------------------------------------


class _Finder(importlib.abc.MetaPathFinder):
  """Finds TensorFlow where it is, once, and has it prepared."""

  def find_spec(self, fullname, path=None, target=None):
    if fullname != "tensorflow":
      return None
    sys.meta_path.remove(self)
    _before_import()
    spec = importlib.util.find_spec(fullname)
    if spec is not None and spec.loader is not None:
      spec.loader = _Loader(spec.loader)
    return spec


class _Loader(importlib.abc.Loader):
  """Prepares a module once its own loader has run it."""

  def __init__(self, loader):
    self._loader = loader

  def create_module(self, spec):
    return self._loader.create_module(spec)

  def exec_module(self, module):
    module.__spec__.loader = module.__loader__ = self._loader
    with _without_chatter():
      self._loader.exec_module(module)
      if not os.path.exists(_DRIVER):
        module.config.list_physical_devices()  # says that there is no driver
    prepare(module)


@contextlib.contextmanager
def _without_chatter():
  """Holds back what is written to stderr, and then writes all but the chatter.

  TensorFlow 2.21 does not ask TF_CPP_MIN_LOG_LEVEL while it is loaded.
  """
  if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") == "0":
    yield
    return
  try:
    stderr = os.dup(2)
  except OSError:  # closed by the caller
    yield
    return
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)
      held.seek(0)
      for line in held:
        if not _CHATTER.match(line):
          os.write(2, line)
