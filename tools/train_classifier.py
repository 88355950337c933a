"""The command `compare-gan-logits train-classifier`, from a checkout."""

from compare_gan_logits.cli import train_classifier


if __name__ == "__main__":
  train_classifier.command_line()
