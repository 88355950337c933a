"""SavedModels as people have them, and the look at them at the start of a run."""

import types

import numpy as np
import pytest
import tensorflow
import tensorflow.compat.v1 as tf

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import introduction
from compare_gan_logits import runner_lib
from compare_gan_logits.classifiers import checks
from compare_gan_logits.classifiers import class_order
from compare_gan_logits.classifiers import logit_cache
from compare_gan_logits.classifiers import sources
from compare_gan_logits.classifiers.classifier import Classifier
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError


SIZE = 8
RANDOM = np.random.default_rng(4)
KERNEL = RANDOM.normal(size=[3, 3]).astype(np.float32)
IMAGES = np.round(255 * RANDOM.random([40, SIZE, SIZE, 3])).astype(np.float32) / 255
LABELS = np.arange(40) % 3
# Each class has more of its own colour: red, green, blue.
IMAGES[np.arange(40), :, :, LABELS] = 1.0


class Colours:
  """A data set of three classes, as far as checks look at it."""

  name = "colours"
  class_names = ("red", "green", "blue")
  num_classes = 3
  imagenet_indices = None


class Cranes(Colours):
  """Two classes of one name."""

  class_names = ("red", "Red", "blue")


def _save(folder, function, shape, dtype=tf.float32, more=()):
  """A SavedModel of `function` of the means of each channel."""
  module = tensorflow.Module()
  module.kernel = tensorflow.Variable(np.float32(np.eye(3)))

  @tensorflow.function(
    input_signature=[
      tensorflow.TensorSpec(shape, dtype, "images"),
      *[tensorflow.TensorSpec(shape, tf.float32, name) for name in more],
    ]
  )
  def serve(images, *others):
    return {"logits": function(images, *others) @ module.kernel}

  module.serve = serve
  tensorflow.saved_model.save(module, str(folder), signatures=serve)
  return str(folder)


def _means(images):
  return tensorflow.reduce_mean(images, [1, 2])


def _decoded(files):
  pixels = tensorflow.map_fn(
    lambda file: tensorflow.io.decode_jpeg(file, 3),
    files,
    fn_output_signature=tf.uint8,
  )
  return _means(tensorflow.cast(pixels, tf.float32) / 255)


KINDS = {
  "plain": (_means, [None, SIZE, SIZE, 3], tf.float32),
  "channels first": (
    lambda x: tensorflow.reduce_mean(x, [2, 3]),
    [None, 3, SIZE, SIZE],
    tf.float32,
  ),
  "one at a time": (_means, [1, SIZE, SIZE, 3], tf.float32),
  "seven at a time": (_means, [7, SIZE, SIZE, 3], tf.float32),
  "bytes": (
    lambda x: _means(tensorflow.cast(x, tf.float32) / 255),
    [None, SIZE, SIZE, 3],
    tf.uint8,
  ),
  "encoded files": (_decoded, [None], tf.string),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_it_takes_the_logits_are_numpys(tmp_path, kind):
  classifier = classifiers.load(_save(tmp_path / "model", *KINDS[kind]))
  found = classifier.predict(IMAGES, batch_size=16)
  np.testing.assert_allclose(found, IMAGES.mean(axis=(1, 2)), atol=1e-5)
  with tf.Graph().as_default(), tf.Session() as session:
    images = tf.constant(IMAGES[:9])
    logits = classifier(images)
    if kind in ("bytes", "encoded files"):
      with pytest.raises(UserError, match="of which there is no gradient"):
        tf.gradients(logits, images)
      return
    gradient = tf.gradients(logits[:, 1], images)[0]
    session.run(tf.local_variables_initializer())
    expected = np.zeros_like(IMAGES[:9])
    expected[..., 1] = 1 / SIZE**2
    np.testing.assert_allclose(session.run(gradient), expected, atol=1e-6)


def test_a_second_image_is_filled_with_a_constant(tmp_path):
  path = _save(
    tmp_path / "model",
    lambda images, mask: _means(images * mask),
    [None, SIZE, SIZE, 3],
    more=["mask"],
  )
  with pytest.raises(UserError, match="bind classifier.input_name to the image input"):
    classifiers.load(path)
  classifier = classifiers.load(path, input_name="images", extra_inputs={"mask": 2.0})
  np.testing.assert_allclose(
    classifier.predict(IMAGES), 2 * IMAGES.mean(axis=(1, 2)), atol=1e-5
  )


def _checked(tmp_path, function, **settings):
  """The figures of a check of a SavedModel, and what was printed."""
  path = _save(
    tmp_path / "model", function, [None, SIZE, SIZE, settings.get("colors", 3)]
  )
  settings = {"class_names": ["red", "green", "blue"], **settings}
  classifier = classifiers.load(path, **settings)
  lines = []
  figures = checks.check(classifier, Colours, IMAGES, LABELS, log=lines.append)
  assert classifier.describe()["check"] == figures
  return figures, "\n".join(lines)


def test_a_sound_classifier_has_its_figures_and_no_warning(tmp_path):
  figures, lines = _checked(tmp_path, _means, low=-1.0, softmax=False)
  assert figures["accuracy"] == 1.0
  assert figures["chance"] == pytest.approx(1 / 3)
  assert figures["classes_by"] == "names"
  assert figures["pixels"] == [-1.0, 1.0]
  assert figures["batch_difference"] < 1e-4
  assert figures["warnings"] == []
  logits = 2 * IMAGES.mean(axis=(1, 2)) - 1
  assert figures["spread"] == pytest.approx(logits.std(axis=0).mean(), rel=1e-4)
  assert "right about 100.0% of 40" in lines and "[-1, 1] reach the network" in lines
  assert "to 8 px, 3 colours (rgb), mean" in lines


def test_a_classifier_of_grey_images_is_said_to_see_grey(tmp_path):
  def shades(images):
    return tensorflow.repeat(_means(images), 3, axis=1)

  assert "to 8 px, grey, mean" in _checked(tmp_path, shades, colors=1)[1]


def test_names_decide_which_logit_is_which_class(tmp_path):
  figures, _ = _checked(tmp_path, _means, class_names=["Green", "blue", "RED"])
  assert (figures["accuracy"], figures["classes_by"]) == (0.0, "names")
  turned = lambda images: tensorflow.roll(_means(images), -1, axis=1)  # noqa: E731
  figures, _ = _checked(tmp_path / "b", turned, class_names=["Green", "blue", "RED"])
  assert figures["accuracy"] == 1.0


@pytest.mark.parametrize(
  ("function", "warning"),
  [
    (lambda x: tensorflow.nn.softmax(9 * _means(x)), "bind classifier.softmax = True"),
    (lambda x: 1000 + 1e-2 * _means(x), "hardly varies"),
    (lambda x: -_means(x), "guessing would be about 33.3%"),
  ],
)
def test_what_is_probably_wrong_is_warned_of(tmp_path, capsys, function, warning):
  figures, _ = _checked(tmp_path, function)
  assert warning in " ".join(figures["warnings"])
  assert warning in capsys.readouterr().err


def _warnings_of(logits):
  """Warnings of a check of logits that are known already."""
  given = types.SimpleNamespace(
    spec=types.SimpleNamespace(name="mine", softmax=False),
    only_known_images=True,
    class_names=list(Colours.class_names),
    named=True,
    num_logits=3,
  )
  check = checks.check(given, Colours, IMAGES, LABELS, logits, log=lambda line: None)
  return " ".join(check["warnings"])


@pytest.mark.parametrize(("right", "warned"), [(15, True), (17, False)])
def test_a_tenth_of_the_way_from_guessing_to_right_is_near_chance(right, warned):
  """Guessing is right about a third; of 40 images 16 are a tenth of the way to 1."""
  predicted = np.where(np.arange(40) < right, LABELS, (LABELS + 1) % 3)
  assert ("guessing would be" in _warnings_of(4 * np.eye(3)[predicted])) == warned


@pytest.mark.parametrize(("step", "warned"), [(0.1, True), (1.0, False)])
def test_logits_that_vary_by_a_thousandth_of_their_size_hardly_vary(step, warned):
  """Steps of a third of the images have 0.47 of their size as their deviation."""
  assert ("hardly varies" in _warnings_of(100 + step * np.eye(3)[LABELS])) == warned


@pytest.mark.parametrize(
  ("function", "message"),
  [
    (lambda x: 0 * _means(x), "every image the same logits"),
    (lambda x: _means(x) / 0.0, "not finite"),
    (lambda x: _means(x) - tensorflow.reduce_mean(x, [0, 1, 2]), "in training mode"),
  ],
)
def test_what_is_certainly_wrong_is_refused(tmp_path, function, message):
  with pytest.raises(UserError, match=message):
    _checked(tmp_path, function)


def test_logits_that_are_large_and_hardly_vary_may_be_rounded(tmp_path):
  """1e-5 of the logits is an error of float32, however little these vary."""
  rounded = np.random.default_rng(0).random(3) * 1e-5

  def logits(x):
    alone = tensorflow.cast(tensorflow.shape(x)[0] == 1, tf.float32)
    return 1.0 + 1e-4 * _means(x) + alone * rounded

  figures, _ = _checked(tmp_path, logits)
  # In units of a thousandth of the logits' size, which is 1.
  assert figures["batch_difference"] == pytest.approx(1e3 * rounded.max(), rel=0.05)


def test_one_training_image_is_no_fault_of_the_classifier(tmp_path):
  classifier = classifiers.load(_save(tmp_path, _means, [None, SIZE, SIZE, 3]))
  with pytest.raises(UserError, match="of colours that were looked at are one image"):
    checks.check(classifier, Colours(), np.repeat(IMAGES[:1], 5, axis=0), LABELS[:5])


def test_a_set_without_classes_has_no_places():
  without = types.SimpleNamespace(name="faces", class_names=(), num_classes=0)
  with pytest.raises(UserError, match="faces has no classes"):
    class_order.places(["red"], 1, without, "mine")


def test_a_part_of_imagenet_has_the_logits_of_its_places_there():
  part = types.SimpleNamespace(
    name="part",
    class_names=("x", "y", "z"),
    num_classes=3,
    imagenet_indices=(7, 900, 2),
  )
  found = class_order.places(None, 1000, part, "mine")
  assert (found.by, found.indices.tolist()) == ("ImageNet's order", [7, 900, 2])


def test_some_names_that_agree_and_some_that_do_not(tmp_path):
  with pytest.raises(UserError, match="2 of the 3 classes.*'green'"):
    class_order.places(["red", "blue", "grass"], 3, Colours, "mine")
  found = class_order.places(["a", "b", "c"], 3, Colours, "mine")
  assert (found.by, found.indices.tolist()) == ("positions", [0, 1, 2])
  twice = class_order.places(["red", "blue", "green"], 3, Cranes, "mine")
  assert twice.by == "positions"  # names that are the same decide nothing
  with pytest.raises(UserError, match="mine has 4 logits and colours 3 classes"):
    class_order.places(None, 4, Colours, "mine")
  five = class_order.places(["x", "BLUE", "y", "red", "green"], 5, Colours, "mine")
  assert five.indices.tolist() == [3, 4, 1]
  again = class_order.places(["x", "red", "blue", "red", "green"], 5, Colours, "mine")
  assert again.indices.tolist() == [1, 4, 2]  # of two logits of a name the first
  shades = types.SimpleNamespace(
    name="shades", class_names=("dark_red", "light blue"), imagenet_indices=None
  )
  found = class_order.places(["Light-Blue", " dark  red"], 2, shades, "mine")
  assert (found.by, found.indices.tolist()) == ("names", [1, 0])


class Counted(sources.Model):
  """Mean colours; it counts the graphs that it becomes part of."""

  calls = 0

  def bind(self, spec):
    return sources.Bound(self._call, "0" * 64, (None, None, None, 3), (None, 3))

  def _call(self, images):
    self.calls += 1
    return tf.reduce_mean(images, axis=[1, 2])


def test_batches_of_any_size_run_through_one_graph():
  model = Counted()
  classifier = Classifier(Spec(name="mean", handle="mean"), model)
  for size in (40, 7, 1):
    logits = classifier.predict(IMAGES, batch_size=size)
    np.testing.assert_allclose(logits, IMAGES.mean(axis=(1, 2)), rtol=1e-5)
  assert model.calls == 1


def test_a_numpy_function_is_refused_in_replicas(tmp_path, monkeypatch):
  monkeypatch.setattr(datasets.FLAGS["data_fake_dataset"], "value", True)
  dataset = datasets.get_dataset("embedded")
  logits = np.zeros([dataset.num_examples("train"), 2], np.float32)
  folder = str(tmp_path / "cache")
  logit_cache.write_given(logits, "mine", None, dataset, "train", folder)
  with pytest.raises(UserError, match="neither on a TPU nor in several replicas"):
    runner_lib.Run(
      dataset,
      classifiers.load("logits:" + folder),
      {},
      tf.estimator.tpu.RunConfig(model_dir=str(tmp_path)),
      distribution=types.SimpleNamespace(strategy="two replicas"),
    )


def test_a_sample_has_each_image_of_a_small_set_once():
  images, labels, ids = checks.sample(datasets.get_dataset("embedded:20"))
  assert len(images) == len(labels) == 20 and sorted(ids) == list(range(20))


def test_five_images_are_introduced(tmp_path, capsys):
  gan = types.SimpleNamespace(image_shape=(32, 32, 1))
  dataset = datasets.get_dataset("embedded:5")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(introduction, "parameter_counts", lambda gan: {})
    introduction.introduce(gan, dataset, None, None, str(tmp_path))
  assert "5 training images of 32x32x1" in capsys.readouterr().out
  assert (tmp_path / "training_images.png").stat().st_size > 0
