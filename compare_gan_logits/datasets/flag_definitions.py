"""The flags of data sets, which the reference defines in its module as well.

Importing compare_gan_logits.datasets defines them. `get_dataset` and the input
functions of ImageDatasetV2 read them; everything beneath takes arguments.
"""

from __future__ import annotations

from typing import Any

from absl import flags


flags.DEFINE_string("tfds_data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_bool(
  "data_fake_dataset",
  False,
  "Replace the images by made-up ones of the same shape, for a smoke test.",
)
flags.DEFINE_integer(
  "data_shuffle_buffer_size",
  10000,
  "Images in the shuffle buffer of train_input_fn; where it is given, also in that of "
  "training, which otherwise holds 16,384.",
  lower_bound=1,
)
flags.DEFINE_integer(
  "data_reading_num_threads",
  64,
  "Threads that read a file of labels bound to replace_labels.file_pattern; several "
  "files are read one after the other, in their order.",
  lower_bound=1,
)
FLAGS = flags.FLAGS
NAMES = (
  "tfds_data_dir",
  "data_fake_dataset",
  "data_shuffle_buffer_size",
  "data_reading_num_threads",
)


def value(name: str) -> Any:
  """A flag's value; its default where no command line has been parsed."""
  return FLAGS[name].value


def given_value(name: str) -> Any:
  """A flag's value; None where it has its default."""
  return None if FLAGS[name].using_default_value else value(name)
