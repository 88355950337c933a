"""Scores of one exported module on images it was not trained on."""

import contextlib
import dataclasses

import gin
import numpy as np

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.inversion import Inverter
from compare_gan_logits.metrics import agreement
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import inception
from compare_gan_logits.metrics import lpips
from compare_gan_logits.metrics import similarity


_NETWORKS = ("alex", "vgg", "inception")


@gin.configurable("evaluation")
@dataclasses.dataclass(frozen=True)
class Settings:
  """What is scored, and with which features.

  Attributes:
    num_images: at most this many validation images.
    seed: of the choice of images and of the noise.
    frechet_network: features of the Frechet distance: "alex" or "vgg" (the weights of
      LPIPS), or "inception", which makes it an FID (see metrics/inception.py).

  Raises:
    UserError: there is no such network; the weights of Inception are not there.
  """

  num_images: int = 1000
  seed: int = 0
  frechet_network: str = "alex"

  def __post_init__(self):
    if self.frechet_network not in _NETWORKS:
      raise UserError(
        f"evaluation.frechet_network {self.frechet_network!r}: "
        f"{nearest(str(self.frechet_network), _NETWORKS)}"
      )
    if self.frechet_network == "inception":
      inception.load()

  def frechet(self, originals, pictures, reference):
    """frechet.Score between two sets of images."""
    if self.frechet_network != "inception":
      return frechet.score(originals, pictures, self.frechet_network, reference)
    return frechet.score(
      originals, pictures, inception.load(), reference, is_inception=True
    )


def evaluate(module_dir, dataset, classifier, averaging_runs=1, settings=None):
  """Scores a module on validation images drawn by seed.

  Args:
    module_dir: folder that export.export_module wrote.
    dataset: datasets.ImageDataset.
    classifier: the classifier of the run, or None.
    averaging_runs: number of noise draws that are averaged.
    settings: Settings, or None for those that gin binds.

  Returns:
    dict of float: num_images, the Frechet distance under a name that says its network
    (and of an FID also which Inception, how many images and which reference), and for
    a model that is conditioned on logits psnr (dB), ssim, lpips_alex and agreement,
    the share of reconstructions to which the classifier gives the original's class.
    LPIPS and a Frechet distance on its weights are left out, with a word about it,
    where these are missing.
  """
  settings = settings or Settings()
  inverter = Inverter.load(module_dir, classifier=classifier)
  total = dataset.num_examples("validation")
  chosen = np.random.default_rng(settings.seed).permutation(total)
  images, labels = dataset.arrays(
    "validation", indices=np.sort(chosen[: settings.num_images])
  )
  runs = [
    _one_run(inverter, images, labels, settings, settings.seed + run)
    for run in range(averaging_runs)
  ]
  scores = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
  return dict(scores, num_images=len(images))


def _one_run(inverter, images, labels, settings, seed):
  """Scores with one draw of noise."""
  if inverter.info["conditioning"] == "logits":
    condition = inverter.logits(images)
    generated = inverter.generate(condition, seed=seed)
    scores = {
      "psnr": np.mean(similarity.psnr(images, generated)),
      "ssim": np.mean(similarity.ssim(images, generated)),
    }
    with _left_out("agreement"):  # one's own logits are of the data set's images only
      scores["agreement"] = agreement.rate(
        condition.argmax(1), inverter.predict(generated)
      )
  else:
    condition = np.float32(labels[:, None] == np.arange(inverter.num_logits))
    generated = inverter.generate(condition, seed=seed)
    scores = {}
  with _left_out("LPIPS"):
    if scores:
      scores["lpips_alex"] = np.mean(lpips.distance(images, generated))
  with _left_out("Frechet distance"):
    score = settings.frechet(images, generated, "validation images")
    scores[score.key] = score.value
  return scores


@contextlib.contextmanager
def _left_out(metric):
  try:
    yield
  except UserError as error:
    print(f"no {metric}: {error}")
