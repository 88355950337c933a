"""Any picture file, as the model wants it.

What is decoded is what the file says of its pixels; all else in it (text, colour
profiles, EXIF but for the orientation) is passed over, and damage there does no harm.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import warnings
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL import JpegImagePlugin
from PIL import UnidentifiedImageError

from compare_gan_logits.errors import UserError


# 100 megapixels: a decompressed image of this size takes 400 MB.
MAX_PIXELS = 100_000_000
# A JPEG is decoded at a half to an eighth of its size, which needs less.
MAX_JPEG_PIXELS = 300_000_000
# ITU-R BT.601, as in tf.image.rgb_to_grayscale.
LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)

# A JPEG is decoded at no less than so many times the size that is wanted, so that
# filtering it down to that size leaves nothing of the coarser decoding to be seen.
_REACH = 2
# Formats that Pillow only names, or reads with another program's help.
_NOT_READ = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_HEIC_ENDINGS = (".heic", ".heif", ".hif")
_PNG = b"\x89PNG\r\n\x1a\n"
# Of an EXIF orientation, the turn that shows the picture upright.
_TURNS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


class Header(NamedTuple):
  """What a file says of its picture: "JPEG", "RGB", and its size once upright."""

  kind: str
  mode: str
  width: int
  height: int


def read_image(
  source: str | bytes, size: int, colors: int, name: str | None = None
) -> np.ndarray:
  """Reads an image: central square, antialiased resize to size x size.

  Orientation tags are honoured, transparency is put on white, of an animation the
  first frame is taken. Values of 16 and 32 bits are scaled by the range that the file
  declares, fractions are taken to lie in [0, 1], or in [0, 255] where one exceeds 2. A
  JPEG of more than twice the size that is wanted is decoded at a half, a quarter or an
  eighth.

  Args:
    source: path, or the encoded bytes.
    size: side of the result, in pixels.
    colors: 1 (grey) or 3 (RGB).
    name: what an error calls it; the path by default.

  Returns:
    uint8 [size, size, colors].

  Raises:
    UserError: it cannot be read as an image, or has more than MAX_PIXELS
      (MAX_JPEG_PIXELS for a JPEG).
  """
  image = _picture(source, size, colors, name)
  width, height = image.size
  side = min(width, height)
  left, top = (width - side) // 2, (height - side) // 2
  if width != height:
    image = image.crop((left, top, left + side, top + side))
  return _as_array(image, (size, size), colors)


def read_whole(
  source: str | bytes,
  colors: int,
  shape: tuple[int, int] | None = None,
  name: str | None = None,
) -> np.ndarray:
  """Reads an image as `read_image` does, but the whole of it.

  Args:
    source, colors, name: as read_image's.
    shape: (height, width) of the result; None leaves the picture's own.

  Returns:
    uint8 [h, w, colors].
  """
  image = _picture(source, None if shape is None else min(shape), colors, name)
  return _as_array(image, image.size if shape is None else shape[::-1], colors)


def _as_array(image, size, colors):
  """uint8 [h, w, colors] of a PIL image at a size (width, height)."""
  if image.size != size:
    image = image.resize(size, Image.Resampling.BICUBIC)
  values = np.asarray(image)
  return values.reshape(*values.shape[:2], colors)


def scaled_shape(height: int, width: int, shortest: int) -> tuple[int, int]:
  """(height, width) of an image whose shorter side is at most `shortest`."""
  scale = min(1.0, shortest / min(height, width))
  return max(1, round(height * scale)), max(1, round(width * scale))


def read_header(source: str | bytes, name: str | None = None) -> Header:
  """What a file says of its picture, without decoding it.

  Raises:
    UserError: as read_image, as far as that can be told.
  """
  name = name or str(source)
  image = _explained(lambda: _open(_encoded(source, name), name), name)
  width, height = image.size
  if _orientation(image) >= 5:
    width, height = height, width
  return Header(image.format or "", image.mode, width, height)


def may_be_cut(kind: str, end: bytes) -> bool:
  """Whether a file does not end as its format does, so that pixels may be missing.

  Args:
    kind: as of Header.
    end: its last bytes, 64 or more where it has them.
  """
  if kind == "JPEG":
    return b"\xff\xd9" not in end
  if kind == "PNG":
    return b"IEND" not in end
  if kind == "GIF":
    return end[-1:] != b";"
  return False  # Of other formats the end does not tell; a cut WebP has no header.


def read_images(
  paths: Sequence[str], size: int, colors: int
) -> tuple[np.ndarray, list[str]]:
  """Those of many files that can be read; the others are named on stderr.

  Returns:
    uint8 [n, size, size, colors] and the n paths.

  Raises:
    UserError: none of them can be read.
  """
  images, read, errors = [], [], []
  for path in paths:
    try:
      images.append(read_image(path, size, colors))
      read.append(path)
    except UserError as error:
      errors.append(error)
  if not images:
    raise errors[0] if errors else UserError("no images were named")
  for error in errors:
    print(f"left out: {error}", file=sys.stderr)
  return np.stack(images), read


# What is a picture -------------------------------------------------------------


@functools.cache
def formats() -> tuple[str, ...]:
  """Names of the formats that this installation reads."""
  Image.init()
  return tuple(sorted(set(Image.OPEN) - _NOT_READ))


@functools.cache
def endings() -> frozenset[str]:
  """Endings, in small letters, of the files of those formats, and of HEIC."""
  known = Image.registered_extensions()
  return frozenset(e for e, kind in known.items() if kind in formats()) | frozenset(
    _HEIC_ENDINGS
  )


def looks_like_picture(start: bytes) -> bool:
  """Whether a file that starts with these 32 bytes or more may be a picture."""
  if _is_heic(start):
    return True
  for kind in formats():
    accept = Image.OPEN[kind][1]
    try:
      if accept is not None and accept(start) is True:
        return True
    except Exception:  # noqa: S112, of a plugin, on bytes that are not its own
      continue
  return False


def check_regular(path: str, name: str) -> None:
  """Raises UserError for what is there but no file: a pipe would be waited for."""
  if os.path.exists(path) and not os.path.isfile(path):
    raise UserError(
      f"{name} is not a file but a pipe, a device or a folder; replace or remove it"
    )


# Decoding ----------------------------------------------------------------------


def _encoded(source, name):
  if isinstance(source, bytes):
    return source
  check_regular(source, name)
  try:
    with open(source, "rb") as f:
      return f.read()
  except FileNotFoundError:
    raise UserError(f"no image {name}") from None


def _picture(source, size, colors, name):
  """A PIL image, upright, of mode L or RGB; `size` as read_image's, or None."""
  name = name or str(source)
  data = _encoded(source, name)
  return _explained(lambda: _to_colors(_decoded(data, size, name), colors), name)


def _explained(read, name):
  """What `read` returns; its errors as sentences about the file."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      return read()
  except (UserError, MemoryError):
    raise
  except Image.DecompressionBombError:  # Pillow's own bound, before ours is asked
    raise _too_large(name, MAX_PIXELS) from None
  except UnidentifiedImageError:  # its own text shows an address in memory
    raise UserError(
      f"{name} cannot be read as an image (JPEG, PNG, GIF, WebP, BMP, TIFF and others "
      "can); replace or remove it"
    ) from None
  except Exception as error:  # of any kind: decoders raise what they meet
    text = " ".join(str(error).split()) or type(error).__name__
    raise UserError(
      f"{name} cannot be read as an image ({text}); replace or remove it"
    ) from None


def _open(data, name):
  """A PIL image of which the header is read and its size checked."""
  if data[:2] == b"\xff\xd8":  # Not by Image.open, which has a bound of its own.
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    _check_size(image, name, MAX_JPEG_PIXELS)
    return image
  if data[:8] == _PNG:
    data = _plain_png(data)
  if _is_heic(data):
    _register_heic(name)
  image = Image.open(io.BytesIO(data), formats=None if _is_heic(data) else formats())
  _check_size(image, name, MAX_PIXELS)
  return image


def _check_size(image, name, limit):
  width, height = image.size
  if width * height > limit:
    raise _too_large(name, limit)


def _too_large(name, limit):
  return UserError(
    f"{name} has more than {limit // 1_000_000} million pixels; make it smaller first"
  )


def _is_heic(data):
  return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS


def _register_heic(name):
  try:
    import pillow_heif
  except ImportError:
    raise UserError(
      f"{name} is a HEIC file, which cannot be read here; pip install pillow-heif, or "
      "convert it to JPEG"
    ) from None
  pillow_heif.register_heif_opener()


def _plain_png(data):
  """A PNG's pixels, palette, transparency and orientation, and nothing else.

  Text and profiles may inflate to any size, and viewers pass over damage in them.
  """
  parts, at = [_PNG], 8
  while at + 8 <= len(data):
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    kind = data[at + 4 : at + 8]
    if kind == b"IEND":
      break
    content = data[at + 8 : end - 4]
    if kind == b"eXIf" or (kind == b"IDAT" and end > len(data)):
      # Of a file that is cut off, a part of what there is: with its declared length,
      # the bytes that follow here would be read as pixels.
      parts.append(_png_part(kind, content))
    elif kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT"):
      # Pillow does not look at the checksum of pixels.
      if kind == b"IDAT" and data[at:end] != _png_part(kind, content):
        raise ValueError("the checksum of its pixels is wrong")
      parts.append(data[at:end])
    at = end
  return b"".join([*parts, _png_part(b"IEND", b"")])


def _png_part(kind, content):
  checksum = zlib.crc32(kind + content).to_bytes(4, "big")
  return len(content).to_bytes(4, "big") + kind + content + checksum


def _decoded(data, size, name):
  """The picture, loaded and upright."""
  image = _open(data, name)
  _draft(image, size)
  turn = _TURNS.get(_orientation(image))
  try:
    image.load()
  except OSError as error:
    if "truncated" not in str(error):
      raise
    image = _without_its_end(data, size, name)
    if image is None:
      raise
  return image if turn is None else image.transpose(turn)


def _draft(image, size):
  """Makes a JPEG be decoded at the smallest scale that serves `size`."""
  if image.format != "JPEG":
    return
  width, height = image.size
  scale = 1
  while scale < 8 and (
    (size is not None and min(width, height) >= 2 * scale * _REACH * size)
    or width * height > scale**2 * MAX_PIXELS
  ):
    scale *= 2
  if scale > 1:
    image.draft(None, (width // scale, height // scale))


def _without_its_end(data, size, name):
  """A picture whose file lacks its last bytes, if no pixel depends on them; or None.

  It is decoded with several things in their place: a pixel that was missing differs.
  """
  end = b""
  if data[:2] == b"\xff\xd8":  # Half a marker at the end would change what follows.
    data, end = data.rstrip(b"\xff"), b"\xff\xd9"
  found = None
  for filling in (b"\x00", b"\x55", b"\xaa"):
    image = _open(data + filling * 16 + end, name)
    _draft(image, size)
    try:
      image.load()
    except OSError:
      return None
    if found is not None and found.tobytes() != image.tobytes():
      return None
    found = image
  return found


def _orientation(image):
  """The turn that an image still needs, as EXIF numbers it."""
  if image.format == "TIFF":
    return 1  # Pillow turns it while it loads, and says its upright size before.
  try:
    return image.getexif().get(0x0112, 1)
  except Exception:  # of any kind: what is no EXIF says nothing of the orientation
    return 1


def _to_colors(image, colors):
  mode = "L" if colors == 1 else "RGB"
  if image.mode.startswith(("I", "F")):
    image = _to_8_bits(image)
  if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image)
  if image.mode not in ("L", "RGB"):
    image = image.convert("RGB")
  return image if image.mode == mode else image.convert(mode)


def _to_8_bits(image):
  """Grey of 16 or 32 bits, or of fractions, by the range that its file declares."""
  values = np.asarray(image, np.float64)
  if not np.all(np.isfinite(values)):
    raise ValueError("it holds values that are not finite")
  if image.mode == "F":
    # Fractions may exceed 1 by a rounding or a filter; grey levels of 0 to 255 do so by
    # far more, in all but black pictures.
    top = 1.0 if values.max() <= 2 else 255.0
  else:
    top = _largest_value(image)
    if top == 65535 and 255 < values.max() < 4096:
      _remark_12_bits()
  return Image.fromarray(np.clip(values * (255.0 / top), 0, 255).round().astype("u1"))


def _largest_value(image):
  """The largest whole number that a file's declared depth can hold."""
  tags = getattr(image, "tag_v2", None)
  if tags is None:
    return 65535  # PNG, PGM and others store no more
  bits = int(np.max(tags.get(258, 16)))
  signed = int(np.max(tags.get(339, 1))) == 2
  return 2 ** (bits - signed) - 1


@functools.lru_cache(maxsize=1)
def _remark_12_bits():
  print(
    "some pictures declare 16 bits, but have no value above 4095; if they are 12-bit "
    "images they look nearly black: multiply them by 16 first",
    file=sys.stderr,
  )


# Sizes -------------------------------------------------------------------------


def resize(image: np.ndarray, size: int) -> np.ndarray:
  """Central square of an image, resized bicubically with antialiasing.

  Args:
    image: [h, w, c], uint8, or float32 in [0, 1].
    size: side of the result, in pixels.

  Returns:
    [size, size, c] of the same type; uint8 is rounded and clipped after each axis.
  """
  height, width = image.shape[:2]
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  return stretch(image[top : top + side, left : left + side], size)


def stretch(image: np.ndarray, size: int) -> np.ndarray:
  """A whole image [h, w, c] at size x size, as `resize` does it."""
  if image.shape[:2] == (size, size):
    return image
  if image.dtype == np.uint8:
    square = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return _as_array(square, (size, size), image.shape[-1])
  planes = [
    Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC)
    for plane in np.moveaxis(image, -1, 0)
  ]
  return np.clip(np.stack(planes, axis=-1), 0, 1)  # A bicubic kernel overshoots.


def sample_bilinearly(image: np.ndarray, size: int) -> np.ndarray:
  """A whole image at size x size as TensorFlow 1 resizes: bilinear, unfiltered.

  Args:
    image: uint8 [h, w, c].
    size: side of the result; its pixel i is read at i * h / size.

  Returns:
    uint8 [size, size, c].
  """
  values = image.astype(np.float32)
  for axis in (0, 1):
    length = values.shape[axis]
    places = np.arange(size, dtype=np.float32) * np.float32(length / size)
    first = np.minimum(places.astype(np.int64), length - 1)
    share = places - first
    shape = [-1 if a == axis else 1 for a in range(3)]
    lower = np.take(values, first, axis)
    upper = np.take(values, np.minimum(first + 1, length - 1), axis)
    values = lower + (upper - lower) * share.reshape(shape)
  return np.clip(np.round(values), 0, 255).astype(np.uint8)
