"""Makes the pictures of docs/gallery.md, from photographs that packages ship.

  python docs/gallery.py
  python docs/gallery.py --module robust=runs/photos/robust/module \
      --module standard=runs/photos/standard/module

or, with --drawn, a page of test images that no one has chosen:

  python docs/gallery.py --drawn 40 --dataset embedded --module runs/quickstart/robust/module
"""

import os

from absl import flags

from compare_gan_logits.cli import command
from compare_gan_logits.cli.modules import named


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module",
  [],
  "label=folder of an exported module; may be "
  "repeated. Default: the inverter that comes with the program.",
)
flags.DEFINE_string(
  "output", os.path.dirname(os.path.abspath(__file__)), "Folder to write."
)
flags.DEFINE_integer(
  "drawn",
  0,
  "Test images of --dataset to show, drawn with seed 0; at most all.",
  lower_bound=0,
)
flags.DEFINE_string("dataset", "embedded", "Of --drawn.")
# In scikit-image's and matplotlib's wheels; gallery.md names their authors.
_SKIMAGE = (
  "chelsea.png",
  "coffee.png",
  "astronaut.png",
  "rocket.jpg",
  "grass.png",
  "brick.png",
  "hubble_deep_field.jpg",
)
_MATPLOTLIB = ("grace_hopper.jpg",)
_SAMPLES = 3
_SHIFTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
_SCALES = tuple(10**x for x in (-0.3, -0.15, 0.0, 0.15, 0.3))  # Figure 8b's


def main(argv):
  del argv
  from compare_gan_logits import inversion

  modules = dict(named(module) for module in FLAGS.module)
  inverters = {
    name: inversion.Inverter.load(path)
    for name, path in (modules or {"photographs": inversion.SHIPPED}).items()
  }
  first = next(iter(inverters.values()))
  if FLAGS.drawn:
    _drawn(first)
    return
  names, photos = _photographs(first)
  _reconstructions(inverters, names, photos)
  _manipulations(first, names, photos)


def _drawn(inverter, pairs=5):
  """Pairs of an image and its reconstruction, row by row."""
  import numpy as np

  from compare_gan_logits import datasets
  from compare_gan_logits import figures

  dataset = datasets.get_dataset(FLAGS.dataset)
  total = dataset.num_examples("validation")
  chosen = np.random.default_rng(0).choice(
    total, min(FLAGS.drawn, total), replace=False
  )
  images, _ = dataset.arrays("validation", indices=chosen)
  pictures = inverter.reconstruct(images)[:, 0]
  cells = [cell for pair in zip(images, pictures) for cell in pair]
  rows = [cells[i : i + 2 * pairs] for i in range(0, len(cells), 2 * pairs)]
  path = os.path.join(FLAGS.output, "gallery_drawn.png")
  figures.grid(rows, path, column_labels=["original", "inverted"] * pairs)


def _photographs(inverter):
  """Names and images [n, h, w, 3]."""
  import matplotlib
  import numpy as np
  import skimage

  from compare_gan_logits import inversion

  places = [(os.path.dirname(skimage.__file__), "data", name) for name in _SKIMAGE]
  places += [(matplotlib.get_data_path(), "sample_data", name) for name in _MATPLOTLIB]
  photos = np.stack(
    [
      inversion.read_image(os.path.join(*place), inverter.image_size, 3)
      for place in places
    ]
  )
  return [place[-1].rsplit(".", 1)[0].replace("_", " ") for place in places], photos


def _reconstructions(inverters, names, photos):
  from compare_gan_logits import figures

  columns, rows = ["original"], [[photo] for photo in photos]
  for name, inverter in inverters.items():
    columns += [name] + ["other noise"] * (_SAMPLES - 1)
    for row, samples in zip(rows, inverter.reconstruct(photos, _SAMPLES)):
      row.extend(samples)
  figures.grid(rows, os.path.join(FLAGS.output, "gallery.png"), names, columns)


def _manipulations(inverter, names, photos, shown=4):
  """Section 5.5: shifted and scaled logits, with the same noise."""
  from compare_gan_logits import figures

  logits = inverter.logits(photos[:shown])
  noise = inverter.noise(shown, seed=0)
  ways = [(f"{shift:+.1f}", logits + shift) for shift in _SHIFTS]
  ways += [(f"x {scale:.2f}", logits * scale) for scale in _SCALES]
  pictures = [inverter.generate(changed, noise) for _, changed in ways]
  rows = [[photos[i], *(p[i] for p in pictures)] for i in range(shown)]
  figures.grid(
    rows,
    os.path.join(FLAGS.output, "gallery_logits.png"),
    names[:shown],
    ["original", *(name for name, _ in ways)],
  )


if __name__ == "__main__":
  command.run(main)
