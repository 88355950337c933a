"""Shows what the program finds in a folder of pictures, before anything is trained.

Prints the layout, splits, classes, sizes and formats, what is left out and why, and how
fast pictures are read. Writes 64 pictures, cropped and resized as for a training, to a
PNG.

  compare-gan-logits data /data/photos
  compare-gan-logits data /data/photos --size 128 --output seen.png
"""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command


if TYPE_CHECKING:
  from compare_gan_logits.datasets.folders import FolderDataset


FLAGS = flags.FLAGS
flags.DEFINE_integer("size", 64, "Side of the images to train on, in pixels.", 1, 4096)
flags.DEFINE_enum("colors", "3", ["1", "3"], "1 for grey, 3 for RGB.")
flags.DEFINE_string("labels", None, "CSV table of files and classes (file,label).")
flags.DEFINE_string("output", "data.png", "PNG of 64 pictures to write.")
flags.DEFINE_float(
  "unreadable_share", 1.0, "Largest share of unreadable pictures.", 0.0, 1.0
)
_SHOWN = 5  # names or classes of each kind
_TIMED = 256  # pictures


def main(argv: list[str]) -> None:
  if len(argv) != 2:
    raise errors.UserError("name one folder, such as: compare-gan-logits data photos/")
  from compare_gan_logits import figures
  from compare_gan_logits import files
  from compare_gan_logits.datasets import folders
  from compare_gan_logits.datasets import registry

  ending = os.path.splitext(FLAGS.output)[1].lower()
  if ending not in (".png", ".jpg", ".jpeg"):
    raise errors.UserError(
      f"--output {FLAGS.output} is no .png or .jpg; name a picture, such as data.png"
    )

  if not 0 <= FLAGS.unreadable_share <= 1:  # NaN passes the bounds of the flag
    raise errors.UserError("--unreadable_share is a fraction from 0 to 1")
  root, size = folders.parse_name(
    argv[1] if _has_size(argv[1]) else f"{argv[1]}@{FLAGS.size}"
  )
  if registry.kind_of(argv[1]) != "folder" and not os.path.isdir(root):
    raise errors.UserError(
      f"{argv[1]} is no folder but a set that dataset.name takes as it is; this command "
      "shows folders"
    )
  folders.check_folder(root)
  name = f"{files.absolute(root)}@{size}"  # as gin takes it in any working folder
  dataset = folders.folder(
    name,
    seed=547,
    colors=int(FLAGS.colors),
    labels=FLAGS.labels,
    unreadable_share=FLAGS.unreadable_share,
  )
  for line in describe(dataset):
    print(line)
  split = next(iter(dataset.layout.pictures))
  images, speed = _timed(dataset, split)
  print(
    f"reading at {dataset.resolution} px: {speed:.0f} pictures/s a core, in the first "
    "epoch; training keeps what was decoded"
  )
  shown = figures.whole_rows(images)
  figures.save_image(figures.tiles(shown), FLAGS.output)
  print(
    f"{shown.shape[0] * shown.shape[1]} pictures of {split}, at random: {FLAGS.output}"
  )


def _has_size(name):
  return name.rpartition("@")[2].isdecimal() and "@" in name


def describe(dataset: FolderDataset) -> Iterator[str]:
  """Yields lines on a FolderDataset: what was found, and what was made of it."""
  yield f"folder {dataset.listing.root}: {dataset.layout.description}"
  yield f"bind it as dataset.name = '{dataset.name}'"
  for split in dataset.layout.pictures:
    counts = dataset.class_counts(split)
    unknown = int((dataset.source(split).labels < 0).sum())
    known = f", {counts.min()} to {counts.max()} of each class" if counts.any() else ""
    loose = f", {unknown} without a label" if unknown else ""
    yield f"{split}: {dataset.num_examples(split)} pictures{known}{loose}"
  shown = ", ".join(dataset.class_names[: 2 * _SHOWN])
  more = ", ..." if dataset.num_classes > 2 * _SHOWN else ""
  yield f"classes: {dataset.num_classes} ({shown}{more})"
  yield from _describe_files(dataset)
  for note in dataset.layout.notes:
    yield f"note: {note}"
  for reason, names in dataset.listing.left_out.items():
    yield f"left out, {reason}: {len(names)}"
    yield from (f"  {_printable(name)}" for name in names[:_SHOWN])
    if len(names) > _SHOWN:
      yield "  ..."
  others = dataset.listing.others.most_common(_SHOWN)
  if others:
    kinds = ", ".join(f"{count} {ending}" for ending, count in others)
    yield f"other files, which are no pictures: {kinds}"


def _describe_files(dataset):
  examinations = dataset.examinations.values()
  sizes = np.concatenate([found.sizes for found in examinations])
  shorter = sizes.min(axis=1)
  low, middle, high = np.percentile(shorter, [0, 50, 100]).astype(int)
  yield f"shorter sides: {low} to {high} px, median {middle} px"
  small = int((shorter < dataset.resolution).sum())
  if small:
    yield f"smaller than {dataset.resolution} px, and enlarged: {small}"
  kinds = collections.Counter(
    np.concatenate([found.kinds for found in examinations]).tolist()
  )
  yield "formats: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())


def _printable(name):
  from compare_gan_logits.datasets.listing import printable

  return printable(name)


def _timed(dataset, split):
  """64 pictures uint8 at random, and pictures per second of one core's time."""
  total = dataset.num_examples(split)
  ids = np.random.default_rng(0).permutation(total)[:_TIMED]
  source, found = dataset.source(split), []
  started = time.process_time()
  for part in np.array_split(ids, max(1, len(ids) // 64)):
    found.append(source.images(part)[0])
  seconds = max(time.process_time() - started, 1e-6)
  return np.concatenate(found)[:64], len(ids) / seconds


def command_line() -> None:
  command.run(main)
