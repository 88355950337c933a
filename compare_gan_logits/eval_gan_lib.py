"""Scores of one exported module on images it was not trained on."""

import gin
import numpy as np

from compare_gan_logits.command import UserError
from compare_gan_logits.inversion import Inverter
from compare_gan_logits.metrics import agreement
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import lpips
from compare_gan_logits.metrics import similarity


@gin.configurable("evaluation", allowlist=["num_images", "seed", "frechet_network"])
def evaluate(module_dir, dataset, classifier, averaging_runs=1, num_images=1000,
             seed=0, frechet_network="alex"):
  """Scores a module on validation images drawn by seed.

  Args:
    module_dir: folder that export.export_module wrote.
    dataset: datasets.ImageDataset.
    classifier: the classifier of the run, or None.
    averaging_runs: number of noise draws that are averaged.
    num_images: at most this many.
    seed: of the choice of images and of the noise.
    frechet_network: features of the Frechet distance, "alex" or "vgg".

  Returns:
    dict of float: num_images, frechet_<network>, and for a model that is conditioned
    on logits psnr (dB), ssim, lpips_alex and agreement, the share of reconstructions
    to which the classifier gives the original's class. LPIPS and the Frechet
    distance are left out, with a word about it, where their weights are missing.
  """
  inverter = Inverter.load(module_dir, classifier=classifier)
  total = dataset.num_examples("validation")
  chosen = np.random.default_rng(seed).permutation(total)[:num_images]
  images, labels = dataset.arrays("validation", indices=np.sort(chosen))
  runs = [_one_run(inverter, images, labels, seed + run, frechet_network)
          for run in range(averaging_runs)]
  scores = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
  return dict(scores, num_images=len(images))


def _one_run(inverter, images, labels, seed, frechet_network):
  """Scores with one draw of noise."""
  if inverter.info["conditioning"] == "logits":
    condition = inverter.logits(images)
    generated = inverter.generate(condition, seed=seed)
    scores = {
        "psnr": np.mean(similarity.psnr(images, generated)),
        "ssim": np.mean(similarity.ssim(images, generated)),
        "agreement": agreement.rate(condition.argmax(1), inverter.predict(generated))}
  else:
    condition = np.float32(labels[:, None] == np.arange(inverter.num_logits))
    generated = inverter.generate(condition, seed=seed)
    scores = {}
  try:
    if scores:
      scores["lpips_alex"] = np.mean(lpips.distance(images, generated))
    scores[f"frechet_{frechet_network}"] = frechet.score(
        images, generated, frechet_network).value
  except UserError as error:
    print(f"no LPIPS and no Frechet distance: {error}")
  return scores
