r"""Trains an inverter of a classifier's logits and exports it as a TF-Hub module.

  compare-gan-logits train --gin_config quickstart.gin \
      --gin_bindings "classifier.handle = 'embedded_robust'"
  python -m compare_gan_logits.main --gin_config gin_configs/robust_resnet152.gin

Both forms are the same program. The same command continues from the last checkpoint.
The gin file says what is trained and on which images; --gin_bindings changes single
values:

  --gin_bindings "options.batch_size = 64" --gin_bindings "dataset.name = 'cifar10'"
"""

from __future__ import annotations

# ruff: noqa: E402, an interruption during the seconds of imports is a sentence too
import os

from compare_gan_logits.cli import command


if __name__ == "__main__":
  command.listen_to_signals()

import gin.tf.external_configurables  # noqa: F401, the optimisers' names
import tensorflow.compat.v1 as tf
from absl import flags

from compare_gan_logits import configuration
from compare_gan_logits import devices
from compare_gan_logits import runner_lib
from compare_gan_logits import tensorflow_compat
from compare_gan_logits.configuration import parse_gin
from compare_gan_logits.distribution import KINDS
from compare_gan_logits.distribution import Distribution
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import fidelity_gan  # noqa: F401, gin knows all GANs
from compare_gan_logits.gans import perceptual_gan  # noqa: F401
from compare_gan_logits.gans import s3gan  # noqa: F401
from compare_gan_logits.gans import ssgan  # noqa: F401


FLAGS = flags.FLAGS

flags.DEFINE_multi_string("gin_config", [], "Path of a gin file; may be repeated.")
flags.DEFINE_multi_string("gin_bindings", [], "One gin binding; may be repeated.")
flags.DEFINE_string(
  "model_dir",
  None,
  "Folder of checkpoints, summaries and the "
  "module. Default: runs/<name of the last gin file>.",
)
flags.DEFINE_enum(
  "schedule",
  "train",
  runner_lib.SCHEDULES,
  "train: train, then export a module. eval_after_train: also score the checkpoints. "
  "continuous_eval: score the checkpoints of another process's training. export: "
  "export the last checkpoint.",
)
flags.DEFINE_enum(
  "distribute",
  "none",
  KINDS,
  "Train on one device (none), on all GPUs of this machine (mirrored), or in the "
  "processes that $TF_CONFIG describes (multi_worker).",
)
flags.DEFINE_integer(
  "num_replicas",
  None,
  "With --distribute mirrored: number of GPUs (default: all), or of replicas on the CPU.",
  lower_bound=1,
)
flags.DEFINE_bool(
  "use_tpu", None, "Train on a TPU; default: whether $TPU_NAME names one."
)
flags.DEFINE_string(
  "tpu", None, "Name or grpc:// address of the TPU; default: $TPU_NAME."
)
flags.DEFINE_string("tpu_zone", None, "Zone of the TPU; default: the metadata's.")
flags.DEFINE_string("gcp_project", None, "Project of the TPU; default: the metadata's.")
flags.DEFINE_integer(
  "eval_every_steps",
  5000,
  "Score only checkpoints whose step is a multiple of this; 0: all.",
  lower_bound=-1,
)
flags.DEFINE_integer(
  "num_eval_averaging_runs",
  3,
  "Number of evaluations, each with other noise, whose scores are averaged.",
  lower_bound=1,
)
flags.DEFINE_string(
  "score_filename", "scores.csv", "CSV file of the scores, in model_dir."
)
for _name in ("tfds_data_dir", "data_fake_dataset"):  # those of datasets, for --help
  flags.declare_key_flag(_name)


def default_model_dir(config_files: list[str]) -> str:
  name = os.path.splitext(os.path.basename(config_files[-1]))[0]
  return os.path.join("runs", name)


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
  tf.logging.set_verbosity(tf.logging.ERROR)
  if not FLAGS.gin_config:
    raise UserError(
      "--gin_config is missing: a configuration, such as quickstart.gin, which comes "
      "with the program"
    )
  parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  devices.configure()
  model_dir = FLAGS.model_dir or default_model_dir(FLAGS.gin_config)
  trains = FLAGS.schedule in ("train", "eval_after_train")
  distribution = Distribution(
    FLAGS.distribute if trains else "none", FLAGS.num_replicas if trains else None
  )
  with configuration.gin_errors_explained():
    settings = runner_lib.get_run_settings()
    options = runner_lib.get_options_dict()
  cluster = None
  if trains and distribution.is_chief and not options["use_tpu"]:
    print(devices.describe(), flush=True)
  if options["use_tpu"]:
    tensorflow_compat.check_tpu()
    cluster = runner_lib.find_tpu(FLAGS.tpu, FLAGS.tpu_zone, FLAGS.gcp_project)
  runner_lib.run_with_schedule(
    FLAGS.schedule,
    run_config=runner_lib.make_run_config(settings, model_dir, cluster, distribution),
    task_manager=runner_lib.TaskManagerWithCsvResults(
      model_dir, os.path.join(model_dir, FLAGS.score_filename)
    ),
    options=options,
    use_tpu=options["use_tpu"],
    num_eval_averaging_runs=FLAGS.num_eval_averaging_runs,
    eval_every_steps=FLAGS.eval_every_steps,
    training_minutes=settings.training_minutes,
    distribution=distribution,
  )


def command_line() -> None:
  command.run(main)


if __name__ == "__main__":
  command_line()
