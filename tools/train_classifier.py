"""Trains a classifier for the feature stage, or says how good a known one is.

Ordinarily, or adversarially with --robust; the result is a TF-Hub module that
classifier.handle takes. Epsilon, steps and the rest by gin, e.g.
--gin_bindings='attack.epsilon = 0.05'. A killed run goes on when it is started
again.

  python tools/train_classifier.py --dataset embedded --output runs/robust --robust
"""

import os
import sys


sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import gin
from absl import flags

from compare_gan_logits import command


FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "embedded",
                    "Name of a data set, or a folder of train/<class>/* images.")
flags.DEFINE_string("output", None, "Folder of the module to write.")
flags.DEFINE_bool("robust", False, "Train adversarially.")
flags.DEFINE_multi_string("gin_config", [], "gin files.")
flags.DEFINE_multi_string("gin_bindings", [], "gin bindings.")


def main(argv):
  if len(argv) > 1:
    raise command.UserError(f"what is {argv[1]!r}? Everything is a flag; see --help")
  if not FLAGS.output:
    raise command.UserError("--output names the folder of the module to write")
  from compare_gan_logits import datasets
  from compare_gan_logits.classifiers import training
  gin.parse_config_files_and_bindings(FLAGS.gin_config, FLAGS.gin_bindings)
  training.train(datasets.get_dataset(FLAGS.dataset), FLAGS.output, FLAGS.robust)


if __name__ == "__main__":
  command.run(main)
