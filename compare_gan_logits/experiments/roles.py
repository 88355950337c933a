"""Which classifier is robust and which standard: by what is recorded, never by a label.

The paper's statements compare an adversarially trained ("robust") classifier with an
ordinarily trained ("standard") one. The role is recorded when a classifier is trained
or bound, goes through inversion.json, and can be set by a flag of `reproduce`. Where it
is not known, statements about it are left out, and `why_no_pair` says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from compare_gan_logits.classifiers.spec import ROLES
from compare_gan_logits.inversion import Inverter


STANDARD, ROBUST = ROLES
DOSOVITSKIY_BROX, INCEPTION = "dosovitskiy_brox", "inception"
_DOSOVITSKIY_BROX_ARCHITECTURE = "dosovitskiy_brox_arch"
_INCEPTION_CLASSIFIER = "inception_v3"  # in the zoo


def kind(inverter: Inverter) -> str | None:
  """ROBUST, STANDARD, or None where the classifier's role is not recorded."""
  return inverter.role.kind if inverter.role else None


def is_dosovitskiy_brox(inverter: Inverter) -> bool:
  """Whether the module is Dosovitskiy & Brox's autoencoder, by its architecture."""
  return inverter.info.get("architecture") == _DOSOVITSKIY_BROX_ARCHITECTURE


def paper_model(inverter: Inverter) -> str | None:
  """Which of the paper's four models a module corresponds to, or None.

  Table 2 has the robust ResNet-152 inverted by this method (ROBUST) and by
  Dosovitskiy & Brox's, the standard one (STANDARD) and Inception-V3.
  """
  if kind(inverter) == ROBUST and is_dosovitskiy_brox(inverter):
    return DOSOVITSKIY_BROX
  if is_dosovitskiy_brox(inverter):
    return None
  if (inverter.info.get("classifier") or {}).get("name") == _INCEPTION_CLASSIFIER:
    return INCEPTION
  return kind(inverter)


def paper_value(inverter: Inverter, values: Mapping[str, float]) -> float | None:
  """The paper's value for the model that a module corresponds to, or None."""
  model = paper_model(inverter)
  return values.get(model) if model else None


def first(inverters: Mapping[str, Inverter], model: str) -> str | None:
  """Label of the first module that corresponds to the paper's `model`, or None."""
  return next(
    (label for label, inverter in inverters.items() if paper_model(inverter) == model),
    None,
  )


def pair(inverters: Mapping[str, Inverter]) -> tuple[str, str] | None:
  """(robust label, standard label): the first of each, or None if one is missing.

  Dosovitskiy & Brox's modules do not count: the paper compares classifiers that are
  inverted by one method. Inception-V3 counts as standard where there is no other.
  """
  robust = first(inverters, ROBUST)
  standard = first(inverters, STANDARD) or first(inverters, INCEPTION)
  return (robust, standard) if robust and standard else None


def why_no_pair(inverters: Mapping[str, Inverter]) -> str | None:
  """Why robust and standard are not compared, in a sentence; None where they are."""
  if pair(inverters):
    return None
  unknown = [label for label, inverter in inverters.items() if kind(inverter) is None]
  if unknown:
    return (
      "Robust and standard classifiers are not compared: it is not recorded how the "
      f"classifier of {', '.join(unknown)} was trained; set it with --role "
      f"{unknown[0]}=robust or --role {unknown[0]}=standard."
    )
  found = {kind(inverter) for inverter in inverters.values()}
  absent = ", ".join(sorted({ROBUST, STANDARD} - found)) or "pair by one method"
  return (
    f"Robust and standard classifiers are not compared: there is no {absent} among "
    "the modules."
  )
