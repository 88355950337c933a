"""Session hooks of the training loop: progress, checkpoints, a stop at the first NaN."""

from __future__ import annotations

import abc
import math
import os
import sys
import time
from typing import TYPE_CHECKING
from typing import Any
from typing import NoReturn

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import checkpoints
from compare_gan_logits import files
from compare_gan_logits import peers
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import health


if TYPE_CHECKING:
  from compare_gan_logits import runner_lib


class EveryNSteps(tf.train.SessionRunHook, abc.ABC):
  """Calls `every_n_steps_after_run` every so many training steps and at the end.

  Args:
    every_n_steps: training steps between two calls; the first is after the first.

  Raises:
    RuntimeError: by `begin`, where the graph has no global step.
  """

  def __init__(self, every_n_steps: int):
    self._timer = tf.train.SecondOrStepTimer(every_steps=every_n_steps)
    self._global_step = None

  def begin(self) -> None:
    self._global_step = tf.train.get_global_step()
    if self._global_step is None:
      raise RuntimeError("make a global step before the session that has this hook")

  def before_run(self, run_context: tf.train.SessionRunContext) -> Any:
    del run_context
    return tf.train.SessionRunArgs({"global_step": self._global_step})

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    # What was fetched may be of before the step; to fetch it again takes time.
    if not self._timer.should_trigger_for_step(run_values.results["global_step"] + 1):
      return
    step = int(run_context.session.run(self._global_step))
    if self._timer.should_trigger_for_step(step):
      self.every_n_steps_after_run(step, run_context, run_values)
      self._timer.update_last_triggered_step(step)

  def end(self, session: tf.Session) -> None:
    step = int(session.run(self._global_step))
    if step != self._timer.last_triggered_step():
      self.every_n_steps_after_run(step, None, None)

  @abc.abstractmethod
  def every_n_steps_after_run(
    self,
    step: int,
    run_context: tf.train.SessionRunContext | None,
    run_values: tf.train.SessionRunValues | None,
  ) -> None:
    """What is done; at the end of training both last arguments are None."""


class ReportProgressHook(EveryNSteps):
  """Tells a task manager how far training is, how fast, and when it will end.

  Args:
    task_manager: runner_lib.TaskManager, whose report_progress gets the message.
    max_steps: the step at which training ends.
    every_n_steps: steps between two messages; the first comes after as many.
  """

  def __init__(
    self, task_manager: runner_lib.TaskManager, max_steps: int, every_n_steps: int = 100
  ):
    super().__init__(every_n_steps)
    self._task_manager = task_manager
    self._max_steps = max_steps
    self._start: tuple[float, int] | None = None

  def every_n_steps_after_run(
    self,
    step: int,
    run_context: tf.train.SessionRunContext | None,
    run_values: tf.train.SessionRunValues | None,
  ) -> None:
    del run_context, run_values
    now = time.monotonic()
    if self._start is None:  # the first call also builds the graph's kernels
      self._start = now, step
      return
    rate = (step - self._start[1]) / max(now - self._start[0], 1e-9)
    minutes = (self._max_steps - step) / max(rate, 1e-9) / 60
    self._task_manager.report_progress(
      f"{100 * step / self._max_steps:.1f}% @{step}, {rate:.1f} steps/s, "
      f"ETA: {minutes:.0f} min"
    )


class _AlignedTimer(tf.train.SecondOrStepTimer):
  """Triggers at multiples of `every_steps`, wherever the training was resumed."""

  def __init__(self, every_steps: int):
    super().__init__(every_steps=every_steps)
    self._every = every_steps

  def update_last_triggered_step(self, step: int) -> Any:
    return super().update_last_triggered_step(step - step % self._every)


class AsyncCheckpointSaverHook(tf.train.CheckpointSaverHook):
  """Saves checkpoints at multiples of `save_steps`, after a resume as well.

  The name is compare_gan's, whose hook writes in a thread while training goes on. This
  one lets training wait: off a TPU the next steps would change the weights that are
  being written, and a checkpoint must hold those of one step.

  Args:
    checkpoint_dir: folder of the run.
    save_steps: training steps between checkpoints; or
    save_secs: seconds between them.
    **kwargs: those of tf.train.CheckpointSaverHook.
  """

  def __init__(
    self,
    checkpoint_dir: str,
    save_secs: int | None = None,
    save_steps: int | None = None,
    **kwargs: Any,
  ):
    super().__init__(checkpoint_dir, save_secs, save_steps, **kwargs)
    if save_steps is not None:
      self._timer = _AlignedTimer(save_steps)


class ProgressHook(tf.train.SessionRunHook):
  """Prints step, losses, steps/s and time left, every so many seconds.

  Args:
    training_steps: the step at which training ends.
    seconds: between two lines.
  """

  def __init__(self, training_steps: int, seconds: float = 10.0):
    self._training_steps = training_steps
    self._seconds = seconds

  def begin(self) -> None:
    self._global_step = tf.train.get_global_step()
    self._start_time = time.monotonic()
    self._last_time = self._last_step = None

  def before_run(
    self, run_context: tf.train.SessionRunContext
  ) -> tf.train.SessionRunArgs | None:
    return tf.train.SessionRunArgs(self._global_step)

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    step, now = int(run_values.results), time.monotonic()
    if self._last_time is None:  # the first call also builds the graph's kernels
      self._last_time, self._last_step = now, step
    elif now - self._last_time >= self._seconds:
      rate = (step - self._last_step) / max(now - self._last_time, 1e-9)
      left = (self._training_steps - step) / rate if rate else math.inf
      print(
        f"step {step}/{self._training_steps}  {rate:.3g} steps/s  "
        f"{format_seconds(left)} left",
        file=sys.stderr,
        flush=True,
      )
      self._last_time, self._last_step = now, step

  def end(self, session: tf.Session) -> None:
    taken = format_seconds(time.monotonic() - self._start_time)
    print(
      f"step {session.run(self._global_step)}/{self._training_steps} reached in "
      f"{taken}",
      file=sys.stderr,
      flush=True,
    )


def format_seconds(seconds: float) -> str:
  """12 s, 3 min 05 s, 2 h 10 min, 5 d 03 h."""
  if not math.isfinite(seconds):
    return "unknown"
  for size, big, part, small in (
    (86400, "d", 3600, "h"),
    (3600, "h", 60, "min"),
    (60, "min", 1, "s"),
  ):
    if seconds >= size:
      return f"{int(seconds // size)} {big} {int(seconds % size // part):02d} {small}"
  return f"{seconds:.0f} s"


class TrainingTime(tf.train.SessionRunHook):
  """Keeps the seconds of training in a file, over resumes, and may end it by them.

  The first step, which builds the graph's kernels, is not counted. The file has the time
  of the last checkpoint: a killed run loses the steps after it, and is given their time
  again. It also has the time of each earlier checkpoint.

  Args:
    model_dir: folder of the run.
    minutes: of training after which it ends; None: options.training_steps decides.

  Attributes:
    listener: for the hook that saves checkpoints.
  """

  _FILE = "training_time.json"

  def __init__(self, model_dir: str, minutes: float | None = None):
    self._path = os.path.join(model_dir, self._FILE)
    content = self._content(model_dir)
    self._before = content.get("seconds", 0.0)
    self._of_steps = content.get("of_steps", {})
    self._limit = math.inf if minutes is None else 60.0 * minutes
    self._start = None
    self.listener = _Saved(self._write)

  @classmethod
  def read(cls, model_dir: str, step: int | None = None) -> float | None:
    """Seconds of training so far, or until a checkpoint; None where no file says it.

    Args:
      model_dir: folder of the run.
      step: the checkpoint's; None: now.
    """
    content = cls._content(model_dir)
    if step is None:
      return content.get("seconds")
    return content.get("of_steps", {}).get(str(step))

  @classmethod
  def _content(cls, model_dir):
    """What the file holds; {} where there is none."""
    path = os.path.join(model_dir, cls._FILE)
    if not tf.io.gfile.exists(path):
      return {}
    try:
      content = files.read_json(path)
      of_steps = content.get("of_steps", {})  # that earlier versions did not write
      return {
        "seconds": float(content["seconds"]),
        "of_steps": {step: float(seconds) for step, seconds in of_steps.items()},
      }
    except (UserError, AttributeError, KeyError, TypeError, ValueError):
      raise UserError(
        f"{path} is damaged; remove it: the time is then counted from now on"
      ) from None

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    if self._start is None:
      self._start = time.monotonic()
    if self._seconds() >= self._limit:
      run_context.request_stop()

  def _seconds(self):
    since = 0.0 if self._start is None else time.monotonic() - self._start
    return self._before + since

  def _write(self, step):
    seconds = self._seconds()
    self._of_steps[str(step)] = seconds
    files.write_json(self._path, {"seconds": seconds, "of_steps": self._of_steps})


class _Saved(tf.train.CheckpointSaverListener):
  """Calls a function of the step after each checkpoint."""

  def __init__(self, function):
    self._function = function

  def after_save(self, session, global_step_value):
    self._function(int(global_step_value))


class HealthHook(tf.train.SessionRunHook):
  """Warns where the discriminator wins outright or the generator collapses.

  Args:
    every: steps between two looks at the measures (gans.health).
    patience: looks in a row that have to show it.
  """

  _SIGNS = {
    "discriminator_accuracy": (
      lambda value: value >= 0.99,
      "the discriminator wins outright: its accuracy (health/discriminator_accuracy)"
      " has been {value:.2f} for {steps} steps; lower ModularGAN.d_lr or "
      "options.disc_iters",
    ),
    "score_spread": (
      lambda value: value < 1e-5,
      "the discriminator has died: it gives every image the same score (deviation "
      "{value:.0e}, health/score_spread), for {steps} steps; start again with a "
      "lower ModularGAN.d_lr",
    ),
    "fake_spread": (
      lambda value: value < 0.1,
      "the generator has collapsed: its images differ from each other {value:.2f} "
      "times as much as the real ones (health/fake_spread), for {steps} steps; go "
      "back to an earlier checkpoint with lower learning rates",
    ),
  }

  def __init__(self, every: int, patience: int = 10):
    self._every = every
    self._patience = patience

  def begin(self) -> None:
    self._global_step = tf.train.get_global_step()
    self._measures = health.published()
    self._in_a_row = dict.fromkeys(self._measures, 0)
    self._calls = 0

  def before_run(
    self, run_context: tf.train.SessionRunContext
  ) -> tf.train.SessionRunArgs | None:
    self._calls += 1
    if self._calls % self._every:
      return None
    return tf.train.SessionRunArgs([self._measures, self._global_step])

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    if run_values.results is None:
      return
    found, step = run_values.results
    for name, value in found.items():
      shows, words = self._SIGNS[name]
      self._in_a_row[name] = self._in_a_row[name] + 1 if shows(value) else 0
      if self._in_a_row[name] == self._patience:  # once, until it is over
        words = words.format(value=value, steps=self._patience * self._every)
        print(f"warning: step {step}: {words}", file=sys.stderr, flush=True)


class NanGuard(tf.train.SessionRunHook):
  """Stops training at a loss that is not finite, before anything is saved.

  Args:
    loss: scalar tensor; None: the estimator's.
    model_dir: folder of the checkpoints, to name the last good one.
  """

  def __init__(self, loss: tf.Tensor | None, model_dir: str):
    self._loss = loss
    self._model_dir = model_dir

  def begin(self) -> None:
    self._global_step = tf.train.get_global_step()
    if self._loss is None:  # the estimator puts that of the whole step there
      self._loss = tf.get_collection(tf.GraphKeys.LOSSES)[-1]

  def before_run(
    self, run_context: tf.train.SessionRunContext
  ) -> tf.train.SessionRunArgs | None:
    return tf.train.SessionRunArgs([self._loss, self._global_step])

  def after_run(
    self, run_context: tf.train.SessionRunContext, run_values: tf.train.SessionRunValues
  ) -> None:
    loss, step = run_values.results
    if not math.isfinite(loss):
      raise_not_finite("the loss", int(step), self._model_dir)


class FitGuard(tf.train.SessionRunHook):
  """Refuses to go on from a checkpoint of other networks."""

  def __init__(self, model_dir: str):
    self._model_dir = model_dir

  def begin(self) -> None:
    checkpoints.check_fit(self._model_dir, tf.global_variables())


class LostWorker(tf.train.SessionRunHook):
  """Ends this worker at its second session, which begins when another is lost.

  TensorFlow would go on in a new session, from the last checkpoint but with the images
  of the first start, and wait there for a worker that does not come back.
  """

  def __init__(self):
    self._sessions = 0

  def after_create_session(
    self, session: tf.Session, coord: tf.train.Coordinator
  ) -> None:
    self._sessions += 1
    if self._sessions > 1:
      raise UserError(peers.lost_sentence("another worker"))


class WeightGuard(tf.train.CheckpointSaverListener):
  """Refuses to save weights that are not finite over good ones."""

  def __init__(self, model_dir: str):
    self._model_dir = model_dir

  def begin(self) -> None:
    self._weights = tf.trainable_variables()

  def before_save(self, session: tf.Session, global_step_value: int) -> None:
    for variable, value in zip(self._weights, session.run(self._weights)):
      if not np.all(np.isfinite(value)):
        raise_not_finite(variable.op.name, global_step_value, self._model_dir)


def raise_not_finite(what: str, step: int, model_dir: str) -> NoReturn:
  """Says where training broke and what is left.

  Args:
    what: that is infinite or no number, such as "the loss".
    step: at which it was found.
    model_dir: of the run; its newest checkpoint is named.

  Raises:
    UserError: always.
  """
  checkpoint = tf.train.latest_checkpoint(model_dir)
  raise UserError(
    f"{what} is not finite at step {step}; last good checkpoint: "
    f"{checkpoint or 'none'}; try a smaller ModularGAN.d_lr and g_lr, or a larger "
    "options.batch_size, and start again"
  )
