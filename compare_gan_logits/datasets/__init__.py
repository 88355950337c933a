"""Image sets by gin name: TensorFlow Datasets, folders, tars, the embedded set.

Every set yields float32 images [h, w, c] in [0, 1] at the model's size. The order
of training images is a pure function of the seed, so that a resumed run goes on
where it stopped.
"""

import abc
import contextlib
import csv
import functools
import hashlib
import os
import tarfile

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
from absl import flags

from compare_gan_logits import images as image_lib
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


flags.DEFINE_string("tfds_data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_bool(
  "data_fake_dataset",
  False,
  "Replace the images by made-up ones of the same shape, for a smoke test.",
)
FLAGS = flags.FLAGS

_SPLITS = {"train": "train", "validation": "validation", "test": "validation"}
_FOLDER_SPLITS = {"train": ("train",), "validation": ("validation", "val", "test")}
_MAX_RESOLUTION = 4096
_SHUFFLE_BUFFER = 16384  # encoded images; about 2 GB for ImageNet
_EMBEDDED_CLASSES = (
  "T-shirt",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
)
_FAKE_EXAMPLES = {"train": 512, "validation": 128}


class ImageDataset(abc.ABC):
  """A labelled image set with the splits "train" and "validation".

  Attributes:
    name: as gin gives it.
    resolution, colors: of its images.
    num_classes, class_names: labels are 0 ... num_classes - 1.
    seed: of the order of training images.
    imagenet_indices: int [num_classes], the place of each class among ImageNet's
      1000, or None where that is not known.
  """

  def __init__(
    self, name, resolution, colors, class_names, seed, imagenet_indices=None
  ):
    self.name = name
    self.resolution = resolution
    self.colors = colors
    self.class_names = list(class_names)
    self.num_classes = len(self.class_names)
    self.seed = seed
    self.imagenet_indices = imagenet_indices

  @abc.abstractmethod
  def num_examples(self, split):
    """Number of images of a split."""

  @abc.abstractmethod
  def fingerprint(self, split):
    """A digest that changes when the images change."""

  @abc.abstractmethod
  def load(self, split, where=None):
    """One epoch in file order, unbatched.

    Args:
      split: "train" or "validation".
      where: graph function of an id, whether to read that image; others are passed
        over without being decoded.

    Returns:
      tf.data.Dataset of {"image": float32 [h, w, c] in [0, 1], "label": int32 [],
      "id": int64 [], the position in this order}.
    """

  @abc.abstractmethod
  def train(
    self, batch_size, split="train", start=0, shard=0, num_shards=1, with_logits=None
  ):
    """Endless batches, shuffled anew every epoch from the seed and the epoch.

    Args:
      batch_size: images per batch; batches go on across epochs.
      split: "train" or "validation".
      start: number of this worker's images to pass over, without decoding them.
      shard, num_shards: this worker reads every num_shards-th image of the order, or
        of a set that is read in files its share of those.
      with_logits: float [num_examples, n], indexed by id; adds "logits".

    Returns:
      tf.data.Dataset of batches of what `load` yields.
    """

  @contextlib.contextmanager
  def naming_damage(self):
    """Around the reading of images: names the file where one is damaged."""
    try:
      yield
    except tf.errors.DataLossError as error:
      path = self._damaged_file()
      if path is None:
        raise
      raise UserError(
        f"{path} is damaged ({error.message.splitlines()[0]}); copy it "
        "again, or prepare the data set anew"
      ) from error

  def _damaged_file(self):
    """The first damaged file of records, or None."""
    del self

  def class_counts(self, split):
    """Images per class, int [num_classes], or None where that means reading all."""
    del split

  def arrays(self, split, limit=None, indices=None):
    """Numpy images [n, h, w, c] in [0, 1] and labels [n].

    Args:
      split: "train" or "validation".
      limit: only the first so many.
      indices: only these ids, in this order.
    """
    wanted = None if indices is None else {int(i) for i in indices}
    found = {}
    with self.naming_damage(), tf.Graph().as_default(), tf.Session() as session:
      element = self.load(split).make_one_shot_iterator().get_next()
      total = self.num_examples(split)
      for position in range(min(limit or total, total)):
        value = session.run(element)
        if wanted is None or position in wanted:
          found[position] = value
    order = found if indices is None else [int(i) for i in indices]
    return (
      np.stack([found[i]["image"] for i in order]),
      np.asarray([found[i]["label"] for i in order], np.int32),
    )

  def _elements(self, batched, with_logits=None):
    """Shapes and types of what `load` and `train` yield."""
    lead = [None] if batched else []
    shape = lead + [self.resolution, self.resolution, self.colors]
    spec = {
      "image": tf.TensorSpec(shape, tf.float32),
      "label": tf.TensorSpec(lead, tf.int32),
      "id": tf.TensorSpec(lead, tf.int64),
    }
    if with_logits is not None:
      spec["logits"] = tf.TensorSpec(lead + [with_logits.shape[1]], tf.float32)
    return spec


# Sets whose images can be read in any order ----------------------------------


class _RandomAccessDataset(ImageDataset):
  """A set that reads any image by its id.

  Args:
    sources: dict of split to a source with `labels` int32 [n], `images(ids)` uint8
      [len(ids), h, w, c] and `fingerprint()`.
  """

  def __init__(self, sources, **kwargs):
    super().__init__(**kwargs)
    self._sources = sources

  def _source(self, split):
    if split not in _SPLITS:
      raise UserError(f"split {split!r}: {nearest(split, _SPLITS)}")
    return self._sources[_SPLITS[split]]

  def num_examples(self, split):
    return len(self._source(split).labels)

  def fingerprint(self, split):
    return self._source(split).fingerprint()

  def class_counts(self, split):
    return np.bincount(self._source(split).labels, minlength=self.num_classes)

  def arrays(self, split, limit=None, indices=None):
    source = self._source(split)
    ids = np.arange(len(source.labels)) if indices is None else np.asarray(indices)
    ids = ids[:limit]
    return source.images(ids).astype(np.float32) / 255.0, source.labels[ids]

  def load(self, split, where=None):
    dataset = tf.data.Dataset.range(self.num_examples(split))
    if where is not None:
      dataset = dataset.filter(where)
    return self._read(dataset.batch(64), split).unbatch()

  def train(
    self, batch_size, split="train", start=0, shard=0, num_shards=1, with_logits=None
  ):
    order = functools.partial(self._ids, split, batch_size, start, shard, num_shards)
    batches = tf.data.Dataset.range(np.iinfo(np.int64).max).map(
      lambda batch: tf.ensure_shape(
        tf.numpy_function(order, [batch], tf.int64), [batch_size]
      )
    )
    return self._read(batches, split, with_logits).prefetch(2)

  def _ids(self, split, batch_size, start, shard, num_shards, batch):
    """Ids of a batch: a pure function of the seed and the batch's number."""
    total = self.num_examples(split)
    positions = start + batch * batch_size + np.arange(batch_size)
    epochs, places = np.divmod(positions * num_shards + shard, total)
    ids = np.empty(batch_size, np.int64)
    for epoch in np.unique(epochs):
      permutation = _permutation(total, self.seed, int(epoch))
      ids[epochs == epoch] = permutation[places[epochs == epoch]]
    return ids

  def _read(self, ids, split, with_logits=None):
    """Maps a dataset of id vectors to a dataset of batches."""
    source = self._source(split)
    spec = self._elements(batched=True, with_logits=with_logits)

    def read(batch):
      values = [source.images(batch), source.labels[batch], batch]
      if with_logits is not None:
        values.append(np.asarray(with_logits[batch], np.float32))
      return values

    def to_elements(batch):
      types = [tf.uint8, tf.int32, tf.int64, tf.float32][: len(spec)]
      values = tf.numpy_function(read, [batch], types)
      values[0] = tf.cast(values[0], tf.float32) / 255.0
      element = {}
      for (key, wanted), value in zip(spec.items(), values):
        value.set_shape(batch.shape.concatenate(wanted.shape[1:]))
        element[key] = value
      return element

    return ids.map(to_elements, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@functools.lru_cache(maxsize=4)
def _permutation(total, seed, epoch):
  return np.random.default_rng([seed, epoch]).permutation(total)


class _ArraySource:
  """Images in memory: uint8 [n, h, w, c], labels [n]."""

  def __init__(self, images, labels):
    self._images = images
    self.labels = np.asarray(labels, np.int32)

  def images(self, ids):
    return self._images[ids]

  def fingerprint(self):
    return _digest(self._images.tobytes(), self.labels.tobytes())


class _FileSource:
  """Encoded images in files or tars, decoded when they are read.

  Args:
    entries: list of (name, path, offset, size), offset None for a whole file.
    labels: class of each.
    resolution, colors: of the decoded images.
  """

  def __init__(self, entries, labels, resolution, colors):
    self._entries = entries
    self._resolution = resolution
    self._colors = colors
    self.labels = np.asarray(labels, np.int32)

  def images(self, ids):
    return np.stack([self._image(*self._entries[i]) for i in ids])

  def _image(self, name, path, offset, size):
    image_lib.check_regular(path, name)
    try:
      with open(path, "rb") as f:
        f.seek(offset or 0)
        encoded = f.read(size) if size is not None else f.read()
    except OSError as error:
      raise UserError(
        f"{name} cannot be read ({error.strerror}); put it back, or "
        "start again without it"
      ) from None
    return image_lib.read_image(encoded, self._resolution, self._colors, name)

  def fingerprint(self):
    return _digest(*(f"{name} {size}".encode() for name, _, _, size in self._entries))


def _digest(*parts):
  digest = hashlib.sha256()
  for part in parts:
    digest.update(part)
    digest.update(b"\0")
  return digest.hexdigest()[:16]


# The embedded set and made-up images -----------------------------------------


def _embedded(name, seed):
  folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
  sources = {}
  for split in _FOLDER_SPLITS:
    with np.load(os.path.join(folder, f"fashion_mnist_{split}.npz")) as arrays:
      sources[split] = _ArraySource(_pad_to_32(arrays["images"]), arrays["labels"])
  return _RandomAccessDataset(
    sources,
    name=name,
    resolution=32,
    colors=1,
    class_names=_EMBEDDED_CLASSES,
    seed=seed,
  )


def _pad_to_32(images):
  """Two black pixels on each side of 28x28 images: [n, 28, 28] -> [n, 32, 32, 1]."""
  return np.pad(images, [(0, 0), (2, 2), (2, 2)])[..., np.newaxis]


def _fake(name, resolution, colors, class_names, seed):
  """Blobs whose place and colour depend on the class: something can be learnt."""
  classes = len(class_names)
  rng = np.random.default_rng(seed)
  centers = rng.uniform(0.2, 0.8, [classes, 2])
  tints = rng.uniform(0.3, 1.0, [classes, colors])
  axis = (np.arange(resolution) + 0.5) / resolution
  sources = {}
  for split, total in _FAKE_EXAMPLES.items():
    labels = np.arange(total) % classes
    center = centers[labels] + rng.normal(0, 0.05, [total, 2])
    width = rng.uniform(0.1, 0.2, [total, 1, 1])
    squared = (axis[None, :, None] - center[:, 0, None, None]) ** 2 + (
      axis[None, None, :] - center[:, 1, None, None]
    ) ** 2
    blobs = np.exp(-squared / (2 * width**2))[..., None] * tints[labels][:, None, None]
    sources[split] = _ArraySource((255 * blobs).astype(np.uint8), labels)
  return _RandomAccessDataset(
    sources,
    name=name,
    resolution=resolution,
    colors=colors,
    class_names=class_names,
    seed=seed,
  )


def _parse_fake(name):
  """ "fake:1000@64" -> (1000, 64)."""
  try:
    classes, size = (int(number) for number in name[len("fake:") :].split("@"))
  except ValueError:
    raise UserError(
      f"dataset.name {name!r} is not like 'fake:1000@64', 1000 classes of 64 px"
    ) from None
  if not 1 <= classes <= 100_000 or not 1 <= size <= _MAX_RESOLUTION:
    raise UserError(
      f"dataset.name {name!r}: up to 100,000 classes and {_MAX_RESOLUTION} "
      "px can be made up"
    )
  return classes, size


# Folders and tars of class folders -------------------------------------------


def _folder(name, seed, colors):
  """<root>/train/<class>/*.jpg and <root>/validation/<class>/*.jpg, or tars of them."""
  root, resolution = _parse_folder(name)
  if not os.path.isdir(root):
    raise UserError(f"dataset.name {name!r}: no folder {root}")
  names = {split: _find(root, folders) for split, folders in _FOLDER_SPLITS.items()}
  for split, entries in names.items():
    if not entries:
      raise UserError(
        f"dataset.name {name!r}: no images in {root}/{split}/<class>/ (or in tars of "
        "such folders); splits are called train and validation"
      )
  classes = sorted({class_name for class_name, _ in names["train"]})
  unknown = sorted({c for c, _ in names["validation"]} - set(classes))
  if unknown:
    raise UserError(
      f"dataset.name {name!r}: class {unknown[0]} has validation images, "
      "but none for training"
    )
  colors = colors or 3
  sources = {
    split: _FileSource(
      [entry for _, entry in entries],
      [classes.index(c) for c, _ in entries],
      resolution,
      colors,
    )
    for split, entries in names.items()
  }
  class_names, indices = _read_class_table(root, classes)
  return _RandomAccessDataset(
    sources,
    name=name,
    resolution=resolution,
    colors=colors,
    seed=seed,
    class_names=class_names,
    imagenet_indices=indices,
  )


def _parse_folder(name):
  path = name[len("folder:") :] if name.startswith("folder:") else name
  root, at, resolution = path.rpartition("@")
  if not at or not resolution.isdecimal() or not int(resolution):
    raise UserError(
      f"dataset.name {name!r} does not say the size of the images; append it: {path}@64"
    )
  if int(resolution) > _MAX_RESOLUTION:
    raise UserError(
      f"dataset.name {name!r}: images of more than {_MAX_RESOLUTION} px a "
      f"side are not trained on; append a smaller size: {root}@64"
    )
  return root, int(resolution)


def _find(root, folders):
  """Sorted (class, entry) of every image below root/<one of folders>/<class>/."""
  found = []
  for folder in folders:
    top = os.path.join(root, folder)
    for class_name in sorted(os.listdir(top)) if os.path.isdir(top) else []:
      class_folder = os.path.join(top, class_name)
      for file in (
        sorted(os.listdir(class_folder)) if os.path.isdir(class_folder) else []
      ):
        path = os.path.join(class_folder, file)
        if file.lower().endswith(image_lib.EXTENSIONS):
          found.append((class_name, (path, path, None, _size(path))))
  for tar in sorted(os.listdir(root)):
    if tar.endswith(".tar"):
      found.extend(_find_in_tar(os.path.join(root, tar), folders))
  return sorted(found)


def _size(path):
  try:
    return os.path.getsize(path)
  except OSError as error:  # a link to nowhere, or to itself
    raise UserError(
      f"{path} cannot be read ({error.strerror}); put it back or remove it"
    ) from None


def _find_in_tar(path, folders):
  """Images are read from the tar in place: nothing is ever extracted."""
  try:
    with tarfile.open(path, "r:") as tar:
      for member in tar:
        parts = member.name.split("/")
        if (
          member.isfile()
          and len(parts) == 3
          and parts[0] in folders
          and parts[2].lower().endswith(image_lib.EXTENSIONS)
        ):
          name = f"{path}:{member.name}"
          yield parts[1], (name, path, member.offset_data, member.size)
  except tarfile.TarError as error:
    raise UserError(f"{path} is not a readable tar ({error}); make it again") from None


def _read_class_table(root, classes):
  """Names and ImageNet indices from <root>/classes.tsv, if it is there."""
  path = os.path.join(root, "classes.tsv")
  if not os.path.exists(path):
    return classes, None
  try:
    with open(path, newline="", encoding="utf-8") as f:
      table = {
        row["wnid"]: (row["name"].split(",")[0], int(row["imagenet_index"]))
        for row in csv.DictReader(f, delimiter="\t")
      }
    if not all(0 <= index < 1000 for _, index in table.values()):
      raise ValueError("an imagenet_index is not 0 to 999")
  except (OSError, AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
    raise UserError(
      f"{path} is damaged ({error}); it has the columns wnid, name and "
      "imagenet_index between tabs; put it right or remove it"
    ) from None
  missing = [c for c in classes if c not in table]
  if missing:
    raise UserError(
      f"{path} does not list class {missing[0]}; add it, or remove the file"
    )
  names, indices = zip(*(table[c] for c in classes))
  return list(names), np.asarray(indices)


# TensorFlow Datasets ---------------------------------------------------------


class _TfdsDataset(ImageDataset):
  """A set of TensorFlow Datasets that is too large for memory.

  Training reads the record files in an order drawn per epoch, and shuffles in a
  buffer of _SHUFFLE_BUFFER encoded images. Each of several workers has record files of
  its own, and reads no others: together they read every image once per epoch, but a
  step's batch is then not made of the images that a single worker's would be. Where
  there are more workers than files, each reads all and takes every num_shards-th.
  """

  def __init__(self, builder, splits, **kwargs):
    super().__init__(**kwargs)
    self._builder = builder
    self._splits = splits

  def _info(self, split):
    if split not in _SPLITS:
      raise UserError(f"split {split!r}: {nearest(split, _SPLITS)}")
    return self._builder.info.splits[self._splits[_SPLITS[split]]]

  def num_examples(self, split):
    return self._info(split).num_examples

  def _damaged_file(self):
    return _damaged_record_file(self._builder)

  def fingerprint(self, split):
    info = self._info(split)
    return _digest(
      self._builder.info.full_name.encode(),
      split.encode(),
      repr(info.shard_lengths).encode(),
    )

  def load(self, split, where=None):
    files = tf.data.Dataset.from_tensor_slices(self._files(split))
    records = files.flat_map(_numbered_records)
    if where is not None:
      records = records.filter(lambda identity, record: where(identity))
    return records.map(self._decode, tf.data.AUTOTUNE, deterministic=True)

  def train(
    self, batch_size, split="train", start=0, shard=0, num_shards=1, with_logits=None
  ):
    total = self.num_examples(split)
    # Whole epochs are passed over by their number, the rest without decoding.
    lengths = self._info(split).shard_lengths
    own = (
      sum(lengths[shard::num_shards])
      if num_shards <= len(lengths)
      else len(range(shard, total, num_shards))
    )
    first_epoch, rest = divmod(start, own)
    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    records = epochs.flat_map(
      lambda epoch: self._epoch(split, epoch, shard, num_shards)
    ).skip(rest)
    elements = records.map(self._decode, tf.data.AUTOTUNE, deterministic=True)
    elements = elements.batch(batch_size, drop_remainder=True)
    if with_logits is not None:
      elements = elements.map(lambda batch: self._add_logits(batch, with_logits))
    return elements.prefetch(2)

  def _epoch(self, split, epoch, shard, num_shards):
    names, offsets = self._files(split)
    by_file = num_shards <= len(names)
    if by_file:
      names, offsets = names[shard::num_shards], offsets[shard::num_shards]
    seed = self.seed + epoch * 7919
    files = tf.data.Dataset.from_tensor_slices((names, offsets))
    records = files.shuffle(len(names), seed=seed).interleave(
      _numbered_records,
      cycle_length=16,
      num_parallel_calls=tf.data.AUTOTUNE,
      deterministic=True,
    )
    if not by_file:
      records = records.shard(num_shards, shard)
    return records.shuffle(_SHUFFLE_BUFFER, seed=seed)

  def _files(self, split):
    """Paths of a split's record files, and the id of each one's first record."""
    info = self._info(split)
    lengths = info.shard_lengths
    return (
      [str(path) for path in info.filepaths],
      np.cumsum([0, *lengths[:-1]]).astype(np.int64),
    )

  def _decode(self, identity, record):
    import tensorflow_datasets as tfds

    example = self._builder.info.features.deserialize_example(
      record, decoders={"image": tfds.decode.SkipDecoding()}
    )
    image = tf.io.decode_image(example["image"], self.colors, expand_animations=False)
    return {
      "image": _central_square(image, self.resolution, self.colors),
      "label": tf.cast(example["label"], tf.int32),
      "id": identity,
    }

  def _add_logits(self, batch, logits):
    values = tf.numpy_function(
      lambda ids: np.asarray(logits[ids], np.float32), [batch["id"]], tf.float32
    )
    return dict(
      batch, logits=tf.ensure_shape(values, [batch["id"].shape[0], logits.shape[1]])
    )


def _damaged_record_file(builder):
  """Path of the first record file that cannot be read to its end, or None.

  Reading does not tell which of the many files it was at, so all are read again.
  """
  for info in builder.info.splits.values():
    for path in info.filepaths:
      with tf.Graph().as_default(), tf.Session() as session:
        records = tf.data.TFRecordDataset(str(path)).batch(256)
        following = records.make_one_shot_iterator().get_next()
        try:
          while True:
            session.run(following.op)
        except tf.errors.OutOfRangeError:
          continue
        except tf.errors.OpError:
          return path
  return None


def _numbered_records(path, offset):
  return tf.data.TFRecordDataset(path).enumerate(offset)


def _central_square(image, resolution, colors):
  """uint8 [h, w, c] -> float32 [resolution, resolution, c] in [0, 1]."""
  shape = tf.shape(image)
  side = tf.minimum(shape[0], shape[1])
  image = tf.image.crop_to_bounding_box(
    image, (shape[0] - side) // 2, (shape[1] - side) // 2, side, side
  )
  image = tf2.image.resize(
    tf.cast(image, tf.float32) / 255.0, [resolution, resolution], antialias=True
  )
  return tf.reshape(tf.clip_by_value(image, 0.0, 1.0), [resolution, resolution, colors])


# name: (TFDS name, split for validation, resolution, colors, number of classes)
_TFDS = {
  "imagenet_64": ("imagenet2012", "validation", 64, 3, 1000),
  "imagenet_128": ("imagenet2012", "validation", 128, 3, 1000),
  "imagenet_256": ("imagenet2012", "validation", 256, 3, 1000),
  "imagenet_512": ("imagenet2012", "validation", 512, 3, 1000),
  "imagenet_resized_64": ("imagenet_resized/64x64", "validation", 64, 3, 1000),
  "cifar10": ("cifar10", "test", 32, 3, 10),
  "cifar100": ("cifar100", "test", 32, 3, 100),
  "mnist": ("mnist", "test", 32, 1, 10),
  "fashion_mnist": ("fashion_mnist", "test", 32, 1, 10),
}


def _tfds(name, seed):
  import tensorflow_datasets as tfds

  tfds_name, validation, resolution, colors, num_classes = _TFDS[name]
  builder = tfds.builder(tfds_name, data_dir=FLAGS["tfds_data_dir"].value)
  if not builder.info.splits:
    where = FLAGS["tfds_data_dir"].value or "~/tensorflow_datasets"
    raise UserError(
      f"dataset {name} is not prepared in {where}; on a machine with a network: "
      f"python -c \"import tensorflow_datasets as tfds; tfds.load('{tfds_name}')\" "
      "(imagenet2012 first wants its archives in downloads/manual), or name its "
      "folder with --tfds_data_dir"
    )
  class_names = builder.info.features["label"].names
  indices = np.arange(1000) if num_classes == 1000 else None
  facts = {
    "name": name,
    "resolution": resolution,
    "colors": colors,
    "class_names": class_names,
    "seed": seed,
    "imagenet_indices": indices,
  }
  splits = {"train": "train", "validation": validation}
  if num_classes == 1000:
    return _TfdsDataset(builder, splits, **facts)
  sources = {
    split: _tfds_in_memory(builder, tfds_split) for split, tfds_split in splits.items()
  }
  return _RandomAccessDataset(sources, **facts)


def _tfds_in_memory(builder, split):
  import tensorflow_datasets as tfds

  try:
    with tf.Graph().as_default():
      examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
  except tf.errors.OpError as error:
    raise UserError(
      f"{_damaged_record_file(builder) or builder.data_path} is damaged "
      f"({error.message.splitlines()[0]}); copy it again, or prepare the "
      "data set anew"
    ) from error
  images = np.stack([example["image"] for example in examples])
  if images.shape[1] == 28:
    images = _pad_to_32(images[..., 0])
  return _ArraySource(images, [example["label"] for example in examples])


# -----------------------------------------------------------------------------


@gin.configurable("dataset")
def get_dataset(name=gin.REQUIRED, seed=547, colors=None):
  """The image set that gin binds.

  Images of other shapes than the model's are cut to their central square and
  resized with antialiasing; 28x28 digits and garments are padded to 32x32.

  Args:
    name: "embedded" (garments, ships with the program), imagenet_64 (128, 256,
      512), imagenet_resized_64, cifar10, cifar100, mnist, fashion_mnist (all through
      TensorFlow Datasets, which must have prepared them), "folder:PATH@SIZE" with
      train/<class>/*.jpg and validation/<class>/*.jpg, or tars of those, below PATH,
      or "fake:CLASSES@SIZE", made-up images for benchmarks.
    seed: of the order of training images.
    colors: 1 or 3, for folders; default 3.

  Raises:
    UserError: there is no such set, or it is not prepared.
  """
  fake = FLAGS["data_fake_dataset"].value
  if not isinstance(name, str):
    raise UserError(
      f"dataset.name is {name!r}; it must be a text in quotes, such as 'embedded'"
    )
  if colors not in (None, 1, 3):
    raise UserError(f"dataset.colors is {colors!r}; it must be 1 or 3")
  if name.startswith("fake:"):
    classes, size = _parse_fake(name)
    return _fake(name, size, colors or 3, [f"class {i}" for i in range(classes)], seed)
  if name.startswith(("folder:", "/", ".")):
    if fake:
      return _fake(name, _parse_folder(name)[1], colors or 3, list("0123456789"), seed)
    return _folder(name, seed, colors)
  if name == "embedded":
    if fake:
      return _fake(name, 32, 1, _EMBEDDED_CLASSES, seed)
    return _embedded(name, seed)
  if name not in _TFDS:
    raise UserError(
      f"dataset.name {name!r}: "
      f"{nearest(name, [*_TFDS, 'embedded', 'folder:PATH@SIZE'])}"
    )
  if fake:
    _, _, resolution, channels, num_classes = _TFDS[name]
    return _fake(
      name, resolution, channels, [f"class {i}" for i in range(num_classes)], seed
    )
  return _tfds(name, seed)
