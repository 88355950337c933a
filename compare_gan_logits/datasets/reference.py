"""The reference's image sets, through TensorFlow Datasets.

ImageDatasetV2 is the class that compare_gan's users extend. Beneath it the record files
are read by number, so that every image has an id and a stopped run goes on where it
was.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import files
from compare_gan_logits import utils
from compare_gan_logits.datasets import flag_definitions
from compare_gan_logits.datasets import made_up
from compare_gan_logits.datasets import transforms
from compare_gan_logits.datasets.image_set import ImageDataset
from compare_gan_logits.datasets.image_set import check_split
from compare_gan_logits.datasets.image_set import digest
from compare_gan_logits.errors import UserError


_SHUFFLE_BUFFER = 16384  # images; encoded ones of ImageNet are about 2 GB
_SHUFFLED_BYTES = 2**31  # of decoded images
_UNKNOWN_SHAPE = (500, 500, 3)  # taken for the size of images of varying size
_INTERLEAVED_FILES = 16
_SAMPLED = 256  # elements that tell one set of a subclass from another


@gin.configurable("replace_labels", denylist=["dataset", "split", "label_spec"])
def replace_labels(
  dataset: tf.data.Dataset,
  split: str,
  file_pattern: str | None = None,
  label_spec: Any = None,
) -> tf.data.Dataset:
  """Puts other labels to images, from TFRecords in the order of the images.

  Args:
    dataset: of dicts of features with "file_name" and "label".
    split: replaces "{split}" in the pattern.
    file_pattern: of TFRecords of examples with "file_name" and "label"; None leaves
      the labels as they are.
    label_spec: tf.io feature of the new labels; one whole number by default.

  Raises:
    UserError: no file fits the pattern. tf.errors.InvalidArgumentError, when images are
      read: a record belongs to another file than its image.
  """
  if file_pattern is None:
    return dataset
  paths = _label_files(file_pattern, split)
  spec = {
    "file_name": tf.io.FixedLenFeature([], tf.string),
    "label": label_spec or tf.io.FixedLenFeature([], tf.int64),
  }
  labels = tf.data.TFRecordDataset(
    paths, num_parallel_reads=flag_definitions.value("data_reading_num_threads")
  )
  if len(paths) > 1:  # Reading in parallel interleaves files; this keeps their order.
    labels = tf.data.Dataset.from_tensor_slices(paths).flat_map(tf.data.TFRecordDataset)
  labels = labels.map(lambda record: tf.io.parse_single_example(record, spec))

  def replace(features, other):
    same = tf.debugging.assert_equal(
      features["file_name"],
      other["file_name"],
      message="replace_labels: the labels are in another order than the images",
    )
    with tf.control_dependencies([same] if same is not None else []):
      return dict(features, label=tf.identity(other["label"]))

  return tf.data.Dataset.zip((dataset, labels)).map(replace)


class ImageDatasetV2(ImageDataset):
  """A set of TensorFlow Datasets; the base class of your own sets.

  A subclass may override `_parse_fn`, `_load_dataset`, `_train_filter_fn`,
  `_train_transform_fn` and `_eval_transform_fn`, and set `_train_split` and
  `_eval_split` (any split that TensorFlow Datasets knows, such as "train[:99%]").

  Training reads the record files in an order drawn per epoch, and shuffles in a buffer
  of 16,384 encoded images, or of as many as --data_shuffle_buffer_size says where that
  is fewer. Each of several workers has record files of its own, and
  reads no others: together they read every image once per epoch, but a step's batch is
  then not made of the images that a single worker's would be. Where there are more
  workers than files, each reads all and takes every num_shards-th. A set whose
  `_load_dataset` is overridden is read in its own order and shuffled in the buffer,
  which holds 2 GB of its images at most.

  Args:
    name: as gin gives it.
    tfds_name: name in TensorFlow Datasets.
    resolution: side of the images, in pixels.
    colors: 1 or 3.
    num_classes: int, or None for images without classes (label 0).
    eval_test_samples: images that the evaluation takes.
    seed: of the order of training images, and of what is drawn for each.
  """

  # Whether the _train_transform_fn of this very class takes a seed int [2], see
  # InputFunctions; one that overrides it says so itself.
  _stateless_seed = True
  _label_spec = None  # of replaced labels

  def __init__(
    self,
    name: str,
    tfds_name: str,
    resolution: int,
    colors: int,
    num_classes: int | None,
    eval_test_samples: int,
    seed: int,
  ) -> None:
    self._tfds_name = tfds_name
    self._eval_test_samples = eval_test_samples
    self._padding = 0
    super().__init__(name, resolution, colors, [], seed)
    self.num_classes = num_classes
    del self.class_names  # found when it is asked for

  # The reference's interface ---------------------------------------------------

  @property
  def eval_test_samples(self) -> int:
    if flag_definitions.value("data_fake_dataset"):
      return min(made_up.NUM_NOISE_IMAGES, self._eval_test_samples)
    return self._eval_test_samples

  def _parse_fn(self, features: dict) -> tuple[tf.Tensor, tf.Tensor]:
    """(image float32 [h, w, c] in [0, 1], label int32 []) of decoded features."""
    image = tf.cast(features["image"], tf.float32) / 255.0
    if self.num_classes is None:
      return image, tf.constant(0, tf.int32)
    return image, tf.cast(features["label"], tf.int32)

  def _load_dataset(self, split):
    if self._fake:
      return self._fake_dataset().repeat()
    if flag_definitions.value("data_fake_dataset"):  # an override asks for its base's
      return self._fake_dataset()
    dataset = replace_labels(self._features(split), split, label_spec=self._label_spec)
    return dataset.map(self._parse_fn, tf.data.AUTOTUNE)

  def _train_transform_fn(self, image, label, seed):
    return self._crop(image, self.transform.train_crop, seed), label

  def _eval_transform_fn(self, image, label, seed):
    return self._crop(image, self.transform.eval_crop, seed), label

  def _crop(self, image, method, seed):
    if method == "middle":  # These images are square.
      return image
    cropped = transforms.crop(image, method, seed)
    return transforms.resize(cropped, self._unpadded, self.transform.antialias)

  @property
  def _unpadded(self):
    """The side of images before the border is added."""
    return self.resolution - 2 * self._padding

  def _augmented(self, dataset, seed):
    if not self.transform.flip:
      return dataset
    return dataset.map(
      lambda image, label: (tf.image.random_flip_left_right(image, seed), label)
    )

  def pad_to(self, side: int) -> None:
    """Surrounds the images with black, to `side` x `side` pixels.

    Raises:
      UserError: the images are larger, or no equal border is possible.
    """
    border, odd = divmod(side - self.resolution, 2)
    if border < 0 or odd:
      raise UserError(
        f"{self.name}: images of {self.resolution} px cannot be padded to {side} px"
      )
    self._padding += border
    self.resolution = side

  def _finish(self, image):
    border = self._padding
    return tf.pad(image, [[border, border], [border, border], [0, 0]])

  # What it is read from --------------------------------------------------------

  @property
  def _fake(self):
    fake = flag_definitions.value("data_fake_dataset")
    return fake and not self._overrides("_load_dataset")

  def _fake_dataset(self):
    shape = (self._unpadded, self._unpadded, self.colors)
    return tf.data.Dataset.from_tensor_slices(made_up.noise(shape, self._seed))

  @functools.cached_property
  def _builder(self):
    import tensorflow_datasets as tfds

    return tfds.builder(
      self._tfds_name, data_dir=flag_definitions.value("tfds_data_dir")
    )

  def check(self) -> None:
    if self._fake or self._overrides("_load_dataset") or self._builder.info.splits:
      return
    given = flag_definitions.value("tfds_data_dir")
    arguments = f"'{self._tfds_name}'" + (f", data_dir='{given}'" if given else "")
    archives = (
      " (it first wants its archives in downloads/manual)"
      if self._tfds_name.startswith("imagenet2012")
      else ""
    )
    raise UserError(
      f"dataset {self.name} is not prepared in {given or '~/tensorflow_datasets'}; on a "
      'machine with a network: python -c "import tensorflow_datasets as tfds; '
      f'tfds.load({arguments})"{archives}, or name its folder with --tfds_data_dir'
    )

  def _overrides(self, method):
    return getattr(type(self), method) is not getattr(ImageDatasetV2, method)

  @functools.cached_property
  def class_names(self) -> list:
    if self.num_classes is None:
      return []
    if not self._fake and not self._overrides("_load_dataset"):
      features: Any = self._builder.info.features
      label = features.get("label")
      names = getattr(label, "names", None)
      if names and len(names) == self.num_classes:
        return list(names)
    return [f"class {i}" for i in range(self.num_classes)]

  def _split_name(self, split):
    """The name in TensorFlow Datasets of "train" or "validation"."""
    train = check_split(split) == "train"
    return self._train_split if train else self._eval_split

  def _info(self, name):
    self.check()
    return self._builder.info.splits[name]

  def _features(self, name):
    """Decoded features of a split, in file order."""
    self.check()
    dataset = self._builder.as_dataset(split=name, shuffle_files=False)
    # Of TensorFlow 1's class, which has make_one_shot_iterator.
    return tf.data.Dataset.from_tensors(0).flat_map(lambda _: dataset)

  @property
  def _by_record(self):
    """Whether images are read from record files by number."""
    return not (self._fake or self._overrides("_load_dataset") or self._relabelled)

  @property
  def _relabelled(self):
    return utils.bound_value("replace_labels.file_pattern") is not None

  # The program's interface -----------------------------------------------------

  @functools.lru_cache(maxsize=4)  # noqa: B019, as many data sets as a program has
  def _num_images(self, split):
    if self._fake:
      return made_up.NUM_NOISE_IMAGES
    if self._overrides("_load_dataset"):
      return _count(lambda: self._load_dataset(self._split_name(split)), self.name)
    return self._info(self._split_name(split)).num_examples

  def num_examples(self, split: str) -> int:
    return self._num_images(check_split(split)) * self._copies(split)

  def _copies(self, split):
    return self.transform.copies(check_split(split))

  def _damaged_file(self):
    return _damaged_record_file(self._builder) if self._by_record else None

  def fingerprint(self, split: str) -> str:
    name = self._split_name(split)
    if self._fake:
      parts = [self._tfds_name, name, f"noise {self._seed}"]
    elif self._overrides("_load_dataset"):
      # Images that a subclass makes by itself: their number, and the first ones.
      first = _first(functools.partial(self._load_dataset, name), _SAMPLED)
      parts = [self._tfds_name, name, str(self._num_images(split)), first]
    else:
      records = repr(_records_of(self._info(name)))
      parts = [self._builder.info.full_name, split, records]
      if self._relabelled:
        pattern = utils.bound_value("replace_labels.file_pattern")
        parts += [files.digest(path) for path in _label_files(pattern, name)]
    transform = sorted(self.describe_transform(check_split(split)).items())
    return digest(*(part.encode() for part in [*parts, repr(transform)]))

  def load(self, split: str, where: Callable | None = None) -> tf.data.Dataset:
    elements = self._numbered(split)
    copies = self._copies(split)
    if copies > 1:
      elements = elements.flat_map(
        lambda identity, payload: tf.data.Dataset.range(copies).map(
          lambda copy: (identity * copies + copy, payload)
        )
      )
    if where is not None:
      elements = elements.filter(lambda identity, payload: where(identity))
    return elements.map(
      functools.partial(self._element, split), tf.data.AUTOTUNE, deterministic=True
    )

  def train(
    self,
    batch_size: int,
    split: str = "train",
    start: int = 0,
    shard: int = 0,
    num_shards: int = 1,
    with_logits: Any = None,
  ) -> tf.data.Dataset:
    # Whole epochs are passed over by their number, the rest without decoding.
    own = self._images_per_epoch(split, shard, num_shards)
    if not own:
      raise UserError(f"{self.name}: no image passes its filter for training")
    first_epoch, rest = divmod(start, own)
    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    elements = epochs.flat_map(
      lambda epoch: self._epoch(split, epoch, shard, num_shards)
    ).skip(rest)
    elements = _enumerated(elements, start).map(
      lambda place, element: self._element(
        split, element[0], element[1], place * num_shards + shard
      ),
      tf.data.AUTOTUNE,
      deterministic=True,
    )
    elements = elements.batch(batch_size, drop_remainder=True)
    if with_logits is not None:
      elements = elements.map(lambda batch: _add_logits(batch, with_logits))
    return elements.prefetch(2)

  def _element(self, split, identity, payload, place=None):
    """What `load` and `train` yield, of an image's id, bytes and place in the order."""
    image, label = self._decode(payload)
    seed = self._seed
    if place is None or (check_split(split) == "train" and self._copies(split) > 1):
      place = -1 - identity  # Such crops depend on the id alone.
    seeds = tf.stack([tf.constant(seed, tf.int64), place])
    if check_split(split) == "train":
      if self._takes_seeds:
        seed = seeds
      image, label = self._train_transform_fn(image, label, seed=seed)
      if self.transform.flip:
        image = transforms.flip(image, seeds)
    else:
      image, label = self._eval_transform_fn(image, label, seed=seed)
    image = tf.ensure_shape(self._finish(image), self.image_shape)
    return {"image": image, "label": label, "id": identity}

  @property
  def _takes_seeds(self):
    kinds = (vars(kind) for kind in type(self).__mro__)
    owner = next(own for own in kinds if "_train_transform_fn" in own)
    return owner.get("_stateless_seed", False)

  def _decode(self, payload):
    if not self._by_record:
      return payload
    features: Any = self._builder.info.features
    return self._parse_fn(features.deserialize_example(payload))

  def _numbered(self, split):
    """(id, record or (image, label)) of a split, in file order."""
    if self._by_record:
      files = self._files(split)
      return tf.data.Dataset.from_tensor_slices(files).flat_map(_numbered_records)
    if self._fake:
      return _enumerated(self._fake_dataset())
    return _enumerated(self._load_dataset(self._split_name(split)))

  def _epoch(self, split, epoch, shard, num_shards):
    """The elements of a worker's part of an epoch, in the epoch's order."""
    seed = self._seed + epoch * 7919
    by_file = self._has_files_for(split, num_shards)
    if self._by_record:
      files = self._files(split)
      if by_file:
        files = [column[shard::num_shards] for column in files]
      elements = (
        tf.data.Dataset.from_tensor_slices(tuple(files))
        .shuffle(len(files[0]), seed=seed)
        .interleave(
          _numbered_records,
          cycle_length=_INTERLEAVED_FILES,
          num_parallel_calls=tf.data.AUTOTUNE,
          deterministic=True,
        )
      )
    else:
      elements = self._numbered(split)
    kept = self._kept(split)
    if kept is not None:
      elements = elements.filter(lambda identity, payload: tf.gather(kept, identity))
    if not by_file:
      elements = elements.shard(num_shards, shard)
    copies = self._copies(split)
    if copies > 1:
      elements = elements.map(
        lambda identity, payload: (identity * copies + epoch % copies, payload)
      )
    return elements.shuffle(self._shuffle_buffer(elements), seed=seed)

  def _shuffle_buffer(self, elements):
    """Number of elements that are shuffled at a time."""
    most = min(
      _SHUFFLE_BUFFER,
      flag_definitions.given_value("data_shuffle_buffer_size") or _SHUFFLE_BUFFER,
    )
    if self._by_record:
      return most
    _, payload = elements.element_spec
    return max(1, min(most, _SHUFFLED_BYTES // _num_bytes(payload)))

  def _has_files_for(self, split, num_shards):
    return self._by_record and num_shards <= len(self._files(split)[0])

  def _images_per_epoch(self, split, shard, num_shards):
    """Number of images that a worker reads in an epoch."""
    kept = self._kept(split)
    if kept is None:
      kept = np.ones(self._num_images(check_split(split)), bool)
    if not self._has_files_for(split, num_shards):
      return len(range(shard, int(kept.sum()), num_shards))
    starts = self._files(split)[1]
    per_file = np.add.reduceat(kept.astype(np.int64), starts)
    return int(per_file[shard::num_shards].sum())

  @functools.lru_cache(maxsize=4)  # noqa: B019, as many data sets as a program has
  def _kept(self, split):
    """bool [n], which images pass the filter for training; None where all do."""
    if check_split(split) != "train" or not self._overrides("_train_filter_fn"):
      return None
    self._num_images("train")  # refuses a set without end
    with tf.Graph().as_default(), tf.Session() as session:
      decisions = self._numbered(split).map(
        lambda identity, payload: tf.convert_to_tensor(
          self._train_filter_fn(*self._decode(payload))
        ),
        tf.data.AUTOTUNE,
      )
      kept = utils.next_element(decisions.batch(256))
      return np.concatenate(list(utils.run_to_end(session, kept)))

  def _files(self, split):
    """Paths of a split's record files, the id of each one's first record, and which
    records of the file belong to the split: how many to pass over, and to read."""
    records = _records_of(self._info(self._split_name(split)))
    paths, skips, takes = (list(column) for column in zip(*records))
    starts = np.cumsum([0, *takes[:-1]]).astype(np.int64)
    return paths, starts, np.array(skips, np.int64), np.array(takes, np.int64)


def pad_for(dataset: ImageDataset, architecture: str) -> None:
  """Pads images of 28 px to 32 px where an architecture halves them; says so."""
  halves = architecture.startswith(("resnet", "dosovitskiy"))
  if halves and isinstance(dataset, ImageDatasetV2) and dataset.resolution == 28:
    print(
      f"dataset {dataset.name}: images of 28 px are padded to 32 px, which "
      f"{architecture} needs; the padded set is called {dataset.name}@32"
    )
    dataset.pad_to(32)
    dataset.name += "@32"


class ImagenetDataset(ImageDatasetV2):
  """ImageNet, cropped: at random for training, in the middle for the evaluation."""

  _stateless_seed = True
  _eval_split = "validation"

  def __init__(self, resolution: int, seed: int, name: str | None = None) -> None:
    super().__init__(
      name=name or f"imagenet_{resolution}",
      tfds_name="imagenet2012",
      resolution=resolution,
      colors=3,
      num_classes=1000,
      eval_test_samples=50000,
      seed=seed,
    )
    self.imagenet_indices = np.arange(1000)
    self.transform = transforms.imagenet_transform()

  def _train_transform_fn(self, image, label, seed):
    image = transforms.train_imagenet_transform(
      image,
      self._unpadded,
      seed,
      crop_method=self.transform.train_crop,
      antialias=self.transform.antialias,
    )
    return image, label

  def _eval_transform_fn(self, image, label, seed):
    del seed
    image = transforms.eval_imagenet_transform(
      image,
      self._unpadded,
      crop_method=self.transform.eval_crop,
      antialias=self.transform.antialias,
    )
    return image, label


class SizeFilteredImagenetDataset(ImagenetDataset):
  """ImageNet of 512 px without training images whose shorter side is below 400 px."""

  _MIN_SIDE = 400

  def __init__(self, seed: int) -> None:
    super().__init__(512, seed, name="imagenet_512_hq400")

  def _train_filter_fn(self, image, label):
    del label
    return tf.reduce_min(tf.shape(image)[:2]) >= self._MIN_SIDE


class SingleClassImagenetDataset(ImagenetDataset):
  """ImageNet with label 0 for every image."""

  def __init__(self, resolution: int, seed: int) -> None:
    super().__init__(resolution, seed, name=f"single_class_imagenet_{resolution}")
    self.num_classes = 1
    self.imagenet_indices = None

  def _parse_fn(self, features):
    image, label = super()._parse_fn(features)
    return image, tf.zeros_like(label)


class RandomClassImagenetDataset(ImagenetDataset):
  """ImageNet with a random label for each image, the same at each reading."""

  def __init__(self, resolution: int, seed: int) -> None:
    super().__init__(resolution, seed, name=f"random_class_imagenet_{resolution}")
    self.imagenet_indices = None

  def _parse_fn(self, features):
    image, _ = super()._parse_fn(features)
    number = tf.strings.to_hash_bucket_strong(
      features["file_name"], self.num_classes, key=[self._seed, 0]
    )
    return image, tf.cast(number, tf.int32)


class SoftLabeledImagenetDataset(ImagenetDataset):
  """ImageNet whose labels are probabilities, from logits that replace the labels.

  replace_labels.file_pattern names records whose "label" is float [1000], logits.
  """

  _label_spec = tf.io.FixedLenFeature([1000], tf.float32)

  def __init__(self, resolution: int, seed: int) -> None:
    super().__init__(resolution, seed, name=f"soft_labeled_imagenet_{resolution}")

  def _parse_fn(self, features):
    if features["label"].dtype != tf.float32:
      raise UserError(
        f"{self.name} takes its labels from replace_labels.file_pattern; bind it"
      )
    image = tf.cast(features["image"], tf.float32) / 255.0
    return image, tf.nn.softmax(features["label"])


class LabeledOnlyImagenetDataset(ImagenetDataset):
  """ImageNet without training images whose (replaced) label is below 0."""

  def _train_filter_fn(self, image, label):
    del image
    return tf.greater_equal(label, 0)


class CelebaDataset(ImageDatasetV2):
  """Faces of 64 px: a central square of 160 px, made smaller."""

  def __init__(self, seed: int) -> None:
    super().__init__("celeb_a", "celeb_a", 64, 3, None, 10000, seed)

  def _parse_fn(self, features):
    image, label = super()._parse_fn(features)
    image = tf.image.resize_image_with_crop_or_pad(image, 160, 160)
    return transforms.resize(image, 64), label


class LsunBedroomDataset(ImageDatasetV2):
  """Bedrooms: central squares of 128 px. 1 % of the images are for the evaluation."""

  _train_split = "train[:99%]"
  _eval_split = "train[99%:]"

  def __init__(self, seed: int) -> None:
    super().__init__("lsun-bedroom", "lsun/bedroom", 128, 3, None, 30000, seed)

  def _parse_fn(self, features):
    image, label = super()._parse_fn(features)
    return tf.image.resize_image_with_crop_or_pad(image, 128, 128), label


class ResizedImagenetDataset(ImageDatasetV2):
  """ImageNet as TensorFlow Datasets has it at 64x64; not among the reference's."""

  _eval_split = "validation"

  def __init__(self, seed: int) -> None:
    super().__init__(
      "imagenet_resized_64", "imagenet_resized/64x64", 64, 3, 1000, 50000, seed
    )
    self.imagenet_indices = np.arange(1000)


def _records_of(info):
  """[(path, records to pass over, records to read)] of a split."""
  return [
    (
      str(part.filename),
      part.skip,
      part.examples_in_shard if part.take < 0 else part.take,
    )
    for part in info.file_instructions
  ]


def _enumerated(dataset, start=0):
  """As Dataset.enumerate, which gives a dataset of TensorFlow 2's class."""
  numbers = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
  return tf.data.Dataset.zip((numbers, dataset))


def _num_bytes(specs):
  """Bytes of an element of a dataset; about, where a size is not known."""
  return sum(
    (spec.shape.num_elements() or math.prod(_UNKNOWN_SHAPE)) * spec.dtype.size
    for spec in tf.nest.flatten(specs)
  )


def _numbered_records(path, start, skip, take):
  return _enumerated(tf.data.TFRecordDataset(path).skip(skip).take(take), start)


def _add_logits(batch, logits):
  values = tf.numpy_function(
    lambda ids: np.asarray(logits[ids], np.float32), [batch["id"]], tf.float32
  )
  shape = [batch["id"].shape[0], logits.shape[1]]
  return dict(batch, logits=tf.ensure_shape(values, shape))


def _count(make_dataset, name):
  with tf.Graph().as_default(), tf.Session() as session:
    dataset = make_dataset()
    if _has_no_end(tf.data.experimental.to_variant(dataset).op):
      raise UserError(
        f"the _load_dataset of {name} gives images without end; return one epoch, "
        "without repeat(): training repeats it by itself"
      )
    following = utils.next_element(dataset.map(lambda *element: 1).batch(1024))
    return sum(len(batch) for batch in utils.run_to_end(session, following))


def _has_no_end(op):
  """Whether the data set that an operation makes repeats without end.

  TensorFlow's cardinality does not say so of a map or a filter behind the repeat.
  """
  if "Take" in op.type:
    return False
  if op.type == "RepeatDataset":
    count = tf.get_static_value(op.inputs[1])
    if count is not None and count < 0:
      return True
  sources = [_has_no_end(x.op) for x in op.inputs if x.dtype == tf.variant]
  return bool(sources) and (all if op.type == "ZipDataset" else any)(sources)


def _label_files(pattern, split):
  """Paths of replace_labels' records, sorted.

  Raises:
    UserError: there are none.
  """
  paths = sorted(tf.io.gfile.glob(pattern.format(split=split)))
  if not paths:
    raise UserError(
      f"replace_labels.file_pattern {pattern!r}: no such files for split {split}"
    )
  return paths


def _first(make_dataset, number):
  """SHA-256 (hex) of the first elements of a dataset."""
  total = hashlib.sha256()
  with tf.Graph().as_default(), tf.Session() as session:
    elements = make_dataset().take(number)
    following = utils.next_element(elements)
    for element in utils.run_to_end(session, following):
      for value in map(np.asarray, tf.nest.flatten(element)):
        # The bytes of an array of texts are addresses.
        content = (
          repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
        )
        total.update(f"{value.dtype} {value.shape} ".encode() + content)
  return total.hexdigest()


def _damaged_record_file(builder):
  """Path of the first record file that cannot be read to its end, or None.

  Reading does not tell which of the many files it was at, so all are read again.
  """
  for info in builder.info.splits.values():
    for path in info.filepaths:
      with tf.Graph().as_default(), tf.Session() as session:
        records = tf.data.TFRecordDataset(str(path)).batch(256)
        following = utils.next_element(records)
        try:
          for _ in utils.run_to_end(session, following.op):
            pass
        except tf.errors.OpError:
          return path
  return None
