"""Schedules: train, eval_after_train, continuous_eval, export."""

from __future__ import annotations

import collections
import contextlib
import functools
import inspect
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

import gin
import gin.tf
import numpy as np
import tensorflow.compat.v1 as tf
from absl import flags

from compare_gan_logits import checkpoints
from compare_gan_logits import datasets
from compare_gan_logits import devices
from compare_gan_logits import eval_gan_lib
from compare_gan_logits import eval_utils
from compare_gan_logits import export
from compare_gan_logits import files
from compare_gan_logits import hooks
from compare_gan_logits import introduction
from compare_gan_logits import peers
from compare_gan_logits import provenance
from compare_gan_logits import tensorflow_compat
from compare_gan_logits import utils
from compare_gan_logits.classifiers import from_gin
from compare_gan_logits.configuration import gin_errors_explained
from compare_gan_logits.distribution import Distribution
from compare_gan_logits.distribution import input_share
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import first_line
from compare_gan_logits.errors import nearest
from compare_gan_logits.errors import sentence
from compare_gan_logits.gans import modular_gan
from compare_gan_logits.task_manager import TaskManager
from compare_gan_logits.task_manager import TaskManagerWithCsvResults


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


__all__ = [
  "SCHEDULES",
  "Run",
  "TaskManager",
  "TaskManagerWithCsvResults",
  "get_options_dict",
  "get_run_settings",
  "make_run_config",
  "run_with_schedule",
  "use_tpu",
]

SCHEDULES = ("train", "eval_after_train", "continuous_eval", "export")
MODULE = "module"
# A score that could not be computed, as in compare_gan.
_NO_SCORE = 31337.0
_EVALUATION_TIMEOUT_SECONDS = 24 * 3600
_TPU_CONNECT_SECONDS = 20
_SEED_FILE = "random_seed.json"
# Before the chief draws the seed it runs the classifier and builds the networks.
_SEED_PATIENCE_SECONDS = 1800
# What only one process may do in a model_dir at a time.
_LOCKS = {
  "train": ("training",),
  "eval_after_train": ("training", "evaluation"),
  "continuous_eval": ("evaluation",),
  "export": (),
}

RunSettings = collections.namedtuple(
  "RunSettings",
  "tf_random_seed single_core iterations_per_loop "
  "save_checkpoints_steps keep_checkpoint_max save_summary_steps training_minutes",
)


def use_tpu() -> bool:
  """Whether to train on a TPU: --use_tpu, or else whether $TPU_NAME names one."""
  flag = flags.FLAGS["use_tpu"].value if "use_tpu" in flags.FLAGS else None
  return bool(os.environ.get("TPU_NAME")) if flag is None else flag


@gin.configurable("options")
def get_options_dict(
  batch_size: int = gin.REQUIRED,
  gan_class: Callable[..., Any] = gin.REQUIRED,
  architecture: str = gin.REQUIRED,
  training_steps: int = gin.REQUIRED,
  discriminator_normalization: Any = None,
  lamba: float = 1,
  disc_iters: int = 1,
  z_dim: int = 128,
) -> dict[str, Any]:
  """What gin binds under `options`, as the parameters of a GAN.

  Args:
    batch_size: images per update, over all replicas.
    gan_class: @ModularGAN.
    architecture: a name of gans.consts.
    training_steps: generator updates.
    discriminator_normalization: ignored, as in the reference; D.* decides.
    lamba: weight of the penalty (the reference's spelling).
    disc_iters: discriminator updates per generator update.
    z_dim: length of the noise vector.

  Returns:
    The same without discriminator_normalization, lamba under the key "lambda", and
    "use_tpu".
  """
  del discriminator_normalization
  options = {
    "batch_size": batch_size,
    "training_steps": training_steps,
    "disc_iters": disc_iters,
    "z_dim": z_dim,
  }
  for name, value in options.items():
    if type(value) is not int or not 1 <= value < 2**31:
      raise UserError(
        f"options.{name} is {value!r}; it must be a positive integer (of 31 "
        "bits at most)"
      )
  if batch_size * (disc_iters + 1) >= 2**31:
    raise UserError(
      f"options.batch_size is {batch_size}; with options.disc_iters a step has more "
      "images than an int32 can count: make it smaller"
    )
  if not callable(gan_class):
    raise UserError(
      f"options.gan_class is {gan_class!r}; it must be a class, such as @ModularGAN"
    )
  return {
    "use_tpu": use_tpu(),
    "gan_class": gan_class,
    "architecture": architecture,
    "lambda": lamba,
    **options,
  }


@gin.configurable("run_config")
def get_run_settings(
  tf_random_seed: int | None = None,
  single_core: bool = False,
  iterations_per_loop: int = 1000,
  save_checkpoints_steps: int = 5000,
  keep_checkpoint_max: int = 1000,
  save_summary_steps: int = 250,
  training_minutes: float | None = None,
) -> RunSettings:
  """What gin binds under `run_config`.

  Args:
    tf_random_seed: of initial weights and noise; None: one is drawn at the first start
      of a run, and kept in its folder.
    single_core: use one core of a TPU.
    iterations_per_loop: training steps per call of a TPU.
    save_checkpoints_steps: training steps between checkpoints.
    keep_checkpoint_max: how many checkpoints are kept.
    save_summary_steps: training steps between summaries.
    training_minutes: of training after which it ends, if options.training_steps are
      not reached before: methods are compared at equal time.
  """
  return RunSettings(
    tf_random_seed,
    single_core,
    iterations_per_loop,
    save_checkpoints_steps,
    keep_checkpoint_max,
    save_summary_steps,
    training_minutes,
  )


def make_run_config(
  settings: RunSettings,
  model_dir: str,
  tpu_cluster: Any = None,
  distribution: Distribution | None = None,
) -> tf.estimator.tpu.RunConfig:
  """The estimator's configuration.

  Args:
    settings: what get_run_settings returns.
    model_dir: folder of checkpoints and summaries.
    tpu_cluster: what `find_tpu` returns, or None.
    distribution: where replicas train, or None.
  """
  distribution = distribution or Distribution()
  return tf.estimator.tpu.RunConfig(
    model_dir=model_dir,
    tf_random_seed=settings.tf_random_seed,
    cluster=tpu_cluster,
    save_checkpoints_steps=settings.save_checkpoints_steps,
    keep_checkpoint_max=settings.keep_checkpoint_max,
    save_summary_steps=settings.save_summary_steps,
    log_step_count_steps=settings.save_summary_steps,
    train_distribute=distribution.strategy,
    session_config=distribution.session_config(),
    tpu_config=tf.estimator.tpu.TPUConfig(
      iterations_per_loop=settings.iterations_per_loop,
      num_shards=1 if settings.single_core else None,
      per_host_input_for_training=(tf.estimator.tpu.InputPipelineConfig.PER_HOST_V2),
    ),
  )


class Run:
  """One configured run: data, classifier and model, and where they write.

  Args:
    dataset: datasets.ImageDataset.
    classifier: classifiers.Classifier whose logits are the condition, or None.
    options: what get_options_dict returns.
    run_config: what make_run_config returns.
    task_manager: TaskManager of the same folder; None: one that keeps no scores.
    use_tpu: whether to train on a TPU.
    training_minutes: of training after which it ends; None: options decide.
    distribution: where replicas train, that of run_config; None: one replica.
  """

  def __init__(
    self,
    dataset: ImageDataset,
    classifier: Classifier | None,
    options: dict[str, Any],
    run_config: tf.estimator.tpu.RunConfig,
    task_manager: TaskManager | None = None,
    use_tpu: bool = False,
    training_minutes: float | None = None,
    distribution: Distribution | None = None,
  ):
    self.dataset = dataset
    self.classifier = classifier
    self.options = options
    self.model_dir = run_config.model_dir
    self.task_manager = task_manager or TaskManager(self.model_dir)
    self.distribution = distribution or Distribution()
    self._run_config = run_config
    self._use_tpu = use_tpu
    self._training_minutes = training_minutes
    if use_tpu:
      tensorflow_compat.check_tpu()
    if use_tpu and self.distribution.strategy:
      raise UserError(
        "--use_tpu and --distribute exclude each other; leave out --distribute"
      )
    _check_place(classifier, use_tpu, self.distribution)
    self._replica_batch = self.distribution.share(options["batch_size"])
    if self.distribution.across_processes and training_minutes is not None:
      raise UserError(
        "run_config.training_minutes is for one process: several would "
        "stop at different steps; bind options.training_steps only"
      )
    # A class written for compare_gan has no argument for a classifier.
    condition = {} if classifier is None else {"classifier": classifier}
    self.gan = options["gan_class"](
      dataset=dataset, parameters=options, model_dir=self.model_dir, **condition
    )
    if classifier is None and getattr(self.gan, "conditional", False):
      dataset.check_labelled("train")

  @property
  def module_dir(self) -> str:
    return os.path.join(self.model_dir, MODULE)

  def train(self) -> None:
    """Trains from the last checkpoint to options.training_steps.

    Raises:
      UserError: the run was trained with another classifier, or on other images.
    """
    chief = self.distribution.is_chief
    if chief:
      step = checkpoints.prepare_to_resume(self.model_dir)
    else:
      step = checkpoints.wait_until_prepared(self.model_dir)
    # What has made no step yet may begin with anything.
    is_known = step > 0 and provenance.check(self.model_dir, self._provenance)
    if step >= self.options["training_steps"] or (step and self._time_is_up()):
      print(f"{self.model_dir} is trained: step {step}", file=sys.stderr)
      self._mark(done=True)
      return
    logits = self.cached_logits()
    if chief and isinstance(self.gan, modular_gan.ModularGAN):
      introduction.introduce(
        self.gan, self.dataset, self.classifier, logits, self.model_dir
      )
    if chief and not is_known:
      provenance.write(self.model_dir, self._provenance)
    self._mark(done=False)
    run_config = self._run_config.replace(tf_random_seed=self._seed(draw=True))
    estimator = self.gan.as_estimator(
      run_config=run_config, batch_size=self._replica_batch, use_tpu=self._use_tpu
    )
    self._train(estimator, self._input_fn(step, logits), run_config)
    self._mark(done=True)

  @functools.cached_property
  def _provenance(self):
    """What the run is trained with, as its folder keeps it."""
    return provenance.describe(self.classifier, self.dataset)

  def _time_is_up(self):
    """Whether run_config.training_minutes are over."""
    if self._training_minutes is None:
      return False
    return (hooks.TrainingTime.read(self.model_dir) or 0) >= 60 * self._training_minutes

  def _train(self, estimator, input_fn, run_config):
    max_steps = self.options["training_steps"]
    training_hooks = self._hooks(run_config)
    with self._naming_damage(), checkpoints.explaining_misfit(self.model_dir):
      if not self.distribution.across_processes:
        estimator.train(input_fn, hooks=training_hooks, max_steps=max_steps)
        return
      watch = peers.PeerWatch(self.distribution.peers, peers.leave)
      training_hooks.append(peers.LastStep(watch, max_steps))
      with watch.watching():
        tf.estimator.train_and_evaluate(
          estimator,
          tf.estimator.TrainSpec(input_fn, max_steps, training_hooks),
          tf.estimator.EvalSpec(input_fn),
        )
      # Where TensorFlow has other workers than the chief save as well.
      scratch = os.path.join(
        self.model_dir, "tmp_{}_{}".format(*self.distribution.task)
      )
      if not self.distribution.is_chief and tf.io.gfile.isdir(scratch):
        tf.io.gfile.rmtree(scratch)

  def _naming_damage(self):
    naming = getattr(self.dataset, "naming_damage", contextlib.nullcontext)
    return naming()

  def _mark(self, done):
    """Writes or removes TRAIN_DONE; the first time makes compare_gan's folder."""
    if not self.distribution.is_chief:
      return
    if done:
      self.task_manager.mark_training_done()
    else:
      tf.io.gfile.makedirs(os.path.join(self.model_dir, "result"))
      self.task_manager.mark_training_begun()

  def _input_fn(self, start_step, logits):
    """The model's input_fn; of one that can, from the images of `start_step` on."""
    if "start_step" not in inspect.signature(self.gan.input_fn).parameters:
      return self.gan.input_fn

    def input_fn(params, input_context=None):
      share = input_share(input_context, params.get("context"))
      dataset = utils.without_autotune(
        self.gan.input_fn(params, start_step=start_step, logits=logits, **share)
      )
      # A strategy and a TPU copy the batches to their replicas themselves.
      if self.distribution.strategy or self._use_tpu:
        return dataset
      return devices.prefetch(dataset)

    return input_fn

  def _hooks(self, run_config):
    """What accompanies the training loop."""
    found = [hooks.FitGuard(self.model_dir), hooks.NanGuard(None, self.model_dir)]
    if self.distribution.across_processes:
      found.append(hooks.LostWorker())
    if not self.distribution.is_chief:
      return found
    max_steps = self.options["training_steps"]
    training_time = hooks.TrainingTime(self.model_dir, self._training_minutes)
    if not self._use_tpu:  # no hook sees the tensors inside a TPU's loop
      found.append(hooks.HealthHook(run_config.save_summary_steps))
    return [
      *found,
      hooks.ProgressHook(max_steps),
      hooks.ReportProgressHook(self.task_manager, max_steps),
      training_time,
      gin.tf.GinConfigSaverHook(self.model_dir),
      hooks.AsyncCheckpointSaverHook(
        self.model_dir,
        save_secs=run_config.save_checkpoints_secs,
        save_steps=run_config.save_checkpoints_steps,
        save_graph_def=False,  # seconds of writing; TensorBoard reads the events
        listeners=[hooks.WeightGuard(self.model_dir), training_time.listener],
      ),
    ]

  def _seed(self, draw=False):
    """run_config's, or the one that was drawn at the first start of the run.

    Args:
      draw: whether to draw one where there is none; else that is 0.

    Raises:
      UserError: the file is damaged, or the chief does not write it.
    """
    if self._run_config.tf_random_seed is not None:
      return self._run_config.tf_random_seed
    path = os.path.join(self.model_dir, _SEED_FILE)
    if draw and self.distribution.is_chief and not files.is_file(path):
      files.write_json(path, {"tf_random_seed": random.SystemRandom().randrange(2**31)})
    if not draw and not files.is_file(path):
      return 0
    for _ in range(_SEED_PATIENCE_SECONDS):
      if files.is_file(path):
        break
      time.sleep(1)  # the chief draws it
    else:
      raise UserError(
        f"{path} was not written by the chief (worker 0) within "
        f"{_SEED_PATIENCE_SECONDS} s; start all workers again"
      )
    try:
      return int(files.read_json(path)["tf_random_seed"])
    except (KeyError, TypeError, ValueError):
      raise UserError(
        f"{path} is damaged; write the seed of the run there, as in "
        '{"tf_random_seed": 8}, or remove it: then another one is drawn'
      ) from None

  def last_step(self) -> int:
    """Step of the last checkpoint, 0 where there is none."""
    return max((step for step, _ in checkpoints.of_run(self.model_dir)), default=0)

  def export(
    self,
    checkpoint_path: str | None = None,
    module_dir: str | None = None,
    with_saved_model: bool = True,
  ) -> str:
    """Exports a checkpoint (the last one) as a module; returns its folder.

    Raises:
      UserError: there is none, or the run was trained with another classifier or on
        other images.
    """
    provenance.check(self.model_dir, self._provenance)
    if checkpoint_path is None:
      newest = checkpoints.newest(self.model_dir)
      if newest is None:
        raise UserError(
          f"no checkpoint in {self.model_dir}; train first (--schedule train)"
        )
      _, checkpoint_path = newest
    module_dir = module_dir or self.module_dir
    if not isinstance(self.gan, modular_gan.ModularGAN):
      export.export_plain(self.gan, self.options, checkpoint_path, module_dir)
      return module_dir
    if self.classifier is not None and self.classifier.check is None:
      introduction.check_classifier(self.dataset, self.classifier)
    export.export_module(
      self.gan,
      self.dataset,
      self.classifier,
      self.options["architecture"],
      checkpoint_path,
      module_dir,
      seed=self._seed(),
      training_seconds=hooks.TrainingTime.read(
        self.model_dir, checkpoints.step_of(checkpoint_path)
      ),
      with_saved_model=with_saved_model,
    )
    return module_dir

  def evaluate(
    self, averaging_runs: int = 1, every_steps: int | None = None, timeout: float = 0
  ) -> None:
    """Scores the checkpoints that have no score yet.

    Damaged ones are skipped, with a message on stderr.

    Args:
      averaging_runs: samples of each module that are scored.
      every_steps: only checkpoints whose step this divides; None or less than 1: all.
      timeout: seconds to wait for another checkpoint, while training is not done.
    """
    tasks = eval_gan_lib.default_tasks(self.classifier)
    looked_at = False
    for path in self.task_manager.unevaluated_checkpoints(timeout, every_steps):
      looked_at = True
      trouble = checkpoints.damage(path)
      if trouble is not None:
        print(f"{path} is damaged ({trouble}) and gets no scores", file=sys.stderr)
        continue
      self._evaluate(path, tasks, averaging_runs)
    scored = self.task_manager.get_checkpoints_with_results()
    suffix = self.gan.export_suffix
    if scored and not looked_at and suffix and not any(map(self._has_module, scored)):
      print(
        f"the scores in {self.model_dir} are of other modules than tfhub/<step>{suffix}; "
        "name another --score_filename for this moving average",
        file=sys.stderr,
      )
    if looked_at or scored:
      return
    why = "there is none; train first (--schedule train)"
    if checkpoints.of_run(self.model_dir):
      why = (
        f"none has a step that {every_steps} divides; set --eval_every_steps (0 scores "
        "all)"
      )
    print(f"no checkpoint in {self.model_dir} was scored: {why}", file=sys.stderr)

  def _scored_module(self, checkpoint_path):
    """Folder of the module whose scores are a checkpoint's."""
    step = checkpoints.step_of(checkpoint_path)
    return os.path.join(self.model_dir, "tfhub", f"{step}{self.gan.export_suffix}")

  def _has_module(self, checkpoint_path):
    module_dir = self._scored_module(checkpoint_path)
    return files.is_file(os.path.join(module_dir, "saved_model.pb"))

  def _evaluate(self, checkpoint_path, tasks, averaging_runs):
    step = checkpoints.step_of(checkpoint_path)
    module_dir = self._scored_module(checkpoint_path)
    provenance.check(self.model_dir, self._provenance)
    try:
      if not self._has_module(checkpoint_path):
        self.export(checkpoint_path, module_dir, with_saved_model=False)
    except UserError:
      if (step, checkpoint_path) in checkpoints.of_run(self.model_dir):
        raise
      return  # The training beside us has removed it: run_config.keep_checkpoint_max.
    try:
      scores = eval_gan_lib.evaluate_tfhub_module(
        module_dir,
        tasks,
        use_tpu=self._use_tpu,
        num_averaging_runs=averaging_runs,
        classifier=self.classifier,  # that of the module may lie elsewhere by now
      )
    except (ValueError, eval_utils.NanFoundError) as error:
      print(
        f"step {step} gets no scores: {sentence(error)}", file=sys.stderr, flush=True
      )
      if isinstance(error, UserError):  # a file or a setting, which may be mended
        return
      scores = {}
    self.task_manager.add_eval_result(checkpoint_path, scores, _NO_SCORE)
    means = {
      name[: -len("_mean")]: value
      for name, value in sorted(scores.items())
      if name.endswith("_mean")
    }
    _write_summaries(self.model_dir, step, means)
    told = (f"{name} {value:.4g}" for name, value in means.items())
    print(f"step {step}  " + "  ".join(told), flush=True)

  def cached_logits(self) -> Any:
    """The training images' logits from classifier.cache_dir, or None."""
    if self.classifier is None or not self.classifier.cache_dir:
      return None
    from compare_gan_logits.classifiers import logit_cache

    return logit_cache.open(
      self.classifier.cache_dir, self.classifier, self.dataset, "train"
    )


def _check_place(classifier, use_tpu, distribution):
  """A numpy function runs on the machine that feeds the devices, once.

  Raises:
    UserError: the classifier is one, and is wanted on a TPU or in replicas.
  """
  if classifier is None or classifier.cache_dir or not classifier.numpy_only:
    return
  if use_tpu or distribution.strategy:
    raise UserError(
      f"the classifier {classifier.spec.name} is not a TensorFlow network and runs "
      "neither on a TPU nor in several replicas: write its logits with "
      "compare-gan-logits cache-logits first, and bind classifier.cache_dir to them"
    )


def find_tpu(tpu: str | None, zone: str | None, project: str | None) -> Any:
  """A TPUClusterResolver.

  Args:
    tpu: name or grpc:// address; None: $TPU_NAME.
    zone, project: None: the metadata's.

  Raises:
    UserError: there is no such TPU, or it does not answer.
  """
  try:
    cluster = tf.distribute.cluster_resolver.TPUClusterResolver(
      tpu=tpu or os.environ.get("TPU_NAME"), zone=zone, project=project
    )
    master = cluster.master()
  except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
    which = repr(tpu) if tpu else "is named"
    raise UserError(
      f"no TPU {which} ({first_line(error)}); name one with --tpu, or leave out "
      "--use_tpu"
    ) from error
  if master.startswith("grpc://"):
    host, port = master[len("grpc://") :].rsplit(":", 1)
    try:
      # TensorFlow waits for an unreachable address without end.
      socket.create_connection((host, int(port)), _TPU_CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:  # a port that is no number
      raise UserError(
        f"the TPU at {master} does not answer ({error}); check that it runs and can "
        "be reached from here"
      ) from error
  return cluster


def _write_summaries(model_dir, step, scores):
  with tf.Graph().as_default():
    writer = tf.summary.FileWriter(os.path.join(model_dir, "eval"))
    writer.add_summary(
      tf.Summary(
        value=[
          tf.Summary.Value(tag=f"eval/{name}", simple_value=value)
          for name, value in scores.items()
        ]
      ),
      step,
    )
    writer.close()


@contextlib.contextmanager
def _alone(schedule: str, model_dir: str) -> Iterator[None]:
  """Refuses to run a schedule beside another process of the same in `model_dir`.

  continuous_eval and export may run beside a training.

  Raises:
    UserError: names the process.
  """
  with contextlib.ExitStack() as locks:
    for purpose in _LOCKS[schedule]:
      locks.enter_context(files.locked(model_dir, purpose))
    yield


def run_with_schedule(
  schedule: str,
  run_config: tf.estimator.tpu.RunConfig,
  task_manager: TaskManager,
  options: dict[str, Any],
  use_tpu: bool,
  num_eval_averaging_runs: int = 1,
  eval_every_steps: int | None = -1,
  training_minutes: float | None = None,
  distribution: Distribution | None = None,
) -> None:
  """Runs one schedule with the dataset and the classifier that gin binds.

  The same call again goes on from the last checkpoint. Without
  run_config.tf_random_seed a seed is drawn at the first start and kept in model_dir:
  runs differ from each other, and a resumed one ends with the weights of one that was
  never stopped.

  Args:
    schedule: "train" (ends with an export), "eval_after_train" (the same, then
      scores every checkpoint), "continuous_eval" (scores checkpoints as another
      process writes them, for at most 24 hours without a new one) or "export".
    run_config: settings of the training loop, with model_dir.
    task_manager: TaskManager that keeps the scores.
    options: what get_options_dict returns.
    use_tpu: whether to train on a TPU.
    num_eval_averaging_runs: samples of a module that are scored and averaged.
    eval_every_steps: score only checkpoints whose step this divides; None or less
      than 1: all.
    training_minutes: of training after which it ends.
    distribution: where replicas train, that of run_config.

  Raises:
    UserError: no such schedule; or what is configured cannot be run.
  """
  if schedule not in SCHEDULES:
    raise UserError(f"--schedule {schedule}: {nearest(schedule, SCHEDULES)}")
  files.check_no_pattern(run_config.model_dir)
  if run_config.tf_random_seed is not None:
    np.random.seed(run_config.tf_random_seed)
  with gin_errors_explained():
    dataset = datasets.get_dataset()
    dataset.check()
    datasets.pad_for(dataset, str(options["architecture"]))
    dataset.keep_pixels(run_config.model_dir)
    run = Run(
      dataset,
      from_gin(),
      options,
      run_config,
      task_manager,
      use_tpu,
      training_minutes,
      distribution,
    )
  if schedule in ("eval_after_train", "continuous_eval"):
    eval_gan_lib.Settings()  # a wrong one is told before the training, not after it
  if not run.distribution.is_chief:  # one process exports and evaluates
    if schedule in ("train", "eval_after_train"):
      run.train()
    return
  with _alone(schedule, run.model_dir):
    if schedule in ("train", "eval_after_train"):
      run.train()
    if schedule != "continuous_eval":
      print(f"module: {run.export()}", flush=True)
    if schedule in ("eval_after_train", "continuous_eval"):
      waits = schedule == "continuous_eval"
      run.evaluate(
        num_eval_averaging_runs,
        eval_every_steps,
        _EVALUATION_TIMEOUT_SECONDS if waits else 0,
      )
