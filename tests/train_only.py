"""A training without its export, as a command: compare_gan_logits.main's flags."""

from unittest import mock

from compare_gan_logits import main as program
from compare_gan_logits import runner_lib
from compare_gan_logits.cli import command


def main(argv):
  with mock.patch.object(runner_lib.Run, "export", lambda run: "not exported"):
    program.main(argv)


if __name__ == "__main__":
  command.run(main)
