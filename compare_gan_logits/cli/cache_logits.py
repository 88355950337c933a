r"""Writes the logits of a whole data set to disk, for training without a classifier.

Data set and classifier are those that the gin file binds. A killed run goes on with
the shards that are missing. Then bind classifier.cache_dir to the output.

  python tools/cache_logits.py --gin_config gin_configs/resnet152.gin \
      --split train --output /data/logits

Several processes or machines share the work: --num_workers 4, and --worker 0 to 3.
"""

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_enum("split", "train", ["train", "validation"], "Split to cache.")
flags.DEFINE_string("output", None, "Folder to write to; has a folder per split.")
flags.DEFINE_integer("shards", 8, "Files to make.", lower_bound=1)
flags.DEFINE_bool("half", False, "Store float16: half the size, three digits.")
flags.DEFINE_integer("batch_size", 128, "Images at a time.", lower_bound=1)
flags.DEFINE_integer("worker", 0, "Number of this process, from 0.", lower_bound=0)
flags.DEFINE_integer(
  "num_workers", 1, "Processes that make the cache together.", lower_bound=1
)


def _define_flags():
  # The main program's, for data sets and gin.
  from compare_gan_logits import main as program  # noqa: F401

  for name in ("gin_config", "gin_bindings", "tfds_data_dir", "data_fake_dataset"):
    flags.declare_key_flag(name)


def main(argv):
  if len(argv) > 1:
    raise errors.UserError(f"what is {argv[1]!r}? Everything is a flag; see --help")
  if not FLAGS.output:
    raise errors.UserError("--output names the folder to write to")
  from compare_gan_logits import classifiers
  from compare_gan_logits import datasets
  from compare_gan_logits import main as program
  from compare_gan_logits.classifiers import logit_cache

  program.parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  classifier = classifiers.from_gin()
  if classifier is None:
    raise errors.UserError("the gin configuration binds no classifier.handle")
  logit_cache.write(
    classifier,
    datasets.get_dataset(),
    FLAGS.split,
    FLAGS.output,
    FLAGS.shards,
    FLAGS.half,
    FLAGS.batch_size,
    worker=FLAGS.worker,
    num_workers=FLAGS.num_workers,
  )


def command_line():
  command.run(main, prepare=_define_flags)
