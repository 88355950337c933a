"""What every source of logits offers: a model, and the same with its tensors chosen.

A source is a module that opens models of one format: hub.py (SavedModels, and what
is made into one), torch_models.py, onnx_models.py, given_logits.py.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any
from typing import Optional

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.classifiers.spec import Spec


# Of a tensor, without knowledge of dimensions that are None; None: rank not known.
Shape = tuple[Optional[int], ...]


@dataclasses.dataclass(frozen=True)
class Bound:
  """A model with its image input and its output chosen.

  Attributes:
    call: graph function of images [b, h, w, c], preprocessed, -> output [b, ...],
      feature maps as [b, h, w, c].
    digest: SHA-256 (hex) of the model.
    input_shape: (b, h, w, c), None where any will do; None: not known.
    output_shape: (b, ...) likewise.
    takes_bytes: whether values are 0 ... 255 and rounded to whole numbers.
    no_gradient: why there is no gradient with respect to the images, as the rest of a
      sentence that begins with the classifier's name; None: there is one.
    numpy_only: whether it is a numpy function, which no TPU and no second replica runs.
    lookup: function of images (numpy) -> logits where only known images have logits,
      and none can be computed; else None.
  """

  call: Callable[[tf.Tensor], tf.Tensor]
  digest: str
  input_shape: Shape | None
  output_shape: Shape | None
  takes_bytes: bool = False
  no_gradient: str | None = None
  numpy_only: bool = False
  lookup: Callable[[np.ndarray], np.ndarray] | None = None


class Model(abc.ABC):
  """A model of some format, opened."""

  # Folder of its SavedModel, where it is one.
  path: Any = None

  def facts(self) -> dict:
    """Fields of Spec and of Preprocessing that the model itself knows."""
    return {}

  @abc.abstractmethod
  def bind(self, spec: Spec) -> Bound:
    """Chooses input and output as `spec` says.

    Raises:
      UserError: the model does not offer what the spec names.
    """
