"""The logit cache: equal to the classifier, resumable, and refused when it must be."""

import copy
import dataclasses
import glob
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits.classifiers import logit_cache
from compare_gan_logits.classifiers import networks
from compare_gan_logits.errors import UserError


@pytest.fixture
def dataset(monkeypatch):
  """Made-up 32x32 grey images: 128 for validation."""
  monkeypatch.setattr(datasets.FLAGS["data_fake_dataset"], "value", True)
  return datasets.get_dataset("embedded")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
  """A small network with random weights."""
  folder = tmp_path_factory.mktemp("classifier")
  build = lambda images: networks.convnet(images, 7, (4,), 8)  # noqa: E731
  checkpoint = str(folder / "model")
  with tf.Graph().as_default(), tf.Session() as session:
    tf.set_random_seed(1)
    with tf.variable_scope(networks.SCOPE):
      build(tf.zeros([1, 32, 32, 1]))
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, checkpoint)
  networks.export(build, [32, 32, 1], checkpoint, str(folder / "module"))
  return classifiers.load(str(folder / "module"))


@pytest.fixture
def logits(classifier, dataset):
  return classifier.predict(dataset.arrays("validation")[0])


def test_equals_the_classifier(classifier, dataset, logits, tmp_path):
  logit_cache.write(
    classifier, dataset, "validation", str(tmp_path), shards=5, batch_size=48
  )
  cached = logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  assert cached.shape == logits.shape == (128, 7)
  np.testing.assert_allclose(np.asarray(cached), logits, atol=1e-5)
  # As NumPy 2 calls it.
  again = cached.__array__(np.float64, copy=True)
  np.testing.assert_array_equal(again, cached[:])
  with pytest.raises(ValueError, match="into a new array"):
    cached.__array__(copy=False)
  ids = np.array([127, 3, 3, 50, 26])
  np.testing.assert_allclose(cached[ids], logits[ids], atol=1e-5)
  np.testing.assert_allclose(cached[100], logits[100], atol=1e-5)
  np.testing.assert_allclose(cached[5:60:7], logits[5:60:7], atol=1e-5)
  with pytest.raises(IndexError, match="ids are 0 ... 127"):
    cached[128]
  records = np.load(sorted(glob.glob(str(tmp_path / "validation" / "*.npy")))[1])
  _, labels = dataset.arrays("validation")
  np.testing.assert_array_equal(records["label"], labels[records["id"]])


def test_logits_at_hand_are_kept_as_they_are(classifier, dataset, tmp_path):
  made_up = np.random.default_rng(0).normal(size=[128, 7]).astype(np.float32)
  logit_cache.write(
    classifier, dataset, "validation", str(tmp_path), shards=5, logits=made_up
  )
  cached = logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  np.testing.assert_array_equal(cached[:], made_up)
  with pytest.raises(UserError, match=r"shape \(127, 7\), not \(128, 7\)"):
    logit_cache.write(
      classifier, dataset, "validation", str(tmp_path), shards=5, logits=made_up[1:]
    )


def test_a_classifier_that_is_called_otherwise_now_keeps_its_cache(
  classifier, dataset, tmp_path
):
  logit_cache.write(classifier, dataset, "validation", str(tmp_path))
  other = copy.copy(classifier)
  other.spec = dataclasses.replace(classifier.spec, name="birds of Ada")
  assert logit_cache.open(str(tmp_path), other, dataset, "validation").shape == (128, 7)


def test_half_precision(classifier, dataset, logits, tmp_path):
  logit_cache.write(classifier, dataset, "validation", str(tmp_path), half=True)
  cached = logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  assert cached[:].dtype == np.float32
  np.testing.assert_array_equal(cached[:], cached[:].astype(np.float16))
  np.testing.assert_allclose(cached[:], logits, rtol=2e-3, atol=1e-3)


def test_half_precision_refuses_what_it_cannot_hold(classifier, dataset, tmp_path):
  large = np.full([128, 7], 7e4, np.float32)
  for half in (True, False):
    values = large if half else large * np.inf
    with pytest.raises(UserError, match="--half" if half else "check the classifier"):
      logit_cache.write(
        classifier, dataset, "validation", str(tmp_path / str(half)), half=half,
        logits=values,
      )  # fmt: skip
  folder = str(tmp_path / "False")
  logit_cache.write(classifier, dataset, "validation", folder, logits=large)


def test_training_reads_image_and_logits_together(classifier, dataset, tmp_path):
  logit_cache.write(classifier, dataset, "train", str(tmp_path), shards=3)
  cached = logit_cache.open(str(tmp_path), classifier, dataset, "train")
  with tf.Graph().as_default(), tf.Session() as session:
    batches = dataset.train(16, start=500, with_logits=cached)
    batch = session.run(tf.data.make_one_shot_iterator(batches).get_next())
  np.testing.assert_allclose(
    batch["logits"], classifier.predict(batch["image"]), atol=1e-5
  )


def test_goes_on_where_it_was_killed(classifier, dataset, logits, tmp_path):
  def killed(line):
    if line.startswith("shard 2"):
      raise KeyboardInterrupt

  folder = tmp_path / "validation"
  with pytest.raises(KeyboardInterrupt):
    logit_cache.write(classifier, dataset, "validation", str(tmp_path), 4, log=killed)
  with pytest.raises(UserError, match="2 of 4 shards"):
    logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  times = {path: os.stat(path).st_mtime_ns for path in glob.glob(str(folder / "*.npy"))}
  assert len(times) == 2
  lines = []
  logit_cache.write(
    classifier, dataset, "validation", str(tmp_path), 4, log=lines.append
  )
  assert [line.split(":")[0] for line in lines[1:]] == ["shard 3 of 4", "shard 4 of 4"]
  assert times == {path: os.stat(path).st_mtime_ns for path in times}
  cached = logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  np.testing.assert_allclose(cached[:], logits, atol=1e-5)


def test_workers_make_a_cache_together(
  classifier, dataset, logits, tmp_path, monkeypatch
):
  decoded = []
  source = dataset.source("validation")
  read = source.images
  monkeypatch.setattr(source, "images", lambda ids: decoded.extend(ids) or read(ids))
  lines = []
  for worker in (2, 0, 1):
    logit_cache.write(
      classifier,
      dataset,
      "validation",
      str(tmp_path),
      5,
      log=lines.append,
      worker=worker,
      num_workers=3,
    )
  made = sorted(line.split(":")[0] for line in lines if line.startswith("shard"))
  assert made == [f"shard {number} of 5" for number in range(1, 6)]
  assert sorted(decoded) == list(range(128))
  cached = logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  np.testing.assert_allclose(cached[:], logits, atol=1e-5)
  with pytest.raises(UserError, match="worker 3 of 3: workers are 0 ... 2"):
    logit_cache.write(
      classifier, dataset, "validation", str(tmp_path), 5, worker=3, num_workers=3
    )
  with pytest.raises(UserError, match=r"no more workers than shards \(5\)"):
    logit_cache.write(
      classifier, dataset, "validation", str(tmp_path), 5, num_workers=6
    )


@pytest.mark.long
def test_two_processes_make_a_cache_at_once(server, tmp_path):
  config = tiny.write_training(tmp_path)

  def start(output, *more):
    return server.start(
      tmp_path / "logs",
      "cache_logits",
      "--gin_config",
      config,
      "--split",
      "validation",
      "--shards",
      "4",
      "--output",
      tmp_path / output,
      *more,
    )

  workers = [
    start("both", "--worker", worker, "--num_workers", 2) for worker in range(2)
  ] + [start("one")]
  for result in [worker.wait() for worker in workers]:
    assert result.returncode == 0, result.stderr
  for path in (tmp_path / "one" / "validation").iterdir():
    if not path.name.startswith("."):
      other = tmp_path / "both" / "validation" / path.name
      assert path.read_bytes() == other.read_bytes()


def test_damage_is_found_and_mended(classifier, dataset, logits, tmp_path):
  logit_cache.write(classifier, dataset, "validation", str(tmp_path), 2)
  shard = tmp_path / "validation" / "logits-00001-of-00002.npy"
  whole = shard.read_bytes()
  shard.write_bytes(whole[:-9])
  with pytest.raises(UserError, match="logits-00001-of-00002.npy is damaged"):
    logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # one bit
  lines = []
  logit_cache.write(
    classifier, dataset, "validation", str(tmp_path), 2, log=lines.append
  )
  assert "1 of 2 shards to make" in lines[0]
  cached = logit_cache.open(str(tmp_path), classifier, dataset, "validation")
  np.testing.assert_allclose(cached[:], logits, atol=1e-5)


def test_a_shard_that_is_gone_is_told_and_made_again(classifier, dataset, tmp_path):
  made_up = np.random.default_rng(0).normal(size=[128, 7]).astype(np.float32)

  def write(**options):
    logit_cache.write(
      classifier, dataset, "validation", str(tmp_path), 2, logits=made_up, **options
    )

  write()
  shard = tmp_path / "validation" / "logits-00000-of-00002.npy"
  for gone, message in (
    (shard, "logits-00000-of-00002.npy is damaged"),
    (tmp_path / "validation" / f"{shard.name}.sha256", "has 1 of 2 shards"),
  ):
    gone.unlink()
    with pytest.raises(UserError, match=message):
      logit_cache.open(str(tmp_path), classifier, dataset, "validation")
    lines = []
    write(log=lines.append)
    assert "1 of 2 shards to make" in lines[0]
    cached = logit_cache.open(str(tmp_path), classifier, dataset, "validation")
    np.testing.assert_array_equal(cached[:], made_up)


@pytest.mark.parametrize(
  "lost", ["classifier", "shards", "dtype", "num_logits", "num_examples"]
)
def test_a_manifest_without_an_entry_is_told(lost, classifier, dataset, tmp_path):
  folder = str(tmp_path)
  logit_cache.write(classifier, dataset, "validation", folder, 2, logits=np.eye(128, 7))
  path = tmp_path / "validation" / "manifest.json"
  manifest = json.loads(path.read_text())
  del manifest[lost]
  path.write_text(json.dumps(manifest))
  with pytest.raises(UserError, match="manifest.json is damaged"):
    logit_cache.open(folder, classifier, dataset, "validation")
  with pytest.raises(UserError, match="manifest.json is damaged"):
    logit_cache.manifest(folder, "validation")
  with pytest.raises(UserError, match="manifest.json is damaged"):
    logit_cache.write(classifier, dataset, "validation", folder)


def test_images_that_are_cropped_anew_have_no_cache(classifier, tmp_path):
  cropped = {"crop_method": "distorted", "examples": 4}
  varying = datasets.get_dataset("fake:3@16", **cropped)
  with pytest.raises(UserError, match="cropped anew.*bind dataset.fixed_crops"):
    logit_cache.write(classifier, varying, "train", str(tmp_path), logits=np.eye(4, 7))
  fixed = datasets.get_dataset("fake:3@16", fixed_crops=2, **cropped)
  logit_cache.write(classifier, fixed, "train", str(tmp_path), logits=np.eye(8, 7))


def test_a_cache_that_does_not_fit_is_refused(classifier, dataset, tmp_path):
  logit_cache.write(classifier, dataset, "validation", str(tmp_path), 2)
  other = classifiers.load(classifier.path, low=-1.0)
  with pytest.raises(UserError, match="made with classifier_digest"):
    logit_cache.open(str(tmp_path), other, dataset, "validation")
  with pytest.raises(UserError, match="made with shards 2, not 4"):
    logit_cache.write(classifier, dataset, "validation", str(tmp_path), 4)
  with pytest.raises(UserError, match="made of other images, with fingerprint"):
    logit_cache.open(
      str(tmp_path), classifier, datasets.get_dataset("embedded", seed=3), "validation"
    )
  with pytest.raises(UserError, match="no logit cache"):
    logit_cache.open(str(tmp_path), classifier, dataset, "train")
