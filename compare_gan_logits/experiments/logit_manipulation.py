"""Logits shifted, scaled and perturbed, with the same noise (section 5.5; Figure 8)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Logit shift, scale and perturbation"
SECTION = "5.5, Figure 8"
QUESTION = (
  "How does the picture change if a constant is added to all logits, if they are "
  "multiplied by a factor, or if Gaussian noise is added to them?"
)
_UNIT_OF_SHIFT = (
  "not in the paper, whose shifts of the robust model are three times as large"
)
_LOOKS = {
  "brightness": measures.brightness,
  "contrast": measures.contrast,
  "sharpness": measures.sharpness,
}


@common.configurable("logit_manipulation")
@dataclasses.dataclass(frozen=True)
class Settings:
  """shifts_robust, shifts: added, for robust classifiers and for others;
  log_scales: powers of ten multiplied; each rising; variance: of the perturbation;
  draws: of it."""

  images: int = 256
  shifts_robust: tuple = (-0.30, -0.15, 0.0, 0.15, 0.30)
  shifts: tuple = (-0.1, -0.05, 0.0, 0.05, 0.1)
  log_scales: tuple = (-0.3, -0.15, 0.0, 0.15, 0.3)
  variance: float = 0.55
  draws: int = 4
  shown: int = 4

  def __post_init__(self) -> None:
    for name in ("shifts_robust", "shifts", "log_scales"):
      common.check_rising(f"logit_manipulation.{name}", getattr(self, name), 2)


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "logit manipulation")
  table, arrays, grids = [], {}, []
  slopes, changes, moved = {"shift": {}, "scale": {}}, {}, {}
  curves = {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    noise = inverter.noise(len(logits), data.seed)
    shifts = settings.shifts
    if roles.kind(inverter) == roles.ROBUST:
      shifts = settings.shifts_robust
    table.append(
      common.Measure(
        "standard deviation of the logits (to compare a shift with)",
        label,
        estimates.mean(logits.std(axis=1)),
      )
    )
    for kind, settled in (("shift", shifts), ("scale", settings.log_scales)):
      pictures = _decode(inverter, logits, noise, kind, settled)
      looks = {
        name: np.stack([look(p) for p in pictures], axis=1)
        for name, look in _LOOKS.items()
      }
      slopes[kind][label] = {n: measures.slope(settled, v) for n, v in looks.items()}
      if kind == "shift":
        changes[label] = {n: np.abs(v[:, -1] - v[:, 0]) for n, v in looks.items()}
      table += _measures(label, looks, kind, settled)
      table += _kept(label, inverter, data, originals, pictures, kind, settled)
      curves.setdefault(kind, {})[label] = settled, looks
      grids.append(_grid(label, kind, settled, originals, pictures, settings.shown))
      arrays[f"{kind}/values/{label}"] = np.array(settled)
      arrays.update({f"{kind}/{n}/{label}": v for n, v in looks.items()})
    moved[label], perturbed = _perturb(inverter, logits, noise, data.seed, settings)
    arrays[f"perturbation/lpips/{label}"] = moved[label]
    table.append(
      common.Measure(
        "LPIPS moved by the perturbation", label, estimates.mean(moved[label])
      )
    )
    grids.append(_perturbation_grid(label, originals, perturbed, settings))
  return common.Result(
    tuple(table),
    _verdicts(inverters, slopes, changes, moved),
    (*grids, *_curves(curves)),
    {**arrays, "ids": sample.ids},
  )


def manipulate(logits: np.ndarray, kind: str, value: float) -> np.ndarray:
  """Logits plus `value`, or times ten to the power of `value`."""
  return logits + value if kind == "shift" else logits * 10.0**value


def _decode(inverter, logits, noise, kind, settled):
  """A list of pictures [n, h, w, c], one per value."""
  return [
    inverter.generate(manipulate(logits, kind, value), noise) for value in settled
  ]


def _measures(label, looks, kind, settled):
  unit = "unit of shift" if kind == "shift" else "decade of scale"
  return [
    common.Measure(
      f"{name} gained per {unit}",
      label,
      estimates.mean(measures.slope(settled, values)),
    )
    for name, values in looks.items()
  ]


def _kept(label, inverter, data, originals, pictures, kind, settled):
  """How often the class stays at both ends of the range."""
  table = []
  for value, of_value in ((settled[0], pictures[0]), (settled[-1], pictures[-1])):
    factor = f"shift {value:+.2g}" if kind == "shift" else f"scale 10^{value:+.2g}"
    agreed, _ = measures.agreement(
      label, inverter, data, originals, of_value, f" at {factor}"
    )
    table += agreed
  return table


def _perturb(inverter, logits, noise, seed, settings):
  """(mean LPIPS [n] that perturbed logits move pictures by, unmoved and moved ones)."""
  rng = common.generator(seed, "perturbation")
  plain = inverter.generate(logits, noise)
  moved, shown = [], [plain]
  for _ in range(settings.draws):
    added = rng.normal(0.0, np.sqrt(settings.variance), logits.shape)
    pictures = inverter.generate(logits + added, noise)
    moved.append(measures.perceptual(plain, pictures))
    shown.append(pictures)
  return np.mean(moved, axis=0), shown


def _verdicts(inverters, slopes, changes, moved):
  verdicts, pair = [], roles.pair(inverters)
  for name in ("contrast", "sharpness"):
    of_shift, of_scale = (
      {label: of_label[name] for label, of_label in slopes[kind].items()}
      for kind in ("shift", "scale")
    )
    for label, inverter in inverters.items():
      if roles.kind(inverter) == roles.ROBUST:
        verdicts += [
          _acts(f"The shift acts on {name} ({label})", name, of_shift[label]),
          verdict_lib.positive(
            f"A larger scale raises {name} ({label})",
            "5.5, 6",
            estimates.mean(of_scale[label]),
            f"slope of {name} against the scale",
          ),
        ]
    verdicts += verdict_lib.robust_larger(
      pair,
      f"The shift acts on {name} more in the robust model, from end to end of Figure 8a",
      "5.5, 6",
      {label: of_label[name] for label, of_label in changes.items()},
      f"{name} changed from the smallest to the largest shift",
    )
    for what, section, slope in (
      ("A unit of shift", _UNIT_OF_SHIFT, of_shift),
      ("The scale", "5.5, 6", of_scale),
    ):
      verdicts += verdict_lib.robust_larger(
        pair,
        f"{what} acts on {name} more in the robust model",
        section,
        {label: np.abs(value) for label, value in slope.items()},
        f"size of the slope of {name}",
      )
  verdicts += verdict_lib.robust_larger(
    pair,
    "Perturbed logits change the robust model's pictures less",
    "5.5",
    moved,
    "LPIPS moved by the perturbation",
    sign=-1,
  )
  return tuple(verdicts)


def _acts(statement, name, slopes):
  """Is there a slope of either sign? Section 5.5 gives none for shifts.

  The sign is taken from half of the images and judged by the others.
  """
  sign = np.sign(slopes[::2].mean())
  way = "rises" if sign > 0 else "falls"
  return verdict_lib.positive(
    statement,
    "5.5, 6",
    estimates.mean(sign * slopes[1::2]),
    f"how steeply {name} {way} with the shift",
  )


def _grid(label, kind, settled, originals, pictures, shown):
  names = [f"{v:+.2g}" if kind == "shift" else f"×{10.0**v:.2g}" for v in settled]
  return common.columns(
    f"{kind}_{label}",
    f"{label}: the original, then pictures of its logits after a {kind}, all with the "
    "same noise.",
    [("original", originals), *zip(names, pictures)],
    shown,
  )


def _perturbation_grid(label, originals, perturbed, settings):
  names = ["unperturbed"] + ["perturbed"] * settings.draws
  return common.columns(
    f"perturbation_{label}",
    f"{label}: the original, the picture of its logits, and "
    f"pictures of those plus Gaussian noise of variance {settings.variance:g}.",
    [("original", originals), *zip(names, perturbed)],
    settings.shown,
  )


def _curves(curves):
  pictures = []
  for kind, of_kind in curves.items():
    scale = kind == "scale"
    for name in _LOOKS:
      # Every model has shifts of its own; a curve for each.
      for label, (settled, looks) in of_kind.items():
        x = 10.0 ** np.array(settled) if scale else np.array(settled)
        pictures.append(
          common.Curves(
            f"{kind}_{name}_{label}",
            f"{label}: {name} of the pictures against the {kind} of the logits.",
            x,
            {label: estimates.band(estimates.means(looks[name]))},
            "factor on the logits" if scale else "added to the logits",
            name,
            1.0 if scale else 0.0,
            scale,
          )
        )
  return pictures
