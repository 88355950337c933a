"""The description of a classifier, as inversion.json records it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any
from typing import Union

from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.errors import UserError


# Written by training.py into the folder of every classifier that it exports.
DESCRIPTION = "classifier.json"
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
  def of(cls, value: Role | Mapping[str, Any] | str | None) -> Role | None:
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
    handle: folder, TF-Hub URL, file, or name with a prefix; see loading.load.
    signature: name; None: "serving_default", else "default", else the only one.
    input_name: the image input; None: the only one of rank 4.
    output: name, or index into the sorted names; None: "logits", else "default",
      else the only one of rank 2. Of a PyTorch network also the name of a layer, or the
      place in the tuple that it returns.
    extra_inputs: constants for the signature's other inputs; where such an input is a
      tensor, it is filled with the constant.
    softmax: the output is a probability, whose logarithm is taken. A softmax has
      lost the logits' common shift, which is then lost to the inverter as well.
    drop_column: index of an output that is no class (the background class of
      1001-way ImageNet models).
    pool: of an output [b, h, w, c], take the means over pool x pool cells, which are
      pool * pool * c values at any h and w; None: all its values.
    layout: "nhwc" or "nchw", the order in which the model takes images and gives
      feature maps; None: read off its input's shape.
    preprocessing: what is done to images in [0, 1].
    class_names: one per logit, or None.
    role: how it was trained; a Role, its kind, or None where that is not known.
    weights: "imagenet": those that a name from keras: or timm: stands for, or that a
      function sets itself; a file of weights for these; "random" or None.
    trusted_pickle: SHA-256 (hex) of a PyTorch file that is loaded though it is a full
      pickle, which can run any code; None: such files are refused.
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
  pool: int | None = None
  layout: str | None = None
  preprocessing: Preprocessing = Preprocessing()
  class_names: tuple[str, ...] | None = None
  role: Role | None = None
  weights: str | None = "imagenet"
  trusted_pickle: str | None = None
  licence: str = "unknown"
  source: str = ""
  verified: str = "not verified"

  def __post_init__(self):
    if isinstance(self.preprocessing, Mapping):
      object.__setattr__(self, "preprocessing", Preprocessing(**self.preprocessing))
    if not isinstance(self.preprocessing, Preprocessing):
      raise TypeError(f"preprocessing is {self.preprocessing!r}")
    if self.class_names is not None:
      if not isinstance(self.class_names, (list, tuple)):
        raise UserError("classifier.class_names is a list of names, one for each logit")
      object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))
    if not isinstance(self.extra_inputs, Mapping):
      raise UserError(
        f"classifier.extra_inputs is {self.extra_inputs!r}; it must be like "
        "{'name of the input': 0.0}"
      )
    if self.pool is not None and (type(self.pool) is not int or self.pool < 1):
      raise UserError(
        f"classifier.pool is {self.pool!r}; it must be a positive integer, the cells of "
        "a side over which a feature map is averaged"
      )
    if self.layout not in (None, "nhwc", "nchw"):
      raise UserError(
        f"classifier.layout is {self.layout!r}; it must be 'nhwc' or 'nchw'"
      )
    object.__setattr__(self, "role", Role.of(self.role))

  @classmethod
  def of(cls, facts: Mapping, *texts: str | None) -> Spec:
    """The Spec of a description, whose values may be anything that JSON has.

    Args:
      facts: fields by name.
      *texts: further values that must be strings, or None.

    Raises:
      UserError, TypeError, ValueError, AttributeError, OverflowError: it is damaged.
    """
    spec = cls(**facts)
    given = (spec.name, spec.handle, *texts)
    given += (spec.signature, spec.input_name, spec.weights, spec.trusted_pickle)
    if not all(isinstance(text, (str, type(None))) for text in given):
      raise TypeError("names, handle and digest are texts")
    if not isinstance(spec.name, str) or not isinstance(spec.handle, str):
      raise TypeError("name and handle are texts")
    if not isinstance(spec.output, (str, int, type(None))):
      raise TypeError("output is a name or a number")
    return spec


def path_in(handle: str | None) -> tuple[str, str, str]:
  """The path in a handle, and what stands before and after it.

  ("logits:", "/cache", "") of "logits:/cache"; ("torch:", "/a.py", ":build") of
  "torch:/a.py:build"; ("", handle, "") of a handle that is a path, or anything else.
  """
  handle = handle or ""
  if handle.startswith("logits:"):
    return "logits:", handle[len("logits:") :], ""
  file, colon, function = handle[len("torch:") :].rpartition(":")
  if handle.startswith("torch:") and file.endswith(".py"):
    return "torch:", file, colon + function
  return "", handle, ""
