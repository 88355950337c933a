r"""Writes the logits of a whole data set to disk, for training without a classifier.

The gin file binds the data set and the classifier. The same command completes a cache
that was interrupted. To train from the cache, bind classifier.cache_dir to its folder.

  compare-gan-logits cache-logits --gin_config resnet152.gin \
      --split train --output /data/logits

Several processes or machines can share the work: --num_workers 4 for each, and
--worker 0 to 3.

If you have computed the logits yourself, no classifier is needed: --list prints the
images of the split in order, and --logits takes a file with a row for each of them
(docs/classifiers.md).
"""

from __future__ import annotations

import csv
import os
import sys

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_enum("split", "train", ["train", "validation"], "Split to cache.")
flags.DEFINE_string("output", None, "Folder to write; each split has a folder in it.")
flags.DEFINE_integer("shards", 8, "Number of files to write.", lower_bound=1)
flags.DEFINE_bool(
  "half", False, "Store float16: half the size, three significant digits."
)
flags.DEFINE_integer(
  "batch_size", 128, "Images per pass of the classifier.", lower_bound=1
)
flags.DEFINE_integer("worker", 0, "Index of this process, from 0.", lower_bound=0)
flags.DEFINE_integer(
  "num_workers", 1, "Number of processes that share the work.", lower_bound=1
)
flags.DEFINE_string(
  "logits",
  None,
  "File of your own logits (.npy, .npz or .csv) with a row for each image of the "
  "split, in place of a classifier.",
)
flags.DEFINE_string("dataset", None, "Data set, in place of gin's dataset.name.")
flags.DEFINE_bool(
  "list", False, "Print the split's images in order (id, name, label, class) and stop."
)


def _define_flags():
  # The main program's, for data sets and gin.
  from compare_gan_logits import main as program  # noqa: F401

  for name in ("gin_config", "gin_bindings", "tfds_data_dir", "data_fake_dataset"):
    flags.declare_key_flag(name)


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
  if not FLAGS.output and not FLAGS.list:
    raise errors.UserError("--output is missing: the folder to write")
  if not FLAGS.worker < FLAGS.num_workers <= FLAGS.shards:
    raise errors.UserError(
      f"worker {FLAGS.worker} of {FLAGS.num_workers} with {FLAGS.shards} shards: workers "
      "are 0 to --num_workers - 1, and there are no more workers than --shards"
    )
  if FLAGS.logits and FLAGS.num_workers > 1:
    raise errors.UserError(
      "--num_workers is for a classifier; leave it out of --logits"
    )
  from compare_gan_logits import datasets
  from compare_gan_logits import main as program
  from compare_gan_logits.classifiers import logit_cache

  if not FLAGS.dataset and not FLAGS.gin_config and not FLAGS.gin_bindings:
    raise errors.UserError(
      "name a data set with --dataset, or a configuration with --gin_config"
    )
  program.parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  dataset = datasets.get_dataset(*([FLAGS.dataset] if FLAGS.dataset else []))
  if FLAGS.list:
    _print_images(dataset, logit_cache)
  elif FLAGS.logits:
    _take_logits(dataset, logit_cache)
  else:
    _compute_logits(dataset, logit_cache)


def _print_images(dataset, logit_cache):
  """The order of a split's images, as CSV."""
  names = dataset.names(FLAGS.split)
  table = csv.writer(sys.stdout, lineterminator="\n")
  table.writerow(["id", "name", "label", "class"])
  for place, label in enumerate(logit_cache.labels(dataset, FLAGS.split)):
    name = "" if names is None else names[place]
    class_name = dataset.class_names[label] if label >= 0 else ""
    table.writerow([place, name, label, class_name])


def _take_logits(dataset, logit_cache):
  """Caches the logits of a file."""
  from compare_gan_logits.classifiers import given_logits

  logits = given_logits.read(
    FLAGS.logits,
    dataset.names(FLAGS.split),
    dataset.num_examples(FLAGS.split),
  )
  same_count = logits.shape[1] == dataset.num_classes
  logit_cache.write_given(
    logits,
    os.path.splitext(os.path.basename(FLAGS.logits))[0],
    dataset.class_names if same_count else None,
    dataset,
    FLAGS.split,
    FLAGS.output,
    FLAGS.shards,
    FLAGS.half,
  )
  if same_count:
    print(
      "the logits are assumed to be in the order of the data set's classes; if they "
      "are not, bind classifier.class_names"
    )


def _compute_logits(dataset, logit_cache):
  """Caches the logits of the classifier that gin binds."""
  from compare_gan_logits import classifiers
  from compare_gan_logits import devices
  from compare_gan_logits.classifiers import checks

  devices.configure()
  classifier = classifiers.from_gin()
  if classifier is None or classifier.only_known_images:
    raise errors.UserError(
      "the gin configuration binds no classifier.handle; bind it, or give your own "
      "logits with --logits"
    )
  images, labels, _ = checks.sample(dataset)
  checks.check(classifier, dataset, images, labels)
  logit_cache.write(
    classifier,
    dataset,
    FLAGS.split,
    FLAGS.output,
    FLAGS.shards,
    FLAGS.half,
    FLAGS.batch_size,
    worker=FLAGS.worker,
    num_workers=FLAGS.num_workers,
  )


def command_line() -> None:
  command.run(main, prepare=_define_flags)
