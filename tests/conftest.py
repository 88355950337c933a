"""Tests compute as the commands do: the package's settings precede TensorFlow."""

import compare_gan_logits  # noqa: F401
