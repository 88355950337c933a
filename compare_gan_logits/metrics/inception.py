"""Inception's features for the FID, from weights that the user has.

No weights come with the program. A Frechet distance is called FID on these features
only, and its name says which they were: scores on other weights cannot be compared.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any

import gin

from compare_gan_logits import classifiers
from compare_gan_logits import files
from compare_gan_logits import utils
from compare_gan_logits.classifiers import frozen_graph
from compare_gan_logits.classifiers import hub
from compare_gan_logits.errors import UserError


TFGAN = "tfgan"
TFGAN_HANDLE = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
SIZE = 299  # px


@gin.configurable(
  "inception", allowlist=["path", "input_name", "output", "low", "high"]
)
def load(
  path: str | None = None,
  input_name: str | None = None,
  output: str = "pool_3",
  low: float = -1.0,
  high: float = 1.0,
) -> Any:
  """The network that the FID is computed with.

  Images are enlarged to 299 px (bilinear, pixel centres at half integers as in
  TensorFlow 2 and PyTorch; TensorFlow 1's own resize differs, and so do scores made with
  it), grey ones repeated to RGB.

  Args:
    path: "tfgan" (TF-GAN's module, from TF-Hub or from TFHUB_CACHE_DIR), folder of a
      TF-Hub module or SavedModel, or .pb file of a frozen graph.
    input_name: where images go in: a tensor of a frozen graph, as "Mul:0" in TF-GAN's
      older file; of a module an input, where it has several.
    output: the pooled features: an output of a module, a tensor ("pool_3:0") of a
      frozen graph; [n, 1, 1, d] will do.
    low, high: what black and white are for the network: -1 and 1 for TF-GAN's, 0 and
      255 for graphs that scale themselves.

  Returns:
    classifiers.Classifier whose spec.name says which Inception it is.

  Raises:
    UserError: there is no such network, or it does not offer what is asked.
  """
  if not path or not isinstance(path, str):
    raise UserError(
      "Inception (FID, Inception score, KID) needs inception.path: the folder of a "
      "module, the .pb file of a frozen graph, or 'tfgan' for TF-GAN's own from TF-Hub"
    )
  return _load(path, input_name, output, low, high)


def is_bound() -> bool:
  """Whether gin names an Inception."""
  return bool(utils.bound_value("inception.path"))


@functools.lru_cache(maxsize=2)
def _load(path, input_name, output, low, high):
  options = {"output": output, "size": SIZE, "low": low, "high": high}
  if path == TFGAN:
    name, handle = "TF-GAN's Inception", TFGAN_HANDLE
  elif "://" in path or os.path.exists(os.path.expanduser(path)):
    name, handle = os.path.basename(os.path.abspath(path)), path
  else:
    raise UserError(f"inception.path: there is no file or folder {path}")
  file = os.path.expanduser(handle)
  if os.path.isfile(file):
    handle = frozen_graph.saved_model(file, input_name, output)
    digest, options["output"] = files.digest(file), frozen_graph.OUTPUT
  else:
    if input_name:
      options["input_name"] = input_name
    try:
      digest = hub.digest(hub.locate(handle))
    except UserError as error:
      raise UserError(str(error).replace("classifier.path", "inception.path")) from None
  network = classifiers.load(handle, **options)
  network.spec = dataclasses.replace(network.spec, name=f"{name} {digest[:8]}")
  return network
