"""The command `compare-gan-logits data`, from a checkout."""

from compare_gan_logits.cli import data


if __name__ == "__main__":
  data.command_line()
