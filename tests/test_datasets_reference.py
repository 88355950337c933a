"""The reference's interface of data sets: names, shapes, splits, crops and labels."""

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from absl import flags

from compare_gan_logits import datasets
from compare_gan_logits import images as image_lib
from compare_gan_logits.datasets import reference
from compare_gan_logits.datasets import transforms


@pytest.fixture(autouse=True)
def made_up_data():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["tests"])
  flags.FLAGS.data_fake_dataset = True
  flags.FLAGS.data_shuffle_buffer_size = 8
  yield
  for name in ("data_fake_dataset", "data_shuffle_buffer_size"):
    flags.FLAGS[name].unparse()
  gin.clear_config()


def first(dataset, number=1):
  """The first elements of a tf.data.Dataset made by `dataset()`."""
  with tf.Graph().as_default(), tf.Session() as session:
    element = tf.data.make_one_shot_iterator(dataset()).get_next()
    found = [session.run(element) for _ in range(number)]
  return found[0] if number == 1 else found


@pytest.mark.parametrize(
  "name, shape, classes",
  [
    ("mnist", (28, 28, 1), 10),
    ("fashion-mnist", (28, 28, 1), 10),
    ("cifar10", (32, 32, 3), 10),
    ("celeb_a", (64, 64, 3), None),
    ("imagenet_64", (64, 64, 3), 1000),
  ],
)
def test_names_shapes_and_made_up_noise(name, shape, classes):
  dataset = datasets.get_dataset(name)
  assert dataset.image_shape == shape and dataset.num_classes == classes
  assert dataset.eval_test_samples == 100
  images, labels = first(lambda: dataset.eval_input_fn({"batch_size": 20}))
  assert images.shape == (20, *shape) and images.dtype == np.float32
  assert images.min() >= 0 and images.max() <= 1
  assert abs(images.mean() - 0.5) < 0.03 and (labels == 1).all()
  image, label = first(dataset.train_input_fn)
  assert image.shape == shape and label.dtype == np.int32


def test_a_misspelt_name_is_told_with_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'celeb_a'"):
    datasets.get_dataset("celeba")


def test_preprocessing_gets_the_seed_and_batches_are_numbered():
  def preprocess(images, labels, seed=None):
    noise = tf.random.uniform([4], seed=seed)
    return {"images": images, "noise": noise}, labels

  dataset = datasets.get_dataset("cifar10", seed=3)

  def draw():
    return dataset.input_fn({"batch_size": 2}, preprocess_fn=preprocess)

  runs = [first(draw, 3) for _ in range(2)]
  features = runs[0][0][0]
  assert features["images"].shape == (2, 32, 32, 3)
  assert sorted(features) == ["_RANDOM_OFFSET", "images", "noise"]
  for (a, _), (b, _) in zip(*runs):
    np.testing.assert_array_equal(a["noise"], b["noise"])
    np.testing.assert_array_equal(a["images"], b["images"])


def test_old_names_take_one_mode_and_one_split_only():
  dataset = datasets.get_dataset("cifar10")
  with pytest.raises(ValueError, match="eval_input_fn"):
    dataset.input_fn({}, mode=tf.estimator.ModeKeys.EVAL)
  with pytest.raises(ValueError, match="eval_input_fn"):
    dataset.load_dataset("train")
  images, _ = first(lambda: dataset.load_dataset("test"))
  assert images.shape == (32, 32, 3)


class _Ramps(datasets.ImageDatasetV2):
  """Ten images whose value is their number; odd ones are not trained on."""

  def __init__(self, seed=1):
    super().__init__("ramps", "none", 4, 1, 10, 10, seed)

  def _load_dataset(self, split):
    return tf.data.Dataset.range(10).map(
      lambda i: (tf.fill([4, 4, 1], tf.cast(i, tf.float32) / 10), tf.cast(i, tf.int32))
    )

  def _train_filter_fn(self, image, label):
    return tf.equal(label % 2, 0)

  def _train_transform_fn(self, image, label, seed):
    assert seed == self._seed
    return 1 - image, label


def test_other_images_of_a_set_of_ones_own_have_another_fingerprint():
  class Darker(_Ramps):
    def _load_dataset(self, split):
      return super()._load_dataset(split).map(lambda image, label: (image / 2, label))

  found = [kind().fingerprint("train") for kind in (_Ramps, _Ramps, Darker)]
  assert found[0] == found[1] != found[2]


def test_a_set_of_ones_own_trains_and_goes_on_where_it_stopped():
  dataset = _Ramps()
  images, labels = first(lambda: dataset.train_input_fn({"batch_size": 40}))
  assert sorted(set(labels)) == [0, 2, 4, 6, 8]
  np.testing.assert_allclose(images[:, 0, 0, 0], 1 - labels / 10, rtol=1e-6)
  whole = first(lambda: dataset.train(20))
  assert sorted(whole["id"][:5]) == sorted(whole["id"][5:10]) == [0, 2, 4, 6, 8]
  np.testing.assert_array_equal(whole["label"], whole["id"])
  later = first(lambda: dataset.train(8, start=7))
  np.testing.assert_array_equal(later["id"], whole["id"][7:15])
  assert dataset.num_examples("train") == 10
  np.testing.assert_array_equal(dataset.arrays("validation")[1], np.arange(10))


def test_training_shuffles_in_the_buffer_of_the_flag_and_of_two_gigabytes(monkeypatch):
  """With a buffer of one image the order is that of the files."""

  def in_order():
    identities = first(lambda: datasets.get_dataset("cifar10").train(100))["id"]
    np.testing.assert_array_equal(np.sort(identities), np.arange(100))
    return (identities == np.arange(100)).all()

  assert not in_order()
  flags.FLAGS.data_shuffle_buffer_size = 1
  assert in_order()
  flags.FLAGS["data_shuffle_buffer_size"].unparse()
  assert not in_order()
  monkeypatch.setattr(reference, "_SHUFFLED_BYTES", 2 * 32 * 32 * 3 * 4)
  assert in_order()


def test_a_transform_of_one_s_own_gets_a_python_seed_unless_it_says_otherwise():
  given = []

  class Flipped(reference.ImagenetDataset):
    def _train_transform_fn(self, image, label, seed):
      given.append(seed)
      return super()._train_transform_fn(image, label, seed)

  class Stateless(Flipped):
    _stateless_seed = True

    def _train_transform_fn(self, image, label, seed):
      given.append(seed)
      return image[:8, :8], label

  first(lambda: Flipped(8, 1).train(2))
  first(lambda: Stateless(8, 1).train(2))
  assert given[0] == 1 and given[1].shape == [2]


def test_images_of_a_set_that_changes_tensorflow_datasets_are_made_up_too():
  class Inverted(datasets.ImageDatasetV2):
    def _load_dataset(self, split):
      return super()._load_dataset(split).map(lambda image, label: (1 - image, label))

  dataset = Inverted("inverted", "cifar10", 32, 3, 10, 10000, 1)
  assert dataset.num_examples("train") == dataset.eval_test_samples == 100
  batch = first(lambda: dataset.train(100))
  plain = datasets.get_dataset("cifar10", seed=1)
  images, _ = plain.arrays("train", indices=batch["id"])
  np.testing.assert_allclose(batch["image"], 1 - images, atol=1e-6)


@pytest.mark.parametrize("kind", ["train", "num_examples"])
@pytest.mark.parametrize(
  "behind",
  [lambda d: d, lambda d: d.map(lambda *x: x).filter(lambda x, y: y > 3).prefetch(2)],
)
def test_a_set_without_end_is_refused(kind, behind):
  class Endless(_Ramps):
    def _load_dataset(self, split):
      return behind(super()._load_dataset(split).repeat())

  use = {
    "train": lambda s: s.train(4),
    "num_examples": lambda s: s.num_examples("test"),
  }
  with pytest.raises(ValueError, match="return one epoch"):
    use[kind](Endless())


@pytest.mark.parametrize(
  "finite, count",
  [
    (lambda d: d.repeat(3), 30),
    (lambda d: d.repeat().take(25).map(lambda *x: x), 25),
    (lambda d: tf.data.Dataset.zip((d, d.repeat())).map(lambda x, y: x), 10),
  ],
)
def test_a_set_that_repeats_and_ends_is_counted(finite, count):
  class Longer(_Ramps):
    def _load_dataset(self, split):
      return finite(super()._load_dataset(split))

  assert Longer().num_examples("test") == count


def test_padding_surrounds_images_with_black():
  dataset = datasets.get_dataset("mnist")
  dataset.pad_to(32)
  images, _ = first(lambda: dataset.eval_input_fn({"batch_size": 3}))
  assert images.shape == (3, 32, 32, 1) == (3, *dataset.image_shape)
  assert images[:, 2:30, 2:30].mean() > 0.4
  assert not images[:, :2].any() and not images[:, :, 30:].any()
  with pytest.raises(ValueError, match="cannot be padded"):
    dataset.pad_to(16)


def test_padding_for_an_architecture_is_told(capsys):
  dataset = datasets.get_dataset("mnist")
  datasets.pad_for(dataset, "infogan_arch")
  assert dataset.resolution == 28
  datasets.pad_for(dataset, "resnet_biggan_arch")
  assert dataset.resolution == 32 and "padded to 32 px" in capsys.readouterr().out
  assert dataset.name == "mnist@32"
  assert datasets.get_dataset("mnist@32").image_shape == (32, 32, 1)


# Crops, by numbers that were recorded from the reference ------------------------


def formula_image(height=97, width=131):
  y, x, c = np.mgrid[:height, :width, :3]
  return ((7 * y + 13 * x + 29 * c) % 256).astype(np.uint8)


@pytest.mark.parametrize(
  "method, mean, deviation, pixels",
  [
    (
      "middle",
      0.5003489473,
      0.2700070538,
      {
        (0, 0): (0.86666667, 0.98039216, 0.09019608),
        (10, 20): (0.82022059, 0.93394607, 0.04375000),
        (63, 63): (0.32426473, 0.43799022, 0.55171567),
      },
    ),
    (
      "none",
      0.5011147389,
      0.2700200103,
      {
        (0, 63): (0.55055151, 0.66427696, 0.77800244),
        (40, 7): (0.38682601, 0.50055146, 0.61427698),
        (63, 63): (0.15992647, 0.27365199, 0.38737747),
      },
    ),
  ],
)
def test_imagenet_is_resized_as_tensorflow_1_does(method, mean, deviation, pixels):
  image = formula_image().astype(np.float32) / 255
  for name in ("train_imagenet_transform", "eval_imagenet_transform"):
    gin.bind_parameter(f"{name}.crop_method", method)
  with tf.Graph().as_default(), tf.Session() as session:
    result = session.run(datasets.eval_imagenet_transform(tf.constant(image), 64))
    trained = session.run(datasets.train_imagenet_transform(tf.constant(image), 64))
  np.testing.assert_array_equal(trained, result)
  assert result.mean() == pytest.approx(mean, abs=1e-6)
  assert result.std() == pytest.approx(deviation, abs=1e-6)
  for place, value in pixels.items():
    np.testing.assert_allclose(result[place], value, atol=1e-6)


def test_faces_are_cut_to_160_pixels():
  dataset = datasets.DATASETS["celeb_a"](seed=1)
  with tf.Graph().as_default(), tf.Session() as session:
    parsed = dataset._parse_fn({"image": tf.constant(formula_image(218, 178))})
    image, label = session.run(parsed)
  assert label == 0 and image.mean() == pytest.approx(0.5, abs=1e-6)
  np.testing.assert_allclose(
    image[40, 7], (0.87647057, 0.48823529, 0.10000000), atol=1e-6
  )


def test_distorted_crops_are_the_references():
  # 200 squares of a 200x300 image; the reference's sides: 174 to 200, mean 186.95.
  ramp = np.broadcast_to(np.arange(200)[:, None, None], (200, 300, 1)) / 255
  with tf.Graph().as_default(), tf.Session() as session:
    shape = tf.shape(transforms.crop(tf.constant(ramp, tf.float32), "distorted", 547))
    sides = np.array([session.run(shape)[:2] for _ in range(200)])
  assert (sides[:, 0] == sides[:, 1]).all()
  assert sides.min() == 174 and sides.max() == 200
  assert sides[:, 0].mean() == pytest.approx(186.95, abs=1e-3)


@pytest.mark.parametrize("shape", [(200, 300), (64, 64), (50, 200)])
def test_crops_in_numpy_are_distributed_as_tensorflows(shape):
  boxes = np.array(
    [
      transforms.crop_box(shape, "distorted", np.random.default_rng(i))
      for i in range(2000)
    ]
  )
  with tf.Graph().as_default(), tf.Session() as session:
    seeds = tf.placeholder(tf.int64, [2])
    image = tf.zeros([*shape, 1])
    begin, size = transforms._distorted_box(tf.shape(image), seeds)
    theirs = np.array(
      [
        np.concatenate([v[:2] for v in session.run([begin, size], {seeds: [1, i]})])
        for i in range(2000)
      ]
    )
  np.testing.assert_array_equal(boxes.min(0)[2:], theirs.min(0)[2:])
  np.testing.assert_array_equal(boxes.max(0)[2:], theirs.max(0)[2:])
  np.testing.assert_allclose(boxes.mean(0), theirs.mean(0), atol=0.03 * max(shape))


def test_unfiltered_sampling_in_numpy_is_tensorflows():
  for image in (formula_image(), formula_image(31, 20)):
    with tf.Graph().as_default(), tf.Session() as session:
      expected = session.run(tf.image.resize_images(tf.constant(image), [40, 40]))
    found = image_lib.sample_bilinearly(image, 40)
    assert np.abs(found - expected).max() <= 0.5 + 1e-3


# Crops and mirror images of any set ----------------------------------------------


def test_random_crops_of_a_set_in_memory_follow_from_the_seed():
  dataset = datasets.get_dataset(
    "fake:3@16", crop_method="distorted", flip=True, examples=12
  )
  assert dataset.varies("train") and not dataset.varies("validation")
  whole = first(lambda: dataset.train(48))
  later = first(lambda: dataset.train(24, start=20))
  np.testing.assert_array_equal(later["image"], whole["image"][20:44])
  order = np.argsort(whole["id"], kind="stable")
  same_picture = whole["image"][order].reshape(12, 4, 16, 16, 3)
  assert (np.ptp(same_picture, axis=1).max(axis=(1, 2, 3)) > 0).all()


def test_fixed_crops_have_ids_of_their_own():
  dataset = datasets.get_dataset(
    "fake:3@16", crop_method="distorted", fixed_crops=3, examples=10
  )
  assert dataset.num_examples("train") == 30 and not dataset.varies("train")
  assert dataset.num_examples("validation") == 10
  images, labels = dataset.arrays("train")
  np.testing.assert_array_equal(labels, np.repeat(np.arange(10) % 3, 3))
  batch = first(lambda: dataset.train(60))
  np.testing.assert_array_equal(np.sort(batch["id"][:30]), np.arange(30))
  np.testing.assert_array_equal(batch["image"], images[batch["id"]])
  assert (images[0] != images[1]).any()
  assert dataset.fingerprint("train") != datasets.get_dataset(
    "fake:3@16", crop_method="distorted", fixed_crops=4, examples=10
  ).fingerprint("train")


def test_crops_of_imagenet_follow_from_the_seed_and_can_be_fixed():
  dataset = datasets.get_dataset("imagenet_64", seed=5)
  assert dataset.transform.train_crop == "distorted" and dataset.varies("train")
  whole = first(lambda: dataset.train(120))
  later = first(lambda: dataset.train(10, start=105))
  np.testing.assert_array_equal(later["image"], whole["image"][105:115])
  np.testing.assert_array_equal(later["id"], whole["id"][105:115])
  fixed = datasets.get_dataset("imagenet_64", seed=5, fixed_crops=2)
  assert fixed.num_examples("train") == 200 and not fixed.varies("train")
  batch = first(lambda: fixed.train(220))
  np.testing.assert_array_equal(np.sort(batch["id"][:200]), np.arange(200))
  images, _ = fixed.arrays("train", indices=batch["id"][95:105])
  np.testing.assert_array_equal(images, batch["image"][95:105])


def test_imagenet_is_padded_after_its_crop():
  dataset = datasets.get_dataset("imagenet_64@72")
  for images in (
    first(lambda: dataset.train(2))["image"],
    dataset.arrays("validation", limit=2)[0],
  ):
    assert images.shape == (2, 72, 72, 3)
    assert images[:, 4:68, 4:68].mean() > 0.3 and not images[:, :4].any()


@pytest.mark.parametrize("name", ["cifar10", "fake:3@16"])
def test_input_functions_flip_and_crop_anew_at_every_epoch(name):
  """Those that a GAN of one's own calls."""
  dataset = datasets.get_dataset(name, flip=True, examples=4)
  if name == "cifar10":
    load = dataset._load_dataset
    dataset._load_dataset = lambda split: load(split).take(4).cache()
  images, _ = first(lambda: dataset.train_input_fn({"batch_size": 32}))
  distinct = {image.tobytes() for image in images}
  assert len(distinct) == 8
  for image in images:
    assert image[:, ::-1].tobytes() in distinct


def test_gin_binds_the_crops_of_imagenet():
  gin.bind_parameter("train_imagenet_transform.crop_method", "middle")
  dataset = datasets.get_dataset("imagenet_64")
  assert dataset.transform.train_crop == "middle" and not dataset.varies("train")
  assert not dataset.transform.antialias and not dataset.transform.flip
  gin.bind_parameter("train_imagenet_transform.antialias", True)
  assert datasets.get_dataset("imagenet_64").transform.antialias
  assert not datasets.get_dataset("imagenet_64", antialias=False).transform.antialias
  gin.bind_parameter("train_imagenet_transform.crop_method", "centre")
  with pytest.raises(ValueError, match="known: distorted, middle, none, random"):
    datasets.get_dataset("imagenet_64")
  gin.parse_config("CROP = 'middle'\ntrain_imagenet_transform.crop_method = %CROP")
  assert datasets.get_dataset("imagenet_64").transform.train_crop == "middle"
  # What is bound for training holds for both.
  with pytest.raises(ValueError, match="antialias"):
    gin.parse_config("eval_imagenet_transform.antialias = True")


@pytest.mark.parametrize("shape", [(20, 31), (31, 20)])
def test_random_crops_are_the_largest_square_at_any_place(shape):
  boxes = [
    transforms.crop_box(shape, "random", np.random.default_rng(i)) for i in range(300)
  ]
  tall = shape[0] > shape[1]
  expected = {(i if tall else 0, 0 if tall else i, 20, 20) for i in range(12)}
  assert set(boxes) == expected
  y, x = np.mgrid[: shape[0], : shape[1]]
  picture = tf.constant(np.stack([y, x], -1))
  with tf.Graph().as_default(), tf.Session() as session:
    picture = tf.constant(np.stack([y, x], -1))
    seed = tf.placeholder(tf.int64, [2])
    cropped = transforms.crop(picture, "random", seed)
    found = {(*session.run(cropped, {seed: [1, i]})[0, 0],) for i in range(300)}
  assert found == {(top, left) for top, left, _, _ in expected}


def test_evaluation_is_not_mirrored_and_filters_as_asked():
  image = np.random.default_rng(0).integers(0, 256, [40, 40, 3]).astype(np.uint8)
  for antialias, resize in (
    (True, image_lib.stretch),
    (False, image_lib.sample_bilinearly),
  ):
    transform = transforms.Transform(flip=True, antialias=antialias)
    seen = {
      split: {
        transform.apply(image, 16, split, np.random.default_rng(i)).tobytes()
        for i in range(20)
      }
      for split in ("train", "validation")
    }
    upright = resize(image, 16)
    assert seen["validation"] == {upright.tobytes()}
    assert seen["train"] == {upright.tobytes(), upright[:, ::-1].tobytes()}


def test_each_split_has_the_crop_that_is_asked_for():
  image, rng = formula_image(30, 40), np.random.default_rng(0)
  crops = {"none": image, "middle": image[:, 5:35]}
  for train, validation in (("none", "middle"), ("middle", "none")):
    transform = transforms.Transform(train_crop=train, eval_crop=validation)
    for split, crop in (("train", train), ("validation", validation)):
      found = transform.apply(image, 16, split, rng)
      np.testing.assert_array_equal(found, image_lib.stretch(crops[crop], 16))
      assert transform.describe(split)["crop"] == crop


def test_mirrored_images_vary_unless_their_crops_are_fixed():
  for more, varies, examples in (
    ({}, False, 4),
    ({"flip": True}, True, 4),
    ({"flip": True, "fixed_crops": 3}, False, 12),
    ({"fixed_crops": 3}, False, 4),
  ):
    dataset = datasets.get_dataset("fake:3@16", examples=4, **more)
    assert dataset.varies("train") == varies, more
    assert dataset.num_examples("train") == examples, more
    assert not dataset.varies("validation") and dataset.num_examples("test") == 4
