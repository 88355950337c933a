"""Wrong input through the real commands: one sentence with the remedy, nothing written."""

import json
import os
import shutil
import socket

import explorer_modules
import forking
import numpy as np
import pytest
import tiny
from PIL import Image


MAIN = forking.MAIN
RNG = np.random.default_rng(0)
CONFIG = """
include 'paper.gin'
dataset.name = 'embedded'
resnet_biggan.Generator.ch = 1
resnet_biggan.Discriminator.ch = 4
options.batch_size = 4
options.z_dim = 8
options.training_steps = 1
export.standing_images = 64
classifier.handle = 'classifier'
"""


@pytest.fixture(scope="module")
def server():
  with forking.Server() as running:
    yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder with sound inputs and wrong ones; commands run in it."""
  place = tmp_path_factory.mktemp("bad")
  tiny.write_classifier(place / "classifier", RNG.normal(size=[1024, 10]) / 10, size=32)
  tiny.write_classifier(place / "seven", RNG.normal(size=[1024, 7]) / 10, size=32)
  tiny.write_module(place / "no_classifier", tiny.linear(RNG.normal(size=[4, 64])))
  explorer_modules.write(str(place), "module")
  shutil.copy(os.path.join(forking.ROOT, "gin_configs", "paper.gin"), place)
  (place / "tiny.gin").write_text(CONFIG)
  for name, text in {"broken.gin": "options.batch_size = (", "text.png": "no image",
                     "view.json": "{", "other.json": "[1]", "truncated.png": "",
                     "file": "text"}.items():
    (place / name).write_text(text)
  photo = Image.fromarray(RNG.integers(0, 256, [40, 30, 3], dtype=np.uint8))
  photo.save(place / "photo.png")
  content = (place / "photo.png").read_bytes()
  (place / "truncated.png").write_bytes(content[:len(content) // 2])
  Image.new("L", (20000, 6000)).save(place / "huge.png")
  for name in ("empty", "mixed", "not_classes/train"):
    (place / name).mkdir(parents=True)
  shutil.copy(place / "photo.png", place / "mixed" / "a.png")
  shutil.copy(place / "text.png", place / "mixed" / "b.png")
  _damaged_modules(place)
  return place


def _damaged_modules(place):
  for name, change in {"no_json": None, "text_json": "{", "list_json": "[]",
                       "no_size": {"image_size": None}, "no_graph": {},
                       "wrong_logits": {"num_logits": 3}, "gone": {}}.items():
    folder = place / name
    shutil.copytree(place / "module", folder)
    description = folder / "inversion.json"
    if change is None:
      description.unlink()
    elif isinstance(change, str):
      description.write_text(change)
    else:
      description.write_text(json.dumps({**json.loads(description.read_text()), **change}))
  (place / "no_graph" / "saved_model.pb").unlink()
  info = json.loads((place / "gone" / "inversion.json").read_text())
  info["classifier"].update(handle="/nowhere")
  (place / "gone" / "inversion.json").write_text(json.dumps(info))


def gin(*bindings):
  return ["--gin_config", "tiny.gin",
          *(word for binding in bindings for word in ("--gin_bindings", binding))]


def train(*bindings):
  return MAIN, *gin(*bindings), "--model_dir", "new"


def reconstruct(images, module="module", *more):
  return "reconstruct", "--module", module, "--images", images, "--output", "new", *more


def cache(*bindings):
  return "cache_logits", *gin(*bindings), "--output", "new"


def classify(*more):
  return "train_classifier", "--output", "new", *more


def reproduce(*more, module="module"):
  return "reproduce", "--module", module, "--output", "new", *more


def prepare(*more):
  return ("two_afc", "prepare", "--module", "module", "--module", "module", "--output",
          "new", *more)


# Command and what its sentence holds. Flags of the wrong form are absl's: code 2.
CASES = {
    # The training.
    "no gin file": ((MAIN,), "--gin_config"),
    "gin file missing": ((MAIN, "--gin_config", "gone.gin"), "no gin file gone.gin"),
    "gin file is a folder": ((MAIN, "--gin_config", "empty"), "no gin file empty"),
    "gin syntax": ((MAIN, "--gin_config", "broken.gin"), "broken.gin"),
    "gin name": (train("options.batch_sise = 4"), "batch_sise"),
    "gin scope": (train("optoins.batch_size = 4"), "did you mean 'options'"),
    "gin type": (train("options.batch_size = 'many'"), "options.batch_size is 'many'"),
    "negative batch": (train("options.batch_size = -4"), "options.batch_size is -4"),
    "zero steps": (train("options.training_steps = 0"), "options.training_steps"),
    "z_dim": (train("options.z_dim = 9"), "not a multiple"),
    "architecture": (train("options.architecture = 'resnet_bigan_arch'"),
                     "resnet_biggan_arch"),
    "unknown data set": (train("dataset.name = 'embeded'"), "did you mean 'embedded'"),
    "TFDS not prepared": (train("dataset.name = 'cifar10'"), "is not prepared"),
    "ImageNet not prepared": (train("dataset.name = 'imagenet_64'"), "is not prepared"),
    "no such folder of images": (train("dataset.name = '/nowhere@32'"),
                                 "no folder /nowhere"),
    "folder without size": (train("dataset.name = 'mixed'"), "mixed"),
    "folder without classes": (train("dataset.name = './not_classes@32'"), "train"),
    "size of no network": (train("dataset.name = 'embedded@20'"), "embedded"),
    "classifier missing": (train("classifier.handle = '/nowhere'"), "/nowhere"),
    "classifier is a file": (train("classifier.handle = './file'"), "file"),
    "classifier without graph": (train("classifier.handle = './empty'"), "empty"),
    "hub unreachable": (train("classifier.handle = 'https://tfhub.invalid/m/1'"),
                        "classifier.path"),
    "paper's module unreachable": (train("classifier.handle = 'robust_resnet152'"),
                                   "classifier.path"),
    "classifier's signature": (train("classifier.signature = 'image'"), "image"),
    "classifier's output": (train("classifier.output = 'pixels'"), "pixels"),
    "classifier's digest": (train("classifier.digest = '0000'"), "digest"),
    "cache missing": (train("classifier.cache_dir = 'gone'"), "cache_logits"),
    "cache of another": (train("classifier.cache_dir = 'other_cache'"), "other_cache"),
    "fields in conflict": (train("ModularGAN.conditional = False",
                                 "ModularGAN.g_inputs = []", "ModularGAN.d_inputs = []"),
                           "conditional is False"),
    "compute type": (train("compute.dtype = 'float8'"), "bfloat16"),
    "initializer": (train("weights.initializer = 'zeros'"), "orthogonal"),
    "export before training": ((*train(), "--schedule", "export"), "no checkpoint"),
    "TPU unreachable": ((*train(), "--use_tpu", "--tpu", "nowhere"), "TPU"),
    "unexpected word": ((*train(), "training"), "training"),
    "model_dir is a file": ((MAIN, *gin(), "--model_dir", "file"), "file"),
    "unknown flag": ((MAIN, "--gin_cofnig", "x"), "gin_cofnig"),
    "unknown schedule": ((*train(), "--schedule", "trian"), "schedule"),
    # Reconstruction.
    "no module": (("reconstruct", "--images", "photo.png"), "--module"),
    "no images": (("reconstruct", "--module", "module"), "--images"),
    "wrong glob": (reconstruct("*.jpeg"), "*.jpeg"),
    "empty folder": (reconstruct("empty"), "empty"),
    "image missing": (reconstruct("gone.png"), "gone.png"),
    "text named .png": (reconstruct("text.png"), "text.png cannot be read"),
    "one of two is text": (reconstruct("mixed"), "b.png cannot be read"),
    "truncated image": (reconstruct("truncated.png"), "truncated.png cannot be read"),
    "too many pixels": (reconstruct("huge.png"), "make it smaller"),
    "module missing": (reconstruct("photo.png", "gone_module"), "inversion.json"),
    "module without json": (reconstruct("photo.png", "no_json"), "inversion.json"),
    "json is text": (reconstruct("photo.png", "text_json"), "inversion.json is damaged"),
    "json is a list": (reconstruct("photo.png", "list_json"), "inversion.json is damaged"),
    "json without size": (reconstruct("photo.png", "no_size"), "image_size"),
    "json of other logits": (reconstruct("photo.png", "wrong_logits"), "its generator"),
    "module without graph": (reconstruct("photo.png", "no_graph"), "saved_model.pb"),
    "classifier gone": (reconstruct("photo.png", "gone"), "/nowhere"),
    "module without classifier": (reconstruct("photo.png", "no_classifier"),
                                  "--classifier"),
    "other number of logits": (
        reconstruct("photo.png", "module", "--classifier", "./seven"), "7"),
    "output is a file": ((*reconstruct("photo.png")[:-1], "file"), "file"),
    "no samples": (reconstruct("photo.png", "module", "--samples", "0"), "samples"),
    # Logit cache.
    "cache without output": (("cache_logits", *gin()), "--output"),
    "cache without classifier": (cache("classifier.handle = None"), "classifier.handle"),
    "cache of unknown set": (cache("dataset.name = 'embeded'"), "embedded"),
    "cache with no shards": ((*cache(), "--shards", "0"), "shards"),
    "cache folder of another": (("cache_logits", *gin(), "--output", "other_cache"),
                                "other_cache"),
    # Classifiers.
    "nothing to do": (("train_classifier",), "--output"),
    "train on unknown set": (classify("--dataset", "embeded"), "embedded"),
    "unknown start": (classify("--init", "resnet9000"), "resnet9000"),
    "evaluate unknown": (("train_classifier", "--evaluate", "efficientnet_light0"),
                         "efficientnet_lite0"),
    "robust method": (classify("--robust", "--gin_bindings",
                               "train_classifier.method = 'slow'"), "slow"),
    "training rate": (classify("--gin_bindings", "train_classifier.learning_rat = 1"),
                      "learning_rat"),
    # Experiments.
    "experiment name": (reproduce("--only", "comparisn"), "comparison"),
    "experiment's module": (reproduce(module="gone_module"), "gone_module"),
    "experiment's set": (reproduce("--dataset", "embeded"), "embedded"),
    "outside set": (reproduce("--outside", "gone.gz"), "gone.gz"),
    "no limit": (reproduce("--limit", "0"), "limit"),
    # The study and the explorer.
    "study does what": (("two_afc",), "prepare, serve or analyse"),
    "study of one": (("two_afc", "prepare", "--module", "module", "--output", "new"),
                     "twice"),
    "study with too many trials": (prepare("--trials", "100000"), "100000"),
    "study missing": (("two_afc", "analyse", "--study", "gone"), "gone"),
    "study's flag": (prepare("--port", "1"), "--port is not for prepare"),
    "explore nothing": (("explore",), "--module"),
    "view missing": (("explore", "--open", "gone.json"), "gone.json"),
    "view is text": (("explore", "--open", "view.json"), "view"),
    "view of something else": (("explore", "--open", "other.json"), "view"),
    "port in use": (("explore", "--module", "module", "--port", "PORT"),
                    "choose another"),
    # The benchmark.
    "benchmark without config": (("benchmark",), "--gin_config"),
    "benchmark's part": (("benchmark", "--part", "all"), "part"),
}
LEGAL = ("I;16", "CMYK", "P", "RGBA", "LA", "L", "1", "GIF", "1x1", "20000x30")


@pytest.fixture(scope="module")
def other_cache(server, place):
  done = run(server, place, ("cache_logits", *gin("classifier.handle = './seven'"),
                             "--output", "other_cache"))
  assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def taken_port():
  with socket.create_server(("127.0.0.1", 0)) as listener:
    yield str(listener.getsockname()[1])


def run(server, place, command):
  return server.run(place / "logs", *command, timeout=120, cwd=place)


def contents(place):
  """Sizes of all files but those that a training begins with."""
  return {path: path.stat().st_size for path in place.rglob("*")
          if path.is_file() and "logs" not in path.parts
          and path.name not in (".training.lock", "operative_config.gin")}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_one_sentence(server, place, other_cache, taken_port, name):
  command, words = CASES[name]
  command = [taken_port if word == "PORT" else word for word in command]
  shutil.rmtree(place / "new", ignore_errors=True)
  before = contents(place)
  done = run(server, place, command)
  assert "Traceback" not in done.stderr, done.stderr
  if done.returncode == 2:  # absl's word on a flag
    assert words in done.stderr
  else:
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(errors) == 1, done.stderr
    assert words in errors[0]
  assert contents(place) == before


def test_debug_shows_the_traceback(server, place):
  done = run(server, place, ["reconstruct", "--module", "module", "--images", "gone.png",
                             "--debug"])
  assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize("kind", LEGAL)
def test_unusual_images_are_taken(server, place, kind, tmp_path):
  pixels = RNG.integers(0, 256, [24, 24], dtype=np.uint8)
  image, path = Image.fromarray(pixels), tmp_path / "image.png"
  if kind == "GIF":
    path = tmp_path / "image.gif"
    image.save(path, save_all=True, append_images=[image.rotate(90)])
  elif kind == "CMYK":
    path = tmp_path / "image.jpg"
    image.convert("RGB").convert("CMYK").save(path)
  elif kind == "I;16":
    Image.fromarray(pixels.astype(np.uint16) * 257).save(path)
  elif "x" in kind:
    Image.new("RGB", tuple(int(n) for n in kind.split("x")), "teal").save(path)
  else:
    image.convert(kind).save(path)
  done = server.run(tmp_path / "logs", "reconstruct", "--module", place / "module",
                    "--images", path, "--output", tmp_path / "out")
  assert done.returncode == 0, done.stderr
  assert sorted((tmp_path / "out").rglob("*.png"))
