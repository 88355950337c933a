"""The command `compare-gan-logits explore`, from a checkout."""

from compare_gan_logits.cli import explore


if __name__ == "__main__":
  explore.command_line()
