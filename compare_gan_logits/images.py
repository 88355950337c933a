"""Reading one image of any kind as the model wants it."""

import io
import warnings

import numpy as np
from PIL import Image
from PIL import ImageOps

from compare_gan_logits.command import UserError


# 100 megapixels: a decompressed image of this size takes 400 MB.
MAX_PIXELS = 100_000_000
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read_image(source, size, colors, name=None):
  """Reads an image: central square, antialiased resize to size x size.

  Orientation tags are honoured, transparency is put on white, of an animation the
  first frame is taken, 16-bit values are scaled to 8 bits.

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
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
      width, height = image.size
      if width * height > MAX_PIXELS:
        raise UserError(f"{name} has {width}x{height} pixels, more than "
                        f"{MAX_PIXELS // 1_000_000} million; make it smaller first")
      image = _to_colors(ImageOps.exif_transpose(image), colors)
  except FileNotFoundError:
    raise UserError(f"no image {name}") from None
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
    raise UserError(f"{name} cannot be read as an image ({error}); replace or remove "
                    "it") from None
  return resize(np.asarray(image), size).reshape(size, size, colors)


def _to_colors(image, colors):
  mode = "L" if colors == 1 else "RGB"
  if image.mode.startswith(("I", "F")):
    values = np.asarray(image, np.float64)
    scale = 255.0 / 65535.0 if values.max() > 255 else 1.0
    image = Image.fromarray(np.clip(values * scale, 0, 255).round().astype(np.uint8))
  if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image)
  return image.convert("RGB").convert(mode) if mode == "L" else image.convert(mode)


def resize(image, size):
  """Central square of uint8 [h, w(, c)], resized with antialiasing to size x size."""
  height, width = image.shape[:2]
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  image = image[top:top + side, left:left + side]
  if side == size:
    return image
  resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
  return np.asarray(resized)
