"""Folders of pictures as they are found: layouts, names, litter, links and tars."""

import csv
import io
import json
import os
import re
import shutil
import tarfile
import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from compare_gan_logits import datasets
from compare_gan_logits import images as image_lib
from compare_gan_logits.datasets import layouts
from compare_gan_logits.datasets import pixel_cache
from compare_gan_logits.errors import UserError


RNG = np.random.default_rng(0)


def picture(kind="PNG"):
  stream = io.BytesIO()
  Image.fromarray(RNG.integers(0, 256, [8, 10, 3], np.uint8)).save(stream, kind)
  return stream.getvalue()


def write(path, data=None):
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, "wb") as f:
    f.write(picture() if data is None else data)


def write_set(root, splits=("train", "validation"), classes=("cat", "dog"), each=2):
  for split in splits:
    for name in classes:
      for i in range(each):
        write(os.path.join(root, split, name, f"{split}_{i}.png"))


def load(root, **kwargs):
  return datasets.get_dataset(f"{root}@8", **kwargs)


def sizes(dataset):
  return dataset.num_examples("train"), dataset.num_examples("validation")


def labels(dataset, split="validation"):
  return dataset.source(split).labels.tolist()


def pack(path, source, prefix="."):
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with tarfile.open(path, "w") as tar:
    tar.add(source, prefix)


def add(tar, name, data=b"", kind=tarfile.REGTYPE, link=""):
  member = tarfile.TarInfo(name)
  member.type, member.linkname, member.size = kind, link, len(data)
  tar.addfile(member, io.BytesIO(data))


# Layouts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
  "train, validation",
  [("train", "val"), ("Training", "valid"), ("TRAIN", "Validation"), ("train", "dev")],
)
def test_splits_have_their_usual_spellings(tmp_path, train, validation):
  write_set(tmp_path, (train, validation))
  assert sizes(load(tmp_path)) == (4, 4)


def test_val_and_test_are_not_merged(tmp_path, capsys):
  write_set(tmp_path, ("train", "val", "test"))
  dataset = load(tmp_path)
  assert sizes(dataset) == (4, 4)
  assert all("/val/" in f.path for f in dataset.layout.pictures["validation"])
  assert "test/ is not used" in capsys.readouterr().err


def test_test_alone_is_the_validation_split(tmp_path):
  write_set(tmp_path, ("train", "test"))
  dataset = load(tmp_path)
  assert sizes(dataset) == (4, 4) and "test/ is taken" in " ".join(dataset.notes)


def test_two_spellings_of_a_split_are_refused(tmp_path):
  write_set(tmp_path, ("train", "val", "validation"))
  with pytest.raises(UserError, match=r"has val/ and validation/"):
    load(tmp_path)


def test_validation_alone_serves_experiments(tmp_path):
  write_set(tmp_path, ("val",))
  dataset = load(tmp_path)
  assert dataset.num_examples("validation") == 4
  with pytest.raises(UserError, match="no pictures for the split train"):
    dataset.num_examples("train")


@pytest.mark.parametrize("splits", [("train",), ("",)])
def test_without_a_split_for_validation_a_tenth_of_each_class_is_held_out(
  tmp_path, splits
):
  write_set(tmp_path / "set", splits, each=16)
  dataset = load(tmp_path / "set")
  assert sizes(dataset) == (28, 4) and labels(dataset) == [0, 0, 1, 1]
  assert "by a hash of their names" in " ".join(dataset.notes)
  shutil.copytree(tmp_path / "set", tmp_path / "moved")
  for seed in (547, 1):  # The split does not depend on the order of training.
    again = load(tmp_path / "moved", seed=seed)
    assert again.layout.keys == dataset.layout.keys


def test_of_a_class_of_two_one_is_held_out_and_of_a_class_of_one_none(tmp_path):
  write_set(tmp_path, ("",))
  os.remove(tmp_path / "dog" / "_1.png")
  dataset = load(tmp_path)
  assert labels(dataset, "train") == [0, 1] and labels(dataset) == [0]


def test_pictures_alone_need_no_classes(tmp_path):
  for i in range(20):
    write(tmp_path / f"IMG_{i}.png")
  dataset = load(tmp_path)
  assert sizes(dataset) == (18, 2) and labels(dataset, "train") == [-1] * 18
  assert dataset.arrays("train")[0].shape == (18, 8, 8, 3)
  assert dataset.class_counts("train").sum() == 0
  with pytest.raises(UserError, match=r"18 images .* dataset\.labels"):
    dataset.check_labelled("train")


def test_tiny_imagenet_as_it_is_unzipped(tmp_path):
  wnids = "n01443537", "n01629819"
  notes = ""
  for i in range(4):
    write(tmp_path / "train" / wnids[i % 2] / "images" / f"{i}.JPEG")
    write(tmp_path / "val" / "images" / f"val_{i}.JPEG")
    notes += f"val_{i}.JPEG\t{wnids[i % 2]}\t0\t0\t9\t9\n"
  write(tmp_path / "val" / "val_annotations.txt", notes.encode())
  write(tmp_path / "train" / wnids[0] / "boxes.txt", b"0\t0\t9\t9\n")
  write(tmp_path / "test" / "images" / "test_0.JPEG")
  dataset = load(tmp_path)
  assert sizes(dataset) == (4, 4) and dataset.class_names == list(wnids)
  assert labels(dataset) == [0, 0, 1, 1]
  # Places in ImageNet's list, as published.
  np.testing.assert_array_equal(dataset.imagenet_indices, [1, 25])


def imagenet(root):
  for i, wnid in enumerate(("n01440764", "n01443537", "n01440764")):
    write(root / "train" / wnid / f"{wnid}_{i}.JPEG")
    write(root / "val" / f"ILSVRC2012_val_{i + 1:08d}.JPEG")


def test_imagenets_flat_validation_goes_without_labels(tmp_path):
  imagenet(tmp_path)
  dataset = load(tmp_path)
  assert labels(dataset) == [-1, -1, -1] and dataset.num_classes == 2
  assert "labels are not known" in " ".join(dataset.notes)


def test_imagenets_validation_by_kaggles_table(tmp_path):
  imagenet(tmp_path / "Data" / "CLS-LOC")
  rows = "ImageId,PredictionString\n" + "".join(
    f"ILSVRC2012_val_{i:08d},{wnid} 1 2 3 4 {wnid} 5 6 7 8\n"
    for i, wnid in ((3, "n01443537"), (1, "n01440764"), (2, "n01440764"))
  )
  write(tmp_path / "LOC_val_solution.csv", rows.encode())
  assert labels(load(tmp_path)) == [0, 0, 1]


def test_imagenets_validation_by_the_development_kit(tmp_path):
  scipy_io = pytest.importorskip("scipy.io")
  imagenet(tmp_path)
  synsets = np.array(
    [(1, "n01443537"), (2, "n01440764")],
    dtype=[("ILSVRC2012_ID", object), ("WNID", object)],
  )
  kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
  kit.mkdir(parents=True)
  scipy_io.savemat(kit / "meta.mat", {"synsets": synsets})
  write(kit / "ILSVRC2012_validation_ground_truth.txt", b"1\n2\n1\n")
  dataset = load(tmp_path)
  by_name = dict(zip(dataset.layout.keys["validation"], labels(dataset)))
  assert [by_name[f"ILSVRC2012_val_{i:08d}.JPEG"] for i in (1, 2, 3)] == [1, 0, 1]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_hugging_faces_metadata(tmp_path, form):
  for split in ("train", "test"):
    rows = []
    for i in range(4):
      write(tmp_path / split / "images" / f"{i}.png")
      name = "tulip" if i % 2 == (split == "train") else "rose"
      rows.append({"file_name": f"images/{i}.png", "label": name})
    text = io.StringIO()
    if form == "csv":
      writer = csv.DictWriter(text, ["file_name", "label"])
      writer.writeheader()
      writer.writerows(rows)
    else:
      text.write("".join(json.dumps(row) + "\n" for row in rows))
    name = f"metadata.{form}"
    write(
      tmp_path / split / (name.upper() if split == "test" else name),
      text.getvalue().encode(),
    )
  dataset = load(tmp_path)
  assert dataset.class_names == ["rose", "tulip"] and sizes(dataset) == (4, 4)
  order = [f"images/{i}.png" for i in (1, 3, 0, 2)]  # the roses of the test split
  assert dataset.names("validation") == order and labels(dataset) == [0, 0, 1, 1]
  order = order[2:] + order[:2]
  assert dataset.names("train") == order and labels(dataset, "train") == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["metadata.csv", "LOC_val_solution.csv"])
def test_a_table_that_cannot_be_read_is_named(tmp_path, name):
  write(tmp_path / "0.png")
  heads = {"metadata.csv": "file_name,label", "LOC_val_solution.csv": "ImageId,x"}
  too_long = "x" * (csv.field_size_limit() + 1)
  write(tmp_path / name, f"{heads[name]}\n{too_long},a\n".encode())
  with pytest.raises(UserError, match=f"{name} is no table .*; correct or remove it"):
    load(tmp_path)


def test_a_table_of_ones_own_names_the_classes(tmp_path):
  for split in ("train", "val"):
    for i in range(4):
      write(tmp_path / split / f"{split}{i}.png")
  table = tmp_path / "labels.csv"
  table.write_text("train0.png,b\ntrain1,a\nval/val0.png,a\nval1.png,b\ntrain2,a\n")
  dataset = load(tmp_path, labels=str(table))
  assert labels(dataset, "train") == [-1, 0, 0, 1]
  assert dataset.class_counts("train").tolist() == [2, 1]
  assert "does not name 1 of 4 pictures" in " ".join(dataset.notes)
  tabs = tmp_path / "labels.tsv"
  tabs.write_text(table.read_text().replace(",", "\t"))
  assert labels(load(tmp_path, labels="labels.tsv"), "train") == [-1, 0, 0, 1]
  with pytest.raises(UserError, match="no such file"):
    load(tmp_path, labels="gone.csv")


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
  write(tmp_path / "photos.tar.gz", b"\x1f\x8b")
  write(tmp_path / "notes.txt", b"text")
  with pytest.raises(UserError, match="compressed archives are not read; unpack"):
    load(tmp_path)


# Names ------------------------------------------------------------------------------


def test_classes_are_in_natural_order_unless_listed(tmp_path):
  write_set(tmp_path, classes=[str(i) for i in range(12)], each=1)
  dataset = load(tmp_path)
  assert dataset.class_names == [str(i) for i in range(12)]
  assert labels(dataset) == list(range(12))
  assert "2 before 10" in " ".join(dataset.notes)
  listed = [str(i) for i in (*range(5, 12), *range(5))]
  (tmp_path / "classes.txt").write_text("\n".join(listed) + "\n")
  assert load(tmp_path).class_names == listed
  (tmp_path / "classes.txt").write_text("0\n1\n")
  with pytest.raises(UserError, match="does not list class 2"):
    load(tmp_path)
  (tmp_path / "classes.txt").write_text("\n".join([*listed, "3"]))
  with pytest.raises(UserError, match="lists a class twice"):
    load(tmp_path)


def test_the_name_that_is_printed_is_one_that_gin_takes(tmp_path, monkeypatch, server):
  write_set(tmp_path / "set")
  monkeypatch.chdir(tmp_path)
  done = server.run(tmp_path / "streams", "data", "set", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  name = re.search("dataset.name = '(.*)'", done.stdout)[1]
  monkeypatch.chdir("/")
  assert datasets.get_dataset(name).num_examples("train")
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match="'./set@8'"):
    datasets.get_dataset("set@8")


def test_natural_order_is_total():
  for names in (["1", "01", "001"], ["01", "001", "1"]):
    assert sorted(names, key=layouts.natural) == ["001", "01", "1"]
  names = ["10", "2", "a10", "a2", "b", "", "2b", "é", "10²"]
  assert sorted(names, key=layouts.natural) == [
    "",
    "2",
    "2b",
    "10",
    "10²",
    "a2",
    "a10",
    "b",
    "é",
  ]


def test_composed_and_decomposed_names_are_one(tmp_path):
  name = "café"
  for split, form in (("train", "NFC"), ("validation", "NFD")):
    write_set(tmp_path, (split,), (unicodedata.normalize(form, name), "dog"))
  dataset = load(tmp_path)
  assert dataset.class_names == [name, "dog"] and sizes(dataset) == (4, 4)


def test_names_need_not_be_utf8(tmp_path):
  write_set(tmp_path)
  folder = os.fsencode(tmp_path / "train" / "cat")
  try:
    os.rename(
      os.path.join(folder, b"train_0.png"), os.path.join(folder, b"caf\xe9.png")
    )
  except OSError:
    pytest.skip("this file system takes UTF-8 only")
  dataset = load(tmp_path)
  assert dataset.arrays("train")[0].shape[0] == 4
  assert len(dataset.fingerprint("train")) == 16


def test_litter_is_no_picture_and_no_class(tmp_path):
  write_set(tmp_path)
  for name in (
    "train/cat/._train_0.png",
    "train/cat/Thumbs.db",
    "train/.ipynb_checkpoints/a.png",
    "train/__MACOSX/._a.png",
    "train/@eaDir/a.png",
    ".DS_Store",
  ):
    write(tmp_path / name)
  (tmp_path / "train" / "cat" / "holiday.jpg").mkdir()
  dataset = load(tmp_path)
  assert sizes(dataset) == (4, 4) and dataset.num_classes == 2
  assert not dataset.listing.left_out


def test_links_are_followed_and_loops_are_not(tmp_path):
  root = tmp_path / "set"
  write_set(root)
  write(tmp_path / "elsewhere" / "a.png")
  os.symlink(tmp_path / "elsewhere", root / "train" / "cat" / "more")
  os.link(root / "train" / "cat" / "train_0.png", root / "train" / "cat" / "hard.png")
  os.symlink(root, root / "train" / "dog" / "loop")
  os.symlink("/nowhere", root / "train" / "dog" / "gone.png")
  os.mkfifo(root / "train" / "dog" / "pipe.png")
  dataset = load(root)
  assert sizes(dataset) == (6, 4)
  assert set(dataset.listing.left_out) == {
    "links that lead back to a folder above them",
    "links to nothing",
    "pipes and devices, which are no files",
  }


# Tars -------------------------------------------------------------------------------


def test_a_tar_of_the_working_folder(tmp_path):
  write_set(tmp_path / "source")
  pack(tmp_path / "set" / "all.tar", tmp_path / "source")
  dataset, folder = load(tmp_path / "set"), load(tmp_path / "source")
  for split in ("train", "validation"):
    np.testing.assert_array_equal(dataset.arrays(split)[0], folder.arrays(split)[0])
    assert dataset.fingerprint(split) == folder.fingerprint(split)


def test_links_in_tars_are_followed(tmp_path):
  data = picture()
  with tarfile.open(tmp_path / "all.tar", "w") as tar:
    for split in ("train", "validation"):
      add(tar, f"{split}/cat/1.png", data)
    add(tar, "train/cat/hard.png", kind=tarfile.LNKTYPE, link="train/cat/1.png")
    add(tar, "train/cat/soft.png", kind=tarfile.SYMTYPE, link="../cat/1.png")
  dataset = load(tmp_path)
  assert sizes(dataset) == (3, 1)
  images, _ = dataset.arrays("train")
  np.testing.assert_array_equal(images[1:], images[[0, 0]])


def test_a_folder_beside_its_tar_is_read_once(tmp_path):
  write_set(tmp_path)
  pack(tmp_path / "train.tar", tmp_path / "train")
  assert sizes(load(tmp_path)) == (4, 4)
  assert "each is read once" in " ".join(load(tmp_path).notes)


def test_a_tar_of_tars(tmp_path):
  with tarfile.open(tmp_path / "ILSVRC2012_img_train.tar", "w") as outer:
    for name in ("n01443537", "n01629819"):
      inner = io.BytesIO()
      with tarfile.open(fileobj=inner, mode="w") as tar:
        for i in range(2):
          add(tar, f"{name}_{i}.JPEG", picture())
      add(outer, f"{name}.tar", inner.getvalue())
  with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as tar:
    add(tar, "ILSVRC2012_val_00000001.JPEG", picture())
  dataset = load(tmp_path)
  assert sizes(dataset) == (4, 1)
  assert dataset.class_names == ["n01443537", "n01629819"]
  assert dataset.arrays("train")[0].shape == (4, 8, 8, 3)


@pytest.mark.parametrize("beside", ["", "txt", "json"])
@pytest.mark.parametrize("ending", ["cls", "json"])
def test_webdataset_shards(tmp_path, ending, beside):
  """A caption or a description beside the label does not matter."""
  for split in ("train", "val"):
    for shard in range(2):
      with tarfile.open(tmp_path / f"{split}-{shard:06d}.tar", "w") as tar:
        for i in range(3):
          label = str(i % 2)
          if ending == "json":
            label = json.dumps({("label", "cls")[shard]: i % 2})
          add(tar, f"{i:06d}.jpg", picture("JPEG"))
          add(tar, f"{i:06d}.{ending}", label.encode())
          if beside and beside != ending:
            add(tar, f"{i:06d}.{beside}", b'{"caption": "a cat"}')
  dataset = load(tmp_path)
  assert sizes(dataset) == (6, 6) and dataset.class_names == ["0", "1"]
  assert labels(dataset) == [0, 0, 0, 0, 1, 1]


# Files that cannot be read ------------------------------------------------------------


def test_unreadable_pictures_are_left_out_up_to_a_share(tmp_path, capsys):
  write_set(tmp_path, each=5)
  write(tmp_path / "train" / "cat" / "x.png", b"<!doctype html>")
  dataset = load(tmp_path)
  assert sizes(dataset) == (10, 10)
  assert "train/cat/x.png cannot be read" in capsys.readouterr().err
  write(tmp_path / "train" / "cat" / "y.png", b"")
  with pytest.raises(UserError, match=r"2 of 22 pictures .*unreadable_share = 0.01"):
    load(tmp_path)
  assert sizes(load(tmp_path, unreadable_share=0.1)) == (10, 10)


def test_a_folder_of_heic_names_what_reads_it(tmp_path):
  stub = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
  write(tmp_path / "IMG_1.HEIC", stub)
  with pytest.raises(UserError, match="HEIC.*pillow-heif"):
    load(tmp_path)


# The fingerprint and the cache of pixels ------------------------------------------------


def test_the_fingerprint_is_that_of_the_content(tmp_path):
  write_set(tmp_path / "before")
  before = load(tmp_path / "before").fingerprint("train")
  os.rename(tmp_path / "before", tmp_path / "renamed")
  assert load(f"folder:{tmp_path}/renamed/").fingerprint("train") == before
  path = tmp_path / "renamed" / "train" / "cat" / "train_0.png"
  data = bytearray(path.read_bytes())
  facts = os.stat(path)
  data[-20] ^= 1
  path.write_bytes(data)
  os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
  assert load(tmp_path / "renamed").fingerprint("train") != before


def test_large_files_are_sampled_to_their_end(tmp_path):
  noise = RNG.integers(0, 256, [300, 300, 3], np.uint8)
  write_set(tmp_path)
  path = tmp_path / "train" / "cat" / "large.bmp"
  Image.fromarray(noise).save(path)
  before = load(tmp_path).fingerprint("train")
  data = bytearray(path.read_bytes())
  data[-1] ^= 1
  path.write_bytes(data)
  assert load(tmp_path).fingerprint("train") != before


def count_decodings(dataset, monkeypatch):
  source, decoded = dataset.source("train"), []
  decode = source._decode
  monkeypatch.setattr(
    source, "_decode", lambda i, whole: decoded.append(i) or decode(i, whole)
  )
  return decoded


@pytest.mark.parametrize(
  "how", [{}, {"crop_method": "distorted"}, {"flip": True}, {"antialias": False}]
)
def test_pictures_are_decoded_once_for_all_runs(tmp_path, monkeypatch, how):
  write_set(tmp_path / "set", each=4)
  plain = load(tmp_path / "set", **how)
  ids = np.array([3, 1, 1, 7])
  expected, _ = plain._pixels("train", ids, ids)
  for run, wanted in (("a", [1, 3, 7]), ("b", [])):
    dataset = load(tmp_path / "set", **how)
    dataset.keep_pixels(str(tmp_path / "runs" / run))
    decoded = count_decodings(dataset, monkeypatch)
    for _ in range(3):
      images, used = dataset._pixels("train", ids, ids)
      np.testing.assert_array_equal(images, expected)
      np.testing.assert_array_equal(used, ids)
    assert sorted(set(decoded)) == wanted


def test_a_damaged_cache_is_decoded_again(tmp_path, monkeypatch):
  write_set(tmp_path / "set")
  dataset = load(tmp_path / "set")
  dataset.keep_pixels(str(tmp_path / "run"))
  expected, _ = dataset.arrays("train")
  (pixels,) = [
    p
    for p in (tmp_path / ".pixels").glob("*/pixels")
    if p.read_bytes() == (expected * 255).round().astype("u1").tobytes()
  ]
  with open(pixels, "r+b") as f:
    f.seek(8 * 8 * 3 + 5)
    f.write(b"\x55\xaa\x55")
  again = load(tmp_path / "set")
  again.keep_pixels(str(tmp_path / "run"))
  decoded = count_decodings(again, monkeypatch)
  np.testing.assert_array_equal(again.arrays("train")[0], expected)
  assert decoded == [1]


def test_the_cache_is_bounded(tmp_path, capsys):
  for name in ("one", "two", "three"):
    write_set(tmp_path / name)
    dataset = load(tmp_path / name, cache_gigabytes=2.5 * 4 * 192 / 1e9)
    dataset.keep_pixels(str(tmp_path / "run"))
    dataset.arrays("train")
  assert len(list((tmp_path / ".pixels").iterdir())) == 2
  dataset = load(tmp_path / "one", cache_gigabytes=1e-9)
  dataset.keep_pixels(str(tmp_path / "run"))
  assert "decoded anew each time" in capsys.readouterr().out
  assert dataset.arrays("train")[0].shape == (4, 8, 8, 3)


def test_the_cache_that_was_opened_longest_ago_makes_room(tmp_path):
  def keep(name):
    shapes, bound = np.full([1, 2], 8), 2.5 * 192 / 1e9
    pixel_cache.open_cache(str(tmp_path), {"pictures": name}, shapes, 3, bound)

  def kept():
    texts = {path: path.read_text() for path in tmp_path.glob("*/facts.json")}
    return {json.loads(text)["pictures"]: path for path, text in texts.items()}

  keep("one"), keep("two")
  for name, age in (("one", 200), ("two", 100)):
    os.utime(kept()[name], (time.time() - age,) * 2)
  keep("one")  # which is now the one that was opened last
  keep("three")
  assert set(kept()) == {"one", "three"}


def test_the_middle_is_read_without_a_filter_where_that_is_asked_for(tmp_path):
  write_set(tmp_path)
  dataset = datasets.get_dataset(f"{tmp_path}@5", antialias=False)
  images, _ = dataset.arrays("train", indices=[1])
  with Image.open(tmp_path / "train" / "cat" / "train_1.png") as whole:
    middle = np.asarray(whole)[:, 1:9]
  expected = image_lib.sample_bilinearly(middle, 5)
  np.testing.assert_array_equal(images[0], expected.astype(np.float32) / 255)


def test_random_crops_follow_from_the_seed_with_and_without_a_cache(tmp_path):
  write_set(tmp_path / "set", each=4)
  kept = load(tmp_path / "set", crop_method="distorted", flip=True, seed=3)
  kept.keep_pixels(str(tmp_path / "run"))
  fresh = load(tmp_path / "set", crop_method="distorted", flip=True, seed=3)
  ids, places = np.array([2, 2, 5]), np.array([0, 1, 9])
  for _ in range(2):
    np.testing.assert_array_equal(
      kept._pixels("train", ids, places)[0], fresh._pixels("train", ids, places)[0]
    )


def test_validation_pictures_are_kept_beside_random_crops_of_training(tmp_path):
  write_set(tmp_path / "set", ("train", "val"), each=4)
  dataset = load(tmp_path / "set", crop_method="distorted")
  dataset.keep_pixels(str(tmp_path / "run"))
  read, _ = dataset.arrays("validation")
  for path in (tmp_path / "set" / "val").rglob("*.png"):
    path.write_bytes(b"gone")
  np.testing.assert_array_equal(dataset.arrays("validation")[0], read)


# The command `data` ---------------------------------------------------------------------


def test_the_command_shows_what_is_made_of_a_folder(tmp_path, server):
  root = tmp_path / "photos"
  write_set(root, ("train", "val"), each=5)
  write(root / "train" / "cat" / "broken.png", b"<!doctype html>")
  write(root / "train" / "cat" / "notes.txt", b"text")
  write(root / "sample.png")
  output = tmp_path / "seen.png"
  done = server.run(tmp_path, "data", root, "--size", "16", "--output", output)
  assert done.returncode == 0, done.stderr
  for said in (
    "splits train/, val/",
    f"dataset.name = '{root}@16'",
    "train: 10 pictures, 5 to 5 of each class",
    "validation: 10 pictures",
    "classes: 2 (cat, dog)",
    "shorter sides: 8 to 8 px",
    "formats: 20 PNG RGB",
    "left out, pictures outside of the splits: 1\n  sample.png",
    "left out, pictures that cannot be read: 1\n  train/cat/broken.png",
    "no pictures: 1 .txt",
    "pictures/s a core",
  ):
    assert said in done.stdout, said
  with Image.open(output) as image:
    assert image.size == (8 * 17 - 1, 17 - 1)
    found = np.asarray(image).astype(int)
  train = datasets.get_dataset(f"{root}@16").source("train")
  train = train.images(np.arange(10))[0].astype(int)
  for column in range(8):  # Each tile is one of the pictures, and no two are the same.
    tile = found[:, 17 * column : 17 * column + 16]
    same = [np.abs(picture - tile).max() == 0 for picture in train]
    assert sum(same) == 1
    train = train[~np.array(same)]


def test_the_command_refuses_a_folder_without_pictures(tmp_path, server):
  done = server.run(tmp_path, "data", tmp_path, "--output", tmp_path / "seen.png")
  assert done.returncode == 1 and "no images in" in done.stderr
  assert not (tmp_path / "seen.png").exists()
