"""Inverter against closed forms of a tiny module, and reading of odd images."""

import gin
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
import tiny
from PIL import Image

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits.errors import UserError
from compare_gan_logits.inversion import Inverter


RNG = np.random.default_rng(0)
MATRIX = RNG.normal(0, 0.02, [4, 64])
NOISE_MATRIX = RNG.normal(0, 0.02, [3, 64])
KERNEL = RNG.normal(0, 1, [64, 4])


@pytest.fixture(scope="module")
def module_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp("modules") / "linear"
  return tiny.write_module(path, tiny.linear(MATRIX, NOISE_MATRIX))


@pytest.fixture(scope="module")
def inverter(module_dir):
  return Inverter.load(module_dir, tiny.LinearClassifier(KERNEL), batch_size=5)


def _expected(logits, noise):
  flat = np.clip(0.5 + logits @ MATRIX + noise @ NOISE_MATRIX, 0, 1)
  return flat.reshape(-1, 8, 8, 1)


def test_generate_is_the_module_in_any_number_of_batches(inverter):
  logits, noise = RNG.normal(size=[13, 4]), RNG.normal(size=[13, 3])
  np.testing.assert_allclose(
    inverter.generate(logits, noise), _expected(logits, noise), atol=1e-6
  )
  assert inverter.generate(np.zeros([0, 4])).shape == (0, 8, 8, 1)
  noise = np.random.default_rng(5).standard_normal([13, 3])
  np.testing.assert_allclose(
    inverter.generate(logits, seed=5), _expected(logits, noise), atol=1e-6
  )


def test_logits_and_predict_are_the_classifiers(inverter):
  images = RNG.uniform(size=[7, 8, 8, 1])
  expected = images.reshape(7, 64) @ KERNEL
  np.testing.assert_allclose(inverter.logits(images), expected, rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(inverter.predict(images), expected.argmax(1))


def test_reconstruct_gives_each_sample_its_own_noise(inverter):
  images = RNG.uniform(size=[6, 8, 8, 1])
  logits = images.reshape(6, 64) @ KERNEL
  noise = np.random.default_rng(3).standard_normal([6 * 2, 3]).reshape(6, 2, 3)
  pictures = inverter.reconstruct(images, samples=2, seed=3)
  assert pictures.shape == (6, 2, 8, 8, 1)
  for k in range(2):
    np.testing.assert_allclose(
      pictures[:, k], _expected(logits, noise[:, k]), atol=1e-5
    )
  again = inverter.reconstruct(images, samples=2, seed=3)
  np.testing.assert_array_equal(pictures, again)


def test_prepare_matches_pillow(inverter):
  image = (RNG.uniform(size=[40, 30]) * 255).astype(np.uint8)
  expected = Image.fromarray(image[5:35]).resize((8, 8), Image.Resampling.BICUBIC)
  prepared = inverter.prepare(image[None, :, :, None])
  np.testing.assert_allclose(prepared[0, :, :, 0] * 255, expected, atol=1e-4)
  assert prepared.dtype == np.float32


@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("size", [8, 40, 56])
def test_one_resize_for_files_numbers_and_tensors(colors, size, tmp_path):
  """A file, the same as uint8 and as float, and TensorFlow's own antialiased resize.

  Whole numbers are rounded after each axis, at most 1.2 levels off in all; these
  levels leave room for a bicubic kernel's overshooting.
  """
  image = RNG.integers(64, 192, size=[40, 50, colors], dtype=np.uint8)
  path = _save(Image.fromarray(image.squeeze()), tmp_path / "image.png")
  inverter = Inverter(
    "",
    {
      "image_size": size,
      "colors": colors,
      "z_dim": 1,
      "num_logits": 1,
      "class_names": [],
    },
    None,
  )
  whole = inverter.prepare(image[None])[0]
  np.testing.assert_array_equal(inversion.read_image(path, size, colors), whole)
  exact = inverter.prepare(image[None] / 255.0)[0]
  np.testing.assert_allclose(exact, whole, atol=1.2 / 255)
  with tf.Graph().as_default(), tf.Session() as session:
    square = tf.constant(image[:, 5:45] / np.float32(255))
    expected = session.run(
      tf2.image.resize(square, [size, size], "bicubic", antialias=True)
    )
  np.testing.assert_allclose(exact, np.clip(expected, 0, 1), atol=1e-4)


def test_prepare_converts_colours(inverter):
  red = np.zeros([1, 8, 8, 3])
  red[..., 0] = 1
  np.testing.assert_allclose(inverter.prepare(red), 0.2989, atol=1e-6)
  with pytest.raises(UserError, match="1 or 3"):
    inverter.prepare(np.zeros([8, 8, 1]))


def test_no_sample_is_no_reconstruction(inverter):
  with pytest.raises(UserError, match="samples is 0; it must be at least 1"):
    inverter.reconstruct(np.zeros([1, 8, 8, 1]), samples=0)


@pytest.mark.parametrize("size", [8, 16])
def test_prepare_clips_what_another_resize_overshot(inverter, size):
  images = np.where(np.arange(size) < size // 2, -0.2, 1.2)[None, None, :, None]
  prepared = inverter.prepare(np.repeat(images, size, axis=1))
  assert prepared.min() == prepared[0, 0, 0, 0] == 0
  assert prepared.max() == prepared[0, 0, -1, 0] == 1


@pytest.mark.parametrize(
  "images, words",
  [
    (np.full([1, 8, 8, 1], 200), "not int64"),
    (np.ones([1, 8, 8, 1], bool), "not bool"),
    (np.full([1, 8, 8, 1], 200.0), r"\[200, 200\]"),
    (np.full([1, 8, 8, 1], -1.0), r"\[-1, -1\]"),
    (np.where(np.arange(64).reshape(1, 8, 8, 1) == 9, np.nan, 0.5), "nan"),
  ],
)
def test_prepare_refuses_another_range(inverter, images, words):
  with pytest.raises(UserError, match=words):
    inverter.prepare(images)


def test_a_moved_run_finds_its_classifier(tmp_path):
  """Moved together, the module alone, and as before the relative path was kept."""
  run = tmp_path / "run"
  where = str(run / "classifiers" / "linear")
  classifier = classifiers.load(tiny.write_classifier(where, KERNEL))
  module = run / "gan" / "module"
  description = classifier.describe(str(module))
  tiny.write_module(module, tiny.linear(MATRIX), classifier=description)
  images = RNG.uniform(size=[3, 8, 8, 1])
  before = Inverter.load(str(module)).logits(images)

  moved = tmp_path / "elsewhere" / "run"
  moved.parent.mkdir()
  run.rename(moved)
  after = Inverter.load(str(moved / "gan" / "module"))
  assert after.classifier.path == str(moved / "classifiers" / "linear")
  np.testing.assert_array_equal(after.logits(images), before)

  moved.rename(run)
  module.rename(tmp_path / "module")
  Inverter.load(str(tmp_path / "module"))

  del description["relative"]
  tiny.write_module(tmp_path / "old", tiny.linear(MATRIX), classifier=description)
  Inverter.load(str(tmp_path / "old"))
  run.rename(moved)
  with pytest.raises(UserError, match=f"no classifier at {where}"):
    Inverter.load(str(tmp_path / "old"))


def test_gradient_of_the_graph_generator(inverter):
  with tf.Graph().as_default():
    z, logits = tf.zeros([1, 3]), tf.zeros([1, 4])
    picture = inverter.graph_generator(z, logits)
    (gradient,) = tf.gradients(picture[0, 2, 5, 0], logits)
    assert not tf.trainable_variables() and not tf.global_variables()
    with tf.Session() as session:
      session.run(tf.local_variables_initializer())
      np.testing.assert_allclose(session.run(gradient)[0], MATRIX[:, 21], rtol=1e-5)


def test_wrong_inputs_are_named(inverter, module_dir, tmp_path):
  with pytest.raises(UserError, match=r"inversion\.json"):
    Inverter.load(tmp_path)
  with pytest.raises(UserError, match="5 logits"):
    Inverter.load(module_dir, tiny.LinearClassifier(np.zeros([64, 5])))
  with pytest.raises(UserError, match=r"\[2, 4\]"):
    inverter.generate(np.zeros([2, 5]))
  with pytest.raises(UserError, match=r"\[2, 3\]"):
    inverter.generate(np.zeros([2, 4]), np.zeros([1, 3]))
  with pytest.raises(UserError, match="without a classifier"):
    Inverter.load(module_dir).reconstruct(np.zeros([1, 8, 8, 1]))
  with pytest.raises(UserError, match="quoted glob"):
    inversion.find_images(str(tmp_path / "*.png"))


# Odd image files ---------------------------------------------------------------


def _save(image, path, **options):
  image.save(path, **options)
  return str(path)


@pytest.mark.parametrize(
  "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"]
)
@pytest.mark.parametrize("colors", [1, 3])
def test_a_grey_image_reads_the_same_in_every_mode(mode, colors, tmp_path):
  # Half black, half white survives every mode but for its representation.
  values = np.zeros([16, 16], np.uint8)
  values[:, 8:] = 255
  if mode == "I;16":
    image = Image.fromarray(values.astype(np.uint16) * 257)
  elif mode == "F":
    image = Image.fromarray(values.astype(np.float32))
  else:
    image = Image.fromarray(values).convert("RGB").convert(mode)
  path = _save(image, tmp_path / "image.tiff")
  read = inversion.read_image(path, 16, colors)
  assert read.shape == (16, 16, colors) and read.dtype == np.float32
  np.testing.assert_allclose(read[..., 0], values / 255.0, atol=0.01)


def test_transparency_is_white(tmp_path):
  image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
  read = inversion.read_image(_save(image, tmp_path / "a.png"), 8, 3)
  np.testing.assert_array_equal(read, 1.0)


def test_orientation_tag_turns_the_image(tmp_path):
  values = np.zeros([8, 8], np.uint8)
  values[:4] = 255  # bright above
  exif = Image.Exif()
  exif[0x0112] = 6  # shown after a quarter turn clockwise: bright on the right
  path = _save(Image.fromarray(values), tmp_path / "a.png", exif=exif)
  read = inversion.read_image(path, 8, 1)[..., 0]
  np.testing.assert_array_equal(read[:, 4:], 1.0)
  np.testing.assert_array_equal(read[:, :4], 0.0)


def test_animation_gives_its_first_frame(tmp_path):
  frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
  path = _save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
  np.testing.assert_allclose(
    inversion.read_image(path, 8, 3)[0, 0], [1, 0, 0], atol=0.02
  )


def test_single_pixel_and_long_strip(tmp_path):
  path = _save(Image.new("RGB", (1, 1), (0, 255, 0)), tmp_path / "a.png")
  np.testing.assert_array_equal(inversion.read_image(path, 8, 3)[..., 1], 1.0)
  strip = np.zeros([4, 40, 3], np.uint8)
  strip[:, 18:22] = 255  # the central square is white
  path = _save(Image.fromarray(strip), tmp_path / "b.png")
  np.testing.assert_array_equal(inversion.read_image(path, 8, 3), 1.0)


def test_unreadable_images_are_named(tmp_path):
  torn = tmp_path / "torn.jpg"
  _save(Image.fromarray((RNG.uniform(size=[64, 64, 3]) * 255).astype(np.uint8)), torn)
  torn.write_bytes(torn.read_bytes()[:300])
  with pytest.raises(UserError, match=r"torn\.jpg"):
    inversion.read_image(str(torn), 8, 3)
  text = tmp_path / "text.png"
  text.write_text("hello")
  with pytest.raises(UserError, match=r"text\.png"):
    inversion.read_image(str(text), 8, 3)
  huge = tmp_path / "huge.png"
  Image.new("1", (12000, 10000)).save(huge)
  with pytest.raises(UserError, match=r"huge\.png.*million"):
    inversion.read_image(str(huge), 8, 3)


def test_a_module_s_data_set_is_read_as_in_its_training(tmp_path):
  gin.clear_config()
  photos = tmp_path / "photos"
  rows = ["file,label"]
  for i in range(20):
    for split in ("train", "validation"):
      (photos / split).mkdir(parents=True, exist_ok=True)
      pixels = RNG.integers(0, 256, [8, 12, 3], np.uint8)
      Image.fromarray(pixels).save(photos / split / f"{i}.png")
      rows.append(f"{split}/{i}.png,{'cats' if i % 2 else 'dogs'}")
  table = tmp_path / "table.csv"
  table.write_text("\n".join(rows))
  name = f"folder:{photos}@8"
  crops = {"crop_method": "none", "eval_crop_method": "none", "antialias": False}
  expected = datasets.get_dataset(name, labels=str(table), colors=1, **crops)

  def opened(**info):
    folder = tmp_path / f"module{len(list(tmp_path.iterdir()))}"
    tiny.write_module(folder, tiny.linear(MATRIX), dataset=name, **info)
    return Inverter.load(folder).open_dataset()

  recorded = files.as_json(expected.bindings)
  found = opened(dataset_bindings=recorded)
  for split in ("train", "validation"):
    assert found.fingerprint(split) == expected.fingerprint(split)
  for image, wanted in zip(found.arrays("validation"), expected.arrays("validation")):
    np.testing.assert_array_equal(image, wanted)
  assert found.class_names == ["cats", "dogs"]
  gin.bind_parameter("dataset.eval_crop_method", "middle")
  central = opened(dataset_bindings=recorded)
  assert (
    central.transform.train_crop,
    central.transform.eval_crop,
    central.colors,
  ) == (
    "none",
    "middle",
    1,
  )
  gin.clear_config()
  # Modules of earlier versions record the name alone.
  assert opened().transform.eval_crop == "middle" and opened().colors == 3
  with pytest.raises(UserError, match="damaged .dataset_bindings"):
    opened(dataset_bindings={"colors": "grey"})
