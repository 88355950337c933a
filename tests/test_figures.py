"""Figures: pixels where they belong, same bytes for the same values."""

import io

import matplotlib.figure
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
  np.testing.assert_array_equal(figures.to_rgb(shown), shown)


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


@pytest.fixture
def drawn(monkeypatch):
  """The figures that would be written, as matplotlib's objects."""
  found = []
  monkeypatch.setattr(
    matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: found.append(figure)
  )
  return found


def test_labels_stand_at_their_own_images_whose_scale_is_given(drawn):
  images = RNG.uniform(size=[2, 3, 4, 4, 3])
  rows, columns = ["upper", "lower"], ["a", "b", "c"]
  cells = [["1", "2", "3"], ["4", "", "6"]]
  figures.grid(images, io.BytesIO(), rows, columns, cells, scale=10)
  (figure,) = drawn
  heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
  for k, axes in enumerate(figure.axes):
    i, j = divmod(k, 3)
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), figures.to_rgb(images[i, j]))
    assert image.get_interpolation() == "nearest"  # a pixel is a square
    assert axes.get_title() == ("" if i else columns[j])
    assert "".join(text.get_text() for text in axes.texts) == cells[i][j]
    box = axes.get_position()
    assert box.y0 < heights[rows[i]] < box.y1
    sides = np.array([box.width, box.height]) * figure.get_size_inches() * figure.dpi
    np.testing.assert_allclose(sides, 10 * 4)


@pytest.mark.parametrize(
  "label, lines",
  [
    ("photographs_robust", ["photographs_", "robust"]),
    ("shift -0.3", ["shift", "-0.3"]),
    ("runs/a/b", ["runs/a/b"]),
    ("n" * 30, ["n" * 24, "n" * 6]),
    ("one\ntwo three four", ["one", "two three", "four"]),
    ("", [""]),
  ],
)
def test_headings_are_broken_between_their_parts_and_do_not_overlap(
  drawn, label, lines
):
  for count in (1, 3):
    images = np.zeros([1, count, 32, 32, 3])
    figures.grid(images, io.BytesIO(), None, count * [label])
    figure = drawn.pop()
    assert [axes.get_title() for axes in figure.axes] == count * ["\n".join(lines)]
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    ends = [0, *(x for box in boxes for x in (box.x0, box.x1)), figure.bbox.x1]
    assert ends == sorted(ends)


def test_a_grid_of_many_columns_has_a_bounded_width(drawn):
  image = np.zeros([64, 64, 1])
  figures.grid([[image] + 89 * [None]], io.BytesIO())
  figures.grid([[image, None]], io.BytesIO(), scale=100)
  assert all(max(figure.get_size_inches()) < 45 for figure in drawn)


def test_curves_are_drawn_with_their_own_bands_spreads_and_mark(drawn):
  x = [1, 2, 4]
  series = {
    "first": ([3, 5, 4], [2, 4, 3], [6, 8, 7], [1, 1, 2], [9, 9, 8]),
    "second": ([13, 15, 14], [12, 11, 13], [16, 18, 17]),
  }
  figures.curves(io.BytesIO(), x, series, "factor", "dB", "why", 2, True, "quartiles")
  (axes,) = drawn[0].axes
  first, *spread, second, mark = axes.lines
  for line, band, (value, low, high, *_) in zip(
    (first, second), axes.collections, series.values()
  ):
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([x, value]))
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert corners == {*zip(x, low), *zip(x, high)}
    assert matplotlib.colors.same_color(
      (*band.get_facecolor()[0, :3], 1), line.get_color()
    )
  assert first.get_color() != second.get_color()
  assert len(spread) == 2
  for line, values in zip(spread, series["first"][3:]):
    np.testing.assert_array_equal(line.get_ydata(), values)
    assert line.get_color() == first.get_color()
  assert list(mark.get_xdata()) == [2, 2]
  assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (
    "factor",
    "dB",
    "why",
  )
  assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
  legend = axes.get_legend()
  assert [text.get_text() for text in legend.get_texts()] == list(series)
  assert legend.get_title().get_text() == "band: quartiles"


def test_points_have_their_intervals_along_their_own_axes(drawn):
  series = {
    "whole": ((1, 0.5, 3), (10, 8, 11)),
    "open": ((2, 1, 4), (20, -np.inf, np.inf)),
  }
  figures.points(io.BytesIO(), series, "bits", "dB", "quartiles")
  (axes,) = drawn[0].axes
  whole, unbounded = axes.containers
  bars = [bar.get_segments()[0].tolist() for bar in whole[2]]
  assert bars == [[[0.5, 10], [3, 10]], [[1, 8], [1, 11]]]
  assert whole[0].get_xydata().tolist() == [[1, 10]]
  assert [bar.get_segments()[0].tolist() for bar in unbounded[2]] == [
    [[1, 20], [4, 20]]
  ]
  assert whole[0].get_color() != unbounded[0].get_color()
  assert (axes.get_xlabel(), axes.get_ylabel()) == ("bits", "dB")
  (legend,) = drawn[0].legends
  assert [text.get_text() for text in legend.get_texts()] == list(series)
  assert legend.get_title().get_text() == "bars: quartiles"
