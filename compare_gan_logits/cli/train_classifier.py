r"""Trains a small classifier, or measures the accuracy of a given one.

The training is ordinary, or adversarial with --robust. The result is a TF-Hub module
for classifier.handle. Gin binds epsilon, steps and other settings, for example
--gin_bindings 'attack.epsilon = 0.05'. The same command continues a killed run.

  compare-gan-logits train-classifier --dataset embedded --output runs/robust --robust
  compare-gan-logits train-classifier --output runs/vit --network vit
  compare-gan-logits train-classifier --dataset /data/photos@64 \
      --evaluate efficientnet_lite0
"""

from __future__ import annotations

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_string(
  "dataset",
  "embedded",
  "Name of a data set, or a folder of images with a size (/data/photos@64).",
)
flags.DEFINE_string("output", None, "Folder of the module to write.")
flags.DEFINE_bool("robust", False, "Train adversarially.")
flags.DEFINE_string(
  "network",
  None,
  "Kind of small network that is trained from scratch: cnn (default), resnet, vit or "
  "mixer.",
)
flags.DEFINE_string(
  "init", None, "Fine-tune from these ImageNet weights: efficientnet_lite0."
)
flags.DEFINE_string(
  "evaluate",
  None,
  "Print the accuracy of this classifier (name in "
  "the zoo, folder, URL) on the data set, instead of training.",
)
flags.DEFINE_multi_string("gin_config", [], "Path of a gin file; may be repeated.")
flags.DEFINE_multi_string("gin_bindings", [], "One gin binding; may be repeated.")
flags.DEFINE_integer(
  "limit", None, "About how many images to evaluate on.", lower_bound=1
)


def _define_flags():
  # Importing it defines the flags of data sets.
  from compare_gan_logits import datasets  # noqa: F401

  for name in ("tfds_data_dir", "data_fake_dataset"):
    flags.declare_key_flag(name)


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
  if bool(FLAGS.output) == bool(FLAGS.evaluate):
    raise errors.UserError(
      "give either --output, the folder of the module to write, or "
      "--evaluate and the name of a classifier"
    )
  mode, others = "--evaluate", ("robust", "network", "init")
  if FLAGS.output:
    mode, others = "--output", ("limit",)
  for name in others:
    if FLAGS[name].present:
      raise errors.UserError(f"--{name} has no meaning with {mode}; leave it out")
  from compare_gan_logits import classifiers
  from compare_gan_logits import configuration
  from compare_gan_logits import datasets
  from compare_gan_logits import devices
  from compare_gan_logits.classifiers import training

  configuration.parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  devices.configure()
  print(devices.describe(), flush=True)
  dataset = datasets.get_dataset(FLAGS.dataset)
  if FLAGS.output:
    chosen = {"network": FLAGS.network} if FLAGS.network else {}  # or what gin binds
    training.train(dataset, FLAGS.output, FLAGS.robust, FLAGS.init, **chosen)
  else:
    _evaluate(classifiers.from_gin(FLAGS.evaluate), dataset, training)


def _evaluate(classifier, dataset, training):
  result = training.accuracy(classifier, dataset, FLAGS.limit)
  steps = classifier.spec.preprocessing
  print(
    f"{classifier.spec.name} on {dataset.name}: {result['images']} labelled "
    f"validation images, {steps.resize} to {steps.size or dataset.resolution} px"
  )
  print(f"accuracy among the {dataset.num_classes} classes: {result['top1']:.2%}")
  if "top1_of_1000" in result:
    print(f"accuracy among ImageNet's 1000: {result['top1_of_1000']:.2%}")


def command_line() -> None:
  command.run(main, prepare=_define_flags)
