"""Schedules through run_with_schedule, as compare_gan's own main calls it."""

import contextlib
import csv
import io
import os
import types

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tiny
from absl import flags

from compare_gan_logits import datasets
from compare_gan_logits import eval_gan_lib
from compare_gan_logits import eval_utils
from compare_gan_logits import files
from compare_gan_logits import main  # noqa: F401, defines its flags
from compare_gan_logits import provenance
from compare_gan_logits import runner_lib
from compare_gan_logits import task_manager
from compare_gan_logits import test_utils
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import abstract_gan
from compare_gan_logits.gans import fidelity_gan
from compare_gan_logits.gans import modular_gan


@pytest.fixture(autouse=True)
def clean():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["tests"])
  gin.clear_config()
  yield
  gin.clear_config()


class TinyGAN(abstract_gan.AbstractGAN):
  """What a user of compare_gan writes: a generator of one number, by its contract."""

  def as_estimator(self, run_config, batch_size, use_tpu):
    return tf.estimator.tpu.TPUEstimator(
      model_fn=self.model_fn,
      config=run_config,
      use_tpu=use_tpu,
      train_batch_size=batch_size,
    )

  def as_module_spec(self, params, mode):
    assert mode == tf.estimator.ModeKeys.PREDICT

    def build():
      z = tf.placeholder(tf.float32, [64, params["z_dim"]])
      generated = tf.ones([64, 28, 28, 1]) * tf.nn.sigmoid(self._weight())
      hub.add_signature(inputs={"z": z}, outputs={"generated": generated})

    return hub.create_module_spec(build, [(set(), {}), ({"gen", "bs64"}, {})])

  def _weight(self):
    return tf.get_variable("generator/weight", [], use_resource=True)

  def input_fn(self, params, mode):
    return self._dataset.input_fn(params, mode=mode)

  def model_fn(self, features, labels, params, mode):
    loss = tf.reduce_mean(tf.abs(tf.nn.sigmoid(self._weight()) - features))
    train_op = tf.train.GradientDescentOptimizer(1.0).minimize(
      loss, tf.train.get_or_create_global_step()
    )
    return tf.estimator.tpu.TPUEstimatorSpec(mode, loss=loss, train_op=train_op)


def options(**more):
  return {
    "architecture": "dummy_arch",
    "z_dim": 4,
    "batch_size": 2,
    "training_steps": 2,
    "lambda": 1,
    "gan_class": modular_gan.ModularGAN,
    **more,
  }


def settings(**more):
  return runner_lib.get_run_settings(**{"save_checkpoints_steps": 1, **more})


def run(folder, schedule="train", seed=None, gan=None, manager=None, **kwargs):
  """run_with_schedule on made-up digits; returns its task manager."""
  folder = str(folder)
  manager = manager or runner_lib.TaskManagerWithCsvResults(folder)
  runner_lib.run_with_schedule(
    schedule,
    run_config=runner_lib.make_run_config(settings(tf_random_seed=seed), folder),
    task_manager=manager,
    options=options(**(gan or {})),
    use_tpu=False,
    **kwargs,
  )
  return manager


def train(folder, **more):
  """As the schedule does, without the export."""
  run_config = runner_lib.make_run_config(settings(), folder)
  runner_lib.Run(datasets.get_dataset(), None, options(**more), run_config).train()


def value(folder, name, step=2):
  return tf.train.load_variable(os.path.join(str(folder), f"model.ckpt-{step}"), name)


class RunnerTest(test_utils.CompareGanTestCase):
  def setUp(self):
    super().setUp()
    gin.bind_parameter("dataset.name", "mnist")
    gin.bind_parameter("export.standing_images", 4)
    gin.bind_parameter("module.batch_sizes", [64])
    self.folder = self._get_empty_model_dir()

  @pytest.mark.long
  def test_each_moving_average_has_scores_of_its_own(self):
    gin.bind_parameter("ModularGAN.g_use_ema", True)
    gin.bind_parameter("ModularGAN.ema_start_step", 0)
    gin.bind_parameter("FidelityGAN.more_ema_decays", (0.5,))
    gan = {"gan_class": fidelity_gan.FidelityGAN}
    run(self.folder, "train", gan=gan)
    weights = []
    for decay, name in ((None, "2"), (0.5, "2_ema_0.5")):
      gin.bind_parameter("FidelityGAN.exported_decay", decay)
      path = os.path.join(self.folder, f"scores_{decay}.csv")
      manager = runner_lib.TaskManagerWithCsvResults(self.folder, path)
      run(self.folder, "continuous_eval", gan=gan, manager=manager, eval_every_steps=2)
      assert len(manager.rows()) == 1
      variables = os.path.join(self.folder, "tfhub", name, "variables", "variables")
      (average,) = (
        variable
        for variable, _ in tf.train.list_variables(variables)
        if variable.startswith("generator/fc_noise/kernel/ExponentialMovingAverage")
      )
      weights.append(tf.train.load_variable(variables, average))
    assert np.abs(weights[0] - weights[1]).max() > 0

  def test_a_training_its_files_and_its_scores(self):
    manager = run(self.folder, "eval_after_train", eval_every_steps=2)
    assert {
      "TRAIN_DONE",
      "operative_config-0.gin",
      "result",
      "module",
      "model.ckpt-0.index",
      "model.ckpt-2.index",
    } <= set(os.listdir(self.folder))
    assert os.listdir(os.path.join(self.folder, "tfhub")) == ["2"]
    (row,) = manager.rows()
    assert row["step"] == "2" and row["checkpoint_path"].endswith("model.ckpt-2")
    assert float(row["fid_score_mean"]) >= 0
    assert row["dataset.name"] == "mnist"
    assert list(manager.unevaluated_checkpoints(eval_every_steps=2)) == []
    train(self.folder, training_steps=3)
    assert os.path.exists(os.path.join(self.folder, "operative_config-2.gin"))
    assert manager.is_training_done()

  @pytest.mark.long
  def test_unseeded_runs_differ_and_go_on_with_their_seed(self):
    name = "generator/fc_noise/kernel"
    other, parts = self._get_empty_model_dir(), self._get_empty_model_dir()
    train(self.folder)
    train(other)
    assert not np.array_equal(value(self.folder, name), value(other, name))
    os.makedirs(parts)
    with open(os.path.join(self.folder, "random_seed.json"), "rb") as f:
      seed = f.read()
    with open(os.path.join(parts, "random_seed.json"), "wb") as f:
      f.write(seed)
    train(parts, training_steps=1)
    train(parts)
    np.testing.assert_array_equal(value(self.folder, name), value(parts, name))

  @pytest.mark.long
  def test_a_gan_of_compare_gans_contract(self):
    manager = run(
      self.folder, "eval_after_train", gan={"gan_class": TinyGAN}, eval_every_steps=2
    )
    assert value(self.folder, "generator/weight") != value(
      self.folder, "generator/weight", 0
    )
    with tf.Graph().as_default():
      module = hub.Module(os.path.join(self.folder, "module"), tags={"gen", "bs64"})
      assert module.get_output_info_dict()["generated"].get_shape()[1] == 28
    rows = manager.rows()
    assert [row["step"] for row in rows] == ["2"]
    scores = {name for name in rows[0] if "." not in name}
    assert {"inception_score_mean", "fid_score_std", "fid_score_list"} <= scores

  @pytest.mark.long
  def test_a_training_whose_minutes_are_over_is_not_trained_again(self):
    steps = []
    for _ in range(2):
      run(self.folder, gan={"training_steps": 50}, training_minutes=0.0001)
      steps.append(runner_lib.checkpoints.newest(self.folder)[0])
    assert 0 < steps[0] == steps[1] < 50

  def test_an_evaluation_without_checkpoints_says_so(self):
    manager = runner_lib.TaskManagerWithCsvResults(self.folder)
    manager.mark_training_done()
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
      run(self.folder, "continuous_eval", manager=manager)
    assert "there is none; train first (--schedule train)" in errors.getvalue()

  def test_unknown_names(self):
    with self.assertRaises(ValueError):
      run(self.folder, "trian")
    with self.assertRaises(NotImplementedError):
      run(self.folder, gan={"architecture": "resnet_bigan_arch"})
    assert not os.path.exists(os.path.join(self.folder, "model.ckpt-0.index"))


def test_options_have_compare_gans_keys(monkeypatch):
  monkeypatch.setattr(flags.FLAGS["use_tpu"], "value", None)
  found = runner_lib.get_options_dict(
    batch_size=2, gan_class=TinyGAN, architecture="x", training_steps=3, lamba=7
  )
  assert found == {
    "use_tpu": False,
    "batch_size": 2,
    "gan_class": TinyGAN,
    "architecture": "x",
    "training_steps": 3,
    "lambda": 7,
    "disc_iters": 1,
    "z_dim": 128,
  }
  monkeypatch.setenv("TPU_NAME", "mine")
  assert runner_lib.use_tpu()


@pytest.mark.parametrize("address", ["grpc://localhost:1", "grpc://localhost:x"])
def test_a_tpu_that_cannot_be_connected_to_is_told(address):
  with pytest.raises(UserError, match=f"the TPU at {address} does not answer"):
    runner_lib.find_tpu(address, None, None)


def test_the_loop_has_what_gin_binds_under_run_config(tmp_path):
  found = runner_lib.get_run_settings(7, True, 11, 13, 17, 19, 23.0)
  assert found.training_minutes == 23.0
  config = runner_lib.make_run_config(found, str(tmp_path))
  assert config.model_dir == str(tmp_path)
  assert (config.tf_random_seed, config.tpu_config.num_shards) == (7, 1)
  assert config.tpu_config.iterations_per_loop == 11
  assert (config.save_checkpoints_steps, config.keep_checkpoint_max) == (13, 17)
  assert (config.save_summary_steps, config.log_step_count_steps) == (19, 19)


@pytest.mark.parametrize("seconds, is_up", [(119, False), (120, True)])
def test_minutes_of_training_are_sixty_seconds(seconds, is_up, tmp_path):
  files.write_json(str(tmp_path / "training_time.json"), {"seconds": seconds})
  run_ = runner_lib.Run.__new__(runner_lib.Run)
  run_.model_dir = str(tmp_path)
  run_._training_minutes = 2.0
  assert run_._time_is_up() == is_up


def test_a_damaged_seed_is_told(tmp_path):
  (tmp_path / "random_seed.json").write_text("{}")
  run_ = runner_lib.Run.__new__(runner_lib.Run)
  run_.model_dir = str(tmp_path)
  run_._run_config = runner_lib.make_run_config(settings(), str(tmp_path))
  with pytest.raises(UserError, match="random_seed.json is damaged"):
    run_._seed()


def test_a_worker_does_not_train_with_a_seed_of_its_own(tmp_path, monkeypatch):
  waited = []
  monkeypatch.setattr(runner_lib, "time", types.SimpleNamespace(sleep=waited.append))
  run_ = runner_lib.Run.__new__(runner_lib.Run)
  run_.model_dir = str(tmp_path)
  run_.distribution = types.SimpleNamespace(is_chief=False)
  run_._run_config = runner_lib.make_run_config(settings(), str(tmp_path))
  with pytest.raises(UserError, match="not written by the chief .* start all workers"):
    run_._seed(draw=True)
  assert sum(waited) == 1800
  assert run_._seed() == 0 and sum(waited) == 1800  # an export waits for nobody


def checkpoint(folder, step):
  with tf.Graph().as_default(), tf.Session() as session:
    weight = tf.get_variable("weight", [2], use_resource=True)
    session.run(weight.initializer)
    saver = tf.train.Saver(max_to_keep=None)
    return saver.save(session, os.path.join(str(folder), "model.ckpt"), step)


def test_the_table_of_scores(tmp_path):
  folder = str(tmp_path)
  paths = [checkpoint(folder, step) for step in (0, 5, 10)]
  (tmp_path / "operative_config-0.gin").write_text(
    "import os\noptions.batch_size = 4\nG.batch_norm_fn = @batch_norm\n"
    "D.widths = \\\n    (1,\n     2)\n"
  )
  (tmp_path / "operative_config-10.gin").write_text("options.batch_size = 8\n")
  manager = runner_lib.TaskManagerWithCsvResults(folder)
  assert list(manager.unevaluated_checkpoints()) == paths
  assert list(manager.unevaluated_checkpoints(eval_every_steps=5)) == paths[1:]
  manager.add_eval_result(paths[2], {"b": 0.12345, "a": 2}, 31337.0)
  manager.add_eval_result(paths[1], {"b_list": "1.5_2.5"}, -1.0)
  assert manager.get_checkpoints_with_results() == set(paths[1:])
  moved = runner_lib.TaskManagerWithCsvResults("/moved", str(tmp_path / "scores.csv"))
  names = {f"/moved/{os.path.basename(path)}" for path in paths[1:]}
  assert moved.get_checkpoints_with_results() == names
  with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as f:
    header, *rows = csv.reader(f)
  gin_names = ["D.widths", "G.batch_norm_fn", "options.batch_size"]
  assert header == ["checkpoint_path", "step", "a", "b", "b_list", *gin_names]
  assert rows == [
    [paths[1], "5", "-1.000", "-1.000", "1.5_2.5", "(1, 2)", "@batch_norm", "4"],
    [paths[2], "10", "2", "0.123", "-1.000", "", "", "8"],
  ]
  for damaged in ("step\nx\n", "checkpoint_path,step,a\nmodel.ckpt-5,5,1,2\n"):
    (tmp_path / "scores.csv").write_text(damaged)
    with pytest.raises(UserError, match="scores.csv is damaged"):
      manager.add_eval_result(paths[0], {"a": 1}, 0.0)


def test_checkpoints_are_waited_for_from_the_end_of_the_last_scores(
  tmp_path, monkeypatch
):
  """Scores take 100 s, the patience is 30 s, and every look is 10 s after another."""
  now, appear = [0.0], iter([2, None, 3])

  def sleep(seconds):
    now[0] += seconds
    step = next(appear, None)
    if step:
      (tmp_path / f"model.ckpt-{step}.index").touch()

  clock = types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
  monkeypatch.setattr(task_manager, "time", clock)
  (tmp_path / "model.ckpt-1.index").touch()
  found = []
  for path in task_manager.TaskManager(str(tmp_path)).unevaluated_checkpoints(30):
    found.append(path.rpartition("-")[2])
    now[0] += 100
  assert found == ["1", "2", "3"]
  assert now[0] == 3 * 100 + (1 + 2 + 3) * 10


def test_a_record_of_classifier_and_images_that_is_damaged_is_told(tmp_path):
  facts = {
    "classifier": "a",
    "classifier_digest": "0",
    "dataset": "b",
    "fingerprint": "1",
    "transform": {"crop": "none"},
  }
  assert not provenance.check(str(tmp_path), facts)
  provenance.write(str(tmp_path), {**facts, "of a later version": 1})
  assert provenance.check(str(tmp_path), facts)
  for name in facts:
    provenance.write(str(tmp_path), {k: v for k, v in facts.items() if k != name})
    with pytest.raises(UserError, match=r"trained_on\.json is damaged; remove it"):
      provenance.check(str(tmp_path), facts)


def test_a_damaged_checkpoint_is_passed_over(tmp_path, capsys):
  gin.clear_config()
  paths = [checkpoint(tmp_path, step) for step in (1, 2)]
  with open(paths[0] + ".data-00000-of-00001", "wb") as f:
    f.write(b"x")
  manager = runner_lib.TaskManager(str(tmp_path))
  assert list(manager.unevaluated_checkpoints()) == paths
  manager.mark_training_done()
  assert (tmp_path / "TRAIN_DONE").read_text() == ""
  assert list(manager.unevaluated_checkpoints(timeout=100)) == paths
  run_config = runner_lib.make_run_config(settings(), str(tmp_path))
  run_ = runner_lib.Run(
    datasets.get_dataset("fake:5@32"), None, options(), run_config, manager
  )
  scored = []
  run_._evaluate = lambda path, *_: scored.append(path)
  run_.evaluate()
  assert scored == paths[1:]
  assert f"{paths[0]} is damaged" in capsys.readouterr().err
  assert manager.model_dir == str(tmp_path)
  manager.add_eval_result(paths[1], {}, 0.0)
  manager.report_progress("10%")


def test_scores_of_another_moving_average_are_told(tmp_path, monkeypatch, capsys):
  gin.clear_config()
  path = checkpoint(tmp_path, 2)
  manager = runner_lib.TaskManagerWithCsvResults(str(tmp_path))
  manager.mark_training_done()
  manager.add_eval_result(path, {"psnr_mean": 1.0}, 0.0)
  run_config = runner_lib.make_run_config(settings(), str(tmp_path))
  dataset = datasets.get_dataset("fake:5@32")
  run_ = runner_lib.Run(dataset, None, options(), run_config, manager)
  run_.evaluate()
  assert "--score_filename" not in capsys.readouterr().err
  monkeypatch.setattr(modular_gan.ModularGAN, "export_suffix", "_ema_0.5")
  run_.evaluate()
  assert "tfhub/<step>_ema_0.5; name another --score" in capsys.readouterr().err


@pytest.mark.parametrize(
  "error, scored",
  [(eval_utils.NanFoundError("no numbers"), True), (UserError("no file"), False)],
)
def test_images_that_are_no_numbers_are_scored_once_and_lost_files_later(
  error, scored, tmp_path, monkeypatch, capsys
):
  gin.clear_config()
  path = checkpoint(tmp_path, 2)
  manager = runner_lib.TaskManagerWithCsvResults(str(tmp_path))
  run_config = runner_lib.make_run_config(settings(), str(tmp_path))
  dataset = datasets.get_dataset("fake:5@32")
  run_ = runner_lib.Run(dataset, None, options(), run_config, manager)
  monkeypatch.setattr(run_, "export", lambda *_, **__: None)

  def fail(*_, **__):
    raise error

  monkeypatch.setattr(eval_gan_lib, "evaluate_tfhub_module", fail)
  run_.evaluate()
  assert f"step 2 gets no scores: {error}" in capsys.readouterr().err
  expected = ([path], []) if scored else ([], [path])
  assert [row["checkpoint_path"] for row in manager.rows()] == expected[0]
  assert list(manager.unevaluated_checkpoints()) == expected[1]


@pytest.mark.long
def test_a_run_keeps_its_classifier_and_its_images(tmp_path):
  """Both may be moved; another of either is refused, by every schedule."""
  gin.bind_parameter("ModularGAN.conditional", True)
  gin.bind_parameter("dataset.name", "fake:4@12")
  gin.bind_parameter("export.standing_images", 4)
  gin.bind_parameter("module.batch_sizes", ())
  gin.bind_parameter("evaluation.num_images", 4)
  rng = np.random.default_rng(0)
  first, second = (
    tiny.write_classifier(tmp_path / name, rng.normal(size=[432, 4]), 12, 3)
    for name in ("first", "second")
  )
  folder = tmp_path / "run"

  def start(schedule, handle, steps=2):
    gin.bind_parameter("classifier.handle", handle)
    more = {"eval_every_steps": 2, "num_eval_averaging_runs": 1}
    return run(folder, schedule, gan={"training_steps": steps}, **more)

  def recorded():
    info = files.read_json(str(folder / "module" / "inversion.json"))
    assert info["dataset_bindings"]["eval_crop_method"] == "none"
    return info["classifier"]

  gin.bind_parameter("dataset.eval_crop_method", "none")
  start("train", first)
  kept = recorded()
  (tmp_path / "first").rename(tmp_path / "moved")
  moved = str(tmp_path / "moved")
  manager = start("eval_after_train", moved)
  assert recorded()["digest"] == kept["digest"]
  # The exported modules that are scored again name the classifier's old place.
  (folder / "scores.csv").unlink()
  (tmp_path / "moved").rename(tmp_path / "again")
  moved = str(tmp_path / "again")
  with pytest.raises(UserError, match="first .*not with .* second"):
    start("continuous_eval", second)
  start("continuous_eval", moved)
  (row,) = manager.rows()
  assert 0 < float(row["psnr_mean"]) < 100
  for schedule, steps in (
    ("train", 2),
    ("train", 4),
    ("export", 2),
    ("eval_after_train", 2),
  ):
    with pytest.raises(UserError, match="first .*not with .* second .*--mod"):
      start(schedule, second, steps)
  for setting, value_, words in (
    (
      "name",
      "fake:5@12",
      "trained on fake:4@12, and the images of fake:5@12 are others",
    ),
    ("crop_method", "none", "its crop was 'middle', not 'none'"),
  ):
    before = gin.query_parameter("dataset.name")
    gin.bind_parameter(f"dataset.{setting}", value_)
    with pytest.raises(UserError, match=words):
      start("train", moved)
    gin.bind_parameter("dataset.name", before)
  assert recorded()["digest"] == kept["digest"]
  # A run of an earlier version says nothing, and is not refused.
  (folder / provenance.FILE).unlink()
  assert not provenance.check(str(folder), {})
