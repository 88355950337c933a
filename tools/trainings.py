"""The command `compare-gan-logits trainings`, from a checkout."""

from compare_gan_logits.cli import trainings


if __name__ == "__main__":
  trainings.command_line()
