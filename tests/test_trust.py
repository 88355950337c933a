"""Killed, damaged, locked and full: nothing is lost and nothing is half written.

COMPARE_GAN_LOGITS_KILLS sets the number of kills (docs/trust.md).
"""

import contextlib
import csv
import hashlib
import os
import shutil
import subprocess
import time
import types

import forking
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from compare_gan_logits import checkpoints
from compare_gan_logits import files
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import health
from compare_gan_logits.hooks import HealthHook
from compare_gan_logits.inversion import Inverter


KILLS = int(os.environ.get("COMPARE_GAN_LOGITS_KILLS", 6))
STEPS = 6
CONFIG = f"""
options.training_steps = {STEPS}
run_config.keep_checkpoint_max = 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("trust")
  tiny.write_training(folder, CONFIG + tiny.DCGAN)
  return folder


def train(folder, name, schedule="eval_after_train"):
  """The command that trains, scores every checkpoint and exports."""
  return (
    folder / "logs",
    forking.MAIN,
    "--gin_config",
    folder / "tiny.gin",
    "--model_dir",
    folder / name,
    "--schedule",
    schedule,
    "--eval_every_steps",
    2,
  )


def cache(folder, name):
  return (
    folder / "logs",
    "cache_logits",
    "--gin_config",
    folder / "tiny.gin",
    "--output",
    folder / name,
    "--shards",
    4,
  )


def report(folder, name):
  return (
    folder / "logs",
    "reproduce",
    "--module",
    folder / "whole" / "module",
    "--dataset",
    "embedded",
    "--only",
    "noise_resampling",
    "--limit",
    8,
    "--output",
    folder / name,
  )


@pytest.fixture(scope="module")
def whole(server, folder):
  """Runs that nobody disturbs; {command: seconds it took}."""
  seconds = {}
  for command, name in ((train, "whole"), (cache, "cache"), (report, "report")):
    start = time.monotonic()
    done = server.run(*command(folder, name))
    assert done.returncode == 0, done.stderr
    seconds[command] = time.monotonic() - start
  return seconds


def tree(path):
  """{name: bytes} of a folder."""
  return {
    str(file.relative_to(path)): file.read_bytes()
    for file in sorted(path.rglob("*"))
    if file.is_file() and file.suffix != ".lock"
  }


def weights(path):
  reader = tf.train.load_checkpoint(str(path))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def scores(run):
  """Rows of a run's scores, without the folder's name."""
  with open(run / "scores.csv", newline="", encoding="utf-8") as f:
    rows = list(csv.DictReader(f))
  for row in rows:
    # A run that was copied keeps the path of the checkpoints that were scored before.
    name = os.path.basename(row.pop("checkpoint_path"))
    assert name == f"model.ckpt-{row['step']}"
  return rows


def assert_same_run(folder, name):
  expected, found = (
    weights(folder / run / f"model.ckpt-{STEPS}") for run in ("whole", name)
  )
  assert expected.keys() == found.keys()
  for variable, value in expected.items():
    np.testing.assert_array_equal(value, found[variable], err_msg=variable)
  assert scores(folder / name) == scores(folder / "whole")
  logits = np.zeros([2, 10], np.float32)
  pictures = [
    Inverter.load(folder / run / "module").generate(logits) for run in ("whole", name)
  ]
  np.testing.assert_array_equal(*pictures)
  left = [
    n for n in tree(folder / name) if "temp" in n or ".part-" in n or ".old-" in n
  ]
  assert left == []


def kill_and_finish(server, command, seconds, kills, random):
  """Kills the command at random moments, then lets it end; its exit code is 0."""
  for _ in range(kills):
    started = server.start(*command)
    time.sleep(random.uniform(0, seconds))
    if started.poll() is None:
      started.kill()
  done = server.run(*command)
  assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_killed_at_any_moment_the_same_command_ends_as_if_undisturbed(
  server, folder, whole
):
  random = np.random.default_rng(KILLS)
  for start in range(0, KILLS, 6):  # A new folder for every six kills.
    name = f"killed{start}"
    of_each = [min(max(KILLS - start - 2 * i, 0), 2) for i in range(3)]
    kill_and_finish(server, train(folder, name), whole[train], of_each[0], random)
    assert_same_run(folder, name)
    kill_and_finish(
      server, cache(folder, f"{name}_cache"), whole[cache], of_each[1], random
    )
    assert tree(folder / f"{name}_cache") == tree(folder / "cache")
    kill_and_finish(
      server, report(folder, f"{name}_report"), whole[report], of_each[2], random
    )
    assert (folder / f"{name}_report" / "results.json").read_bytes() == (
      folder / "report" / "results.json"
    ).read_bytes()


@contextlib.contextmanager
def flipped(path):
  """A bit in the middle of a file is wrong for as long as it takes."""
  content = path.read_bytes()
  wrong = bytearray(content)
  wrong[len(wrong) // 2] ^= 16
  path.write_bytes(wrong)
  try:
    yield
  finally:
    path.write_bytes(content)


def refused(server, command, *words):
  """The command ends with 1 and one sentence that holds all the words."""
  done = server.run(*command)
  assert done.returncode == 1, done.stderr
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("error: ") and "Traceback" not in done.stderr
  assert all(word in last for word in words), last


@pytest.mark.long
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(server, folder, whole):
  shutil.copytree(folder / "whole", folder / "flipped")
  for path in (folder / "flipped").glob(f"model.ckpt-{STEPS}.data*"):
    path.write_bytes(path.read_bytes()[:-100])
  (folder / "flipped" / "checkpoint").write_bytes(
    b"\xff"
  )  # TensorFlow's record of them
  done = server.run(*train(folder, "flipped"))
  assert done.returncode == 0, done.stderr
  assert f"model.ckpt-{STEPS} is damaged" in done.stderr
  assert_same_run(folder, "flipped")


@pytest.mark.long
def test_when_all_checkpoints_are_damaged_nothing_is_touched(server, folder, whole):
  shutil.copytree(folder / "whole", folder / "all_damaged")
  for path in (folder / "all_damaged").glob("model.ckpt-*.data*"):
    path.write_bytes(path.read_bytes()[:50])
  before = tree(folder / "all_damaged")
  refused(
    server,
    train(folder, "all_damaged", "train"),
    "every checkpoint",
    "damaged",
    "--model_dir",
  )
  after = tree(folder / "all_damaged")
  changed = {n for n in after if after[n] != before.get(n)}
  assert changed == set()


@pytest.mark.long
@pytest.mark.parametrize(
  "name", ["saved_model.pb", "variables/variables.index", "saved_model/saved_model.pb"]
)
def test_a_damaged_module_is_named(folder, whole, name):
  path = folder / "whole" / "module" / name
  with flipped(path), pytest.raises(UserError, match="damaged|changed") as error:
    Inverter.load(folder / "whole" / "module")
  assert os.path.basename(name) in str(error.value)
  content = path.read_bytes()
  path.unlink()
  try:
    with pytest.raises(UserError, match="no file") as error:
      Inverter.load(folder / "whole" / "module")
    assert os.path.basename(name) in str(error.value)
  finally:
    path.write_bytes(content)


@pytest.mark.long
def test_a_damaged_shard_is_named_and_made_again(server, folder, whole):
  shard = sorted((folder / "cache" / "train").glob("*.npy"))[1]
  before = tree(folder / "cache")
  with flipped(shard):
    refused(
      server,
      (
        *train(folder, "from_cache", "train"),
        "--gin_bindings",
        f"classifier.cache_dir = '{folder}/cache'",
      ),
      str(shard),
      "damaged",
      "cache-logits",
    )
    done = server.run(*cache(folder, "cache"))
    assert done.returncode == 0 and tree(folder / "cache") == before


@pytest.mark.long
def test_a_damaged_part_of_a_report_is_made_again(server, folder, whole):
  expected = (folder / "report" / "results.json").read_bytes()
  part = folder / "report" / "noise_resampling" / "result.json"
  part.write_bytes(part.read_bytes()[:-9])
  done = server.run(*report(folder, "report"))
  assert done.returncode == 0 and "is damaged" in done.stderr, done.stderr
  assert (folder / "report" / "results.json").read_bytes() == expected


@pytest.mark.long
def test_a_second_training_in_a_folder_is_refused_and_a_dead_one_is_not_in_the_way(
  server, folder, whole
):
  first = server.start(*train(folder, "locked", "train"))
  lock = folder / "locked" / ".training.lock"
  end = time.monotonic() + 60
  while not (lock.exists() and lock.read_text().strip()) and time.monotonic() < end:
    time.sleep(0.02)
  try:
    refused(
      server,
      train(folder, "locked", "train"),
      f"process {first.pid}",
      "training",
      "another folder",
    )
  finally:
    first.kill()
  assert server.run(*train(folder, "locked")).returncode == 0
  assert_same_run(folder, "locked")


@pytest.mark.parametrize("before", [(), ("old",), ("old", "old/kept")])
def test_what_is_refused_under_a_lock_leaves_what_was_there(tmp_path, before):
  for name in before:
    if "/" in name:
      (tmp_path / name).write_text("")
    else:
      (tmp_path / name).mkdir()
  with pytest.raises(UserError), files.locked(str(tmp_path / "old"), "training"):
    raise UserError("refused")
  found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
  assert found - {"old/.training.lock"} == set(before)
  assert ("old/.training.lock" in found) == ("old/kept" in before)


@pytest.mark.parametrize("before", ["open", "_flock"])
def test_a_lock_whose_file_was_removed_meanwhile_is_taken_at_the_new_one(
  tmp_path, monkeypatch, before
):
  """Another process that is refused removes its file and the folder that it made."""
  folder, removed = str(tmp_path / "run"), []
  place = os if before == "open" else files
  function = getattr(place, before)

  def removing_first(*args, **kwargs):
    if not removed:
      removed.append(folder)
      shutil.rmtree(folder)
    return function(*args, **kwargs)

  monkeypatch.setattr(place, before, removing_first)
  with files.locked(folder, "training"):
    monkeypatch.undo()
    assert removed
    with (
      pytest.raises(UserError, match=f"process {os.getpid()} does its training"),
      files.locked(folder, "training"),
    ):
      pass
  with pytest.raises(UserError), files.locked(str(tmp_path / "new"), "training"):
    raise UserError("refused")
  assert not (tmp_path / "new").exists()


@contextlib.contextmanager
def mounted(path, options):
  path.mkdir()
  command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
  if (
    shutil.which("mount") is None
    or subprocess.run(command, capture_output=True, check=False).returncode
  ):
    pytest.skip("mounting a small file system takes root")
  try:
    yield path
  finally:
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.long
@pytest.mark.parametrize(
  "options, words", [("size=256k", "space"), ("ro", "read-only")]
)
def test_a_full_disk_and_a_read_only_one_are_one_sentence(
  server, folder, whole, tmp_path, options, words
):
  with mounted(tmp_path / "small", options) as small:
    done = server.run(*train(folder, small / "run", "train"))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and words in last.lower(), done.stderr
    assert str(small) in last and "Traceback" not in done.stderr
    done = server.run(*cache(folder, small / "cache"))
    assert done.returncode == 1 and words in done.stderr.lower()
    assert not any(name.endswith(".npy") for name in tree(small))


def test_a_folder_appears_whole_and_what_the_dead_left_is_removed(tmp_path):
  for content in ("first", "second"):
    with pytest.raises(RuntimeError), files.atomic_dir(tmp_path / "a", True) as part:
      files.write_text(os.path.join(part, "file"), "half")
      raise RuntimeError
    with files.atomic_dir(tmp_path / "a", overwrite=True) as part:
      files.write_text(os.path.join(part, "file"), content)
    assert tree(tmp_path) == {"a/file": content.encode()}
  left = tmp_path / ".abcdefgh-a"
  left.mkdir()
  with files.atomic_dir(tmp_path / "a", overwrite=True) as part:
    assert not left.exists()
    files.write_text(os.path.join(part, "file"), "third")
  assert tree(tmp_path) == {"a/file": b"third"}


@pytest.mark.parametrize("name", [".old-abcdefgh-a", ".abcdefgh-a-old"])
def test_a_folder_that_was_being_replaced_is_put_back_and_one_in_use_is_kept(
  name, tmp_path
):
  left = tmp_path / name  # the second as earlier versions wrote it
  left.mkdir()
  (tmp_path / ".abcdefgh-a").mkdir()
  (left / "file").write_text("old")
  path = tmp_path / "a"
  with pytest.raises(RuntimeError), files.atomic_dir(str(path), overwrite=True) as part:
    assert tree(path) == {"file": b"old"} and not os.listdir(part)
    assert os.stat(part).st_mode & 0o777 == 0o755  # for others to read
    with contextlib.suppress(KeyError), files.atomic_dir(str(path), True):
      assert os.path.isdir(part)
      raise KeyError
    raise RuntimeError
  assert tree(tmp_path) == {"a/file": b"old"}
  (tmp_path / "b").write_text("")
  with pytest.raises(UserError, match="b is a file"):
    files.check_new(str(tmp_path / "b"))


def test_a_folder_whose_replacement_ended_half_way_is_put_back(tmp_path, monkeypatch):
  path, rename, calls = tmp_path / "a", os.rename, []
  path.mkdir()
  (path / "file").write_text("old")

  def killed(source, target):
    calls.append(target)
    if len(calls) == 2:
      raise KeyboardInterrupt
    rename(source, target)

  with monkeypatch.context() as patch:
    patch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt), files.atomic_dir(str(path), overwrite=True):
      pass
  assert not path.exists()
  with pytest.raises(KeyError), files.atomic_dir(str(path), overwrite=True):
    raise KeyError
  assert tree(tmp_path) == {"a/file": b"old"}


def test_a_folder_in_use_whose_name_ends_in_old_is_another_one(tmp_path):
  with files.atomic_dir(str(tmp_path / "a-old")) as part:
    files.write_text(os.path.join(part, "file"), "half")
    with pytest.raises(KeyError), files.atomic_dir(str(tmp_path / "a")):
      raise KeyError
    assert os.path.isdir(part) and not (tmp_path / "a").exists()
  assert tree(tmp_path) == {"a-old/file": b"half"}


def test_a_file_is_written_whole_under_its_extension_or_stays_as_it_was(tmp_path):
  path = tmp_path / "deep" / "a.png"
  for text in ("first", "second"):
    with files.atomic_path(str(path)) as part, open(part, "w") as f:
      assert os.path.dirname(part) == str(path.parent) and part.endswith(".png")
      f.write(text)
    assert tree(tmp_path) == {"deep/a.png": text.encode()}
  with pytest.raises(RuntimeError), files.atomic_path(str(path)) as part:
    (path.parent / os.path.basename(part)).write_text("half")
    raise RuntimeError
  assert tree(tmp_path) == {"deep/a.png": b"second"}


def test_digests_name_files_from_the_folder_and_equal_values_have_equal_files(tmp_path):
  (tmp_path / "b").mkdir()
  for name, value in (("b/one", {"x": 1, "y": [2]}), ("a", {"y": [2], "x": 1})):
    files.write_json(str(tmp_path / name), value)
  text = b'{\n  "x": 1,\n  "y": [\n    2\n  ]\n}\n'
  expected = hashlib.sha256(text).hexdigest()
  assert list(files.digests(str(tmp_path)).items()) == [
    ("a", expected),
    (os.path.join("b", "one"), expected),
  ]


def test_what_can_be_computed_again_is_in_the_folder_that_is_named(monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  monkeypatch.delenv("COMPARE_GAN_LOGITS_CACHE", raising=False)
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  assert files.cache_folder() == "/home/me/.cache/compare_gan_logits"
  monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
  assert files.cache_folder() == "/cache/compare_gan_logits"
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", "~/own")
  assert files.cache_folder() == files.absolute("~/own") == "/home/me/own"
  assert files.absolute("gs://bucket/a") == "gs://bucket/a"
  assert files.slug("a-b_c.d (ä)/1") == "a-b_c_d__ä__1"


@pytest.mark.parametrize(
  "scores, words",
  [
    (
      np.ones([8, 1], np.float32),
      "discriminator wins outright: its accuracy "
      "(health/discriminator_accuracy) has been 1.00",
    ),
    (np.zeros([8, 1], np.float32), "discriminator has died"),
  ],
)
def test_a_lost_game_is_warned_of_once(capsys, scores, words):
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    real = np.random.default_rng(0).uniform(size=[8, 4, 4, 3]).astype(np.float32)
    scores = tf.constant(scores)
    found = health.measures(
      scores, -scores, tf.constant(real), tf.constant(0.5 + 0.01 * real)
    )
    health.publish(found)
    hook = HealthHook(every=2, patience=3)
    advance = step.assign_add(1)
    with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
      spread = session.run(found["fake_spread"])
      for _ in range(20):
        session.run(advance)
  assert spread == pytest.approx(0.01, rel=1e-3)
  warnings = [
    line for line in capsys.readouterr().err.splitlines() if "warning" in line
  ]
  assert len(warnings) == 2
  assert words in warnings[0]
  assert "generator has collapsed" in warnings[1] and "0.01" in warnings[1]


@pytest.mark.parametrize(
  "measure, fair, lost",
  [
    ("discriminator_accuracy", 0.98, 0.99),
    ("score_spread", 2e-5, 9e-6),
    ("fake_spread", 0.11, 0.09),
  ],
)
def test_a_game_is_lost_beyond_its_bound(measure, fair, lost, capsys):
  hook = HealthHook(every=1, patience=1)
  with tf.Graph().as_default():
    tf.train.get_or_create_global_step()
    health.publish({measure: tf.constant(0.0)})
    hook.begin()
  for value in (fair, lost):
    assert not capsys.readouterr().err
    hook.after_run(None, types.SimpleNamespace(results=({measure: value}, 1)))
  assert "warning: step 1: " in capsys.readouterr().err


def test_a_lost_game_is_one_that_is_lost_without_a_break(capsys):
  values = [0.01, 0.01, 1.0, 0.01, 0.01, 1.0, 0.01, 0.01, 0.01]
  hook = HealthHook(every=20, patience=3)
  with tf.Graph().as_default():
    tf.train.get_or_create_global_step()
    health.publish({"fake_spread": tf.constant(0.0)})
    hook.begin()
  for step, value in enumerate(values):
    found = {"fake_spread": value}, step
    hook.after_run(None, types.SimpleNamespace(results=found))
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("warning: step 8: ") and "for 60 steps" in line


def test_damaged_checkpoints_are_set_aside_and_the_record_agrees(tmp_path):
  with tf.Graph().as_default(), tf.Session() as session:
    weight = tf.get_variable("weight", [2], use_resource=True)
    session.run(weight.initializer)
    saver = tf.train.Saver(max_to_keep=None)
    for step in (4, 5, 50, 500):
      saver.save(session, str(tmp_path / "model.ckpt"), step)
  for step in (50, 500):
    (tmp_path / f"model.ckpt-{step}.data-00000-of-00001").write_bytes(b"x")
  (tmp_path / "model.ckpt-600_temp").mkdir()
  (tmp_path / "model.ckpt-600_temp" / "part-00000").write_bytes(b"half")
  assert checkpoints.prepare_to_resume(str(tmp_path)) == 5
  assert [step for step, _ in checkpoints.of_run(str(tmp_path))] == [4, 5]
  assert (tmp_path / "damaged-model.ckpt-500.index").exists()
  assert not (tmp_path / "model.ckpt-600_temp").exists()
  state = tf.train.get_checkpoint_state(str(tmp_path))
  kept = [os.path.basename(path) for path in state.all_model_checkpoint_paths]
  assert kept == ["model.ckpt-4", "model.ckpt-5"]
  assert os.path.basename(state.model_checkpoint_path) == "model.ckpt-5"


def test_a_checkpoint_too_large_for_the_memory_is_passed_over(
  tmp_path, monkeypatch, capsys
):
  """An index that is damaged may ask for any size, and Python's error has no text."""
  (tmp_path / "model.ckpt-5.index").touch()

  def read(prefix):
    raise MemoryError

  monkeypatch.setattr(checkpoints.tf.train, "NewCheckpointReader", read)
  with pytest.raises(UserError, match="every checkpoint in .* is damaged"):
    checkpoints.newest(str(tmp_path))
  assert "model.ckpt-5 is damaged (MemoryError)" in capsys.readouterr().err


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path):
  for step in (900, 1000, 50):
    (tmp_path / f"model.ckpt-{step}.index").touch()
  assert [step for step, _ in checkpoints.of_run(str(tmp_path))] == [50, 900, 1000]
