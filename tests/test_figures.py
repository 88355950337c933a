"""Figures: pixels where they belong, same bytes for the same values."""

import numpy as np
import pytest
from PIL import Image

from compare_gan_logits import figures


RNG = np.random.default_rng(0)


def test_tiles_put_every_pixel_in_its_place():
  images = RNG.uniform(size=[2, 3, 4, 5, 3])
  canvas = figures.tiles(images, pad=2)
  assert canvas.shape == (2 * 6 - 2, 3 * 7 - 2, 3) and canvas.dtype == np.uint8
  for i in range(2):
    for j in range(3):
      tile = canvas[6 * i : 6 * i + 4, 7 * j : 7 * j + 5]
      np.testing.assert_array_equal(tile, np.round(images[i, j] * 255))
  assert (canvas[4:6] == 255).all() and (canvas[:, 5:7] == 255).all()


def test_grey_is_shown_as_rgb_and_values_are_clipped():
  shown = figures.to_rgb(np.array([-1.0, 0.5, 2.0]).reshape(1, 3, 1))
  np.testing.assert_array_equal(shown[0], [[0, 0, 0], [128, 128, 128], [255, 255, 255]])


def test_saved_image_is_pixel_for_pixel(tmp_path):
  image = RNG.integers(0, 256, [6, 7, 3]) / 255.0
  figures.save_image(image, tmp_path / "a.png")
  np.testing.assert_array_equal(
    np.asarray(Image.open(tmp_path / "a.png")), np.round(image * 255)
  )


def test_a_long_title_stands_above_the_images_and_within_the_figure(tmp_path):
  red = np.zeros([1, 2, 8, 8, 3])
  red[..., 0] = 1.0
  counts = []
  for title in (None, "brightness x1.20, " * 12):
    figures.grid(red, tmp_path / "a.png", None, ["photo", "as seen"], title=title)
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    counts.append((pixels == [255, 0, 0]).all(axis=-1).sum())
    assert (pixels[:, :2] == 255).all() and (pixels[:, -2:] == 255).all()
  assert counts[0] == pytest.approx(counts[1], rel=0.02)


def test_grid_shows_the_colours_in_order(tmp_path):
  colors = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
  images = np.tile(colors[:, None, None], [1, 8, 8, 1]).reshape(2, 2, 8, 8, 3)
  figures.grid(
    images,
    tmp_path / "a.png",
    ["one", "two"],
    ["left", "right"],
    [["", "x"], ["y", ""]],
    "title",
  )
  shown = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
  centres = []
  for color in (colors * 255).astype(int):
    rows, columns = np.nonzero((shown == color).all(axis=-1))
    # A solid square of print quality: at least 100 dots wide.
    assert np.ptp(rows) > 100 and np.ptp(columns) > 100
    assert len(rows) >= 0.98 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    centres.append((rows.mean(), columns.mean()))
  centres = np.array(centres).reshape(2, 2, 2)
  assert (np.diff(centres[:, :, 0], axis=0) > 0).all()
  assert (np.diff(centres[:, :, 1], axis=1) > 0).all()


def test_rows_of_different_sizes_and_empty_cells(tmp_path):
  rows = [[np.zeros([8, 8, 1]), None], [np.ones([4, 4, 3]), np.zeros([8, 8, 3])]]
  figures.grid(rows, tmp_path / "a.png")
  assert Image.open(tmp_path / "a.png").size[0] > 200


def test_same_values_give_the_same_bytes(tmp_path):
  x = np.arange(5)
  for name in ("a", "b"):
    figures.curves(
      tmp_path / f"{name}.png",
      x,
      {"one": (x, x - 1, x + 1)},
      "factor",
      "shift",
      "title",
      mark=1,
    )
    figures.grid(np.zeros([1, 1, 8, 8, 1]), tmp_path / f"grid_{name}.png", ["r"])
  for stem in ("", "grid_"):
    first = (tmp_path / f"{stem}a.png").read_bytes()
    assert first == (tmp_path / f"{stem}b.png").read_bytes()
  dpi = Image.open(tmp_path / "a.png").info["dpi"]
  assert round(dpi[0]) == 200


def test_dollar_signs_are_no_mathematics(tmp_path):
  path, price = tmp_path / "a.png", r"$1 bill, \frac $"
  figures.grid([[np.zeros([4, 4, 1])]], path, [price], [price], [[price]], price)
  band = [0, 1], [0, 1], [0, 1]
  figures.curves(path, [1, 2], {price: band}, price, price, title=price, log_x=True)
  figures.points(path, {price: ((0, 0, 0), (0, 0, 0))}, price, price)


def test_near_square():
  assert [len(row) for row in figures.near_square(list(range(9)))] == [3, 3, 3]
  assert [len(row) for row in figures.near_square(list(range(5)))] == [3, 2]
