"""What image brightness and sharpness do to the logits (section 13; Figures 19-26)."""

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


TITLE = "Brightness and sharpness"
SECTION = "13, Figures 19 to 26"
QUESTION = (
  "Which shift, and which scale, takes the logits of an adjusted image back to "
  "those of the original?"
)


@common.configurable("brightness_sharpness")
@dataclasses.dataclass(frozen=True)
class Settings:
  """factors: rising; 1 leaves the image as it is; sharpness 0 is smoothed, 2
  sharpened."""

  images: int = 500
  factors: tuple = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)

  def __post_init__(self) -> None:
    common.check_rising("brightness_sharpness.factors", self.factors, 3)


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "brightness and sharpness")
  factors = np.array(settings.factors)
  table, verdicts, pictures, arrays = [], [], [], {}
  for kind, adjust in (("brightness", brighten), ("sharpness", sharpen)):
    fits = {"shift": {}, "scale": {}}
    for label, inverter in inverters.items():
      originals = inverter.prepare(sample.images)
      logits = inverter.logits(originals)
      adjusted = [inverter.logits(adjust(originals, f)) for f in factors]
      fits["shift"][label] = np.stack([best_shift(logits, a) for a in adjusted], 1)
      fits["scale"][label] = np.stack([best_scale(logits, a) for a in adjusted], 1)
    for fit, values in fits.items():
      table += _measures(kind, fit, values, factors)
      verdicts += _verdicts(inverters, kind, fit, values, factors)
      pictures += [
        common.Curves(
          f"{kind}_{fit}_{label}",
          f"{label}: best-fit {fit} of the logits against the {kind} factor; the "
          "dashed line marks the unchanged image, half of the images lie between the "
          "dotted lines.",
          factors,
          {
            label: (
              *estimates.band(estimates.means(value)),
              *np.quantile(value, [0.25, 0.75], axis=0),
            )
          },
          f"{kind} factor",
          f"best-fit {fit}",
          1.0,
        )
        for label, value in values.items()
      ]
      arrays.update({f"{kind}/{fit}/{label}": v for label, v in values.items()})
  return common.Result(
    tuple(table),
    tuple(verdicts),
    tuple(pictures),
    {**arrays, "factors": factors, "ids": sample.ids},
  )


def brighten(images: np.ndarray, factor: float) -> np.ndarray:
  """Pixel values times a factor, clipped to [0, 1]."""
  return np.clip(images * np.float32(factor), 0.0, 1.0)


def sharpen(images: np.ndarray, factor: float) -> np.ndarray:
  """From the smoothed image (0) through the image (1) to a sharpened one (2).

  The smoothing is Pillow's: a 3x3 mean with the centre weighted 5 of 13; the outer
  rows and columns stay as they are.
  """
  smooth = images.copy()
  total = sum(
    images[:, 1 + i : images.shape[1] - 1 + i, 1 + j : images.shape[2] - 1 + j]
    for i in (-1, 0, 1)
    for j in (-1, 0, 1)
  )
  smooth[:, 1:-1, 1:-1] = (total + 4 * images[:, 1:-1, 1:-1]) / 13
  return np.clip(smooth + np.float32(factor) * (images - smooth), 0.0, 1.0)


def best_shift(original: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
  """Least-squares s of original = adjusted + s, per row: [n]."""
  return np.mean(np.asarray(original, np.float64) - adjusted, axis=1)


def best_scale(original: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
  """Least-squares s of original = adjusted * s, per row: [n]."""
  adjusted = np.asarray(adjusted, np.float64)
  return np.sum(original * adjusted, 1) / np.maximum(np.sum(adjusted**2, 1), 1e-12)


def _near_one(factors):
  """The factors next to 1 on both sides: where the paper says `locally`."""
  return np.abs(factors - 1.0) <= np.sort(np.abs(factors - 1.0))[2] + 1e-9


def _measures(kind, fit, values, factors):
  table = []
  for label, value in values.items():
    near = _near_one(factors)
    table += [
      common.Measure(
        f"slope of best-fit {fit} against {kind}",
        label,
        estimates.mean(measures.slope(factors, value)),
      ),
      common.Measure(
        f"slope of best-fit {fit} against {kind}, around 1",
        label,
        estimates.mean(measures.slope(factors[near], value[:, near])),
      ),
      common.Measure(
        f"best-fit {fit} at {kind} {factors[0]:g}", label, estimates.mean(value[:, 0])
      ),
      common.Measure(
        f"best-fit {fit} at {kind} {factors[-1]:g}", label, estimates.mean(value[:, -1])
      ),
      common.Measure(
        f"deviation between images at {kind} {factors[-1]:g}, {fit}",
        label,
        _deviation(value[:, -1]),
      ),
    ]
  return table


def _deviation(values):
  """Standard deviation with the interval that the mean square's gives."""
  squares = estimates.mean(np.square(values - values.mean()))
  value, low, high = (
    float(np.sqrt(max(v, 0.0))) for v in (squares.value, squares.low, squares.high)
  )
  return estimates.Estimate(value, low, high, squares.n)


def _verdicts(inverters, kind, fit, values, factors):
  verdicts, near = [], _near_one(factors)
  for label, value in values.items():
    role = roles.kind(inverters[label])
    evidence = f"slope of the best-fit {fit}"
    if kind == "sharpness" or (role == roles.ROBUST and fit == "shift"):
      verdicts.append(
        verdict_lib.positive(
          f"Best-fit {fit} rises with {kind} ({label})",
          "13",
          estimates.mean(measures.slope(factors, value)),
          evidence,
        )
      )
    elif role == roles.ROBUST:
      verdicts.append(
        verdict_lib.positive(
          f"Best-fit scale rises with brightness around 1 ({label})",
          "13",
          estimates.mean(measures.slope(factors[near], value[:, near])),
          evidence,
        )
      )
    elif role == roles.STANDARD and fit == "shift":
      verdicts.append(_peak(label, value, factors))
    elif role == roles.STANDARD:
      verdicts.append(_largest_unchanged(label, value, factors))
  if kind == "sharpness":
    verdicts += verdict_lib.robust_larger(
      roles.pair(inverters),
      f"Sharpness moves the mean best-fit {fit} more in the robust model",
      "13",
      {label: _expected_slope(factors, v) for label, v in values.items()},
      f"size of the slope of the mean best-fit {fit}",
    )
  return verdicts


def _expected_slope(factors, value):
  """Slopes [n] whose mean is the size of the mean curve's: the paper's `expected`."""
  slopes = measures.slope(factors, value)
  return np.sign(slopes.mean()) * slopes


def _peak(label, value, factors):
  """Is the mean curve higher somewhere inside than at both ends?

  The highest inner factor and the higher end are sought among half of the images and
  judged by the others: judged by those that chose it, a maximum would look higher than
  it is.
  """
  chosen, judged = value[::2].mean(axis=0), value[1::2]
  inner = 1 + int(chosen[1:-1].argmax())
  end = 0 if chosen[0] > chosen[-1] else len(factors) - 1
  return verdict_lib.positive(
    f"Best-fit shift peaks and then falls with brightness ({label})",
    "13",
    estimates.mean(judged[:, inner] - judged[:, end]),
    f"height at {factors[inner]:g}, the highest inside, over the higher end",
  )


def _largest_unchanged(label, value, factors):
  """Is the best-fit scale of the unchanged image, which is 1, the largest?

  Its largest competitor is sought among half of the images and judged by the others.
  """
  changed = value[:, factors != 1.0]
  competitor = int(changed[::2].mean(axis=0).argmax())
  return verdict_lib.positive(
    f"Best-fit scale is largest for unchanged brightness ({label})",
    "13",
    estimates.mean(1.0 - changed[1::2, competitor]),
    f"1 minus the best-fit scale at its largest elsewhere, "
    f"{factors[factors != 1.0][competitor]:g}",
  )
