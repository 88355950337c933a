"""Reconstructs a list of image files, for the command `reconstruct`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from compare_gan_logits import figures
from compare_gan_logits import files
from compare_gan_logits import images as image_lib
from compare_gan_logits import inversion
from compare_gan_logits.errors import UserError
from compare_gan_logits.metrics import similarity


_MAX_VALUES = 2**31  # of all pictures; 8 GB


@dataclasses.dataclass(frozen=True)
class Reconstructions:
  """One module's reconstructions of n files.

  A classifier of one logit names no class: what is written and printed then has no
  classes, confidences and agreement.

  Attributes:
    name, module: of the inverter.
    paths: of the files.
    originals: [n, h, w, c], as the classifier saw them.
    logits: [n, num_logits].
    pictures: [n, samples, h, w, c].
    class_names: one for each logit; several classes may have the same.
    classes: int [n], the class that each original gets.
    confidences: [n], softmax probability of that class.
    picture_classes: int [n, samples], those that the reconstructions get.
    psnr: [n, samples], in dB, at most 100.
    ssim: [n, samples].
  """

  name: str
  module: str
  paths: list[str]
  originals: np.ndarray
  logits: np.ndarray
  pictures: np.ndarray
  class_names: list[str]
  classes: np.ndarray
  confidences: np.ndarray
  picture_classes: np.ndarray
  psnr: np.ndarray
  ssim: np.ndarray

  @property
  def has_classes(self) -> bool:
    """Whether the largest logit names a class."""
    return self.logits.shape[1] > 1

  def agreement(self) -> float:
    """Fraction of reconstructions that get their original's class."""
    return float(np.mean(self.picture_classes == self.classes[:, None]))

  def predicted(self, i: int) -> str:
    """Name of the class that original i gets."""
    return self.class_names[self.classes[i]]

  def picture_predicted(self, i: int) -> list[str]:
    """Names of the classes that its reconstructions get."""
    return [self.class_names[c] for c in self.picture_classes[i]]

  def to_json(self) -> dict[str, Any]:
    """Per file and in the mean, for results.json."""
    mean = {"psnr": _rounded(self.psnr.mean()), "ssim": _rounded(self.ssim.mean())}
    if self.has_classes:
      mean["class_kept"] = _rounded(self.agreement())
    return {
      "name": self.name,
      "module": self.module,
      "images": [self._record(i) for i in range(len(self.paths))],
      "mean": mean,
    }

  def _record(self, i):
    """What to_json has of one file."""
    record = {"file": self.paths[i]}
    pictures: list[dict[str, Any]] = [
      {"psnr": _rounded(psnr), "ssim": _rounded(ssim)}
      for psnr, ssim in zip(self.psnr[i], self.ssim[i])
    ]
    if self.has_classes:
      record["predicted_class"] = self.predicted(i)
      record["confidence"] = _rounded(self.confidences[i])
      for picture, name in zip(pictures, self.picture_predicted(i)):
        picture["predicted_class"] = name
    return {**record, "reconstructions": pictures}


def of_files(
  inverter: inversion.Inverter,
  paths: Sequence[str],
  samples: int = 1,
  seed: int = 0,
  select: str | None = None,
  name: str | None = None,
) -> Reconstructions:
  """Reconstructs image files.

  Args:
    inverter: inversion.Inverter with a classifier.
    paths: of image files.
    samples: reconstructions of each, with different noise.
    seed: of the noise.
    select: as of Inverter.reconstruct; with "logits" one of the samples is kept.
    name: of the module; None: the inverter's.

  Returns:
    Reconstructions.

  Raises:
    UserError: no file can be read; or the module has no classifier; or
      it is too much for the memory.
  """
  values = len(paths) * samples * inverter.image_size**2 * inverter.colors
  if values > _MAX_VALUES:
    raise UserError(
      f"{len(paths)} images with {samples} samples each are "
      f"{4e-9 * values:.0f} GB of pictures; ask for fewer --samples, or "
      "fewer --images at a time"
    )
  images, paths = image_lib.read_images(paths, inverter.image_size, inverter.colors)
  originals = images.astype(np.float32) / 255.0
  logits = inverter.logits(originals)
  pictures = inverter.reconstruct(originals, samples, seed, select)
  shape = pictures.shape[:2]
  flat = pictures.reshape(-1, *pictures.shape[2:])
  repeated = np.repeat(originals, shape[1], axis=0)
  return Reconstructions(
    name=name or inverter.name,
    module=inverter.path,
    paths=list(paths),
    originals=originals,
    logits=logits,
    pictures=pictures,
    class_names=inverter.class_names,
    classes=logits.argmax(axis=1),
    confidences=special.softmax(logits, axis=1).max(axis=1),
    picture_classes=inverter.predict(flat).reshape(shape),
    psnr=similarity.bounded_psnr(repeated, flat).reshape(shape),
    ssim=similarity.ssim(repeated, flat).reshape(shape),
  )


def write(made: Sequence[Reconstructions], folder: str, grid_rows: int = 40) -> None:
  """Writes grid.png, images/, logits.npz and results.json.

  Args:
    made: list of Reconstructions of the same files, one per module.
    folder: existing folder.
    grid_rows: images shown in the grid, at most.
  """
  names = files.unique(m.name for m in made)
  slugs = files.unique(files.slug(name) for name in names)
  rows, labels = [], []
  for i in range(min(grid_rows, len(made[0].paths))):
    rows.append([made[0].originals[i]] + [p for m in made for p in m.pictures[i]])
    labels.append(made[0].predicted(i) if made[0].has_classes else "")
  columns = ["original"] + [name for name, m in zip(names, made) for _ in m.pictures[0]]
  figures.grid(rows, os.path.join(folder, "grid.png"), labels, columns)
  _write_pictures(made, slugs, os.path.join(folder, "images"))
  # numpy's own argument is `file`.
  keys = files.unique(["files", "file", *slugs])[2:]
  np.savez(
    os.path.join(folder, "logits.npz"),
    files=np.array(made[0].paths),
    **{key: m.logits for key, m in zip(keys, made)},  # type: ignore
  )
  files.write_json(
    os.path.join(folder, "results.json"), {"modules": [m.to_json() for m in made]}
  )


def _write_pictures(made, slugs, folder):
  """Writes originals and reconstructions, each into a file of its own."""
  pictures = []
  for i, stem in enumerate(files.unique(map(_stem, made[0].paths))):
    pictures.append((f"{stem}_original", made[0].originals[i]))
    for slug, m in zip(slugs, made):
      pictures += [(f"{stem}_{slug}_{k}", p) for k, p in enumerate(m.pictures[i])]
  os.makedirs(folder)
  # "a_x" + "r" and "a" + "x_r" are one name.
  names = files.unique(name for name, _ in pictures)
  for name, (_, picture) in zip(names, pictures):
    figures.save_image(picture, os.path.join(folder, f"{name}.png"))


def print_table(made: Sequence[Reconstructions], limit: int = 40) -> None:
  """Prints a line per file and module, at most `limit` files, and the means."""
  print(
    f"{'image':28} {'module':18} {'PSNR dB':>8} {'SSIM':>6}  {'class':18} "
    f"{'confidence':>10}  class of the reconstruction"
  )
  for i, path in enumerate(made[0].paths[:limit]):
    for m in made:
      print(
        _line(os.path.basename(path)[-28:], m, m.psnr[i], m.ssim[i]) + _classes(m, i)
      )
  if len(made[0].paths) > limit:
    print(f"... and {len(made[0].paths) - limit} more images in results.json")
  for m in made:
    kept = f"  class kept {m.agreement():.1%}" if m.has_classes else ""
    print(_line(f"mean of {len(m.paths)}", m, m.psnr, m.ssim) + kept)


def _line(name, m, psnr, ssim):
  return f"{name:28} {m.name[:18]:18} {psnr.mean():8.2f} {ssim.mean():6.3f}"


def _classes(m, i):
  if not m.has_classes:
    return "  none (one logit)"
  return (
    f"  {m.predicted(i)[:18]:18} {m.confidences[i]:10.1%}  "
    f"{', '.join(m.picture_predicted(i)[:4])}"
  )


def _stem(path):
  return os.path.splitext(os.path.basename(path))[0]


def _rounded(value):
  return round(float(value), 5)
