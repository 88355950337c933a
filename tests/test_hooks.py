"""Hooks: progress in words, and a stop before anything bad is saved."""

import math
import time
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import checkpoints
from compare_gan_logits import hooks
from compare_gan_logits.errors import UserError


@pytest.mark.parametrize(
  "seconds, text",
  [
    (12.3, "12 s"),
    (185, "3 min 05 s"),
    (7800, "2 h 10 min"),
    (442800, "5 d 03 h"),
    (math.inf, "unknown"),
  ],
)
def test_times_are_readable(seconds, text):
  assert hooks.format_seconds(seconds) == text


def train(folder, bad_loss_at=None, bad_weight_at=None, steps=6):
  """A training loop of a counter, with a loss and a weight that may break."""
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    weight = tf.get_variable("weight", [2], use_resource=True)

    def broken(at):
      return tf.cast(tf.equal(step.read_value(), -1 if at is None else at), tf.float32)

    loss = tf.where(broken(bad_loss_at) > 0, np.float32("nan"), 1.0)
    new = tf.where(broken(bad_weight_at) > 0, np.float32("inf"), 1.0)
    with tf.control_dependencies([loss]):
      update = tf.group(step.assign_add(1), weight.assign(tf.fill([2], new)))
    saver = tf.train.CheckpointSaverHook(
      str(folder), save_steps=2, listeners=[hooks.WeightGuard(str(folder))]
    )
    with tf.train.MonitoredSession(
      hooks=[
        tf.train.StopAtStepHook(last_step=steps),
        saver,
        hooks.NanGuard(loss, str(folder)),
        hooks.ProgressHook(steps, 0),
      ]
    ) as session:
      while not session.should_stop():
        session.run(update)


def test_progress_tells_speed_and_time_left(tmp_path, capsys):
  train(tmp_path)
  lines = capsys.readouterr().err
  assert "steps/s" in lines and "left" in lines and "step 6/6 reached in" in lines


def test_progress_is_by_the_speed_since_the_last_line(monkeypatch, capsys):
  times = iter([0.0, 10.0, 15.0, 30.0, 40.0])
  clock = types.SimpleNamespace(monotonic=times.__next__)
  hook = hooks.ProgressHook(1000, seconds=10.0)
  with tf.Graph().as_default():
    tf.train.get_or_create_global_step()
    monkeypatch.setattr(hooks, "time", clock)
    hook.begin()
  for step in (1, 50, 101, 301):
    hook.after_run(None, types.SimpleNamespace(results=step))
  assert capsys.readouterr().err.splitlines() == [
    "step 101/1000  5 steps/s  2 min 59 s left",
    "step 301/1000  20 steps/s  35 s left",
  ]


def test_a_loss_that_is_not_finite_stops_training(tmp_path):
  with pytest.raises(UserError, match="the loss is not finite.*last good checkpoint"):
    train(tmp_path, bad_loss_at=3)
  checkpoint = tf.train.latest_checkpoint(str(tmp_path))
  assert np.isfinite(tf.train.load_variable(checkpoint, "weight")).all()


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
  with pytest.raises(UserError, match="weight is not finite"):
    train(tmp_path, bad_weight_at=3)
  checkpoint = tf.train.latest_checkpoint(str(tmp_path))
  assert np.isfinite(tf.train.load_variable(checkpoint, "weight")).all()


def test_training_time_adds_up_over_resumes_and_ends_training(tmp_path):
  folder = str(tmp_path)
  assert hooks.TrainingTime.read(folder) is None

  def train_for(minutes, killed_after=None):
    clock = hooks.TrainingTime(folder, minutes)
    with tf.Graph().as_default():
      update = tf.train.get_or_create_global_step().assign_add(1)
      saver = hooks.AsyncCheckpointSaverHook(
        folder, save_steps=10000, listeners=[clock.listener]
      )
      with tf.train.MonitoredTrainingSession(
        checkpoint_dir=folder,
        hooks=[clock, saver],
        save_checkpoint_secs=None,
        save_checkpoint_steps=None,
        save_summaries_steps=None,
        save_summaries_secs=None,
      ) as session:
        started = time.monotonic()
        while not session.should_stop():
          session.run(update)
          time.sleep(0.001)
          if killed_after and time.monotonic() - started > killed_after:
            raise KeyboardInterrupt

  for total in (0.5, 0.8):
    started = time.monotonic()
    train_for(total / 60)
    assert total <= hooks.TrainingTime.read(folder) < time.monotonic() - started + 0.8
  # Each checkpoint has the time until then.
  steps = [step for step, _ in checkpoints.of_run(folder)]
  of_steps = [hooks.TrainingTime.read(folder, step) for step in steps]
  assert steps[0] == 0 and of_steps[0] < 0.1 and 0.5 <= of_steps[1] < of_steps[2]
  assert of_steps[-1] == hooks.TrainingTime.read(folder)
  assert hooks.TrainingTime.read(folder, steps[-1] + 1) is None
  # What is lost with the steps since the last checkpoint is not counted.
  before = hooks.TrainingTime.read(folder)
  with pytest.raises(KeyboardInterrupt):
    train_for(5, killed_after=0.3)
  assert hooks.TrainingTime.read(folder) == pytest.approx(before, abs=0.05)


def test_a_checkpoint_of_other_shapes_is_refused(tmp_path):
  for size, fits in ((3, True), (3, True), (4, False)):
    with tf.Graph().as_default():
      tf.get_variable("kernel", [size], use_resource=True)
      guard = hooks.FitGuard(str(tmp_path))
      if not fits:
        with pytest.raises(UserError, match="made with another configuration"):
          guard.begin()
        return
      guard.begin()
      with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 1)


@pytest.mark.parametrize(
  "more, fits",
  [
    ("generator/logits/mean", False),
    ("generator/kernel/ExponentialMovingAverage_0.99", True),
    ("discriminator_rotation/kernel", True),  # of a network that is there no more
    ("beta1_power", True),
  ],
)
def test_a_checkpoint_whose_networks_had_more_is_refused(tmp_path, more, fits):
  for names in (("generator/kernel", more), ("generator/kernel",)):
    with tf.Graph().as_default():
      for name in names:
        trainable = name == "generator/kernel"
        tf.get_variable(name, [2], use_resource=True, trainable=trainable)
      guard = hooks.FitGuard(str(tmp_path))
      if more in names or fits:
        guard.begin()
      else:
        with pytest.raises(UserError, match="made with another configuration"):
          guard.begin()
      with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 1)


def test_a_checkpoint_of_an_earlier_version_is_told_apart(tmp_path):
  for size in (3, 4):
    with tf.Graph().as_default():
      tf.get_variable("generator/kernel", [size], use_resource=True)
      if size == 4:
        with pytest.raises(UserError, match="earlier version of this program"):
          hooks.FitGuard(str(tmp_path)).begin()
        return
      tf.get_variable("beta1_power", [], use_resource=True)
      with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 1)


def test_a_second_session_means_a_lost_worker():
  hook = hooks.LostWorker()
  hook.after_create_session(None, None)
  with pytest.raises(UserError, match="start all workers again"):
    hook.after_create_session(None, None)


def count(hooks_, steps, folder=None):
  """A training loop that only counts."""
  with tf.Graph().as_default():
    update = tf.train.get_or_create_global_step().assign_add(1)
    with tf.train.MonitoredTrainingSession(
      checkpoint_dir=folder,
      save_checkpoint_steps=0,
      save_summaries_steps=0,
      log_step_count_steps=0,
      hooks=[tf.train.StopAtStepHook(last_step=steps), *hooks_],
    ) as session:
      while not session.should_stop():
        session.run(update)


def test_every_n_steps_and_at_the_end():
  class Steps(hooks.EveryNSteps):
    def every_n_steps_after_run(self, step, run_context, run_values):
      calls.append((step, run_context is None, run_values is None))

  calls = []
  count([Steps(3)], steps=8)
  assert calls == [(1, False, False), (4, False, False), (7, False, False)] + [
    (8, True, True)
  ]
  calls.clear()
  count([Steps(3)], steps=7)
  assert [step for step, *_ in calls] == [1, 4, 7]
  with tf.Graph().as_default(), pytest.raises(RuntimeError, match="global step"):
    Steps(1).begin()


def test_progress_is_reported_from_the_second_time_on():
  class Manager:
    def report_progress(self, message):
      messages.append(message)

  messages = []
  count([hooks.ReportProgressHook(Manager(), max_steps=400, every_n_steps=20)], 50)
  assert [m.split(",")[0] for m in messages] == ["5.2% @21", "10.2% @41", "12.5% @50"]
  assert all("steps/s, ETA: 0 min" in m for m in messages)


def test_the_time_that_is_reported_is_by_the_speed_so_far(monkeypatch):
  """100 steps in 50 s, so that the other 7100 take an hour all but 50 s."""
  times, messages = iter([10.0, 60.0]), []
  monkeypatch.setattr(hooks, "time", types.SimpleNamespace(monotonic=times.__next__))
  manager = types.SimpleNamespace(report_progress=messages.append)
  hook = hooks.ReportProgressHook(manager, max_steps=7300)
  for step in (100, 200):
    hook.every_n_steps_after_run(step, None, None)
  assert messages == ["2.7% @200, 2.0 steps/s, ETA: 59 min"]


def test_a_network_s_own_loss_does_not_hide_the_step_s():
  with tf.Graph().as_default():
    for value in (1.0, np.nan):
      tf.losses.add_loss(tf.constant(value))
    update = tf.train.get_or_create_global_step().assign_add(1)
    guard = hooks.NanGuard(None, "/nowhere")
    with (
      pytest.raises(UserError, match="the loss is not finite"),
      tf.train.SingularMonitoredSession(hooks=[guard]) as session,
    ):
      session.run(update)


def test_checkpoints_are_at_multiples_after_a_resume_too(tmp_path):
  for steps in (7, 14):
    count(
      [hooks.AsyncCheckpointSaverHook(str(tmp_path), save_steps=5)],
      steps,
      str(tmp_path),
    )
  found = {int(path.stem.split("-")[1]) for path in tmp_path.glob("model.ckpt-*.index")}
  assert found == {0, 5, 7, 10, 14}
