"""Image sets: what they hold, their order, and what they refuse."""

import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds
from absl import flags
from PIL import Image

import compare_gan_logits
from compare_gan_logits import datasets
from compare_gan_logits import images as image_lib
from compare_gan_logits.datasets import random_access
from compare_gan_logits.errors import UserError


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["tests"])
  with_defaults = {"tfds_data_dir": None, "data_fake_dataset": False}
  yield
  for name, value in with_defaults.items():
    setattr(flags.FLAGS, name, value)


def take(dataset, batches):
  """The first batches of a tf.data.Dataset made by `dataset()`, joined."""
  with tf.Graph().as_default(), tf.Session() as session:
    element = dataset().make_one_shot_iterator().get_next()
    values = [session.run(element) for _ in range(batches)]
  return {key: np.concatenate([v[key] for v in values]) for key in values[0]}


# The embedded set ------------------------------------------------------------


def test_embedded_set():
  dataset = datasets.get_dataset("embedded")
  assert (dataset.num_examples("train"), dataset.num_examples("test")) == (12000, 2000)
  images, labels = dataset.arrays("validation")
  assert images.shape == (2000, 32, 32, 1) and images.dtype == np.float32
  assert images.min() == 0 and images.max() == 1
  np.testing.assert_array_equal(np.bincount(labels), [200] * 10)
  border = np.ones([32, 32], bool)
  border[2:30, 2:30] = False
  assert not images[:, border].any()
  # The first test image of Fashion-MNIST, as published.
  digest = hashlib.sha256((images[0, 2:30, 2:30] * 255).round().astype("u1").tobytes())
  assert digest.hexdigest()[:8] == "ffc7351e"
  folder = os.path.join(os.path.dirname(compare_gan_logits.__file__), "data")
  with open(os.path.join(folder, "FASHION_MNIST_LICENSE"), encoding="utf-8") as f:
    assert "MIT" in f.read()


def test_load_is_in_file_order_and_agrees_with_arrays():
  dataset = datasets.get_dataset("embedded")
  loaded = take(lambda: dataset.load("validation").batch(70), 2)
  images, labels = dataset.arrays("validation", limit=140)
  np.testing.assert_array_equal(loaded["image"], images)
  np.testing.assert_array_equal(loaded["label"], labels)
  np.testing.assert_array_equal(loaded["id"], np.arange(140))
  some, _ = dataset.arrays("validation", indices=[5, 3])
  np.testing.assert_array_equal(some, images[[5, 3]])


# The order of training -------------------------------------------------------


def ids(batches, **kwargs):
  dataset = datasets.get_dataset("embedded", seed=kwargs.pop("seed", 1))
  return take(lambda: dataset.train(500, **kwargs), batches)["id"]


def test_every_epoch_is_a_new_permutation():
  two_epochs = ids(48)
  first, second = two_epochs[:12000], two_epochs[12000:]
  np.testing.assert_array_equal(np.sort(first), np.arange(12000))
  np.testing.assert_array_equal(np.sort(second), np.arange(12000))
  assert (first != second).mean() > 0.99
  assert (ids(1) != ids(1, seed=2)).mean() > 0.99


def test_starting_later_goes_on_where_it_stopped():
  whole = ids(26)
  np.testing.assert_array_equal(ids(2, start=11800), whole[11800:12800])


def test_shards_are_disjoint_and_complete():
  parts = [ids(6, shard=shard, num_shards=4) for shard in range(4)]
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(12000))


def test_logits_are_joined_by_id():
  logits = np.arange(24000, dtype=np.float32).reshape(12000, 2)
  dataset = datasets.get_dataset("embedded")
  batch = take(lambda: dataset.train(100, with_logits=logits), 2)
  np.testing.assert_array_equal(batch["logits"], logits[batch["id"]])
  images, _ = dataset.arrays("train", indices=batch["id"])
  np.testing.assert_array_equal(batch["image"], images)


# Folders and tars ------------------------------------------------------------


def write_folder(root, sizes=((40, 20), (20, 20)), mode="RGB", extension="png"):
  rng = np.random.default_rng(0)
  for split in ("train", "validation"):
    for name in ("b", "a"):
      folder = root / split / name
      folder.mkdir(parents=True)
      for i, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 256, [height, width, 3]).astype(np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{i}.{extension}")
  return f"{root}@16"


def test_folder_images_are_cut_to_their_square_and_resized(tmp_path):
  dataset = datasets.get_dataset(write_folder(tmp_path), eval_crop_method="none")
  assert dataset.class_names == ["a", "b"] and dataset.num_examples("train") == 4
  images, labels = dataset.arrays("train")
  np.testing.assert_array_equal(labels, [0, 0, 1, 1])
  with Image.open(tmp_path / "train" / "a" / "0.png") as image:
    expected = image.crop([10, 0, 30, 20]).resize([16, 16], Image.Resampling.BICUBIC)
  np.testing.assert_array_equal(images[0], np.asarray(expected, np.float32) / 255)
  images, _ = dataset.arrays("validation", limit=1)
  with Image.open(tmp_path / "validation" / "a" / "0.png") as image:
    expected = image_lib.stretch(np.asarray(image), 16)
  np.testing.assert_array_equal(images[0], expected.astype(np.float32) / 255)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("colors", [1, 3])
def test_any_kind_of_image_is_read(tmp_path, mode, colors):
  extension = "tif" if mode == "CMYK" else "png"
  name = write_folder(tmp_path, mode=mode, extension=extension)
  images, _ = datasets.get_dataset(name, colors=colors).arrays("train")
  assert images.shape == (4, 16, 16, colors) and images.std() > 0.01


def test_tars_hold_what_folders_hold(tmp_path):
  folder = datasets.get_dataset(write_folder(tmp_path / "folder"))
  (tmp_path / "tars").mkdir()
  for number, split in enumerate(("train", "validation")):
    with tarfile.open(tmp_path / "tars" / f"{number}.tar", "w") as tar:
      tar.add(tmp_path / "folder" / split, split)
  tars = datasets.get_dataset(f"folder:{tmp_path}/tars@16")
  for split in ("train", "validation"):
    for a, b in zip(folder.arrays(split), tars.arrays(split)):
      np.testing.assert_array_equal(a, b)


def test_class_table_gives_names_and_imagenet_indices(tmp_path):
  name = write_folder(tmp_path)
  (tmp_path / "classes.tsv").write_text(
    "wnid\timagenet_index\tname\nb\t25\tsalamander, newt\na\t1\tgoldfish\n"
  )
  dataset = datasets.get_dataset(name)
  assert dataset.class_names == ["goldfish", "salamander"]
  np.testing.assert_array_equal(dataset.imagenet_indices, [1, 25])


def test_a_class_table_may_have_a_byte_order_mark_and_decomposed_letters(tmp_path):
  name = write_folder(tmp_path)
  for split in ("train", "validation"):
    (tmp_path / split / "a").rename(tmp_path / split / "\u00e4")
  (tmp_path / "classes.tsv").write_text(
    "wnid\timagenet_index\tname\nb\t25\tnewt\na\u0308\t1\tgoldfish\n",
    encoding="utf-8-sig",
  )
  dataset = datasets.get_dataset(name)
  assert dict(zip(dataset.class_names, dataset.imagenet_indices)) == {
    "newt": 25,
    "goldfish": 1,
  }


def test_fingerprint_changes_with_the_data(tmp_path):
  name = write_folder(tmp_path)
  before = datasets.get_dataset(name).fingerprint("train")
  assert datasets.get_dataset(name).fingerprint("train") == before
  os.remove(tmp_path / "train" / "a" / "1.png")
  assert datasets.get_dataset(name).fingerprint("train") != before


def test_a_picture_that_breaks_is_named_and_replaced(tmp_path, capsys):
  dataset = datasets.get_dataset(write_folder(tmp_path))
  whole, labels = dataset.arrays("train")
  (tmp_path / "train" / "a" / "1.png").write_bytes(b"broken since then")
  images, _ = dataset.arrays("train")
  assert "train/a/1.png cannot be read" in capsys.readouterr().err
  np.testing.assert_array_equal(images, whole[[0, 2, 2, 3]])
  (tmp_path / "train" / "b" / "0.png").write_bytes(b"broken as well")
  with pytest.raises(UserError, match="train/b/0.png"):
    dataset.arrays("train")


def test_loading_keeps_the_ids_of_pictures_that_were_replaced(tmp_path):
  dataset = datasets.get_dataset(write_folder(tmp_path))
  (tmp_path / "train" / "a" / "1.png").write_bytes(b"broken since then")
  loaded = take(lambda: dataset.load("train").batch(4), 1)
  np.testing.assert_array_equal(loaded["id"], np.arange(4))
  np.testing.assert_array_equal(loaded["label"], [0, 1, 1, 1])
  np.testing.assert_array_equal(loaded["image"][1], loaded["image"][2])


def test_the_crop_in_the_place_of_a_broken_one_has_an_id_and_a_label_of_its_own(
  tmp_path,
):
  dataset = datasets.get_dataset(
    write_folder(tmp_path), crop_method="random", flip=True, fixed_crops=3
  )
  assert dataset.num_examples("train") == 12 and dataset.names("train") is None
  assert dataset.num_examples("validation") == 4
  assert dataset.names("validation") == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
  whole, labels = dataset.arrays("train")
  np.testing.assert_array_equal(labels, np.repeat([0, 0, 1, 1], 3))
  (tmp_path / "train" / "a" / "1.png").write_bytes(b"broken since then")
  batch = take(lambda: dataset.train(24), 1)
  np.testing.assert_array_equal(
    np.bincount(batch["id"]), 2 * np.repeat([1, 0, 2, 1], 3)
  )
  np.testing.assert_array_equal(batch["label"], labels[batch["id"]])
  np.testing.assert_array_equal(batch["image"], whole[batch["id"]])


@pytest.mark.parametrize(
  "kind, missing",
  [("PNG", 500), ("JPEG", 500), ("GIF", 500), ("WEBP", 500), ("WEBP", 5)],
)
def test_a_picture_that_is_cut_off_is_left_out(tmp_path, capsys, kind, missing):
  name = write_folder(tmp_path)
  path = tmp_path / "train" / "a" / "1.png"
  noise = np.random.default_rng(0).integers(0, 256, [40, 40, 3], np.uint8)
  Image.fromarray(noise).save(path, format=kind)
  assert datasets.get_dataset(name).num_examples("train") == 4
  path.write_bytes(path.read_bytes()[:-missing])
  dataset = datasets.get_dataset(name)
  assert "left out: train/a/1.png cannot be read" in capsys.readouterr().err
  assert dataset.num_examples("train") == 3


def test_the_fingerprint_of_arrays_is_that_of_images_and_labels():
  images = np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1)
  parts = [(images, [0, 1, 0, 1]), (images, [0, 1, 1, 0]), (images + 1, [0, 1, 0, 1])]
  assert len({random_access.ArraySource(*part).fingerprint() for part in parts}) == 3


def remove(path):
  for root, folders, names in os.walk(path, topdown=False):
    for name in names:
      os.remove(os.path.join(root, name))
    for name in folders:
      os.rmdir(os.path.join(root, name))
  os.rmdir(path)


@pytest.mark.parametrize(
  "damage, part",
  [
    (
      lambda root: (remove(root / "validation"), remove(root / "train")),
      "no images in",
    ),
    (lambda root: remove(root / "train" / "a"), "class a has validation images"),
    (lambda root: (root / "x.tar").write_text("no tar"), "not a readable tar"),
  ],
)
def test_a_wrong_folder_is_explained(tmp_path, damage, part):
  name = write_folder(tmp_path)
  damage(tmp_path)
  with pytest.raises(UserError, match=part):
    datasets.get_dataset(name)


@pytest.mark.parametrize(
  "name, part",
  [
    ("embeded", "did you mean 'embedded'"),
    ("/nowhere@64", "/nowhere does not exist"),
    ("folder:/tmp", "append it: /tmp@64"),
  ],
)
def test_wrong_names_are_explained(name, part):
  with pytest.raises(UserError, match=part):
    datasets.get_dataset(name)


def test_a_set_that_is_not_prepared_is_explained(tmp_path):
  flags.FLAGS.tfds_data_dir = str(tmp_path)
  dataset = datasets.get_dataset("cifar10")
  for use in (dataset.check, lambda: dataset.num_examples("train")):
    with pytest.raises(UserError, match="is not prepared") as raised:
      use()
    assert f"tfds.load('cifar10', data_dir='{tmp_path}')\"" in str(raised.value)


# Any image -------------------------------------------------------------------


def encoded(image, extension="PNG", **kwargs):
  stream = io.BytesIO()
  image.save(stream, extension, **kwargs)
  return stream.getvalue()


def test_sixteen_bits_transparency_orientation_and_animation():
  deep = Image.fromarray(np.full([4, 4], 32768, np.uint16))
  assert image_lib.read_image(encoded(deep), 4, 1).mean() == pytest.approx(128, abs=1)
  clear = Image.new("RGBA", [4, 4], (0, 0, 0, 0))
  assert (image_lib.read_image(encoded(clear), 4, 3) == 255).all()
  halves = Image.fromarray(np.repeat(np.uint8([[0, 255]]), 4, 0).repeat(2, 1))
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned by 90 degrees
  turned = image_lib.read_image(encoded(halves, "JPEG", exif=exif, quality=100), 4, 1)
  assert turned[0].mean() < 50 and turned[3].mean() > 200
  frames = [Image.new("L", [4, 4], value) for value in (200, 10)]
  gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
  assert image_lib.read_image(gif, 4, 1).mean() == pytest.approx(200, abs=2)
  assert image_lib.read_image(encoded(Image.new("L", [1, 1], 7)), 8, 3).mean() == 7
  palette = encoded(halves.convert("P"), transparency=0)  # 0 is black
  assert (image_lib.read_image(palette, 4, 3) == 255).all()


def test_a_picture_too_large_is_refused_before_it_is_decoded(monkeypatch):
  monkeypatch.setattr(image_lib, "MAX_PIXELS", 100)
  with pytest.raises(UserError, match="big.png has more than"):
    image_lib.read_image(encoded(Image.new("L", [20, 20])), 8, 1, "big.png")


# TensorFlow Datasets, as small fakes under the real names ---------------------


def prepare(name, data_dir, monkeypatch, counts, shape, num_classes, files=None):
  builder_class = tfds.builder_cls(name)
  rng = np.random.default_rng(0)
  examples = {
    split: [
      (rng.integers(0, 256, shape).astype(np.uint8), i % num_classes)
      for i in range(count)
    ]
    for split, count in counts.items()
  }

  def generate(split):
    for i, (image, label) in enumerate(examples[split]):
      example = {"image": image, "label": label}
      if name == "cifar10":
        example["id"] = f"{split}_{i}"
      if name == "imagenet2012":
        example["file_name"] = f"{i}.jpg"
      yield f"{i:04}", example

  monkeypatch.setattr(
    builder_class,
    "_split_generators",
    lambda self, dl: {split: generate(split) for split in counts},
  )
  builder = builder_class(data_dir=data_dir)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(num_shards=files)
  )
  flags.FLAGS.tfds_data_dir = str(data_dir)
  return examples


def test_cifar10_from_tfds(tmp_path, monkeypatch):
  examples = prepare(
    "cifar10", tmp_path, monkeypatch, {"train": 20, "test": 8}, [32, 32, 3], 10
  )
  dataset = datasets.get_dataset("cifar10")
  images, _ = dataset.arrays("validation")
  expected = {image.tobytes() for image, _ in examples["test"]}
  assert {(i * 255).round().astype("u1").tobytes() for i in images} == expected
  assert dataset.num_examples("train") == 20


def test_imagenet_from_tfds_streams_in_a_seeded_order(tmp_path, monkeypatch):
  prepare(
    "imagenet2012",
    tmp_path,
    monkeypatch,
    {"train": 30, "validation": 6},
    [80, 100, 3],
    1000,
  )
  dataset = datasets.get_dataset("imagenet_64", crop_method="middle")
  assert dataset.num_classes == 1000 and dataset.num_examples("train") == 30
  loaded = take(lambda: dataset.load("train").batch(30), 1)
  np.testing.assert_array_equal(loaded["id"], np.arange(30))
  assert loaded["image"].shape == (30, 64, 64, 3) and loaded["image"].max() <= 1
  whole = take(lambda: dataset.train(10), 6)
  np.testing.assert_array_equal(np.sort(whole["id"][:30]), np.arange(30))
  assert (whole["id"][:30] != whole["id"][30:]).any()
  later = take(lambda: dataset.train(10, start=40), 2)
  np.testing.assert_array_equal(later["id"], whole["id"][40:])
  np.testing.assert_array_equal(later["image"], loaded["image"][later["id"]])
  logits = np.arange(30, dtype=np.float32)[:, np.newaxis]
  joined = take(lambda: dataset.train(10, with_logits=logits), 2)
  np.testing.assert_array_equal(joined["logits"][:, 0], joined["id"])


@pytest.mark.parametrize("files, workers", [(4, 2), (4, 3), (2, 3)])
def test_workers_read_an_epoch_of_imagenet_once(tmp_path, monkeypatch, files, workers):
  prepare(
    "imagenet2012",
    tmp_path,
    monkeypatch,
    {"train": 24, "validation": 4},
    [8, 8, 3],
    1000,
    files,
  )
  dataset = datasets.get_dataset("imagenet_64")
  assert len(dataset._files("train")[0]) == files

  def ids_of(shard, number, start=0):
    return take(
      lambda: dataset.train(1, start=start, shard=shard, num_shards=workers), number
    )["id"]

  epochs = [], []
  for shard in range(workers):
    # By files where there are enough of them: 6 images in each of 4.
    own = 6 * len(range(shard, 4, workers)) if files == 4 else 8
    both = ids_of(shard, 2 * own)
    assert (both[:own] != both[own:]).any()
    np.testing.assert_array_equal(ids_of(shard, own - 2, own + 2), both[own + 2 :])
    epochs[0].extend(both[:own])
    epochs[1].extend(both[own:])
  for epoch in epochs:
    np.testing.assert_array_equal(np.sort(epoch), np.arange(24))


# Made-up images --------------------------------------------------------------


@pytest.mark.parametrize(
  "name, shape",
  [("fake:3@64", (64, 64, 3)), ("embedded", (32, 32, 1)), ("/any@16", (16, 16, 3))],
)
def test_made_up_images_have_the_real_shape(name, shape):
  flags.FLAGS.data_fake_dataset = True
  dataset = datasets.get_dataset(name)
  images, labels = dataset.arrays("train")
  assert images.shape[1:] == shape and images.std() > 0.05
  assert labels.max() < dataset.num_classes
