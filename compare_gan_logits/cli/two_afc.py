r"""The paper's human study: which of two reconstructions is closer to the original?

  compare-gan-logits two-afc prepare --module robust=runs/robust/module \
      --module standard=runs/standard/module --dataset embedded --output study
  compare-gan-logits two-afc serve --study study
  compare-gan-logits two-afc analyse --study study

prepare draws the trials and makes their pictures. serve asks subjects in their browser
(arrow keys, mouse or touch); they may stop and continue later. analyse prints Table 1.
"AFC" stands for alternative forced choice.
"""

from __future__ import annotations

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits import files
from compare_gan_logits.cli import command
from compare_gan_logits.cli import modules


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module",
  [],
  "prepare: folder of an exported module, or "
  "label=folder. Give it twice: model A, then model B.",
)
flags.DEFINE_string(
  "dataset",
  None,
  "prepare: data set whose validation images are "
  "the originals; by default the one that A was trained on.",
)
flags.DEFINE_integer("trials", 64, "prepare: number of trials.", lower_bound=1)
flags.DEFINE_integer(
  "catch",
  4,
  "prepare: further trials in which one side is the original itself.",
  lower_bound=0,
)
flags.DEFINE_integer(
  "seed", 0, "prepare: seed of images, sides and noise.", lower_bound=0
)
flags.DEFINE_string(
  "output", None, "prepare: folder to write. analyse: JSON file to write as well."
)
flags.DEFINE_multi_string(
  "study", [], "serve, analyse: folder that prepare wrote; analyse takes several."
)
flags.DEFINE_string(
  "host",
  "127.0.0.1",
  "serve: address to listen on; 0.0.0.0 admits other machines.",
)
flags.DEFINE_integer(
  "port",
  8000,
  "serve: port; 0 chooses a free one.",
  lower_bound=0,
  upper_bound=65535,
)
flags.DEFINE_enum(
  "judge",
  "people",
  ["people", "lpips"],
  "analyse: whose judgments: the subjects', or those of the distance LPIPS.",
)
flags.DEFINE_float(
  "min_catch",
  0.0,
  "analyse: leave out subjects with a smaller share of correct catch trials.",
  lower_bound=0.0,
  upper_bound=1.0,
)
flags.DEFINE_string(
  "outer_url",
  None,
  "serve: the page's address in the browser, if a notebook server or an https proxy "
  "forwards requests to it, e.g. https://hub.example/study/.",
)
flags.DEFINE_multi_string("classifier", [], "prepare: " + modules.CLASSIFIER_HELP)
_FLAGS_OF = {
  "prepare": ("module", "classifier", "dataset", "trials", "catch", "seed", "output"),
  "serve": ("study", "host", "port", "outer_url"),
  "analyse": ("study", "judge", "min_catch", "output"),
}


def main(argv: list[str]) -> None:
  actions = {"prepare": _prepare, "serve": _serve, "analyse": _analyse}
  if len(argv) != 2 or argv[1] not in actions:
    raise errors.UserError("name an action: prepare, serve or analyse; see --help")
  action = argv[1]
  for name in sorted(set().union(*_FLAGS_OF.values()) - set(_FLAGS_OF[action])):
    if FLAGS[name].present:
      raise errors.UserError(
        f"--{name} is not for {action}, which takes --" + ", --".join(_FLAGS_OF[action])
      )
  actions[action]()


def _prepare():
  if len(FLAGS.module) != 2:
    raise errors.UserError(
      "--module is needed twice: the folders of the exported modules A and B"
    )
  if not FLAGS.output:
    raise errors.UserError("--output is missing: the folder to write")
  files.check_new(FLAGS.output)  # before the work
  from compare_gan_logits.apps.two_afc import trials

  inverters = modules.load(FLAGS.module, FLAGS.classifier)
  labels = list(inverters)
  first = inverters[labels[0]]
  dataset = modules.dataset_of(first, FLAGS.dataset)
  ids = trials.choose(
    dataset.num_examples("validation"), FLAGS.trials, FLAGS.catch, FLAGS.seed
  )
  images, _ = dataset.arrays("validation", indices=list(map(int, ids)))
  study = trials.prepare(
    inverters,
    images,
    ids,
    dataset.name,
    FLAGS.output,
    FLAGS.catch,
    FLAGS.seed,
  )
  print(
    f"{len(study.trials)} trials, {FLAGS.catch} of them catch trials, of "
    f"{labels[0]} (A) and {labels[1]} (B) in {FLAGS.output}; next: "
    f"compare-gan-logits two-afc serve --study {FLAGS.output}"
  )


def _serve():
  studies = _studies()
  try:
    from compare_gan_logits.apps import web
    from compare_gan_logits.apps.two_afc import server
  except ModuleNotFoundError as error:
    raise errors.UserError(
      f"serve needs {error.name}: pip install 'flask>=3.1,<4' 'waitress>=3,<4'"
    ) from None
  if len(studies) > 1:
    raise errors.UserError("serve takes one --study; start one server for each")
  running = server.open_server(
    studies[0], web.listen(FLAGS.host, FLAGS.port), FLAGS.outer_url
  )
  if FLAGS.host not in web.LOCAL:
    print("note: every machine that reaches this one can answer")
  print(
    f"asking at {web.url(FLAGS.host, running, FLAGS.outer_url)} (Ctrl-C ends it; every answer is "
    "saved at once)",
    flush=True,
  )
  running.run()


def _analyse():
  studies = _studies()
  from compare_gan_logits.apps.two_afc import analysis
  from compare_gan_logits.apps.two_afc import answers

  tables = []
  for study in studies:
    if FLAGS.judge == "lpips":
      given = analysis.judge_by_lpips(study)
    else:
      given = answers.read(study)
    tables.append(analysis.table(study, given, FLAGS.min_catch))
  print(analysis.text(tables))
  if FLAGS.output:
    files.write_json(FLAGS.output, [table.to_json() for table in tables])
    print(f"\nwritten to {FLAGS.output}")


def _studies():
  if not FLAGS.study:
    raise errors.UserError("--study is missing: a folder that prepare wrote")
  from compare_gan_logits.apps.two_afc import trials

  return [trials.Study.load(folder) for folder in FLAGS.study]


def command_line() -> None:
  command.run(main)
