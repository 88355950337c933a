"""Where questions train: each classifier and inverter once, in a folder of its own."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from compare_gan_logits import classifiers
from compare_gan_logits import configuration
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits import module_format
from compare_gan_logits.classifiers import training
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import measures
from compare_gan_logits.metrics import agreement as agreement_lib
from compare_gan_logits.metrics import similarity
from compare_gan_logits.questions import decoders
from compare_gan_logits.questions.settings import Settings


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier


_JUDGES_SEED = 2000  # beside that of a training: of the judge's
_ORDER = 547  # seed of the order of images, as where nothing binds it


class Workshop:
  """Trains what is asked for and is not there yet.

  Args:
    folder: of all trainings.
    settings: settings.Settings.
    log: function of a line of text.
  """

  def __init__(
    self, folder: str, settings: Settings, log: Callable[[str], Any] = print
  ) -> None:
    self.folder = folder
    self.settings = settings
    self.log = log
    # What several parts of a question use, for as long as the process lives.
    self.kept: dict[str, Any] = {}

  def dataset(self, seed: int = 0, examples: int | None = None) -> Any:
    """The image set, in the seed's order; its first `examples` training images."""
    return datasets.get_dataset(self._name(examples), seed=_ORDER + seed)

  def _name(self, examples):
    if examples is not None and self.settings.dataset != "embedded":
      raise UserError(
        "questions.few_examples takes the first images of 'embedded' alone; leave the "
        f"questions that need them out (--only) with {self.settings.dataset}"
      )
    return self.settings.dataset + ("" if examples is None else f":{examples}")

  @functools.cached_property
  def test(self) -> tuple[np.ndarray, np.ndarray]:
    """(images [n, h, w, c], labels [n]) of the test images that are measured."""
    dataset = self.dataset()
    total = dataset.num_examples("validation")
    ids = np.random.default_rng(0).permutation(total)[: self.settings.images]
    return dataset.arrays("validation", indices=ids)

  @functools.cached_property
  def train(self) -> tuple[np.ndarray, np.ndarray]:
    """(images [n, h, w, c], labels [n]) of all training images."""
    return self.dataset().arrays("train")

  def classifier(
    self,
    name: str,
    seed: int,
    network: str = "cnn",
    robust: bool = False,
    extras: training.Extras | None = None,
    examples: int | None = None,
  ) -> str:
    """Trains a classifier, if it is not there; returns its folder.

    Args:
      name: of the classifier, without its seed.
      seed: of its weights and of the order of images.
      network, robust, extras: as of training.train.
      examples: training images; None: all.
    """
    path = os.path.join(self.folder, "classifiers", f"{name}_{seed}")
    self._check(
      path,
      {
        "network": network,
        "robust": robust,
        "extras": extras.name if extras else "",
        "examples": examples,
        "steps": self.settings.classifier_steps,
        "dataset": self.settings.dataset,
        "attack": dataclasses.asdict(training.Attack()) if robust else None,
        "bound": training.bound_settings(),
      },
    )
    if not os.path.isdir(path):
      self.log(f"classifier {name}, seed {seed}")
      training.train(
        self.dataset(seed, examples),
        path,
        robust,
        network=network,
        extras=extras,
        steps=self.settings.classifier_steps,
        eval_every=300,
        eval_examples=200,
        test_examples=500,
        seed=seed,
        log=lambda line: self.log(f"  {line}"),
      )
    return path

  def judge(self, seed: int, network: str = "resnet") -> str:
    """As `classifier`, of a seed that no classifier under study has."""
    return self.classifier(f"{network}_judge", seed + _JUDGES_SEED, network)

  def inverter(
    self, name: str, classifier: str, seed: int, examples: int | None = None
  ) -> str:
    """Trains an inverter by the command `train`, if it is not there.

    Args:
      name: of the inverter, without its seed.
      classifier: folder of the classifier.
      seed: of its weights, noise and order of images.
      examples: training images; None: all.

    Returns:
      The folder of the exported module.

    Raises:
      UserError: the command failed; its last line says why.
    """
    settings = self.settings
    return self._trained(
      name,
      classifier,
      seed,
      settings.inverter_config,
      settings.inverter_steps,
      examples,
      [f"classifier.handle = {os.path.abspath(classifier)!r}"],
    )

  def baseline(self, classifier: str, seed: int) -> str:
    """Trains the method of Dosovitskiy & Brox, as `inverter` does."""
    handle = repr(os.path.abspath(classifier))
    return self._trained(
      "dosovitskiy_brox",
      classifier,
      seed,
      self.settings.baseline_config,
      self.settings.baseline_steps,
      None,
      [f"classifier.handle = {handle}", f"comparator.handle = {handle}"],
    )

  def _trained(self, name, classifier, seed, config, steps, examples, bindings):
    """The module of a training by the command `train`."""
    folder = os.path.join(self.folder, "inverters", f"{name}_{seed}")
    self._check(
      folder,
      {
        "config": config,
        "config_digest": files.digest(configuration.find(config)),
        "classifier": files.digests(classifier),
        "steps": steps,
        "examples": examples,
        "dataset": self.settings.dataset,
      },
    )
    module = os.path.join(folder, "module")
    if os.path.isfile(os.path.join(module, module_format.FILE)):
      return module
    self.log(f"inverter {name}, seed {seed}")
    bindings = [
      *bindings,
      f"dataset.name = {self._name(examples)!r}",
      f"dataset.seed = {_ORDER + seed}",
      f"options.training_steps = {steps}",
      f"run_config.tf_random_seed = {seed}",
      "run_config.save_checkpoints_steps = 300",
      "run_config.keep_checkpoint_max = 2",
    ]
    command = [sys.executable, "-m", "compare_gan_logits.main"]
    command += ["--gin_config", config, "--model_dir", folder]
    command += [f"--gin_bindings={binding}" for binding in bindings]
    log = folder + ".log"
    with open(log, "a", encoding="utf-8") as output:
      done = subprocess.run(command, stdout=output, stderr=output, check=False)
    if done.returncode:
      raise UserError(f"the training of the inverter {name} failed; {log} says why")
    return module

  def held(
    self,
    classifier: str,
    output: str,
    seed: int,
    judges: Mapping[str, Any] | None = None,
  ) -> dict[str, float]:
    """How much of the picture an output of a classifier holds.

    Args:
      classifier: folder of the classifier.
      output: "logits", "features" or "spatial".
      seed: of the decoder.
      judges: as of `decoded`.

    Returns:
      What `decoded` does.
    """
    loaded = classifiers.load(classifier, output=output)
    vectors = [loaded.predict(images) for images in (self.train[0], self.test[0])]
    return self.decoded(vectors[0], vectors[1], seed, judges)

  def decoded(
    self,
    training_vectors: np.ndarray,
    test_vectors: np.ndarray,
    seed: int,
    judges: Mapping[str, Any] | None = None,
  ) -> dict[str, float]:
    """How well a decoder that is trained for it finds pictures from their vectors.

    Args:
      training_vectors: [n, d], of all training images.
      test_vectors: [m, d], of the test images.
      seed: of the decoder, which is decoders.Decoder.
      judges: {name: classifiers.Classifier}.

    Returns:
      {"error" (mean squared, of pixels), "lpips", "psnr" (dB), "ssim"} of test images,
      and for each judge the share of pictures that get the class of their original.
    """
    decoder = decoders.Decoder(
      training_vectors, self.train[0], self.settings.decoder_steps, 1000 + seed
    )
    pictures = decoder(test_vectors)
    decoder.close()
    kept = {
      name: agreement(judge, self.test[0], pictures)
      for name, judge in (judges or {}).items()
    }
    return {
      **quality(self.test[0], pictures, self.settings.perceptual_images),
      **kept,
    }

  def _check(self, path, identity):
    """Refuses what was trained with other settings."""
    record = path + ".json"
    if not os.path.isfile(record):
      files.write_json(record, identity)
    elif files.read_json(record) != identity:
      raise UserError(
        f"{path} was trained with other settings ({record}); name another --output, or "
        "remove both"
      )


def quality(
  originals: np.ndarray, pictures: np.ndarray, perceptual: int
) -> dict[str, float]:
  """Means of {"error", "lpips", "psnr", "ssim"} of pictures [n, h, w, c] in [0, 1].

  perceptual: how many of the first ones LPIPS is measured on.
  """
  lpips = measures.perceptual(originals[:perceptual], pictures[:perceptual])
  values = {
    "error": np.square(originals - pictures),
    "lpips": lpips,
    "psnr": similarity.bounded_psnr(originals, pictures),
    "ssim": similarity.ssim(originals, pictures),
  }
  return {name: float(np.mean(value)) for name, value in values.items()}


def agreement(
  classifier: Classifier, originals: np.ndarray, pictures: np.ndarray
) -> float:
  """Share of pictures [n, h, w, c] that a classifier gives their original's class."""
  found = [classifier.predict(x).argmax(axis=1) for x in (originals, pictures)]
  return agreement_lib.rate(*found)
