"""The controls: name, range, neutral value, and what the paper found there.

The page's sliders, the bounds of a View and the words of a saved picture are all
made from this one list.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Control:
  """One number of a View.

  Attributes:
    name: of the field of View.
    label: on the page.
    stage: where in the pipeline it acts: "photo", "logits" or "noise".
    low, high, step: its range; whole numbers where the step is an int.
    neutral: the value that changes nothing.
    shown: how the page writes it: "factor", "power" (of ten), "signed", "degrees",
      "percent" or "plain".
    finding: what the paper found, as a hypothesis to check; "" for a seed that
      belongs to another control.
    section: of the paper.
    unit: what the number is.
    seed: name of the control that holds its seed.
  """

  name: str
  label: str
  stage: str
  low: float
  high: float
  step: float
  neutral: float
  shown: str
  finding: str = ""
  section: str = ""
  unit: str = ""
  seed: str | None = None

  @property
  def whole(self) -> bool:
    """Whether only whole numbers count."""
    return isinstance(self.step, int)

  def write(self, value: float) -> str:
    """The value as the page writes it."""
    return {
      "factor": f"×{value:.2f}",
      "power": f"×{10.0**value:.2f}",
      "signed": f"{value:+.2f}",
      "degrees": f"{value:+g}°",
      "percent": f"{100 * value:.0f} %",
    }.get(self.shown, f"{value:g}")


CONTROLS = (
  Control(
    "brightness",
    "Brightness",
    "photo",
    0.0,
    2.0,
    0.05,
    1.0,
    "factor",
    "The shift of the logits that best undoes a change of brightness grows with the "
    "brightness in the robust model; in the standard one it peaks and falls again.",
    "13",
    "pixel values times this, clipped",
  ),
  Control(
    "sharpness",
    "Sharpness",
    "photo",
    0.0,
    2.0,
    0.05,
    1.0,
    "factor",
    "Best-fit shift and scale of the logits rise with sharpness in both models, "
    "far more so in the robust one.",
    "13",
    "0 smoothed, 2 sharpened",
  ),
  Control(
    "rotation",
    "Rotation",
    "photo",
    -180,
    180,
    5,
    0,
    "degrees",
    "After a rotation by 90° textures are reconstructed, but objects are badly "
    "distorted.",
    "13.1",
    "counter-clockwise",
  ),
  Control(
    "epsilon",
    "FGSM attack",
    "photo",
    0.0,
    0.3,
    0.005,
    0.0,
    "plain",
    "Under an attack of ε = 0.1 the robust model's reconstructions stay as faithful, "
    "while the standard model's may change in colour and shape.",
    "5.4",
    "ε: largest change of a pixel, of its range 0 to 1",
  ),
  Control(
    "mix",
    "Towards the second photo",
    "logits",
    0.0,
    1.0,
    0.02,
    0.0,
    "percent",
    "Between the logits of two photos the pictures change smoothly with both models, "
    "and more smoothly with the robust one.",
    "5.5, 9",
    "linear between the two logit vectors",
  ),
  Control(
    "scale",
    "Scale",
    "logits",
    -0.6,
    0.6,
    0.05,
    0.0,
    "power",
    "With the robust model, scaling changes contrast and sharpness and hardly anything "
    "else; with the standard one the content changes slightly too.",
    "5.5",
    "all logits times this",
  ),
  Control(
    "shift",
    "Shift",
    "logits",
    -3.0,
    3.0,
    0.05,
    0.0,
    "signed",
    "A shift leaves the softmax probabilities as they are, yet it changes contrast "
    "and sharpness with the robust model; with the standard one, large shifts remove "
    "the content.",
    "5.5",
    "added to all logits",
  ),
  Control(
    "variance",
    "Gaussian perturbation",
    "logits",
    0.0,
    4.0,
    0.05,
    0.0,
    "plain",
    "At a variance of 0.55 the content changes, much more with the standard model; "
    "the robust model's pictures remain similar to each other.",
    "5.5",
    "variance σ² of noise on the logits",
    seed="perturbation_seed",
  ),
  Control("perturbation_seed", "Seed", "logits", 0, 99, 1, 0, "plain"),
  Control(
    "noise_seed",
    "Noise seed",
    "noise",
    0,
    99,
    1,
    0,
    "plain",
    "The noise decides what the logits leave open: mostly small changes of shape, "
    "pose, size and position, larger with the standard model.",
    "5.3, 8",
    "of the generator's noise z",
  ),
  Control(
    "samples",
    "Reconstructions",
    "noise",
    1,
    8,
    1,
    4,
    "plain",
    "The classifier often gives a reconstruction the class of its photo. Of photos that "
    "it classifies correctly: 54 % with the robust model, 49 % with the standard one; "
    "of others 35 % and 30 %.",
    "12",
    "each with a noise vector of its own",
  ),
)
BY_NAME = {control.name: control for control in CONTROLS}
MAX_RAISE = 20.0  # largest amount added to a single class
