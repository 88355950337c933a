"""Eval tasks of an inverter: the images are reconstructions of the real ones."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from compare_gan_logits import eval_utils
from compare_gan_logits.classifiers import class_order
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import sentence
from compare_gan_logits.metrics import agreement
from compare_gan_logits.metrics import eval_task
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import lpips
from compare_gan_logits.metrics import similarity


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier


class _PixelTask(eval_task.EvalTask):
  """A task on at most `num_images` of the images, drawn by `seed`."""

  reads_activations = False

  def __init__(self, num_images: int, seed: int):
    self._num_images = num_images
    self._seed = seed

  def _images(self, *dsets: eval_utils.EvalDataSample) -> list[np.ndarray]:
    """The same places in each sample, as images [n, h, w, c] in [0, 1]."""
    images: list[Any] = [dset.images for dset in dsets]  # not yet discarded
    total = min(map(len, images))
    chosen = np.random.default_rng(self._seed).permutation(total)[: self._num_images]
    return [eval_utils.from_rgb_bytes(values[np.sort(chosen)]) for values in images]


class ReconstructionTask(_PixelTask):
  """How near a reconstruction is to its original.

  "psnr" (dB), "ssim", "lpips_alex", and "agreement", the share of reconstructions to
  which the classifier gives the class of the original. LPIPS is left out, with a message, if
  its weights are missing, and agreement where the classifier has a single logit.

  Args:
    classifier: classifiers.Classifier whose logits were inverted.
    num_images: at most this many pairs.
    seed: of their choice.
  """

  _LABEL = "reconstruction"

  def __init__(self, classifier: Classifier, num_images: int = 1000, seed: int = 0):
    super().__init__(num_images, seed)
    self._classifier = classifier

  def metric_list(self) -> frozenset[str]:
    return frozenset({"psnr", "ssim", "lpips_alex", "agreement"})

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    generated, originals = self._images(fake_dset, real_dset)
    channels = min(generated.shape[-1], originals.shape[-1])
    if channels != max(generated.shape[-1], originals.shape[-1]):
      # One side happens to have no colour in any image.
      generated, originals = (
        np.broadcast_to(x, [*x.shape[:-1], 3]) for x in (generated, originals)
      )
    scores: dict[str, Any] = {
      "psnr": np.mean(similarity.psnr(originals, generated)),
      "ssim": np.mean(similarity.ssim(originals, generated)),
    }
    with _left_out("agreement"):  # logits from a file are of the data set's images only
      logits = [self._classifier.predict(x) for x in (originals, generated)]
      scores["agreement"] = agreement.rate(*map(class_order.predicted, logits))
    with _left_out("LPIPS"):
      scores["lpips_alex"] = np.mean(lpips.distance(originals, generated))
    return {name: float(value) for name, value in scores.items()}


class FrechetTask(_PixelTask):
  """Frechet distance on named features, under a name that says which.

  It is left out, with a message, if the network's weights are missing.

  Args:
    distance: function of (originals, generated images, what the originals are) that
      returns a frechet.Score.
    num_images: at most this many images on each side.
    seed: of their choice.
  """

  _LABEL = "frechet"

  def __init__(
    self,
    distance: Callable[[np.ndarray, np.ndarray, str], frechet.Score],
    num_images: int = 1000,
    seed: int = 0,
  ):
    super().__init__(num_images, seed)
    self._distance = distance

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    generated, originals = self._images(fake_dset, real_dset)
    scores = {}
    with _left_out("Frechet distance"):
      score = self._distance(originals, generated, "validation images")
      scores[score.key] = score.value
    return scores


@contextlib.contextmanager
def _left_out(metric: str) -> Iterator[None]:
  try:
    yield
  except UserError as error:
    print(f"no {metric}: {sentence(error)}", file=sys.stderr, flush=True)
