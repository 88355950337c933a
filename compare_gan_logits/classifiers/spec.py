"""What is known of one classifier, as data that inversion.json carries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Union

from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.errors import UserError


ROLES = ("standard", "robust")


@dataclasses.dataclass(frozen=True)
class Role:
  """How a classifier was trained, which decides what it is compared with.

  Attributes:
    kind: "standard", or "robust" (adversarially trained).
    attack: of a robust one, the attack of its training, in words; None: not known.
    epsilon: radius of that attack, in units of the image range [0, 1]; None: not
      known.
  """

  kind: str
  attack: str | None = None
  epsilon: float | None = None

  def __post_init__(self):
    if self.kind not in ROLES:
      raise UserError(
        f"a classifier's role is 'standard' or 'robust', not {self.kind!r}; bind "
        "classifier.role to one of them"
      )
    if self.kind == "standard" and (self.attack, self.epsilon) != (None, None):
      raise UserError(
        "a standard classifier has no attack in its training; bind classifier.role = "
        "'standard' alone"
      )
    number = isinstance(self.epsilon, (int, float)) and self.epsilon > 0
    if self.epsilon is not None and not number:
      raise UserError(
        f"the epsilon of a classifier's role is {self.epsilon!r}; it must be a positive "
        "number, in units of the image range [0, 1]"
      )

  @classmethod
  def of(cls, value: Role | Mapping | str | None) -> Role | None:
    """The role that a name ("robust") or a mapping ({"kind": "robust", ...}) means."""
    if value is None or isinstance(value, cls):
      return value
    try:
      return cls(**value) if isinstance(value, Mapping) else cls(str(value))
    except TypeError as error:
      raise UserError(
        f"a classifier's role has kind, attack and epsilon, not {value!r}"
      ) from error


@dataclasses.dataclass(frozen=True)
class Spec:
  """One classifier: where it is, which tensors to use, what it expects.

  Attributes:
    name: short name.
    handle: folder, TF-Hub URL, .h5, .keras or .npz file, or "keras:Name" of
      tf.keras.applications.
    signature: name; None: "serving_default", else "default", else the only one.
    input_name: the image input; None: the only one of rank 4.
    output: name, or index into the sorted names; None: "logits", else "default",
      else the only one of rank 2.
    extra_inputs: constants for the signature's other inputs.
    softmax: the output is a probability, whose logarithm is taken. A softmax has
      lost the logits' common shift, which is then lost to the inverter as well.
    drop_column: index of an output that is no class (the background class of
      1001-way ImageNet models).
    preprocessing: what is done to images in [0, 1].
    class_names: one per logit, or None.
    role: how it was trained; a Role, its kind, or None where that is not known.
    weights: for "keras:Name" only, "imagenet", a weights file, or None (random).
    licence: of the weights.
    source: where the facts of this entry come from.
    verified: what of them was checked, and how.
  """

  name: str
  handle: str
  signature: str | None = None
  input_name: str | None = None
  output: Union[str, int] | None = None
  extra_inputs: Mapping[str, float] = dataclasses.field(default_factory=dict)
  softmax: bool = False
  drop_column: int | None = None
  preprocessing: Preprocessing = Preprocessing()
  class_names: tuple[str, ...] | None = None
  role: Role | None = None
  weights: str | None = "imagenet"
  licence: str = "unknown"
  source: str = ""
  verified: str = "not verified"

  def __post_init__(self):
    if isinstance(self.preprocessing, Mapping):
      object.__setattr__(self, "preprocessing", Preprocessing(**self.preprocessing))
    if not isinstance(self.preprocessing, Preprocessing):
      raise TypeError(f"preprocessing is {self.preprocessing!r}")
    if self.class_names is not None:
      object.__setattr__(self, "class_names", tuple(self.class_names))
    object.__setattr__(self, "role", Role.of(self.role))
