"""Picture files: what is read, at which depth, and what of a file does not matter."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL import ImageOps
from PIL import PngImagePlugin

from compare_gan_logits import images as image_lib
from compare_gan_logits.datasets import find
from compare_gan_logits.errors import UserError


def smooth(width=64, height=48, seed=0):
  """A picture without sharp edges, which JPEG keeps well."""
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 256, [6, 6, 3], np.uint8)
  return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **how):
  stream = io.BytesIO()
  image.save(stream, kind, **how)
  return stream.getvalue()


def read(data, size=32, colors=3):
  return image_lib.read_image(data, size, colors, "the file").astype(int)


def chunk(kind, data, checksum=None):
  checksum = zlib.crc32(kind + data) if checksum is None else checksum
  return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


PLAIN = encoded(smooth(), "PNG")


@pytest.mark.parametrize(
  "exif", [b"Exif\0\0garbage!", b"Exif\0\0II*\0", b"", b"\xff" * 9]
)
@pytest.mark.parametrize("kind, how", [("PNG", {}), ("WEBP", {"lossless": True})])
def test_exif_that_is_none_is_passed_over(exif, kind, how):
  data = encoded(smooth(), kind, exif=exif, **how)
  np.testing.assert_array_equal(read(data), read(PLAIN))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage!", b"Exif\0\0II*\0"])
def test_exif_that_is_none_in_a_jpeg_with_a_density(exif):
  data = encoded(smooth(), "JPEG", exif=exif, dpi=(72, 72))
  np.testing.assert_array_equal(read(data), read(encoded(smooth(), "JPEG")))


def test_large_texts_and_profiles_do_not_matter():
  text = PngImagePlugin.PngInfo()
  text.add_text("parameters", "x" * (2 << 20), zip=True)
  text.add_itxt("workflow", "x" * (3 << 19), zip=True)
  data = encoded(smooth(), "PNG", pnginfo=text, icc_profile=bytes(2_000_000))
  np.testing.assert_array_equal(read(data), read(PLAIN))


@pytest.mark.parametrize(
  "kind, body",
  [
    (b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9)),  # 50 MB in 50 KB
    (b"zTXt", b"k\0\0" + b"no stream"),
    (b"iTXt", b""),
    (b"iCCP", b"broken"),
    (b"gAMA", b"\0"),
    (b"cHRM", b"\0\1"),
    (b"pHYs", b""),
    (b"eXIf", b"broken"),
    (b"acTL", b""),
  ],
)
@pytest.mark.parametrize("checksum", [None, 1])
def test_damage_outside_of_the_pixels_of_a_png(kind, body, checksum):
  data = PLAIN[:33] + chunk(kind, body, checksum) + PLAIN[33:]
  np.testing.assert_array_equal(read(data), read(PLAIN))


def test_damage_in_the_pixels_is_refused():
  for data in (PLAIN[: len(PLAIN) // 2], PLAIN[:60] + bytes(40) + PLAIN[100:]):
    with pytest.raises(UserError, match="the file cannot be read as an image"):
      read(data)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_last_bytes_is_whole(progressive):
  data = encoded(smooth(), "JPEG", progressive=progressive)
  for missing in (1, 2):
    np.testing.assert_array_equal(read(data[:-missing]), read(data))
  for missing in (12, len(data) // 3):
    with pytest.raises(UserError, match="cannot be read"):
      read(data[:-missing])


def test_a_png_without_its_last_byte_is_whole():
  for missing in (1, 12):
    np.testing.assert_array_equal(read(PLAIN[:-missing]), read(PLAIN))


def test_a_png_that_is_cut_off_is_refused_where_pixels_are_missing():
  """What follows the cut is not taken for pixels, however few are missing."""
  noise = np.random.default_rng(0).integers(0, 256, [20, 20], np.uint8)
  data = encoded(Image.fromarray(noise), "PNG")
  whole, outcomes = read(data), set()
  for length in range(len(data) // 2, len(data)):
    try:
      np.testing.assert_array_equal(read(data[:length]), whole)
      outcomes.add("whole")
    except UserError:
      outcomes.add("refused")
  assert outcomes == {"whole", "refused"}


@pytest.mark.parametrize(
  "top, mean", [(200, 0.4), (256, 0.5), (300, 0.6), (4095, 8.0), (65535, 127.5)]
)
def test_sixteen_bits_are_read_by_what_the_file_declares(top, mean):
  ramp = np.linspace(0, top, 64 * 64).reshape(64, 64).astype(np.uint16)
  for kind in ("PNG", "TIFF"):
    assert read(encoded(Image.fromarray(ramp), kind)).mean() == pytest.approx(
      mean, abs=0.1
    )


def test_twelve_bits_in_sixteen_are_remarked_upon_once(capsys):
  image_lib._remark_12_bits.cache_clear()
  data = encoded(Image.fromarray(np.full([8, 8], 4000, np.uint16)), "PNG")
  read(data), read(data)
  assert capsys.readouterr().err.count("12-bit images") == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pictures_are_upright_whichever_way_their_tag_turns_them(kind):
  for turn in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(smooth(), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as stored:
      upright = ImageOps.exif_transpose(stored).convert("RGB")
    np.testing.assert_array_equal(image_lib.read_whole(data, 3), np.asarray(upright))
    header = image_lib.read_header(data, "the file")
    assert (header.width, header.height) == upright.size


@pytest.mark.parametrize("top, mean", [(1.0, 127), (1.0001, 127), (255.0, 127)])
def test_fractions_that_pass_one_by_a_rounding_stay_fractions(top, mean):
  ramp = np.linspace(0, top, 64 * 64, dtype=np.float32).reshape(64, 64)
  assert read(encoded(Image.fromarray(ramp), "TIFF")).mean() == pytest.approx(
    mean, abs=1
  )


def test_thirty_two_bits_have_the_range_that_a_tiff_declares():
  values = np.full([8, 8], 2**30, np.int32)  # half of what 31 bits hold
  assert read(encoded(Image.fromarray(values), "TIFF")).mean() in (127, 128)


@pytest.mark.parametrize("kind", ["JPEG", "PPM", "AVIF", "WEBP", "BMP", "TGA", "QOI"])
def test_formats_are_told_by_content(kind):
  if kind not in image_lib.formats() or kind not in Image.SAVE:
    pytest.skip(f"this Pillow has no {kind}")
  data = encoded(smooth(), kind)
  assert np.abs(read(data) - read(PLAIN)).mean() < 5
  assert kind == "TGA" or image_lib.looks_like_picture(data[:64])


def test_text_is_no_picture():
  for text in (b"file,label\n1.jpg,cat\n", b"\0" * 64, b"#!/bin/sh\nexit 0\n" * 5):
    assert not image_lib.looks_like_picture(text)


def test_heic_names_what_reads_it():
  stub = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
  with pytest.raises(UserError, match="HEIC.*pillow-heif"):
    read(stub)


# Large pictures -------------------------------------------------------------------


def test_a_jpeg_is_decoded_small_and_looks_the_same():
  data = encoded(smooth(640, 480), "JPEG", quality=95)
  whole = image_lib.resize(np.asarray(Image.open(io.BytesIO(data))), 32)
  assert np.abs(read(data) - whole).max() <= 3


def test_a_large_jpeg_is_read_and_a_large_png_is_not(monkeypatch):
  monkeypatch.setattr(image_lib, "MAX_PIXELS", 64 * 48 - 1)
  monkeypatch.setattr(image_lib, "MAX_JPEG_PIXELS", 64 * 48)
  small = read(encoded(smooth(), "JPEG"))  # by halves, and so below the bound
  assert np.abs(small - read(encoded(smooth(63, 48), "PNG"))).mean() < 8
  for data in (PLAIN, encoded(smooth(65, 48), "JPEG")):
    with pytest.raises(UserError, match="million pixels; make it smaller"):
      read(data)


def test_headers_are_read_without_pixels():
  exif = Image.Exif()
  exif[0x0112] = 6
  data = encoded(smooth(), "JPEG", exif=exif)
  header = image_lib.read_header(data[: data.index(b"\xff\xda") + 20], "the file")
  assert header == ("JPEG", "RGB", 48, 64)


def test_whole_pictures_have_the_shape_asked_for():
  data = encoded(smooth(640, 480), "JPEG")
  assert image_lib.read_whole(data, 3).shape == (480, 640, 3)
  assert image_lib.read_whole(data, 1, (48, 64)).shape == (48, 64, 1)


# Many files ------------------------------------------------------------------------


def test_one_bad_file_does_not_end_a_command(tmp_path, capsys):
  for name, data in (("a.png", PLAIN), ("b.png", b"text"), ("c.png", PLAIN[:80])):
    (tmp_path / name).write_bytes(data)
  paths = find.find_images(str(tmp_path))
  images, kept = image_lib.read_images(paths, 16, 3)
  assert images.shape == (1, 16, 16, 3) and kept == [str(tmp_path / "a.png")]
  said = capsys.readouterr().err
  assert "b.png cannot be read" in said and "c.png cannot be read" in said
  with pytest.raises(UserError, match=r"b\.png"):
    image_lib.read_images(paths[1:], 16, 3)


def test_find_images_goes_by_content_and_takes_any_case(tmp_path):
  for name in ("a.jpg", "b.JPG", "c.jfif", "noending"):
    (tmp_path / name).write_bytes(encoded(smooth(), "JPEG"))
  (tmp_path / "d.pgm").write_bytes(encoded(smooth().convert("L"), "PPM"))
  for name in ("notes.txt", "._a.jpg", "Thumbs.db", ".DS_Store"):
    (tmp_path / name).write_bytes(b"no picture")
  (tmp_path / "folder.jpg").mkdir()
  found = [path.rsplit("/", 1)[1] for path in find.find_images(str(tmp_path))]
  assert found == ["a.jpg", "b.JPG", "c.jfif", "d.pgm", "noending"]
  for pattern in ("*.jpg", "*.JPG", "**/*.Jpg"):
    assert len(find.find_images(str(tmp_path / pattern))) == 2


def test_a_jpeg_is_decoded_at_twice_the_size_at_least():
  data = io.BytesIO()
  Image.new("RGB", (640, 480)).save(data, "JPEG")
  for size, width in ((121, 640), (120, 320), (60, 160)):
    image = image_lib._open(data.getvalue(), "x")
    image_lib._draft(image, size)
    assert image.size[0] == width


def test_a_large_jpeg_is_halved_until_it_is_within_the_bound(monkeypatch):
  data = encoded(smooth(640, 480), "JPEG")
  for bound, height in ((640 * 480, 480), (320 * 240, 240), (320 * 240 - 1, 120)):
    monkeypatch.setattr(image_lib, "MAX_PIXELS", bound)
    assert image_lib.read_whole(data, 3).shape[0] == height


def test_a_picture_is_not_made_larger_for_random_crops():
  assert image_lib.scaled_shape(30, 20, 40) == (30, 20)
  assert image_lib.scaled_shape(90, 60, 40) == (60, 40)
