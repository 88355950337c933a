"""The command `compare-gan-logits questions`, from a checkout."""

from compare_gan_logits.cli import questions


if __name__ == "__main__":
  questions.command_line()
