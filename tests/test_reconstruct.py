"""tools/reconstruct.py as its users run it."""

import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from skimage.metrics import structural_similarity

from compare_gan_logits import classifiers
from compare_gan_logits import figures
from compare_gan_logits import files
from compare_gan_logits import reconstruction
from compare_gan_logits.inversion import Inverter


RNG = np.random.default_rng(0)
TOOL = os.path.join(
  os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools", "reconstruct.py"
)
# With orthonormal columns, the module returns the image's projection on them.
KERNEL = np.linalg.qr(RNG.normal(size=[256, 4]))[0]


@pytest.fixture(scope="module")
def module_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("modules")
  classifier = classifiers.load(
    tiny.write_classifier(folder / "classifier", KERNEL, 16)
  )
  return tiny.write_module(
    folder / "module",
    tiny.linear(KERNEL.T, 0.01 * np.ones([3, 256]), offset=0.0),
    size=16,
    classifier=classifier.describe(),
  )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  for i in range(100):
    Image.fromarray(RNG.integers(0, 256, [16, 16]).astype(np.uint8)).save(
      folder / f"{i:03d}.png"
    )
  return folder


def _run(*arguments):
  return subprocess.run(
    [sys.executable, TOOL, *arguments], capture_output=True, text=True, timeout=120
  )


@pytest.mark.long
def test_a_hundred_images_with_two_modules(module_dir, photos, tmp_path):
  out = tmp_path / "out"
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  done = _run(
    "--module",
    module_dir,
    "--module",
    module_dir,
    "--images",
    str(photos),
    "--samples",
    "2",
    "--seed",
    "5",
    "--output",
    str(out),
  )
  assert done.returncode == 0, done.stderr
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert after.ru_utime - before.ru_utime < 60  # seconds of CPU; 15 on 2 idle cores
  results = json.loads((out / "results.json").read_text())["modules"]
  assert len(results) == 2 and len(results[0]["images"]) == 100

  pixels = np.stack(
    [np.asarray(Image.open(photos / f"{i:03d}.png")) / 255 for i in range(100)]
  )
  logits = pixels.reshape(100, 256) @ KERNEL
  saved = np.load(out / "logits.npz")
  np.testing.assert_allclose(saved["classifier"], logits, atol=1e-4)
  # Sample 1 of image 3, by hand.
  noise = np.random.default_rng(5).standard_normal([200, 3])[7]
  made = np.clip(logits[3] @ KERNEL.T + 0.01 * noise.sum(), 0, 1).reshape(16, 16)
  record = results[0]["images"][3]
  expected = peak_signal_noise_ratio(pixels[3], made, data_range=1.0)
  assert record["reconstructions"][1]["psnr"] == pytest.approx(expected, abs=1e-3)
  confidence = np.exp(logits[3]) / np.exp(logits[3]).sum()
  assert record["predicted_class"] == f"class {logits[3].argmax()}"
  assert record["confidence"] == pytest.approx(confidence.max(), abs=1e-4)
  picture = np.asarray(Image.open(out / "images" / "003_classifier_1.png"))[..., 0]
  np.testing.assert_allclose(picture, made * 255, atol=0.6)
  assert len(os.listdir(out / "images")) == 100 * (1 + 2 * 2)
  assert Image.open(out / "grid.png").size[0] > 500
  assert "mean of 100" in done.stdout and "003.png" in done.stdout


@pytest.mark.parametrize(
  "arguments, words",
  [
    ([], "--images"),
    (["--module", "nowhere", "--images", "PHOTOS"], "inversion.json"),
    (["--module", "MODULE", "--images", "PHOTOS/*.jpg"], "no images at"),
    (["--module", "MODULE", "--images", "PHOTOS", "--output", "PHOTOS"], "not empty"),
    (["--module", "MODULE", "--images", "TEXT"], "note.png"),
  ],
)
def test_a_wrong_input_ends_in_one_sentence(
  arguments, words, module_dir, photos, tmp_path, server
):
  note = tmp_path / "note.png"
  note.write_text("no picture")
  places = {"MODULE": module_dir, "PHOTOS": str(photos), "TEXT": str(note)}
  for key, place in places.items():
    arguments = [a.replace(key, place) for a in arguments]
  if "--output" not in arguments:
    arguments += ["--output", str(tmp_path / "out")]
  done = server.run(tmp_path / "logs", "reconstruct", *arguments)
  assert done.returncode == 1 and words in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1, done.stderr
  assert not (tmp_path / "out").exists()


def test_two_modules_beside_each_other_from_python(module_dir, photos, tmp_path):
  inverter = Inverter.load(module_dir)
  paths = [str(photos / "000.png"), str(photos / "001.png")]
  made = reconstruction.of_files(inverter, paths)
  reconstruction.write([made, made], str(tmp_path))
  assert set(np.load(tmp_path / "logits.npz")) == {
    "files",
    "classifier",
    "classifier_2",
  }


def test_classes_of_the_same_name_are_not_the_same(module_dir, photos):
  inverter = Inverter.load(module_dir)
  paths = [str(photos / f"{i:03d}.png") for i in range(40)]
  apart = reconstruction.of_files(inverter, paths, samples=2)
  assert 0 < apart.agreement() < 1
  inverter.class_names = 4 * ["crane"]
  assert reconstruction.of_files(inverter, paths, 2).agreement() == apart.agreement()


def test_one_logit_names_no_class(photos, tmp_path, capsys):
  kernel = KERNEL[:, :1]
  given = classifiers.load(tiny.write_classifier(tmp_path / "classifier", kernel, 16))
  module = tiny.write_module(
    tmp_path / "module",
    tiny.linear(kernel.T),
    size=16,
    num_logits=1,
    classifier=given.describe(),
  )
  made = reconstruction.of_files(Inverter.load(module), [str(photos / "000.png")])
  reconstruction.print_table([made])
  assert "none (one logit)" in (printed := capsys.readouterr().out)
  assert "class kept" not in printed and "class 0" not in printed
  reconstruction.write([made], str(tmp_path))
  (found,) = json.loads((tmp_path / "results.json").read_text())["modules"]
  assert set(found["mean"]) == {"psnr", "ssim"}
  assert set(found["images"][0]) == {"file", "reconstructions"}


def test_labels_that_differ_only_in_their_signs_keep_files_of_their_own(
  module_dir, photos, tmp_path
):
  inverter = Inverter.load(module_dir)
  paths = [str(photos / "000.png")]
  made = [
    reconstruction.of_files(inverter, paths, seed=i, name=name)
    for i, name in enumerate(("r (a)", "r [a]", "file", "files"))
  ]
  reconstruction.write(made, str(tmp_path))
  assert len(list((tmp_path / "images").iterdir())) == 1 + len(made)
  keys = {"files", "r__a_", "r__a__2", "file_2", "files_2"}
  assert set(np.load(tmp_path / "logits.npz")) == keys


def test_a_file_and_a_label_that_make_the_name_of_others(module_dir, photos, tmp_path):
  """a.png by x_r and a_x.png by r would both be a_x_r_0.png."""
  for name in ("a.png", "a_x.png"):
    shutil.copy(photos / "000.png", tmp_path / name)
  paths = [str(tmp_path / "a.png"), str(tmp_path / "a_x.png")]
  inverter = Inverter.load(module_dir)
  made = [reconstruction.of_files(inverter, paths, name=n) for n in ("x_r", "r")]
  reconstruction.write(made, str(tmp_path))
  assert len(list((tmp_path / "images").iterdir())) == 2 * (1 + 2)


def _made(name, shift=0):
  """Two reconstructions of each of two images, every value a number of its own."""
  images = np.arange(2, dtype=np.float32).reshape(-1, 1, 1, 1)
  originals = np.broadcast_to(images / 16, [2, 4, 4, 1])
  pictures = np.stack([originals + (shift + k) / 8 for k in (1, 2)], axis=1)
  i, k = np.indices([2, 2])
  return reconstruction.Reconstructions(
    name=name,
    module=f"/{name}",
    paths=[f"/photos/{j}.png" for j in range(2)],
    originals=originals,
    logits=np.tile(np.float32([0, 1, shift]), [2, 1]),
    pictures=pictures,
    class_names=["cat", "dog", "hen"],
    classes=np.arange(2),
    confidences=0.25 + np.arange(2) / 8,
    picture_classes=np.array([[0, 0], [1, 2]]),
    psnr=20.0 + shift + 10 * i + k,
    ssim=0.5 + shift / 100 + i / 10 + k / 50,
  )


def test_the_grid_has_a_row_for_each_image_and_all_pictures_of_each_module(
  tmp_path, monkeypatch
):
  drawn = []
  monkeypatch.setattr(figures, "grid", lambda *arguments: drawn.append(arguments))
  made = [_made("a"), _made("a", shift=4)]
  reconstruction.write(made, str(tmp_path), grid_rows=1)
  ((rows, path, labels, columns),) = drawn
  assert [picture.mean() * 8 for picture in rows[0]] == [0, 1, 2, 5, 6]
  assert (len(rows), labels) == (1, ["cat"]) and path == str(tmp_path / "grid.png")
  assert columns == ["original", "a", "a", "a_2", "a_2"]
  for name, value in (("0_a_1", 2 / 8), ("1_a_2_0", 1 / 16 + 5 / 8)):
    picture = np.asarray(Image.open(tmp_path / "images" / f"{name}.png"))
    np.testing.assert_array_equal(picture, round(value * 255))
  saved = np.load(tmp_path / "logits.npz")
  assert [saved[key][0, 2] for key in ("a", "a_2")] == [0, 4]
  assert list(saved["files"]) == made[0].paths


def test_measures_are_those_of_their_images_and_their_means(capsys):
  made = _made("a", shift=4)
  found = made.to_json()
  assert found["mean"] == {"psnr": 29.5, "ssim": 0.6, "class_kept": 0.75}
  assert found["images"][1] == {
    "file": "/photos/1.png",
    "predicted_class": "dog",
    "confidence": 0.375,
    "reconstructions": [
      {"psnr": 34.0, "ssim": 0.64, "predicted_class": "dog"},
      {"psnr": 35.0, "ssim": 0.66, "predicted_class": "hen"},
    ],
  }
  reconstruction.print_table([made, _made("b")], limit=1)
  _, first, other, more, mean, _ = capsys.readouterr().out.splitlines()
  assert first.split() == [
    "0.png",
    "a",
    "24.50",
    "0.550",
    "cat",
    "25.0%",
    "cat,",
    "cat",
  ]
  assert other.split()[:4] == ["0.png", "b", "20.50", "0.510"]
  assert "1 more image" in more
  assert " ".join(mean.split()) == "mean of 2 a 29.50 0.600 class kept 75.0%"


def test_the_best_of_several_samples_is_kept(module_dir, photos):
  inverter = Inverter.load(module_dir)
  paths = [str(photos / f"{i:03d}.png") for i in range(4)]
  every = reconstruction.of_files(inverter, paths, samples=3, seed=7)
  best = reconstruction.of_files(inverter, paths, 3, seed=7, select="logits")
  pictures = inverter.reconstruct(every.originals, 3, seed=7)
  np.testing.assert_array_equal(every.pictures, pictures)
  chosen = inverter.best(every.logits, pictures)
  assert len(set(chosen)) > 1
  for name in ("pictures", "psnr", "ssim"):
    kept = getattr(every, name)[np.arange(4), chosen][:, None]
    np.testing.assert_allclose(getattr(best, name), kept, rtol=1e-5)
  expected = structural_similarity(
    every.originals[1, ..., 0],
    pictures[1, 2, ..., 0],
    data_range=1.0,
    gaussian_weights=True,
    use_sample_covariance=False,
  )
  assert every.ssim[1, 2] == pytest.approx(expected, abs=1e-6)


def test_unique():
  assert files.unique(["a", "b", "a", "a"]) == ["a", "b", "a_2", "a_3"]


@pytest.mark.long
def test_without_a_module_the_shipped_inverter_takes_photographs(tmp_path):
  foolbox = pytest.importorskip("foolbox")
  photos = os.path.join(os.path.dirname(foolbox.__file__), "data", "imagenet_*")
  out = tmp_path / "out"
  done = _run("--images", photos, "--output", str(out))
  assert done.returncode == 0, done.stderr
  (result,) = json.loads((out / "results.json").read_text())["modules"]
  assert result["name"] == "photographs_robust" and len(result["images"]) == 20
  originals, pictures = (
    np.stack(
      [
        np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
        for path in sorted((out / "images").glob(pattern))
      ]
    )
    for pattern in ("*_original.png", "*_photographs_robust_*.png")
  )
  errors = np.square(originals[:, None] - pictures[None]).mean((2, 3, 4))
  own, others = np.diag(errors), (errors.sum(1) - np.diag(errors)) / 19
  # None of these photographs was seen in training; by chance half would be closer.
  assert np.sum(own < others) >= 16
