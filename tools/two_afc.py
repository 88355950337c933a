"""The command `compare-gan-logits two-afc`, from a checkout."""

from compare_gan_logits.cli import two_afc


if __name__ == "__main__":
  two_afc.command_line()
