"""Schedules: train, eval_after_train, continuous_eval, export."""

import collections
import contextlib
import csv
import io
import os
import socket
import sys
import time

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import checkpoints
from compare_gan_logits import devices
from compare_gan_logits import eval_gan_lib
from compare_gan_logits import export
from compare_gan_logits import figures
from compare_gan_logits import files
from compare_gan_logits import hooks
from compare_gan_logits import tensorflow_compat
from compare_gan_logits.classifiers import checks
from compare_gan_logits.distribution import Distribution
from compare_gan_logits.distribution import input_share
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


SCHEDULES = ("train", "eval_after_train", "continuous_eval", "export")
MODULE = "module"
_TPU_CONNECT_SECONDS = 20
_POLL_SECONDS = 10
# What nobody else may do in a model_dir at the same time.
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


@gin.configurable("options")
def get_options_dict(
  batch_size=gin.REQUIRED,
  gan_class=gin.REQUIRED,
  architecture=gin.REQUIRED,
  training_steps=gin.REQUIRED,
  discriminator_normalization=None,
  lamba=1,
  disc_iters=1,
  z_dim=128,
):
  """What gin binds under `options`.

  Args:
    batch_size: images per update, over all replicas.
    gan_class: @ModularGAN.
    architecture: a name of gans.consts.
    training_steps: generator updates.
    discriminator_normalization: ignored, as in the reference; D.* decides.
    lamba: weight of the penalty (the reference's spelling).
    disc_iters: discriminator updates per generator update.
    z_dim: length of the noise vector.
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
      f"options.batch_size is {batch_size}; with options.disc_iters it makes "
      "more images a step than can be counted: make it smaller"
    )
  if not callable(gan_class):
    raise UserError(
      f"options.gan_class is {gan_class!r}; it must be a class, such as @ModularGAN"
    )
  return dict(
    options, gan_class=gan_class, architecture=architecture, **{"lambda": lamba}
  )


@gin.configurable("run_config")
def get_run_settings(
  tf_random_seed=None,
  single_core=False,
  iterations_per_loop=1000,
  save_checkpoints_steps=5000,
  keep_checkpoint_max=1000,
  save_summary_steps=100,
  training_minutes=None,
):
  """What gin binds under `run_config`.

  Args:
    tf_random_seed: of initial weights, noise and the order of images; None is 0.
    single_core: use one core of a TPU.
    iterations_per_loop: training steps per call of a TPU.
    save_checkpoints_steps: training steps between checkpoints.
    keep_checkpoint_max: how many checkpoints are kept.
    save_summary_steps: training steps between summaries.
    training_minutes: of training after which it ends, if options.training_steps are
      not reached before: methods are compared at equal time.
  """
  return RunSettings(
    tf_random_seed or 0,
    single_core,
    iterations_per_loop,
    save_checkpoints_steps,
    keep_checkpoint_max,
    save_summary_steps,
    training_minutes,
  )


class TaskManager:
  """Which checkpoints have been evaluated, and their scores in a CSV file.

  Args:
    model_dir: folder of the run.
    score_filename: name of the CSV file in it.
  """

  def __init__(self, model_dir, score_filename="scores.csv"):
    self._model_dir = model_dir
    self._path = os.path.join(model_dir, score_filename)
    self._damaged = set()

  def scores(self):
    """A list of dicts, one per evaluated checkpoint, by step."""
    if not files.is_file(self._path):
      return []
    try:
      rows = list(csv.DictReader(io.StringIO(files.read_text(self._path), newline="")))
      for row in rows:
        int(row["step"])
    except (KeyError, TypeError, ValueError, csv.Error):
      raise UserError(
        f"{self._path} is damaged; put it right or remove it: the "
        "checkpoints that are left are then scored anew"
      ) from None
    return rows

  def add_scores(self, step, scores):
    """Writes the file again with the row of one more checkpoint."""
    rows = [row for row in self.scores() if int(row["step"]) != step]
    rows.append({"step": step, **scores})
    rows.sort(key=lambda row: int(row["step"]))
    columns = sorted({column for row in rows for column in row} - {"step"})
    text = io.StringIO()
    writer = csv.DictWriter(text, ["step", *columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(self._path, text.getvalue())

  def unevaluated_checkpoints(self, every_steps=None):
    """(step, path) of the kept checkpoints that have no row yet, oldest first."""
    done = {int(row["step"]) for row in self.scores()}
    for step, path in checkpoints.of_run(self._model_dir):
      if (
        step not in done | self._damaged
        and step > 0
        and not (every_steps and step % every_steps)
      ):
        trouble = checkpoints.problem(path)
        if trouble is None:
          yield step, path
        else:
          self._damaged.add(step)
          print(
            f"{path} is damaged ({trouble}) and gets no scores",
            file=sys.stderr,
            flush=True,
          )


class Run:
  """One configured run: dataset, classifier and model, and where they write."""

  def __init__(
    self,
    dataset,
    classifier,
    options,
    settings,
    model_dir,
    use_tpu=False,
    tpu=None,
    tpu_zone=None,
    gcp_project=None,
    distribution=None,
  ):
    self.dataset = dataset
    self.classifier = classifier
    self.options = options
    self.settings = settings
    self.model_dir = model_dir
    self._use_tpu = use_tpu
    self._tpu = (tpu, tpu_zone, gcp_project)
    self.distribution = distribution or Distribution()
    if use_tpu:
      tensorflow_compat.check_tpu()
    if use_tpu and self.distribution.strategy:
      raise UserError("--use_tpu has its own replicas; leave out --distribute")
    _check_place(classifier, use_tpu, self.distribution)
    self._replica_batch = self.distribution.share(options["batch_size"])
    if self.distribution.across_processes and settings.training_minutes is not None:
      raise UserError(
        "run_config.training_minutes is for one process: several would "
        "stop at different steps; bind options.training_steps only"
      )
    # A class of the reference's contract has no such argument.
    condition = {} if classifier is None else {"classifier": classifier}
    self.gan = options["gan_class"](
      dataset=dataset, parameters=options, model_dir=model_dir, **condition
    )

  @property
  def module_dir(self):
    return os.path.join(self.model_dir, MODULE)

  def train(self, training_hooks=()):
    """Trains from the last checkpoint to options.training_steps."""
    chief = self.distribution.is_chief
    step = (checkpoints.settle if chief else checkpoints.settled)(self.model_dir)
    if step >= self.options["training_steps"]:
      print(f"{self.model_dir} is trained: step {step}", file=sys.stderr)
      return
    logits = self.cached_logits()
    if chief:
      time_hook = hooks.TrainingTime(self.model_dir, self.settings.training_minutes)
      training_hooks = (*training_hooks, time_hook)
    estimator = self._estimator(training_hooks)
    if chief:
      self._introduce(logits)

    def input_fn(params, input_context=None):
      share = input_share(input_context, params.get("context"))
      dataset = self.gan.input_fn(params, start_step=step, logits=logits, **share)
      # A strategy and a TPU copy the batches to their replicas themselves.
      if self.distribution.strategy or self._use_tpu:
        return dataset
      return devices.prefetch(dataset)

    max_steps = self.options["training_steps"]
    guards = [hooks.WeightGuard(self.model_dir)]
    with self.dataset.naming_damage(), checkpoints.naming_misfit(self.model_dir):
      if not self.distribution.across_processes:
        estimator.train(input_fn, max_steps=max_steps, saving_listeners=guards)
        return
      # The one call that TensorFlow has for several processes passes no listeners on.
      savers = (
        [
          tf.train.CheckpointSaverHook(
            self.model_dir,
            save_steps=self.settings.save_checkpoints_steps,
            listeners=guards,
          )
        ]
        if chief
        else []
      )
      tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(input_fn, max_steps, savers),
        tf.estimator.EvalSpec(input_fn),
      )
      # Where TensorFlow has other workers than the chief save as well.
      scratch = os.path.join(
        self.model_dir, "tmp_{}_{}".format(*self.distribution.task)
      )
      if not chief and tf.io.gfile.isdir(scratch):
        tf.io.gfile.rmtree(scratch)

  def last_step(self):
    """Step of the last checkpoint, 0 where there is none."""
    return max((step for step, _ in checkpoints.of_run(self.model_dir)), default=0)

  def export(self, checkpoint_path=None, module_dir=None):
    """Exports a checkpoint (the last one) as a module; returns its folder."""
    if checkpoint_path is None:
      newest = checkpoints.newest(self.model_dir)
      if newest is None:
        raise UserError(
          f"no checkpoint in {self.model_dir}; train first (--schedule train)"
        )
      _, checkpoint_path = newest
    module_dir = module_dir or self.module_dir
    if self.classifier is not None and self.classifier.check is None:
      self._check_classifier(*_sample(self.dataset, self.classifier, None))
    export.export_module(
      self.gan,
      self.dataset,
      self.classifier,
      self.options["architecture"],
      checkpoint_path,
      module_dir,
      seed=self.settings.tf_random_seed,
      training_seconds=hooks.TrainingTime.read(self.model_dir),
    )
    return module_dir

  def evaluate(self, manager, every_steps=None, averaging_runs=1):
    """Scores the checkpoints that have no score yet; returns the last step seen."""
    last = max([int(row["step"]) for row in manager.scores()], default=0)
    for step, path in manager.unevaluated_checkpoints(every_steps):
      module_dir = os.path.join(self.model_dir, "tfhub", str(step))
      try:
        self.export(path, module_dir)
      except UserError:
        if (step, path) in checkpoints.of_run(self.model_dir):
          raise
        continue  # The training beside us has removed it: run_config.keep_checkpoint_max.
      scores = eval_gan_lib.evaluate(
        module_dir, self.dataset, self.classifier, averaging_runs
      )
      manager.add_scores(step, scores)
      _write_summaries(self.model_dir, step, scores)
      print(
        f"step {step}  "
        + "  ".join(f"{name} {value:.4g}" for name, value in sorted(scores.items())),
        flush=True,
      )
      last = max(last, step)
    return last

  # Parts ---------------------------------------------------------------------

  def cached_logits(self):
    """The training images' logits from classifier.cache_dir, or None."""
    if self.classifier is None or not self.classifier.cache_dir:
      return None
    from compare_gan_logits.classifiers import logit_cache

    return logit_cache.open(
      self.classifier.cache_dir, self.classifier, self.dataset, "train"
    )

  def _estimator(self, training_hooks):
    use_tpu, settings = self._use_tpu, self.settings
    params = {
      "seed": settings.tf_random_seed,
      "save_summary_steps": settings.save_summary_steps,
    }
    config = tf.estimator.tpu.RunConfig(
      model_dir=self.model_dir,
      tf_random_seed=settings.tf_random_seed,
      cluster=_tpu_cluster(*self._tpu) if use_tpu else None,
      save_checkpoints_steps=settings.save_checkpoints_steps,
      keep_checkpoint_max=settings.keep_checkpoint_max,
      save_summary_steps=settings.save_summary_steps,
      log_step_count_steps=settings.save_summary_steps,
      train_distribute=self.distribution.strategy,
      session_config=self.distribution.session_config(),
      tpu_config=tf.estimator.tpu.TPUConfig(
        iterations_per_loop=settings.iterations_per_loop,
        num_shards=1 if settings.single_core else None,
        per_host_input_for_training=(tf.estimator.tpu.InputPipelineConfig.PER_HOST_V2),
      ),
    )
    if self.distribution.across_processes:
      training_hooks = (hooks.LostWorker(), *training_hooks)
    if self.distribution.is_chief:
      training_hooks = (
        hooks.ProgressHook(self.options["training_steps"]),
        *training_hooks,
      )
      if not use_tpu:  # no hook sees the tensors inside a TPU's loop
        training_hooks += (hooks.HealthHook(settings.save_summary_steps),)
    return tf.estimator.tpu.TPUEstimator(
      model_fn=_with_hooks(self.gan.model_fn, self.model_dir, training_hooks),
      config=config,
      params=params,
      use_tpu=use_tpu,
      # On a TPU the whole batch, which TPUEstimator divides; else what each gets.
      train_batch_size=self._replica_batch * self.gan.num_sub_steps,
    )

  def _introduce(self, logits):
    """Says what is about to be learnt from, and refuses a constant condition."""
    images, labels, logits = _sample(self.dataset, self.classifier, logits)
    counts = self.dataset.class_counts("train")
    of_sample = "" if counts is not None else f" in a sample of {len(labels)}"
    if counts is None:
      counts = np.bincount(labels, minlength=self.dataset.num_classes)
    print(
      f"dataset {self.dataset.name}: {self.dataset.num_examples('train')} training "
      f"images of {'x'.join(map(str, self.gan.image_shape))}, "
      f"{self.dataset.num_classes} classes of {counts.min()} to {counts.max()} "
      f"images{of_sample}"
    )
    if self.classifier is not None:
      self._check_classifier(images, labels, logits)
    print(
      "parameters: "
      + ", ".join(
        f"{name} {count:,}" for name, count in parameter_counts(self.gan).items()
      )
    )
    path = os.path.join(self.model_dir, "training_images.png")
    figures.grid(images[:64].reshape(8, 8, *images.shape[1:]), path)
    print(f"training images: {path}", flush=True)

  def _check_classifier(self, images, labels, logits):
    """Puts what is found into classifier.check, and so into inversion.json."""
    checks.check(self.classifier, self.dataset, images, labels, logits)


def _check_place(classifier, use_tpu, distribution):
  """A numpy function runs on the machine that feeds the devices, once.

  Raises:
    UserError: the classifier is one, and is wanted on a TPU or in replicas.
  """
  if classifier is None or classifier.cache_dir or not classifier.numpy_only:
    return
  if use_tpu or distribution.strategy:
    raise UserError(
      f"the classifier {classifier.spec.name} is no TensorFlow network and runs neither "
      "on a TPU nor in several replicas: write its logits with compare-gan-logits "
      "cache-logits first, and bind classifier.cache_dir to them"
    )


def parameter_counts(gan):
  """Trainable parameters of {"generator", "discriminator"}."""
  with tf.Graph().as_default():
    y = tf.zeros([1, gan.condition_size])
    gan.generate(tf.zeros([1, gan.z_dim]), y)
    gan.discriminate(tf.zeros([1, *gan.image_shape]), y)
    return {
      network.name: sum(int(np.prod(v.shape)) for v in network.trainable_variables)
      for network in (gan.generator, gan.discriminator)
    }


def _sample(dataset, classifier, logits, size=256):
  """(images, labels, logits or None) of the first images of training."""
  with tf.Graph().as_default(), tf.Session() as session:
    element = session.run(dataset.train(size).make_one_shot_iterator().get_next())
  if logits is not None:
    logits = np.asarray([logits[i] for i in element["id"]])
  elif classifier is not None:
    logits = classifier.predict(element["image"])
  return element["image"], element["label"], logits


def _with_hooks(model_fn, model_dir, training_hooks):
  """Adds the hooks, which need the loss of the graph that model_fn builds."""

  # A strategy would rewrite it by autograph, which takes longer than to build it.
  model_fn = tf.autograph.experimental.do_not_convert(model_fn)

  def with_hooks(features, labels, params, mode):
    spec = model_fn(features, labels, params, mode)
    return spec._replace(
      training_hooks=(
        hooks.FitGuard(model_dir),
        hooks.NanGuard(spec.loss, model_dir),
        *training_hooks,
      )
    )

  return with_hooks


def _tpu_cluster(tpu, zone, project):
  """A TPUClusterResolver.

  Raises:
    UserError: there is no such TPU, or it does not answer.
  """
  try:
    cluster = tf.distribute.cluster_resolver.TPUClusterResolver(
      tpu=tpu or os.environ.get("TPU_NAME"), zone=zone, project=project
    )
    master = cluster.master()
  except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
    raise UserError(
      f"no TPU {tpu!r} ({str(error).splitlines()[0]}); name one with "
      "--tpu, or leave out --use_tpu"
    ) from error
  if master.startswith("grpc://"):
    host, port = master[len("grpc://") :].rsplit(":", 1)
    try:
      # TensorFlow waits for an unreachable address without end.
      socket.create_connection((host, int(port)), _TPU_CONNECT_SECONDS).close()
    except OSError as error:
      raise UserError(
        f"the TPU at {master} does not answer ({error}); is it running, "
        "and in this network?"
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
def alone(schedule, model_dir):
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
  schedule,
  run,
  score_filename="scores.csv",
  eval_every_steps=None,
  num_eval_averaging_runs=1,
):
  """Runs one schedule.

  Args:
    schedule: "train" (ends with an export), "eval_after_train" (the same, then
      scores every checkpoint), "continuous_eval" (scores checkpoints as another
      process writes them) or "export".
    run: Run.
    score_filename: CSV file in the run's folder.
    eval_every_steps: score only checkpoints whose step this divides.
    num_eval_averaging_runs: evaluations with other noise, averaged.
  """
  if schedule not in SCHEDULES:
    raise UserError(f"--schedule {schedule}: {nearest(schedule, SCHEDULES)}")
  manager = TaskManager(run.model_dir, score_filename)
  if schedule in ("eval_after_train", "continuous_eval"):
    eval_gan_lib.Settings()  # a wrong one is told before the training, not after it
  if schedule in ("train", "eval_after_train"):
    run.train()
  if not run.distribution.is_chief:
    return
  if schedule != "continuous_eval":
    print(f"module: {run.export()}")
  if schedule == "eval_after_train":
    run.evaluate(manager, eval_every_steps, num_eval_averaging_runs)
  while schedule == "continuous_eval":
    step = run.evaluate(manager, eval_every_steps, num_eval_averaging_runs)
    if max(step, run.last_step()) >= run.options["training_steps"]:
      break
    time.sleep(_POLL_SECONDS)
