"""What is looked at, and the one function that computes it.

  view = View(photo=encode(pixels), shift=0.3, raised=(("Sneaker", 4.0),))
  shown = compute(Inverter.load("runs/robust/module"), view)
  shown.pictures                                   # [samples, h, w, c]

The order in which a view's settings act is that of the pipeline: the photo is
brightened, sharpened, turned, attacked; its logits are mixed with the second
photo's, two classes swap places, single classes are raised, all but the largest
are set to zero; then the vector is scaled, shifted, perturbed, and given to the
generator.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy import special

from compare_gan_logits import files
from compare_gan_logits import images as image_lib
from compare_gan_logits.apps.explorer import controls
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.experiments import brightness_sharpness
from compare_gan_logits.experiments import logit_manipulation
from compare_gan_logits.inversion import Inverter


_MAX_SIDE = 1024  # of a photo inside a view, in pixels
_MAX_EDITS = 100


@dataclasses.dataclass(frozen=True)
class View:
  """One view of the explorer: everything that decides which pictures appear.

  Attributes:
    photo: a PNG in base64 (see `encode`), no larger than 1024 x 1024.
    second: likewise, or None; only `mix` uses it.
    brightness, sharpness: factors, 1 leaves the photo as it is.
    rotation: degrees, counter-clockwise.
    epsilon: strength of the attack, in units of the pixel range [0, 1].
    mix: 0 takes the logits of `photo`, 1 those of `second`.
    swapped: () or the names of two classes that swap their logits.
    raised: pairs of a class's name and what is added to its logit.
    keep: all but the largest `keep` logits are set to zero; None keeps all.
    scale: power of ten that all logits are multiplied by.
    shift: added to all logits.
    variance, perturbation_seed: of Gaussian noise added to the logits.
    noise_seed: of the generator's noise.
    samples: pictures, each with noise of its own.

  Raises:
    UserError: a value is of the wrong kind or out of range (controls.CONTROLS).
  """

  photo: str
  second: str | None = None
  brightness: float = 1.0
  sharpness: float = 1.0
  rotation: int = 0
  epsilon: float = 0.0
  mix: float = 0.0
  swapped: tuple = ()
  raised: tuple = ()
  keep: int | None = None
  scale: float = 0.0
  shift: float = 0.0
  variance: float = 0.0
  perturbation_seed: int = 0
  noise_seed: int = 0
  samples: int = 4

  def __post_init__(self):
    for control in controls.CONTROLS:
      value = getattr(self, control.name)
      _check_number(control, value)
      if not control.whole:
        object.__setattr__(self, control.name, float(value))
    _check(
      self.keep is None or _is_whole(self.keep) and self.keep >= 1,
      "keep is a whole number from 1, or null",
    )
    _check(
      _is_list(self.swapped, 0, 2)
      and len(self.swapped) != 1
      and all(isinstance(name, str) for name in self.swapped),
      "swapped names two classes, or none",
    )
    _check(
      _is_list(self.raised, 0, _MAX_EDITS)
      and all(
        _is_list(pair, 2, 2)
        and isinstance(pair[0], str)
        and _is_number(pair[1])
        and abs(pair[1]) <= controls.MAX_RAISE
        for pair in self.raised
      ),
      f"raised lists at most {_MAX_EDITS} pairs of a class and an amount from "
      f"-{controls.MAX_RAISE:g} to {controls.MAX_RAISE:g}",
    )
    # Lists, as JSON has them, would make equal views unequal.
    object.__setattr__(self, "swapped", tuple(self.swapped))
    object.__setattr__(
      self, "raised", tuple((name, float(amount)) for name, amount in self.raised)
    )
    decode(self.photo)
    if self.second is not None:
      decode(self.second)

  def to_json(self) -> dict[str, Any]:
    """A dict for JSON, and for from_json again."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, values: Any) -> View:
    """The view that `to_json` gave; fields left out have their defaults.

    Raises:
      UserError: it is no such dict.
    """
    names = {field.name for field in dataclasses.fields(cls)}
    _check(
      isinstance(values, dict) and isinstance(values.get("photo"), str),
      "it has no photo; save one from the explorer",
    )
    unknown = set(values) - names
    if unknown:
      raise UserError(f"a view has no {min(unknown)!r}; {nearest(min(unknown), names)}")
    return cls(**values)

  def changes(self) -> list[str]:
    """What differs from the plain view, in words: [text], without the photos."""
    words = [
      f"{control.label.lower()} {control.write(getattr(self, control.name))}"
      for control in controls.CONTROLS
      if control.finding
      and control.name != "samples"
      and (control.name != "mix" or self.second is not None)
      and getattr(self, control.name) != control.neutral
    ]
    if self.swapped:
      words.append("{} ⇄ {}".format(*self.swapped))
    words += [f"{name} {amount:+.4g}" for name, amount in self.raised]
    if self.keep is not None:
      words.append(f"top {self.keep} kept")
    return words


@dataclasses.dataclass(frozen=True)
class Shown:
  """A view as one module shows it: float32 arrays, images in [0, 1].

  Attributes:
    photo: [h, w, c], at the module's size.
    seen: [h, w, c], what the classifier saw: adjusted and attacked.
    seen_logits: [num_logits], of it.
    logits: [num_logits], what the generator was given.
    pictures: [samples, h, w, c].
    picture_logits: [samples, num_logits], the classifier's opinion of the pictures.
    unknown: names of edited classes that the module does not have.
  """

  photo: np.ndarray
  seen: np.ndarray
  seen_logits: np.ndarray
  logits: np.ndarray
  pictures: np.ndarray
  picture_logits: np.ndarray
  unknown: tuple = ()


def compute(inverter: Inverter, view: View) -> Shown:
  """Shows a view: a pure function of the module and the view.

  Args:
    inverter: inversion.Inverter with a classifier.
    view: View.

  Returns:
    Shown.

  Raises:
    UserError: the module has no classifier.
  """
  photo = inverter.prepare(decode(view.photo)[None])
  seen = _adjust(photo, view)
  if view.epsilon:
    seen = inverter.attack(seen, view.epsilon)
  seen_logits = inverter.logits(seen)
  logits = seen_logits
  if view.mix and view.second is not None:
    second = inverter.logits(inverter.prepare(decode(view.second)[None]))
    mix = np.float32(view.mix)
    logits = (1 - mix) * logits + mix * second
  edited, unknown = _edit(logits[0], labels(inverter), view)
  logits = _manipulate(edited, view)
  pictures = inverter.generate(
    np.repeat(logits[None], view.samples, axis=0),
    inverter.noise(view.samples, view.noise_seed),
  )
  return Shown(
    photo[0],
    seen[0],
    seen_logits[0],
    logits,
    pictures,
    inverter.logits(pictures),
    unknown,
  )


def labels(inverter: Inverter) -> list[str]:
  """The module's class names, the later of equal ones numbered: "crane", "crane_2"."""
  return files.unique(inverter.class_names)


def confidences(logits: Any) -> np.ndarray:
  """Softmax of logits [..., n], in float64."""
  return special.softmax(np.asarray(logits, np.float64), axis=-1)


def only_logit(logits: Any) -> float | None:
  """The logit of a classifier that has one, whose softmax says nothing; else None."""
  return float(logits[0]) if len(logits) == 1 else None


def encode(pixels: np.ndarray) -> str:
  """uint8 [h, w, 1 or 3] as a PNG in base64, without loss."""
  pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG")
  return base64.b64encode(file.getvalue()).decode("ascii")


def decode(text: str) -> np.ndarray:
  """uint8 [h, w, 1 or 3] of what `encode` gave.

  Raises:
    UserError: it is no such PNG.
  """
  try:
    file = io.BytesIO(base64.b64decode(text, validate=True))
    image = Image.open(file, formats=["PNG"])
    size = image.size
    _check(
      max(size) <= _MAX_SIDE,
      f"its photo has {size[0]}x{size[1]} pixels, more than "
      f"{_MAX_SIDE}x{_MAX_SIDE}; load it as a photo first",
    )
    pixels = np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
  except (
    binascii.Error,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    Image.DecompressionBombError,
  ) as error:
    raise UserError(
      f"this is not a saved view: its photo is not a PNG in base64 ({error}); save "
      "one from the explorer"
    ) from None
  return pixels.reshape(*pixels.shape[:2], -1)


def read_photo(data: bytes, inverters: Sequence[Inverter]) -> str:
  """An uploaded image file, as a view holds it.

  Args:
    data: bytes of the file.
    inverters: list of inversion.Inverter; the photo is as large, and has as many
      colours, as the one that takes most.

  Returns:
    A PNG in base64.

  Raises:
    UserError: it cannot be read as an image.
  """
  size = min(max(inverter.image_size for inverter in inverters), _MAX_SIDE)
  colors = max(inverter.colors for inverter in inverters)
  return encode(image_lib.read_image(data, size, colors, name="the file"))


def _adjust(images, view):
  """Brightness, sharpness and rotation; neutral ones leave every bit as it is."""
  if view.brightness != 1.0:
    images = brightness_sharpness.brighten(images, view.brightness)
  if view.sharpness != 1.0:
    images = brightness_sharpness.sharpen(images, view.sharpness)
  return rotate(images, view.rotation)


def rotate(images: np.ndarray, degrees: int) -> np.ndarray:
  """Turns [n, h, w, c] counter-clockwise about the centre.

  Quarter turns are exact; others are bilinear and go on at the edge with the
  nearest pixel.
  """
  if degrees % 90 == 0:
    return np.ascontiguousarray(np.rot90(images, int(degrees // 90), axes=(1, 2)))
  from scipy import ndimage

  return ndimage.rotate(
    images, degrees, axes=(2, 1), reshape=False, order=1, mode="nearest"
  )


def _edit(logits, names, view):
  """Single classes changed by name; also the names that are not there."""
  logits, index = logits.copy(), {name: i for i, name in enumerate(names)}
  wanted = (*view.swapped, *(name for name, _ in view.raised))
  unknown = tuple(name for name in wanted if name not in index)
  if view.swapped and all(name in index for name in view.swapped):
    pair = [index[name] for name in view.swapped]
    logits[pair] = logits[pair[::-1]]
  for name, amount in view.raised:
    if name in index:
      logits[index[name]] += np.float32(amount)
  if view.keep is not None:
    logits[np.argsort(-logits, kind="stable")[view.keep :]] = 0.0
  return logits, unknown


def _manipulate(logits, view):
  """Scaled, shifted and perturbed, float32 throughout."""
  if view.scale:
    logits = logit_manipulation.manipulate(logits, "scale", view.scale)
  if view.shift:
    logits = logit_manipulation.manipulate(logits, "shift", view.shift)
  if view.variance:
    rng = np.random.default_rng(view.perturbation_seed)
    logits = logits + rng.normal(0.0, math.sqrt(view.variance), logits.shape)
  return logits.astype(np.float32)


def _check(right, sentence):
  if not right:
    raise UserError(f"this is not a saved view: {sentence}")


def _check_number(control, value):
  _check(
    (_is_whole(value) if control.whole else _is_number(value))
    and control.low <= value <= control.high,
    f"{control.name} is a {'whole ' if control.whole else ''}number from "
    f"{control.low:g} to {control.high:g}",
  )


def _is_number(value):
  return (
    isinstance(value, (int, float))
    and not isinstance(value, bool)
    and math.isfinite(value)
  )


def _is_whole(value):
  return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value, least, most):
  return isinstance(value, (list, tuple)) and least <= len(value) <= most
