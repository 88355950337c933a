"""The role of a classifier: recorded, carried by descriptions, bound by gin."""

import json

import pytest

from compare_gan_logits import classifiers
from compare_gan_logits.errors import UserError


STANDARD = {"kind": "standard", "attack": None, "epsilon": None}


@pytest.mark.parametrize(
  ("name", "role"),
  [
    ("embedded_standard", STANDARD),
    (
      "embedded_robust",
      {"kind": "robust", "attack": "pgd, linf, 3 steps", "epsilon": 0.1},
    ),
  ],
)
def test_the_shipped_classifiers_say_how_they_were_trained(name, role):
  description = json.loads(json.dumps(classifiers.load(name).describe()))
  assert description["role"] == role
  again = classifiers.from_description(description)
  assert again.describe()["role"] == role


def test_gin_sets_the_role_and_the_digest_stays():
  own = classifiers.load("embedded_standard")
  given = {"kind": "robust", "attack": "of my own", "epsilon": 0.25}
  bound = classifiers.from_gin("embedded_standard", role=given)
  assert bound.describe()["role"] == given
  assert bound.digest == own.digest
  assert classifiers.from_gin("embedded_robust", role="standard").describe()[
    "role"
  ] == (STANDARD)


@pytest.mark.parametrize(
  "role",
  ["strong", {"kind": "robust", "norm": "l2"}, {"kind": "robust", "epsilon": -1}],
)
def test_a_role_that_is_none_is_refused(role):
  with pytest.raises(UserError, match="role"):
    classifiers.from_gin("embedded_standard", role=role)
