"""The command `compare-gan-logits reconstruct`, from a checkout."""

from compare_gan_logits.cli import reconstruct


if __name__ == "__main__":
  reconstruct.command_line()
