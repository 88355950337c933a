"""Logits of one's own in place of a classifier, from the file to the experiments."""

import csv
import io
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits.classifiers import given_logits
from compare_gan_logits.classifiers import logit_cache
from compare_gan_logits.errors import UserError


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def dataset(monkeypatch):
  """Made-up 32x32 grey images: 512 for training, 128 for validation."""
  monkeypatch.setattr(datasets.FLAGS["data_fake_dataset"], "value", True)
  return datasets.get_dataset("embedded")


def _logits(count, seed=0, width=4):
  return np.random.default_rng(seed).normal(size=[count, width]).astype(np.float32)


@pytest.fixture
def cache(dataset, tmp_path):
  folder = str(tmp_path / "cache")
  for seed, split in enumerate(("train", "validation")):
    logits = _logits(dataset.num_examples(split), seed)
    logit_cache.write_given(logits, "mine", None, dataset, split, folder, shards=3)
  return folder


def test_each_image_has_its_own_row_and_others_have_none(dataset, cache):
  classifier = classifiers.from_gin(cache_dir=cache, class_names=list("abcd"))
  assert (classifier.num_logits, classifier.class_names) == (4, list("abcd"))
  for seed, split in enumerate(("train", "validation")):
    images, _ = dataset.arrays(split)
    found = classifier.predict(images[::9])
    np.testing.assert_array_equal(found, _logits(len(images), seed)[::9])
    # Another way to divide by 255 may give a little less.
    np.testing.assert_array_equal(classifier.predict(images[::9] * 0.9999), found)
  with pytest.raises(UserError, match="needs the classifier itself$"):
    classifier.predict(1 - images[:1])
  with pytest.raises(UserError, match="has no gradient"), tf.Graph().as_default():
    x = tf.constant(images[:1])
    tf.gradients(classifier(x), x)


def test_validation_images_without_logits_are_told_how_to_get_them(dataset, cache):
  shutil.rmtree(os.path.join(cache, "validation"))
  images, _ = dataset.arrays("validation", limit=1)
  with pytest.raises(UserError, match="--split validation --logits FILE adds"):
    classifiers.from_gin(cache_dir=cache).predict(images)


def test_options_that_would_change_what_is_given_are_refused(cache):
  for option in ({"softmax": True}, {"drop_column": 0}, {"pool": 1}, {"output": "x"}):
    with pytest.raises(UserError, match="are given: leave it out"):
      classifiers.from_gin(cache_dir=cache, **option)


def test_training_reads_them_by_id(dataset, cache):
  classifier = classifiers.from_gin(cache_dir=cache)
  cached = logit_cache.open(cache, classifier, dataset, "train")
  np.testing.assert_array_equal(np.asarray(cached), _logits(512))


def test_half_precision_keeps_three_digits(dataset, tmp_path):
  folder = str(tmp_path)
  logits = _logits(512)
  logit_cache.write_given(logits, "mine", None, dataset, "train", folder, half=True)
  cached = logit_cache.open(
    folder, classifiers.from_gin(cache_dir=folder), dataset, "train"
  )
  np.testing.assert_array_equal(cached[:], logits.astype(np.float16))


def test_another_number_of_class_names_is_refused(dataset, tmp_path):
  for names in ("abc", "abcde"):
    with pytest.raises(UserError, match=f"has {len(names)} names for 4 logits"):
      logit_cache.write_given(
        _logits(512), "mine", list(names), dataset, "train", str(tmp_path)
      )


def test_a_description_brings_them_back(cache, tmp_path):
  classifier = classifiers.from_gin(cache_dir=cache, name="of last year")
  description = classifier.describe(str(tmp_path / "module"))
  assert description["relative"] == "logits:../cache"
  os.rename(tmp_path / "cache", tmp_path / "kept")
  with pytest.raises(UserError, match="--classifier names it"):
    classifiers.from_description(description, str(tmp_path / "module"))
  os.rename(tmp_path / "kept", tmp_path / "cache")
  again = classifiers.from_description(description, str(tmp_path / "module"))
  assert (again.digest, again.spec.name) == (classifier.digest, "of last year")


def test_a_cache_of_a_classifier_needs_its_classifier(dataset, tmp_path):
  classifier = classifiers.load("embedded_standard")
  logit_cache.write(classifier, dataset, "train", str(tmp_path), log=lambda line: None)
  with pytest.raises(UserError, match="made with the classifier embedded_standard"):
    classifiers.from_gin(cache_dir=str(tmp_path))


# The file -------------------------------------------------------------------------

NAMES = ["a/1.png", "a/2.png", "b/1.png"]


def _write(path, logits, names=None):
  if path.endswith(".npy"):
    np.save(path, logits)
  elif path.endswith(".npz"):
    np.savez(path, logits=logits, **({} if names is None else {"names": names}))
  else:
    with open(path, "w", newline="", encoding="utf-8") as f:
      writer = csv.writer(f)
      writer.writerow(["file", "x", "y"])
      writer.writerows([name, *row] for name, row in zip(names, logits.tolist()))


@pytest.mark.parametrize("extension", ["npz", "csv"])
def test_names_say_which_row_is_whose(tmp_path, extension):
  path = str(tmp_path / f"z.{extension}")
  order = [2, 0, 1]
  _write(path, _logits(3, width=2)[order], [NAMES[i] for i in order])
  np.testing.assert_allclose(given_logits.read(path, NAMES, 3), _logits(3, width=2))
  _write(path, _logits(3, width=2)[order], ["2", "0", "1"])  # ids
  np.testing.assert_allclose(given_logits.read(path, None, 3), _logits(3, width=2))


def test_a_table_may_begin_with_a_byte_order_mark(tmp_path):
  path = tmp_path / "z.csv"
  path.write_text("a/1.png,1,2\na/2.png,3,4\nb/1.png,5,6\n", encoding="utf-8-sig")
  found = given_logits.read(str(path), NAMES, 3)
  np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize(
  ("name", "logits", "names", "message"),
  [
    ("z.npy", np.zeros([4, 2]), None, "4 rows, and the split 3"),
    ("z.npy", np.tile([0.0, 1.0], [3, 1]), None, "the same logits"),
    ("z.npy", np.zeros([3]), None, r"not numbers \[images, logits\]"),
    ("z.npy", np.array([[0, 1], [np.nan, 1], [0, 0]]), None, "not finite in row 1"),
    ("z.npy", np.array(["a"]), None, "not numbers"),
    ("z.csv", np.zeros([3, 2]), ["a/1.png", "a/2.png", "a/2.png"], "two rows for a/2"),
    ("z.csv", np.zeros([2, 2]), ["a/1.png", "b/1.png"], "no row for a/2.png"),
    ("z.csv", np.zeros([3, 2]), ["x", "y", "z"], "none of which the data set has"),
    ("z.txt", np.zeros([3, 2]), ["x", "y", "z"], "not a file of logits"),
  ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, name, logits, names, message):
  path = str(tmp_path / name)
  _write(path, logits, names)
  with pytest.raises(UserError, match=message):
    given_logits.read(path, NAMES, 3)


def test_a_compressed_file_that_is_damaged_is_told(tmp_path):
  path = tmp_path / "z.npz"
  np.savez_compressed(path, logits=_logits(3, width=2))
  content = bytearray(path.read_bytes())
  name, extra = struct.unpack("<HH", content[26:30])  # lengths, in the member's header
  content[30 + name + extra] = 0xFF  # no kind of block of a compressed stream
  path.write_bytes(content)
  with pytest.raises(UserError, match="holds no logits .*; write it again"):
    given_logits.read(str(path), None, 3)


# The command ----------------------------------------------------------------------


def _cache_logits(*arguments):
  return subprocess.run(
    [
      sys.executable,
      os.path.join(ROOT, "tools", "cache_logits.py"),
      "--data_fake_dataset",
      "--dataset=embedded",
      *arguments,
    ],
    capture_output=True,
    text=True,
    check=True,
  ).stdout


@pytest.mark.long
def test_the_command_lists_and_takes(dataset, tmp_path):
  listed = _cache_logits("--list", "--split=validation")
  rows = list(csv.DictReader(io.StringIO(listed)))
  _, labels = dataset.arrays("validation")
  assert [int(row["label"]) for row in rows] == labels.tolist()
  assert rows[1]["class"] == "Trouser"
  path, folder = str(tmp_path / "own.npy"), str(tmp_path / "cache")
  np.save(path, _logits(512))
  _cache_logits(f"--logits={path}", f"--output={folder}")
  classifier = classifiers.from_gin(cache_dir=folder)
  assert classifier.spec.name == "own"
  np.testing.assert_array_equal(
    classifier.predict(dataset.arrays("train")[0][:5]), _logits(512)[:5]
  )
