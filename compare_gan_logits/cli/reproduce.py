r"""Runs the paper's experiments on exported modules and writes one report.

The same command resumes a killed run with the experiment that was running. The paper's
statements compare a robust classifier with a standard one. A classifier's role is
recorded when it is trained; --role label=robust sets it where it is not. --judge names a
second classifier, which had no part in the inversion, to say whether reconstructions
keep their class. Settings are bound by gin, for example
--gin_bindings 'noise_resampling.samples = 4'.

  compare-gan-logits reproduce --module robust=runs/robust/module \
      --module standard=runs/standard/module --dataset embedded --output report
"""

from __future__ import annotations

import os

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command
from compare_gan_logits.cli import modules


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module", [], "Folder of an exported module, or label=folder; may be repeated."
)
flags.DEFINE_multi_string("classifier", [], modules.CLASSIFIER_HELP)
flags.DEFINE_multi_string(
  "role",
  [],
  "How a module's classifier was trained, robust or standard, if that is not recorded: "
  "label=robust; may be repeated.",
)
flags.DEFINE_string(
  "judge",
  None,
  "Independent classifier that says whether reconstructions keep their class: a name in "
  "the zoo, a folder, a file or a URL. It should differ from the inverted ones in "
  "architecture and training.",
)
flags.DEFINE_string(
  "dataset",
  None,
  "Data set whose validation images are used; by "
  "default the one that the first module was trained on.",
)
flags.DEFINE_multi_string(
  "outside",
  [],
  "Images for the out-of-distribution experiment: "
  "a data set, folder, glob or IDX file, or name=one of these; may be repeated.",
)
flags.DEFINE_string("output", "report", "Folder to write.")
flags.DEFINE_list("only", [], "Experiments to run, separated by commas.")
flags.DEFINE_integer(
  "limit",
  None,
  "Bounds the `images` of every experiment's settings, for a quick look; pairs, "
  "classes and training images have settings of their own.",
  lower_bound=4,
)
flags.DEFINE_integer("seed", 0, "Seed of the images and the noise.", lower_bound=0)
flags.DEFINE_integer(
  "batch_size", 64, "Images per pass; limits the memory.", lower_bound=1
)
flags.DEFINE_bool("list", False, "List the experiments and stop.")
flags.DEFINE_multi_string("gin_config", [], "Path of a gin file; may be repeated.")
flags.DEFINE_multi_string("gin_bindings", [], "One gin binding; may be repeated.")
_OUTSIDE_IMAGES = 2000


def _define_flags():
  # The data sets' own; and gin has to know the data sets before it is read.
  from compare_gan_logits import datasets  # noqa: F401

  for name in ("tfds_data_dir", "data_fake_dataset"):
    flags.declare_key_flag(name)


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
  if not FLAGS.module and not FLAGS.list:
    raise errors.UserError("--module is missing: the folder of an exported module")
  from compare_gan_logits import experiments

  names = FLAGS.only or experiments.EXPERIMENTS
  chosen = [experiments.get(name) for name in names]
  for name in experiments.EXPERIMENTS:
    experiments.get(name)  # gin files bind settings of what --only leaves out
  if FLAGS.list:
    for name, module in zip(names, chosen):
      print(f"{name:22} {module.SECTION:42} {module.QUESTION}")
    return
  from compare_gan_logits import configuration
  from compare_gan_logits import report
  from compare_gan_logits.experiments import study

  configuration.parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  _check_output()
  inverters = modules.load(FLAGS.module, FLAGS.classifier, FLAGS.role, FLAGS.batch_size)
  data = _open(inverters)
  done = study.run(names, inverters, data, FLAGS.output, FLAGS.limit, _log)
  setting = study.describe(inverters, data, FLAGS.limit)
  study.write_results(done, setting, FLAGS.output)
  report.write(done, setting, FLAGS.output)
  _print_verdicts(done)
  if setting["why_no_pair"]:
    print(setting["why_no_pair"])
  print(f"\nwritten to {FLAGS.output}: report.html, results.json")
  if all(study.not_run(found) for found in done.values()):
    raise errors.UserError("no experiment could be run; the lines above say why")


def _check_output():
  """Refuses a folder that is not that of a report, or of one that was interrupted."""
  from compare_gan_logits import experiments
  from compare_gan_logits.experiments import study

  folder = FLAGS.output
  # What begins with a dot is left of a killed process.
  if not os.path.isdir(folder) or not [n for n in os.listdir(folder) if n[0] != "."]:
    return
  ours = [os.path.join(folder, n, study.RESULT) for n in experiments.EXPERIMENTS]
  if not any(os.path.isfile(path) for path in ours):
    raise errors.UserError(
      f"{folder} holds files and no report; name another folder, or remove it"
    )


def _log(line):
  print(line, flush=True)


def _open(inverters):
  from compare_gan_logits.experiments import data

  inverter, outside = next(iter(inverters.values())), {}
  for given in FLAGS.outside:
    name, source = modules.named(given)
    name = name or os.path.basename(source.rstrip("/"))
    if name in outside:
      raise errors.UserError(
        f"--outside: two sets are named {name}; name one of them, as in other={source}"
      )
    outside[name] = data.read_outside(
      source, inverter.image_size, _OUTSIDE_IMAGES, FLAGS.seed
    )
  dataset = modules.dataset_of(inverter, FLAGS.dataset)
  return data.Data(dataset, seed=FLAGS.seed, outside=outside, judge=_judge(inverters))


def _judge(inverters):
  """The classifier of --judge, or None.

  Raises:
    UserError: it is the classifier of one of the modules.
  """
  if not FLAGS.judge:
    return None
  from compare_gan_logits import classifiers

  judge = classifiers.load(FLAGS.judge)
  for label, inverter in inverters.items():
    if inverter.classifier is not None and inverter.classifier.digest == judge.digest:
      raise errors.UserError(
        f"--judge {FLAGS.judge} is the classifier that {label} inverts, and so no "
        "independent one; name another"
      )
  return judge


def _print_verdicts(done):
  from compare_gan_logits.experiments import verdicts

  for found in done.values():
    for verdict in found["verdicts"]:
      evidence = verdict["evidence"]
      words = verdicts.evidence(verdict["evidence_is"], verdict["margin"])
      print(
        f"{verdict['outcome']:14} {verdict['statement']} ({words}: "
        f"{evidence['value']:.4g} [{evidence['low']:.4g}, {evidence['high']:.4g}], "
        f"n = {evidence['n']})"
      )


def command_line() -> None:
  command.run(main, prepare=_define_flags)
