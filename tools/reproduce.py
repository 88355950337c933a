"""The command `compare-gan-logits reproduce`, from a checkout."""

from compare_gan_logits.cli import reproduce


if __name__ == "__main__":
  reproduce.command_line()
