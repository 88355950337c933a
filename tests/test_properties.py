"""Properties that hold for any input, and inputs that nobody would think of."""

import io
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from compare_gan_logits import figures
from compare_gan_logits import images as image_lib
from compare_gan_logits import inversion
from compare_gan_logits import resizing
from compare_gan_logits.apps import web
from compare_gan_logits.apps.explorer import saving
from compare_gan_logits.apps.explorer import view as view_lib
from compare_gan_logits.classifiers import preprocessing
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import explain
from compare_gan_logits.experiments import interpolation
from compare_gan_logits.experiments import logit_manipulation
from compare_gan_logits.metrics import agreement
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import similarity
from compare_gan_logits.metrics import statistics


settings.register_profile(
  "bounded",
  max_examples=40,
  derandomize=True,
  deadline=None,
  database=None,
  suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("bounded")

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 24)
COLORS = st.sampled_from([1, 3])
LOGITS = hnp.arrays(
  np.float32, st.integers(2, 12), elements=st.floats(-50, 50, width=32)
)


def random_images(seed, n, height, width, colors):
  return np.random.default_rng(seed).uniform(size=[n, height, width, colors])


# Preprocessing -------------------------------------------------------------------


@given(
  source=st.integers(1, 64),
  target=st.integers(1, 64),
  method=st.sampled_from(sorted(resizing.KERNELS)),
)
def test_resize_weights_are_a_mean(source, target, method):
  """Constants stay; the mirrored image is the mirrored result; same size: itself."""
  weights = resizing.resize_weights(source, target, method)
  np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
  if method != "area":  # whose box is open on one side
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-5)
  if method != "bicubic":
    assert weights.min() >= 0
  if source == target:
    np.testing.assert_allclose(weights, np.eye(source), atol=1e-6)


@settings(max_examples=15)
@given(
  seed=SEEDS,
  side=st.integers(1, 16),
  colors=COLORS,
  wanted=COLORS,
  size=st.sampled_from([None, 4, 11]),
  low=st.floats(-2, 0),
  high=st.floats(1, 255),
  order=st.sampled_from(["rgb", "bgr"]),
)
def test_preprocessing_maps_the_range(
  seed, side, colors, wanted, size, low, high, order
):
  steps = preprocessing.Preprocessing(
    size=size, colors=wanted, low=low, high=high, channel_order=order
  )
  values = random_images(seed, 2, side, side, colors).astype(np.float32)
  with tf.Graph().as_default(), tf.Session() as session:
    result = session.run(steps.apply(tf.constant(values)))
  assert result.shape == (2, size or side, size or side, wanted)
  slack = 1e-3 * (high - low)
  assert low - slack <= result.min() and result.max() <= high + slack
  if size is None and wanted == colors:
    shown = values[..., ::-1] if order == "bgr" else values
    np.testing.assert_allclose(
      result, low + (high - low) * shown, rtol=1e-4, atol=slack
    )


@given(
  seed=SEEDS, height=SIDES, width=SIDES, colors=COLORS, size=SIDES, whole=st.booleans()
)
def test_resize_keeps_range_and_type(seed, height, width, colors, size, whole):
  image = random_images(seed, 1, height, width, colors)[0].astype(np.float32)
  image = (image * 255).astype(np.uint8) if whole else image
  result = image_lib.resize(image, size)
  assert result.shape == (size, size, colors) and result.dtype == image.dtype
  assert result.min() >= 0 and result.max() <= (255 if whole else 1)
  constant = np.full_like(image, image.flat[0])
  np.testing.assert_allclose(
    image_lib.resize(constant, size), constant.flat[0], atol=1e-6
  )


# Metrics -------------------------------------------------------------------------


@given(seed=SEEDS, n=st.integers(1, 3), side=st.integers(11, 16), colors=COLORS)
def test_similarity_is_symmetric_bounded_and_best_for_itself(seed, n, side, colors):
  a, b = random_images(seed, 2 * n, side, side, colors).reshape(
    2, n, side, side, colors
  )
  for metric in (similarity.psnr, similarity.ssim):
    np.testing.assert_allclose(metric(a, b), metric(b, a), rtol=1e-9)
    assert metric(a, b).shape == (n,) and np.all(metric(a, b) < metric(a, a))
  assert np.all(np.isposinf(similarity.psnr(a, a))) and np.all(
    similarity.psnr(a, b) >= 0
  )
  assert np.all(np.abs(similarity.ssim(a, b)) <= 1)
  np.testing.assert_allclose(similarity.ssim(a, a), 1)


@given(
  seed=SEEDS,
  n=st.integers(2, 30),
  m=st.integers(2, 30),
  d=st.integers(1, 6),
  shift=st.floats(-5, 5),
)
def test_frechet_distance(seed, n, m, d, shift):
  """Symmetric, never negative, 0 for equal sets, d shift^2 for a shifted one."""
  rng = np.random.default_rng(seed)
  a, b = rng.normal(size=[n, d]), rng.normal(size=[m, d])
  there, back = frechet.distance(a, b), frechet.distance(b, a)
  assert there >= 0
  np.testing.assert_allclose(there, back, atol=1e-6)
  np.testing.assert_allclose(frechet.distance(a, a + shift), d * shift**2, atol=1e-5)


@given(values=hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 3)))
def test_agreement(values):
  assert agreement.rate(values, values) == 1.0
  assert agreement.rate(values, values + 1) == 0.0
  assert agreement.rate(values, values[::-1]) == agreement.rate(values[::-1], values)


@given(n=st.integers(1, 500), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_wilson_interval_holds_the_rate(n, share, confidence):
  successes = round(n * share)
  low, high = statistics.wilson_interval(successes, n, confidence)
  assert 0 <= low <= successes / n + 1e-12 and successes / n - 1e-12 <= high <= 1
  # What fails is the rest: its interval is the mirrored one.
  mirrored = statistics.wilson_interval(n - successes, n, confidence)
  np.testing.assert_allclose((1 - high, 1 - low), mirrored, atol=1e-9)


@settings(max_examples=15)
@given(values=hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-10, 10)))
def test_bootstrap_interval_is_inside_the_values(values):
  low, high = statistics.bootstrap_interval(values, resamples=200)
  assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
  assert (low, high) == statistics.bootstrap_interval(values, resamples=200)


# Logits --------------------------------------------------------------------------


@given(logits=LOGITS, value=st.floats(-2, 2))
def test_shift_and_scale_keep_the_order_and_undo_themselves(logits, value):
  for kind in ("shift", "scale"):
    moved = logit_manipulation.manipulate(logits, kind, value)
    back = logit_manipulation.manipulate(moved, kind, -value)
    np.testing.assert_allclose(back, logits, rtol=1e-4, atol=1e-4)
    assert np.all(np.diff(moved[np.argsort(logits)]) >= 0)
    np.testing.assert_array_equal(
      logit_manipulation.manipulate(logits, kind, 0.0), logits
    )
  shifted = logit_manipulation.manipulate(logits.astype(np.float64), "shift", value)
  np.testing.assert_allclose(
    view_lib.confidences(shifted), view_lib.confidences(logits), atol=1e-9
  )


PHOTO = view_lib.encode(np.zeros([4, 4, 1], np.uint8))


def edited(logits, **fields):
  names = [f"class {i}" for i in range(len(logits))]
  return view_lib._edit(logits, names, view_lib.View(PHOTO, **fields))[0]


@given(logits=LOGITS, pair=st.tuples(st.integers(0, 11), st.integers(0, 11)))
def test_a_swap_undoes_itself_and_moves_nothing_else(logits, pair):
  i, j = (index % len(logits) for index in pair)
  names = (f"class {i}", f"class {j}")
  swapped = edited(logits, swapped=names)
  assert swapped[i] == logits[j] and swapped[j] == logits[i]
  np.testing.assert_array_equal(np.sort(swapped), np.sort(logits))
  np.testing.assert_array_equal(edited(swapped, swapped=names), logits)


@given(logits=LOGITS, keep=st.integers(1, 15))
def test_the_largest_are_kept_as_they_are(logits, keep):
  left = edited(logits, keep=keep)
  kept = np.argsort(-logits, kind="stable")[:keep]
  np.testing.assert_array_equal(left[kept], logits[kept])
  assert not np.delete(left, kept).any()
  np.testing.assert_array_equal(edited(left + 0, keep=len(logits)), left)


# Interpolation -------------------------------------------------------------------


@given(seed=SEEDS, n=st.integers(1, 4), d=st.integers(1, 8), count=st.integers(2, 12))
def test_interpolation_begins_and_ends_where_it_should(seed, n, d, count):
  a, b = np.random.default_rng(seed).normal(size=[2, n, d]).astype(np.float32)
  path = interpolation.between(a, b, count)
  assert path.shape == (n, count, d) and path.dtype == np.float32
  np.testing.assert_array_equal(path[:, 0], a)
  np.testing.assert_array_equal(path[:, -1], b)
  np.testing.assert_allclose(
    interpolation.between(b, a, count), path[:, ::-1], atol=1e-6
  )
  steps = np.linalg.norm(np.diff(path, axis=1), axis=-1)
  np.testing.assert_allclose(interpolation.unevenness(steps), 0, atol=1e-4)


# Grids ---------------------------------------------------------------------------


@given(
  seed=SEEDS,
  rows=st.integers(1, 4),
  columns=st.integers(1, 4),
  height=SIDES,
  width=SIDES,
  colors=COLORS,
  pad=st.integers(0, 3),
)
def test_every_tile_is_in_its_place(seed, rows, columns, height, width, colors, pad):
  images = random_images(seed, rows * columns, height, width, colors).reshape(
    rows, columns, height, width, colors
  )
  canvas = figures.tiles(images, pad)
  assert canvas.shape == (rows * (height + pad) - pad, columns * (width + pad) - pad, 3)
  covered = np.zeros(canvas.shape[:2], bool)
  for i in range(rows):
    for j in range(columns):
      place = np.s_[
        i * (height + pad) : i * (height + pad) + height,
        j * (width + pad) : j * (width + pad) + width,
      ]
      covered[place] = True
      assert np.abs(canvas[place] / 255 - images[i, j]).max() <= 0.5 / 255 + 1e-6
  assert np.all(canvas[~covered] == 255)


@given(
  images=hnp.arrays(
    np.float32, (2, 3, 1), elements=st.floats(allow_nan=False, width=32)
  )
)
def test_any_value_becomes_a_colour(images):
  rgb = figures.to_rgb(images)
  assert rgb.shape == (2, 3, 3) and rgb.dtype == np.uint8
  np.testing.assert_array_equal(
    rgb[..., 0], np.round(np.clip(images, 0, 1) * 255)[..., 0]
  )


# Damaged images ------------------------------------------------------------------


def _encoded():
  """Small images in every format that is read."""
  pixels = np.random.default_rng(0).integers(0, 256, [9, 12, 3], np.uint8)
  image, found = Image.fromarray(pixels), []
  for kind, mode in (
    ("PNG", "RGB"),
    ("PNG", "P"),
    ("PNG", "LA"),
    ("PNG", "I;16"),
    ("JPEG", "RGB"),
    ("JPEG", "CMYK"),
    ("GIF", "P"),
    ("BMP", "RGB"),
    ("TIFF", "RGB"),
    ("WEBP", "RGB"),
  ):
    file = io.BytesIO()
    if mode == "I;16":
      Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(file, kind)
    else:
      image.convert(mode).save(file, kind)
    found.append(file.getvalue())
  return found


ENCODED = _encoded()


def _image_or_sentence(data, size, colors):
  try:
    image = image_lib.read_image(data, size, colors, name="the file")
  except UserError as error:
    assert "the file" in str(error) and "\n" not in str(error)
  else:
    assert image.shape == (size, size, colors) and image.dtype == np.uint8


@settings(max_examples=200)
@given(
  data=st.binary(max_size=300),
  start=st.sampled_from([b"", *(encoded[:12] for encoded in ENCODED)]),
  colors=COLORS,
)
def test_random_bytes_are_an_image_or_a_sentence(data, start, colors):
  _image_or_sentence(start + data, 5, colors)


@settings(max_examples=600)
@given(data=st.data(), encoded=st.sampled_from(ENCODED), colors=COLORS)
def test_mutated_images_are_an_image_or_a_sentence(data, encoded, colors):
  mutated = bytearray(encoded)
  for _ in range(data.draw(st.integers(1, 4))):
    place = data.draw(st.integers(0, len(mutated) - 1))
    mutated[place] = data.draw(st.integers(0, 255))
  cut = data.draw(st.one_of(st.none(), st.integers(0, len(mutated))))
  _image_or_sentence(bytes(mutated[:cut]), 5, colors)


# Damaged JSON --------------------------------------------------------------------


JSON = st.recursive(
  st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
  lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
  ),
  max_leaves=5,
)


@pytest.fixture(scope="module")
def module(tmp_path_factory):
  return tiny.write_module(
    tmp_path_factory.mktemp("modules") / "module", tiny.linear(np.zeros([4, 64]))
  )


@pytest.fixture(scope="module")
def description(module):
  """A whole inversion.json, with a classifier that is not there."""
  with open(os.path.join(module, "inversion.json"), encoding="utf-8") as f:
    info = json.load(f)
  return dict(
    info,
    files={},
    classifier={
      "name": "gone",
      "handle": "/no/such/place",
      "digest": "0" * 64,
      "relative": "../gone",
      "role": {"kind": "robust", "attack": "pgd", "epsilon": 0.1},
      "signature": None,
      "class_names": None,
      "preprocessing": {"size": 8, "mean": [0.0]},
    },
  )


def _loads_or_sentence(module, text):
  with open(os.path.join(module, "inversion.json"), "w", encoding="utf-8") as f:
    f.write(text)
  try:
    inverter = inversion.Inverter.load(module)
  except UserError as error:
    assert explain(error)
  else:
    assert inverter.image_size >= 1 and inverter.colors in (1, 3)


@settings(max_examples=300)
@given(data=st.data())
def test_any_value_in_inversion_json_loads_or_is_a_sentence(data, module, description):
  info = json.loads(json.dumps(description))
  classifier = info["classifier"]
  places = [info, classifier, classifier["preprocessing"], classifier["role"]]
  for _ in range(data.draw(st.integers(1, 3))):
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    if not isinstance(info["classifier"], dict):
      break
  _loads_or_sentence(module, json.dumps(info))


@settings(max_examples=200)
@given(data=st.data())
def test_mutated_inversion_json_loads_or_is_a_sentence(data, module, description):
  text = json.dumps(description)
  start = data.draw(st.integers(0, len(text)))
  stop = data.draw(st.integers(start, min(len(text), start + 20)))
  _loads_or_sentence(
    module,
    text[:start]
    + data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
    + text[stop:],
  )


VIEW = view_lib.View(PHOTO, swapped=("a", "b"), raised=(("a", 1.0),), keep=3)


@settings(max_examples=200)
@given(name=st.sampled_from(sorted(VIEW.to_json())), value=JSON)
def test_any_value_in_a_view_opens_or_is_a_sentence(name, value):
  text = json.dumps(
    {
      "format": "compare_gan_logits view 1",
      "modules": {},
      "view": {**VIEW.to_json(), name: value},
    }
  )
  try:
    view = saving.from_json(text).view
  except UserError:
    return
  assert saving.from_json(saving.to_json({}, view)) == ({}, view, {})


@given(
  url=st.one_of(
    st.text(max_size=20),
    st.from_regex(r"https?://[a-z.:\[\]@/?#0-9]{0,20}", fullmatch=True),
  )
)
def test_any_outer_address_is_read_or_is_a_sentence(url):
  try:
    found = web.outer(url)
  except UserError as error:
    assert "--outer_url" in str(error)
    return
  assert found.origin.startswith(("http://", "https://"))
  assert not found.prefix or found.prefix.startswith("/")
