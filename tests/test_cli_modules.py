"""Labels, classifiers and roles of --module, --classifier and --role."""

import numpy as np
import pytest
import tiny

from compare_gan_logits import classifiers
from compare_gan_logits import inversion
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.cli import modules
from compare_gan_logits.errors import UserError


@pytest.mark.parametrize(
  "text, expected",
  [
    ("runs/a", ("", "runs/a")),
    ("robust=runs/a", ("robust", "runs/a")),
    ("robust=runs/a=b", ("robust", "runs/a=b")),
    ("runs/a=b/module", ("", "runs/a=b/module")),
    ("./a=b", ("", "./a=b")),
    ("https://hub/x?format=y", ("", "https://hub/x?format=y")),
    ("a=https://hub/x?format=y", ("a", "https://hub/x?format=y")),
    ("=b", ("", "b")),
  ],
)
def test_labels_are_told_from_paths(text, expected):
  assert modules.named(text) == expected


def test_what_exists_is_a_path(tmp_path, monkeypatch):
  (tmp_path / "lr=1" / "module").mkdir(parents=True)
  monkeypatch.chdir(tmp_path)
  assert modules.named("lr=1/module") == ("", "lr=1/module")
  assert modules.named("a=lr=1/module") == ("a", "lr=1/module")
  assert modules.named("lr=2/module") == ("lr", "2/module")


def test_values_for_labels():
  labels = ["a", "b"]
  assert modules.for_labels("--x", [], labels) == {}
  assert modules.for_labels("--x", ["v"], labels) == {"a": "v", "b": "v"}
  assert modules.for_labels("--x", ["v", "b=w"], labels) == {"a": "v", "b": "w"}
  for given, words in (
    (["c=v"], "no module 'c'"),
    (["v", "w"], "--x a="),
    (["a=v", "a=w"], "twice for a"),
  ):
    with pytest.raises(UserError, match=words):
      modules.for_labels("--x", given, labels)


def test_modules_with_other_classifiers_and_roles(tmp_path, capsys):
  rng = np.random.default_rng(0)
  first, second = (
    tiny.write_classifier(tmp_path / name, rng.normal(size=[64, 4]))
    for name in ("first", "second")
  )
  made_with = classifiers.load(first).describe()
  paths = [
    tiny.write_module(
      tmp_path / name, tiny.linear(rng.normal(0, 0.02, [4, 64])), classifier=made_with
    )
    for name in ("m", "n")
  ]
  found = modules.load(
    [f"x={paths[0]}", paths[1]], [f"x={second}"], ["x=robust", "first=standard"]
  )
  assert list(found) == ["x", "first"]
  assert [m.role for m in found.values()] == [Role("robust"), Role("standard")]
  assert [m.classifier.path for m in found.values()] == [second, first]
  said = capsys.readouterr().err
  assert paths[0] in said and "another classifier" in said and paths[1] not in said
  # A classifier that is gone may be named elsewhere; else the flag is named.
  (tmp_path / "first").rename(tmp_path / "moved")
  with pytest.raises(UserError, match="--classifier"):
    modules.load(paths)
  moved = modules.load(paths, [str(tmp_path / "moved")])
  assert list(moved) == ["first", "first_2"]
  assert all(m.role is None for m in moved.values())


def test_a_moved_classifier_keeps_the_preprocessing_of_its_training(tmp_path, capsys):
  rng = np.random.default_rng(0)
  kernel = rng.normal(size=[64, 4])
  places = [
    tiny.write_classifier(tmp_path / name, weights)
    for name, weights in (("first", kernel), ("other", -kernel))
  ]
  made_with = classifiers.load(places[0], mean=0.5, std=0.25)
  module = tiny.write_module(
    tmp_path / "m", tiny.linear(kernel.T), classifier=made_with.describe()
  )
  images = rng.uniform(size=[3, 8, 8, 1]).astype("f")
  (tmp_path / "first").rename(tmp_path / "moved")
  with pytest.raises(UserError) as missing:
    inversion.Inverter.load(module)
  assert str(missing.value).count("--classifier") == 1
  for moved in (
    modules.load([module], [str(tmp_path / "moved")])["first"],
    inversion.Inverter.load(module, tmp_path / "moved"),
    inversion.Inverter.load(
      module, modules.classifier_of(str(tmp_path / "moved"), module)
    ),
  ):
    assert moved.classifier.digest == made_with.digest
    standardised = (images.reshape(3, 64) - 0.5) / 0.25
    np.testing.assert_allclose(moved.logits(images), standardised @ kernel, rtol=1e-4)
  assert capsys.readouterr().err == ""
  other = inversion.Inverter.load(module, places[1])
  np.testing.assert_allclose(
    other.logits(images), -images.reshape(3, 64) @ kernel, rtol=1e-4
  )
  assert "used with its own preprocessing" in capsys.readouterr().err


def test_wrong_roles_are_refused(tmp_path):
  kernel = np.ones([64, 4])
  classifier = classifiers.load(tiny.write_classifier(tmp_path / "c", kernel))
  module = tiny.write_module(
    tmp_path / "m", tiny.linear(kernel.T), classifier=classifier.describe()
  )
  with pytest.raises(UserError, match="'standard' or 'robust'"):
    modules.load([module], roles=["sturdy"])
