"""Scores of one exported module on images it was not trained on."""

import gin
import numpy as np

from compare_gan_logits.command import UserError
from compare_gan_logits.inversion import Inverter
from compare_gan_logits.metrics import agreement
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import lpips
from compare_gan_logits.metrics import similarity


def reconstruction_scores(originals, reconstructions):
  """Means over images of PSNR (dB), SSIM and LPIPS (AlexNet).

  LPIPS is left out, with a word about it, where its weights are not installed.
  """
  scores = {"psnr": similarity.psnr(originals, reconstructions).mean(),
            "ssim": similarity.ssim(originals, reconstructions).mean()}
  try:
    scores["lpips_alex"] = lpips.distance(originals, reconstructions).mean()
  except UserError as error:
    print(f"no LPIPS: {error}")
  return {name: float(value) for name, value in scores.items()}


@gin.configurable("evaluation", allowlist=["num_images", "seed"])
def evaluate(module_dir, dataset, classifier, averaging_runs=1, num_images=1000,
             seed=0):
  """Scores a module on the first validation images of a seeded shuffle.

  Args:
    module_dir: folder that export.export_module wrote.
    dataset: datasets.ImageDataset.
    classifier: the classifier of the run, or None.
    averaging_runs: number of noise draws that are averaged.
    num_images: at most this many.
    seed: of the choice of images and of the noise.

  Returns:
    dict of float: psnr, ssim, lpips_alex, agreement (the share of reconstructions
    to which the classifier gives the original's class) and num_images; for a model
    that is not conditioned on logits only the Frechet distance.
  """
  inverter = Inverter.load(module_dir, classifier=classifier)
  total = dataset.num_examples("validation")
  chosen = np.random.default_rng(seed).permutation(total)[:num_images]
  images, labels = dataset.arrays("validation", indices=np.sort(chosen))
  runs = [_one_run(inverter, images, labels, seed + run)
          for run in range(averaging_runs)]
  scores = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
  scores["num_images"] = len(images)
  return scores


def _one_run(inverter, images, labels, seed):
  """Scores with one draw of noise."""
  if inverter.info["conditioning"] == "logits":
    logits = inverter.logits(images)
    generated = inverter.generate(logits, seed=seed)
    scores = reconstruction_scores(images, generated)
    scores["agreement"] = float(agreement.rate(
        logits.argmax(axis=1), inverter.predict(generated)))
    return scores
  condition = np.eye(max(inverter.num_logits, 1), dtype=np.float32)[labels]
  generated = inverter.generate(condition, seed=seed)
  return {"frechet": frechet.distance(frechet.features(images),
                                      frechet.features(generated))}
