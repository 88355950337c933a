"""Trains an inverter of a classifier's logits and exports it as a TF-Hub module.

  python -m compare_gan_logits.main --gin_config gin_configs/robust_resnet152.gin

The same command again goes on from the last checkpoint. What is trained, and on
what, stands in the gin file; --gin_bindings changes single values:

  --gin_bindings "options.batch_size = 64" --gin_bindings "dataset.name = 'cifar10'"
"""

import os

import gin
import gin.tf.external_configurables
import tensorflow.compat.v1 as tf
from absl import app
from absl import flags
from absl import logging

from compare_gan_logits import command
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits import runner_lib
from compare_gan_logits.classifiers import from_gin
from compare_gan_logits.command import UserError
from compare_gan_logits.gans import perceptual_gan  # noqa: F401, registers both


FLAGS = flags.FLAGS

flags.DEFINE_multi_string("gin_config", [], "Path of a gin file; may be repeated.")
flags.DEFINE_multi_string("gin_bindings", [], "One gin binding; may be repeated.")
flags.DEFINE_string("model_dir", None, "Folder of checkpoints, summaries and the "
                    "module. Default: runs/<name of the last gin file>.")
flags.DEFINE_enum("schedule", "train", runner_lib.SCHEDULES,
                  "train (and export), eval_after_train, continuous_eval or export.")
flags.DEFINE_bool("use_tpu", False, "Train on a TPU.")
flags.DEFINE_string("tpu", None, "Name or grpc:// address of the TPU; default: "
                    "$TPU_NAME.")
flags.DEFINE_string("tpu_zone", None, "Zone of the TPU; default: the metadata's.")
flags.DEFINE_string("gcp_project", None, "Project of the TPU; default: the metadata's.")
flags.DEFINE_integer("eval_every_steps", None, "Score only checkpoints whose step "
                     "this divides.", lower_bound=1)
flags.DEFINE_integer("num_eval_averaging_runs", 1, "Evaluations with other noise, "
                     "averaged.", lower_bound=1)
flags.DEFINE_string("score_filename", "scores.csv", "CSV file of the scores, in "
                    "model_dir.")


def parse_gin(config_files, bindings):
  """Parses gin files and bindings.

  Raises:
    UserError: a file is missing, or binds what does not exist.
  """
  for path in config_files:
    if not os.path.exists(path):
      raise UserError(f"no gin file {path}; the ones that come with the program are "
                      "in gin_configs/")
    # A file includes its neighbours by name, from wherever it is run.
    gin.add_config_file_search_path(os.path.dirname(os.path.abspath(path)))
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)  # gin logs each place it looks at in vain
  try:
    gin.parse_config_files_and_bindings(config_files, bindings)
  except (ValueError, TypeError, SyntaxError, OSError, AttributeError) as error:
    raise UserError(explain_gin_error(error)) from error
  finally:
    logging.set_verbosity(verbosity)


def explain_gin_error(error):
  """Gin's error in one sentence, with the nearest name where one is unknown."""
  message = str(error).split("\n\n")[0].replace("\n", " ").strip()
  quoted = message.split("'")
  if "No configurable" in message and len(quoted) > 1:
    # Gin has no public list of what is registered.
    known = {selector.split(".")[-1] for selector, _ in gin.config._REGISTRY.items()}
    close = command.nearest(quoted[1], known).split("known:")[0]
    return f"gin knows no {quoted[1]!r}; {close or 'see gin_configs/'}".rstrip(" ;")
  return f"gin: {message}"


def default_model_dir(config_files):
  name = os.path.splitext(os.path.basename(config_files[-1]))[0]
  return os.path.join("runs", name)


def make_run(model_dir):
  """The runner_lib.Run that gin and the flags describe.

  Raises:
    UserError: a value is missing or wrong.
  """
  try:
    return runner_lib.Run(
        dataset=datasets.get_dataset(), classifier=from_gin(),
        options=runner_lib.get_options_dict(), settings=runner_lib.get_run_settings(),
        model_dir=model_dir, use_tpu=FLAGS.use_tpu, tpu=FLAGS.tpu,
        tpu_zone=FLAGS.tpu_zone, gcp_project=FLAGS.gcp_project)
  except (TypeError, ValueError, RuntimeError) as error:  # gin's, of a missing value
    raise UserError(explain_gin_error(error)) from error


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected argument {argv[1]!r}")
  tf.logging.set_verbosity(tf.logging.ERROR)
  if not FLAGS.gin_config:
    raise UserError("name a configuration with --gin_config; quickstart.gin in "
                    "gin_configs/ is a small one")
  parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  model_dir = FLAGS.model_dir or default_model_dir(FLAGS.gin_config)
  tf.io.gfile.makedirs(model_dir)
  run = make_run(model_dir)
  files.write_text(os.path.join(model_dir, "operative_config.gin"),
                   gin.config_str())
  runner_lib.run_with_schedule(
      FLAGS.schedule, run, score_filename=FLAGS.score_filename,
      eval_every_steps=FLAGS.eval_every_steps,
      num_eval_averaging_runs=FLAGS.num_eval_averaging_runs)


if __name__ == "__main__":
  command.run(main)
