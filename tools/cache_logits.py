"""The command `compare-gan-logits cache-logits`, from a checkout."""

from compare_gan_logits.cli import cache_logits


if __name__ == "__main__":
  cache_logits.command_line()
