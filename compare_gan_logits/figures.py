"""Draws grids of images and curves into PNG files. No other module draws.

Files hold no date and no version, so that equal values give equal bytes.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
from PIL import Image

from compare_gan_logits import files


if TYPE_CHECKING:
  from matplotlib.figure import Figure


_DPI = 200  # print quality at the sizes below
_TILE_INCHES = 0.72
_MAX_INCHES = 40
_LETTER_INCHES = 0.075  # of a label, about
# Okabe and Ito's colours, distinct for colour-blind readers as well.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_METADATA = {"Software": None}


def tiles(images: Any, pad: int = 1) -> np.ndarray:
  """Puts images side by side.

  Args:
    images: [rows, columns, h, w, c] in [0, 1] or uint8, c = 1 or 3.
    pad: white pixels between tiles.

  Returns:
    uint8 [rows * (h + pad) - pad, columns * (w + pad) - pad, 3].
  """
  images = to_rgb(images)
  rows, columns, height, width, _ = images.shape
  canvas = np.full([rows * (height + pad), columns * (width + pad), 3], 255, np.uint8)
  for i in range(rows):
    for j in range(columns):
      top, left = i * (height + pad), j * (width + pad)
      canvas[top : top + height, left : left + width] = images[i, j]
  return canvas[: canvas.shape[0] - pad, : canvas.shape[1] - pad]


def to_rgb(images: Any) -> np.ndarray:
  """Images [..., h, w, 1 or 3], floats in [0, 1] or uint8 -> uint8 [..., h, w, 3]."""
  images = np.asarray(images)
  if images.dtype != np.uint8:
    fractions = np.clip(images.astype(np.float32), 0.0, 1.0)
    images = np.round(fractions * 255.0).astype(np.uint8)
  return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def save_image(image: np.ndarray, path: str | os.PathLike[str]) -> None:
  """Writes one image [h, w, 1 or 3], in [0, 1] or uint8, pixel for pixel."""
  with files.atomic_path(os.fspath(path)) as temporary:
    Image.fromarray(to_rgb(image)).save(temporary)


def grid(
  images: Any,
  path: Any,
  row_labels: Sequence[str] | None = None,
  column_labels: Sequence[str] | None = None,
  cell_labels: Sequence[Sequence[str]] | None = None,
  title: str | None = None,
  scale: float | None = None,
) -> None:
  """Draws a labelled grid of images.

  Args:
    images: [rows, columns, h, w, c] in [0, 1], or a list of rows of images, which
      may differ in size and colours; None leaves a cell empty.
    path: PNG file to write, or an open binary file.
    row_labels: text left of each row.
    column_labels: text above each column.
    cell_labels: text below each image, a list of rows; "" for none.
    title: text above all.
    scale: screen pixels per image pixel; by default tiles of a fixed print size.
  """
  rows, columns = len(images), max(len(row) for row in images)
  height = max(image.shape[0] for row in images for image in row if image is not None)
  tile = _TILE_INCHES if scale is None else scale * height / _DPI
  tile = min(tile, _MAX_INCHES / max(rows, columns))
  gap = 0.24 * tile if cell_labels is not None else 0.05 * tile
  left = 0.1 + _LETTER_INCHES * max([len(str(text)) for text in row_labels or [""]])
  column_labels = [_wrapped(label, tile) for label in column_labels or []]
  top = 0.05 + (0.2 * _lines(column_labels) if column_labels else 0)
  # A name that is longer than a tile moves the columns apart, within bounds.
  letters = max(
    (len(line) for text in column_labels for line in text.split("\n")), default=0
  )
  pitch = max(1.05 * tile, min(_LETTER_INCHES * letters, _MAX_INCHES / columns))
  aside = (pitch - 1.05 * tile) / 2
  width_inches = left + columns * pitch + 0.05
  if title:
    title = _wrapped(title, width_inches)
    top += 0.11 + 0.15 * _lines([title])
  height_inches = top + rows * (tile + gap) + 0.05
  figure = _figure(width_inches, height_inches)
  if title:
    figure.text(
      0.5, 1 - 0.05 / height_inches, _plain(title), ha="center", va="top", fontsize=9
    )
  for i, row in enumerate(images):
    y = 1 - (top + i * (tile + gap) + tile) / height_inches
    if row_labels is not None:
      figure.text(
        (left - 0.06) / width_inches,
        y + tile / 2 / height_inches,
        _plain(row_labels[i]),
        ha="right",
        va="center",
        fontsize=8,
      )
    for j, image in enumerate(row):
      if image is None:
        continue
      x = (left + j * pitch + aside) / width_inches
      axes = figure.add_axes((x, y, tile / width_inches, tile / height_inches))
      axes.imshow(to_rgb(image), interpolation="nearest")
      axes.set_axis_off()
      if i == 0 and column_labels:
        axes.set_title(_plain(column_labels[j]), fontsize=8, pad=3)
      if cell_labels is not None and cell_labels[i][j]:
        axes.text(
          0.5,
          -0.03,
          _plain(cell_labels[i][j]),
          transform=axes.transAxes,
          ha="center",
          va="top",
          fontsize=5,
        )
  _save(figure, path)


def _plain(text: Any) -> str:
  """The text without mathematics, which matplotlib reads between two "$"."""
  return str(text).replace("$", r"\$")


def _wrapped(label: Any, inches: float) -> str:
  """The label on as many lines as its parts need within a width.

  A line ends at a space or behind _ or /; parts of up to 24 letters stay whole.
  """
  letters = max(1, int(inches / _LETTER_INCHES))
  lines = []
  for line in str(label).split("\n"):
    lines.append("")
    for part in re.findall(r"\s*(?:[^\s_/]{1,24}[_/]*|[_/]+)", line):
      if len(lines[-1] + part) > letters and lines[-1]:
        lines.append("")
      lines[-1] += part if lines[-1] else part.lstrip()
  return "\n".join(lines)


def _lines(labels: Iterable[Any]) -> int:
  return max(str(label).count("\n") + 1 for label in labels)


def curves(
  path: Any,
  x: Any,
  series: Mapping[str, Any],
  x_label: str,
  y_label: str,
  title: str | None = None,
  mark: float | None = None,
  log_x: bool = False,
  band: str = "95 % interval",
) -> None:
  """Draws curves with their bands.

  Args:
    path: PNG to write.
    x: [m].
    series: {label: (value [m], low [m], high [m])}; a fourth and a fifth array are
      drawn as dotted lines.
    x_label: with its unit.
    y_label: likewise.
    title: text above.
    mark: x of a vertical dashed line.
    log_x: logarithmic x axis.
    band: what low and high are, for the legend.
  """
  figure = _figure(5.2, 3.4, layout="constrained")
  axes = figure.add_subplot()
  markers = "osD^vP"
  for i, (label, (value, low, high, *spread)) in enumerate(series.items()):
    color = _COLORS[i % len(_COLORS)]
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(
      x,
      value,
      color=color,
      marker=markers[i % len(markers)],
      markersize=3.5,
      linewidth=1.4,
      label=_plain(label),
    )
    for line in spread:
      axes.plot(x, line, color=color, linestyle=":", linewidth=0.9)
  if mark is not None:
    axes.axvline(mark, color="0.4", linestyle="--", linewidth=0.8)
  if log_x:
    axes.set_xscale("log")
  axes.set_xlabel(_plain(x_label))
  axes.set_ylabel(_plain(y_label))
  axes.grid(color="0.9", linewidth=0.6)
  axes.spines[["top", "right"]].set_visible(False)
  axes.legend(fontsize=7, frameon=False, title=f"band: {band}", title_fontsize=6)
  if title:
    axes.set_title(_plain(title), fontsize=9)
  _save(figure, path)


def points(
  path: Any,
  series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  x_label: str,
  y_label: str,
  band: str = "95 % interval",
) -> None:
  """Draws a labelled point for each series, with its intervals in both directions.

  Args:
    path: PNG to write.
    series: {label: ((x, low, high), (y, low, high))}; infinite ends are not drawn.
    x_label: with its unit.
    y_label: likewise.
    band: what the intervals are, said in the legend.
  """
  figure = _figure(6.4, 3.6, layout="constrained")
  axes = figure.add_subplot()
  markers = "osD^vPX*"
  for i, (label, (x, y)) in enumerate(series.items()):
    errors = [
      [[max(v - low, 0.0)], [max(high - v, 0.0)]] if np.isfinite(high - low) else None
      for v, low, high in (x, y)
    ]
    axes.errorbar(
      x[0],
      y[0],
      errors[1],
      errors[0],
      color=_COLORS[i % len(_COLORS)],
      marker=markers[i % len(markers)],
      markersize=5,
      linewidth=0.9,
      linestyle="",
      label=_plain(label),
    )
  axes.set_xlabel(_plain(x_label))
  axes.set_ylabel(_plain(y_label))
  axes.grid(color="0.9", linewidth=0.6)
  axes.spines[["top", "right"]].set_visible(False)
  figure.legend(
    loc="outside right upper",  # intervals may lie anywhere in the axes
    fontsize=7,
    frameon=False,
    title=f"bars: {band}",
    title_fontsize=6,
  )
  _save(figure, path)


def _figure(width: float, height: float, layout: Any = None) -> Figure:
  # Without pyplot: no global state, no display.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout=layout)
  FigureCanvasAgg(figure)
  return figure


def _save(figure: Figure, path: Any) -> None:
  if hasattr(path, "write"):
    figure.savefig(path, metadata=_METADATA, format="png")
    return
  with files.atomic_path(path) as temporary:
    figure.savefig(temporary, metadata=_METADATA)


def whole_rows(images: np.ndarray, most: int = 8) -> np.ndarray:
  """Images [n, h, w, c], n > 0, as [rows, columns, h, w, c], with at most `most` columns.

  Those that would not fill a row are left out.
  """
  columns = min(most, len(images))
  rows = len(images) // columns
  return images[: rows * columns].reshape(rows, columns, *images.shape[1:])


def near_square(images: Sequence[Any]) -> list[list[Any]]:
  """A list of images as rows of a near-square block: 9 tiles give 3 x 3."""
  columns = math.ceil(math.sqrt(len(images)))
  return [list(images[i : i + columns]) for i in range(0, len(images), columns)]
