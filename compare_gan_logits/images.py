"""Images of any kind as the model wants them."""

import io
import os
import warnings

import numpy as np
from PIL import Image
from PIL import ImageOps
from PIL import UnidentifiedImageError

from compare_gan_logits.errors import UserError


# 100 megapixels: a decompressed image of this size takes 400 MB.
MAX_PIXELS = 100_000_000
# ITU-R BT.601, as in tf.image.rgb_to_grayscale.
LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read_image(source, size, colors, name=None):
  """Reads an image: central square, antialiased resize to size x size.

  Orientation tags are honoured, transparency is put on white, of an animation the
  first frame is taken, 16-bit values and fractions in [0, 1] are scaled to 8 bits.

  Args:
    source: path, or the encoded bytes.
    size: side of the result, in pixels.
    colors: 1 (grey) or 3 (RGB).
    name: what an error calls it; the path by default.

  Returns:
    uint8 [size, size, colors].

  Raises:
    UserError: it cannot be read as an image, or has more than MAX_PIXELS.
  """
  name = name or source
  if not isinstance(source, bytes):
    check_regular(source, name)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
      width, height = image.size
      if width * height > MAX_PIXELS:
        raise _too_large(name)
      image = _to_colors(ImageOps.exif_transpose(image), colors)
  except FileNotFoundError:
    raise UserError(f"no image {name}") from None
  except Image.DecompressionBombError:  # Pillow's own bound, before ours is asked
    raise _too_large(name) from None
  except UnidentifiedImageError:  # its own text shows an address in memory
    raise UserError(
      f"{name} cannot be read as an image (JPEG, PNG, GIF, WebP, BMP and "
      "TIFF can); replace or remove it"
    ) from None
  except (OSError, SyntaxError, ValueError) as error:
    raise UserError(
      f"{name} cannot be read as an image ({error}); replace or remove it"
    ) from None
  values = np.asarray(image)
  return resize(values.reshape(*values.shape[:2], colors), size)


def check_regular(path, name):
  """Raises UserError for what is there but no file: a pipe would be waited for."""
  if os.path.exists(path) and not os.path.isfile(path):
    raise UserError(
      f"{name} is no file but a pipe, a device or a folder; replace or remove it"
    )


def _too_large(name):
  return UserError(
    f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels; make "
    "it smaller first"
  )


def _to_colors(image, colors):
  mode = "L" if colors == 1 else "RGB"
  if image.mode.startswith(("I", "F")):
    values = np.asarray(image, np.float64)
    if not np.all(np.isfinite(values)):
      raise ValueError("it holds values that are not finite")
    scale = 255.0 / 65535.0 if values.max() > 255 else 1.0
    if image.mode == "F" and values.max() <= 1:
      scale = 255.0
    image = Image.fromarray(np.clip(values * scale, 0, 255).round().astype(np.uint8))
  if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image)
  return image.convert("RGB").convert(mode) if mode == "L" else image.convert(mode)


def resize(image, size):
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


def stretch(image, size):
  """A whole image [h, w, c] at size x size, as `resize` does it."""
  if image.shape[:2] == (size, size):
    return image
  planes = [
    Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC)
    for plane in np.moveaxis(image, -1, 0)
  ]
  # A bicubic kernel overshoots; Pillow clips whole numbers only.
  return np.clip(np.stack(planes, axis=-1), 0, 255 if image.dtype == np.uint8 else 1)


def sample_bilinearly(image, size):
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
