"""inversion.json: what is written is read again, wherever the folder has gone."""

import json
import os

import numpy as np
import pytest
import tiny

from compare_gan_logits import classifiers
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits import module_format
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.errors import UserError


RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=[64, 4])
ROBUST = {"kind": "robust", "attack": "pgd, linf", "epsilon": 0.1}


@pytest.fixture
def run(tmp_path):
  """A run's folder with its classifier and a module that the writer described."""
  folder = tmp_path / "run"
  classifier = classifiers.load(
    tiny.write_classifier(folder / "classifiers" / "linear", KERNEL)
  )
  module = str(folder / "gan" / "module")
  tiny.write_module(module, tiny.linear(RNG.normal(0, 0.02, [4, 64])))
  path = os.path.join(module, module_format.FILE)
  facts = files.read_json(path)
  os.remove(path)
  facts["classifier"] = classifier.describe(module)
  module_format.write(module, facts, module)
  return folder


def test_the_digests_cover_every_file(run):
  info = module_format.read(str(run / "gan" / "module"))
  assert info["format"] == module_format.FORMAT
  assert {"saved_model.pb", "variables/variables.index"} <= set(info["files"])
  with open(run / "gan" / "module" / "tfhub_module.pb", "ab") as f:
    f.write(b"x")
  with pytest.raises(UserError, match=r"tfhub_module\.pb is damaged"):
    module_format.read(str(run / "gan" / "module"))


def test_no_path_of_the_machine_where_the_relative_one_will_do(run, tmp_path):
  module = run / "gan" / "module"
  assert str(tmp_path) not in (module / "inversion.json").read_text()
  images = RNG.uniform(size=[3, 8, 8, 1])
  before = inversion.Inverter.load(str(module)).logits(images)
  moved = run.rename(tmp_path / "elsewhere")
  after = inversion.Inverter.load(str(moved / "gan" / "module"))
  np.testing.assert_array_equal(after.logits(images), before)
  assert after.info["classifier"]["handle"] == str(moved / "classifiers" / "linear")


def test_a_module_without_its_classifier_names_the_remedy(run, tmp_path):
  module = (run / "gan" / "module").rename(tmp_path / "module")
  with pytest.raises(UserError, match="--classifier"):
    inversion.Inverter.load(str(module))
  copy = classifiers.load(str(run / "classifiers" / "linear"))
  inversion.Inverter.load(str(module), copy)


def test_the_home_folder_is_not_written(run, monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  module = str(run / "gan" / "module")
  text = "x = 'file://{0}/a:{0}/b'\ny = '/mnt{0}/c {0}d'"
  facts = dict(module_format.read(module), gin_config=text.format(tmp_path))
  written = module_format.write(module, facts, module)["gin_config"]
  assert written == f"x = 'file://~/a:~/b'\ny = '/mnt{tmp_path}/c {tmp_path}d'"
  assert (
    module_format.read(module)["gin_config"] == written
  )  # over another inversion.json


def test_what_cannot_be_read_again_is_not_written(run):
  module = str(run / "gan" / "module")
  facts = module_format.read(module)
  for name in ("step", "class_names"):
    with pytest.raises(ValueError, match=name):
      module_format.write(module, {**facts, name: None}, module)
  role = {"kind": "sturdy"}
  facts["classifier"] = {**facts["classifier"], "role": role}
  with pytest.raises(ValueError, match="classifier"):
    module_format.write(module, facts, module)


def test_the_role_is_that_of_the_classifier_in_use(run):
  module = str(run / "gan" / "module")
  recorded = classifiers.load(str(run / "classifiers" / "linear"))
  path = os.path.join(module, module_format.FILE)
  info = json.loads(files.read_text(path))
  assert inversion.Inverter.load(module, recorded).role is None
  info["classifier"]["role"] = ROBUST
  files.write_json(path, info)
  assert inversion.Inverter.load(module, recorded).role == Role(**ROBUST)
  # Of another classifier nothing is known.
  other = tiny.LinearClassifier(KERNEL)
  other.digest = "another"
  assert inversion.Inverter.load(module, other).role is None
  given = inversion.Inverter.load(module, other, role="standard").role
  assert given == Role("standard")
  with pytest.raises(UserError, match="'standard' or 'robust'"):
    inversion.Inverter.load(module, other, role="sturdy")


def test_a_file_that_does_not_describe_its_module_is_refused(run):
  module = str(run / "gan" / "module")
  path = os.path.join(module, module_format.FILE)
  info = json.loads(files.read_text(path))
  module_format.read(module)
  for changes, words in (
    ({"z_dim": 4}, "takes .*'z': 3.* says .*'z': 4"),
    ({"num_logits": 3}, "says .*'logits': 3"),
    ({"num_logits": 5}, "5 logits, but 4 class names"),
    ({"conditioning": "labels"}, "says .*'labels': 4"),
    ({"image_size": 16}, r"\[8, 8, 1\].* says \[16, 16, 1\]"),
    ({"colors": 3}, r"\[8, 8, 1\].* says \[8, 8, 3\]"),
    ({"colors": 2}, "impossible sizes"),
    ({"feature_shape": [2, 2, 2]}, "feature_shape"),
    ({"step": True}, "step"),
  ):
    files.write_json(path, {**info, **changes})
    with pytest.raises(UserError, match=words):
      module_format.read(module)


def test_the_older_format_is_read(run):
  """Format 1: absolute handle, no role; as this program wrote it before."""
  module = str(run / "gan" / "module")
  path = os.path.join(module, module_format.FILE)
  info = json.loads(files.read_text(path))
  where = str(run / "classifiers" / "linear")
  info.update(format=1, classifier={**info["classifier"], "handle": where})
  info["classifier"].pop("role", None)
  files.write_json(path, info)
  inverter = inversion.Inverter.load(module)
  assert inverter.role is None and inverter.classifier.path == where
  files.write_json(path, {**info, "format": 3})
  with pytest.raises(UserError, match="format 3"):
    inversion.Inverter.load(module)


def test_the_shipped_module_holds_no_path():
  text = files.read_text(os.path.join(inversion.SHIPPED, module_format.FILE))
  assert "'/" not in text and '"/' not in text
  module_format.read(inversion.SHIPPED)
