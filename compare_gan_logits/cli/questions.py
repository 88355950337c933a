"""Answers the paper's open questions at a small scale: trains, measures, writes answers.

All of them take hours of a CPU; --gin_config questions.gin says how long and binds sizes.
Intervals are over trainings with different seeds. The same command resumes a killed run
with the training that was running. answers.md always has what is answered so far;
--show writes it again without training. Gin binds the sizes, for example
--gin_bindings 'questions.seeds = (0,)'.

  compare-gan-logits questions --output runs/questions
  compare-gan-logits questions --only invertibility --output runs/questions
"""

from __future__ import annotations

from absl import flags

from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/questions", "Folder to write.")
flags.DEFINE_list("only", [], "Questions to answer, separated by commas.")
flags.DEFINE_bool(
  "show", False, "Write the answers from what is finished, without training."
)
flags.DEFINE_bool("list", False, "List the questions and stop.")
flags.DEFINE_multi_string(
  "gin_config", [], "Path of a gin file; may be repeated. Default: questions.gin."
)
flags.DEFINE_multi_string("gin_bindings", [], "One gin binding; may be repeated.")


def _define_flags():
  from compare_gan_logits import datasets  # noqa: F401


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv, "name a question with --only")
  from compare_gan_logits import questions

  names = FLAGS.only or questions.QUESTIONS
  chosen = [questions.get(name) for name in names]
  for name in questions.QUESTIONS:
    questions.get(name)  # gin takes no new names once it has read its files
  if FLAGS.list:
    for name, question in zip(names, chosen):
      print(f"{name:18} {question.QUESTION}")
    return
  from compare_gan_logits import configuration
  from compare_gan_logits import devices
  from compare_gan_logits.questions import settings
  from compare_gan_logits.questions import study

  configuration.parse_gin(FLAGS.gin_config or ["questions.gin"], FLAGS.gin_bindings)
  devices.configure()
  answers = study.run(names, FLAGS.output, settings.Settings(), not FLAGS.show, _log)
  for name, answer in answers.items():
    print(f"{name}: {answer.sentence}")
  print(f"written to {FLAGS.output}: answers.md, answers.json")


def _log(line):
  print(line, flush=True)


def command_line() -> None:
  command.run(main, prepare=_define_flags)
