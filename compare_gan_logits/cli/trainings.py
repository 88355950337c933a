r"""Compares the reports of several trainings, with intervals over trainings.

Each report was made by `reproduce`, on the same images and with the same labels, from
modules that were trained with another seed.

  compare-gan-logits trainings --report report_0 --report report_1 --report report_2 \
      --output over_trainings.md
"""

from __future__ import annotations

from absl import flags

from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "report",
  [],
  "Folder of a report of `reproduce`; give the flag once for each training.",
)
flags.DEFINE_string("output", "trainings.md", "File to write, in Markdown.")


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv, "name a report with --report")
  from compare_gan_logits import files
  from compare_gan_logits.experiments import trainings

  lines = trainings.summarise(trainings.read(FLAGS.report))
  written = trainings.text(lines, len(FLAGS.report))
  files.write_text(FLAGS.output, written)
  for line in lines:
    if line.outcomes:
      hidden = "; images alone would have decided it" if line.hides else ""
      print(f"{line.outcome:14} {line.what}: {line.trainings}{hidden}")
  print(f"written to {FLAGS.output}")


def command_line() -> None:
  command.run(main)
