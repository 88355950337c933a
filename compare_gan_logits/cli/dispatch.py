"""The installed script: `compare-gan-logits COMMAND --flag=value ...`."""

import importlib
import sys

import compare_gan_logits
from compare_gan_logits import errors
from compare_gan_logits.cli import command


# Command -> module with `command_line`, and what --help says of it.
COMMANDS = {
  "train": (
    "compare_gan_logits.main",
    "train an inverter of a classifier's logits (also: evaluate, export)",
  ),
  "data": (
    "compare_gan_logits.cli.data",
    "show what the program finds in a folder of images",
  ),
  "reconstruct": (
    "compare_gan_logits.cli.reconstruct",
    "reconstruct image files from their logits",
  ),
  "reproduce": (
    "compare_gan_logits.cli.reproduce",
    "run the paper's experiments and write a report",
  ),
  "explore": (
    "compare_gan_logits.cli.explore",
    "open a local web page to edit an image or its logits",
  ),
  "cache-logits": (
    "compare_gan_logits.cli.cache_logits",
    "write the logits of a data set to disk",
  ),
  "train-classifier": (
    "compare_gan_logits.cli.train_classifier",
    "train a small classifier, ordinarily or adversarially",
  ),
  "two-afc": (
    "compare_gan_logits.cli.two_afc",
    "prepare, run and analyse the paper's human study",
  ),
  "questions": (
    "compare_gan_logits.cli.questions",
    "answer the paper's open questions in small",
  ),
  "trainings": (
    "compare_gan_logits.cli.trainings",
    "compare reports of several trainings",
  ),
}


def main() -> None:
  """Runs the command that the first argument names; exits with its code."""
  command.listen_to_signals()
  name = sys.argv[1] if len(sys.argv) > 1 else "--help"
  if name in ("--help", "-h", "help"):
    print(usage())
  elif name == "--version":
    print(compare_gan_logits.__version__)
  elif name in COMMANDS:
    sys.argv[:2] = [f"compare-gan-logits {name}"]
    importlib.import_module(COMMANDS[name][0]).command_line()
  else:
    print(
      f"error: no command {name!r}; {errors.nearest(name, COMMANDS)}", file=sys.stderr
    )
    sys.exit(2)


def usage() -> str:
  """What `compare-gan-logits --help` prints."""
  lines = [f"  {name:18}{summary}" for name, (_, summary) in COMMANDS.items()]
  return "\n".join(
    [
      "usage: compare-gan-logits COMMAND [--flag=value ...]",
      "",
      *lines,
      "",
      "compare-gan-logits COMMAND --help describes a command and its flags.",
    ]
  )


if __name__ == "__main__":
  main()
