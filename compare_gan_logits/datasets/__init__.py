"""Image sets by gin name: TensorFlow Datasets, folders, archives, the embedded set.

Two interfaces lead to the same images. The reference's (ImageDatasetV2: image_shape,
input_fn, train_input_fn, eval_input_fn and the methods that a subclass overrides) gives
(image, label) pairs. The program's own (load, train, arrays, fingerprint) gives every
image an id, so that logits can be cached, and an order that is a pure function of the
seed and the epoch, so that a resumed run goes on where it stopped. Images are float32
[h, w, c] in [0, 1] at the model's size.
"""

from compare_gan_logits.datasets.flag_definitions import FLAGS
from compare_gan_logits.datasets.image_set import ImageDataset
from compare_gan_logits.datasets.reference import ImageDatasetV2
from compare_gan_logits.datasets.reference import pad_for
from compare_gan_logits.datasets.reference import replace_labels
from compare_gan_logits.datasets.registry import DATASETS
from compare_gan_logits.datasets.registry import get_dataset
from compare_gan_logits.datasets.transforms import eval_imagenet_transform
from compare_gan_logits.datasets.transforms import train_imagenet_transform


__all__ = [
  "DATASETS",
  "FLAGS",
  "ImageDataset",
  "ImageDatasetV2",
  "eval_imagenet_transform",
  "get_dataset",
  "pad_for",
  "replace_labels",
  "train_imagenet_transform",
]
