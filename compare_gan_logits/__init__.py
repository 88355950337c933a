"""Feedforward inversion of classifiers: what do a network's logits keep?

The method of "Understanding Invariance via Feedforward Inversion of
Discriminatively Trained Classifiers" (Teterwak, Zhang, Krishnan, Mozer,
ICML 2021), as a thin layer over a fresh port of compare_gan's ModularGAN.

TensorFlow is not imported here: it takes seconds to load, and a command that only
prints its help should not pay for it.
"""

import os
import warnings

from compare_gan_logits import tensorflow_compat


# TensorFlow turns these kernels on by itself on some processors only; on the others
# its own convolution gradients take up to four times as long. Set it to 0 to compare.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings of the build's own
warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # TF-Hub's import

# GPU memory is taken as it is needed, so that several programs can share a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

tensorflow_compat.watch()

__version__ = "0.1.0"
