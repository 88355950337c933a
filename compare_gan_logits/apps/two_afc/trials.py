"""Trials: which pictures are compared, on which side, in which order."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from compare_gan_logits import figures
from compare_gan_logits import files
from compare_gan_logits.errors import UserError


FORMAT = 1
_FILE = "trials.json"
_PICTURES = {"a", "b", "original"}


@dataclasses.dataclass(frozen=True)
class Trial:
  """One question: two pictures, left and right of the original.

  Attributes:
    number: its name in addresses and files, from 0.
    image: id of the original in its data set.
    left, right: "a" or "b", the model that made the picture; or "original", the
      original itself, in a catch trial.
  """

  number: int
  image: int
  left: str
  right: str

  @property
  def is_catch(self) -> bool:
    """Whether one side is the original itself, so that the answer is known."""
    return "original" in (self.left, self.right)

  def picture(self, side: str) -> str:
    """What is shown at "left", "right" or "original" (the middle)."""
    return {"left": self.left, "right": self.right, "original": "original"}[side]


@dataclasses.dataclass(frozen=True)
class Study:
  """A folder that `prepare` wrote.

  Attributes:
    folder: its path.
    id: digest of the trials and their pictures.
    labels: {"a": name, "b": name} of the two models.
    dataset: name of the set that the originals are from.
    image_size: side of the pictures, in pixels.
    seed: that the trials were drawn with.
    trials: tuple of Trial; trials[i].number is i.
  """

  folder: str
  id: str
  labels: dict[str, str]
  dataset: str
  image_size: int
  seed: int
  trials: tuple[Trial, ...]

  @classmethod
  def load(cls, folder: str) -> Study:
    """Reads a study.

    Raises:
      UserError: the folder holds none, or it is damaged.
    """
    path = os.path.join(folder, _FILE)
    if not os.path.isfile(path):
      raise UserError(
        f"{folder} holds no {_FILE}; make one with compare-gan-logits two-afc prepare"
      )
    record = files.read_json(path)
    try:
      if record["format"] != FORMAT:
        raise UserError(
          f"{path} has format {record['format']}, not {FORMAT}; prepare the study again"
        )
      trials = tuple(
        Trial(number, **trial) for number, trial in enumerate(record["trials"])
      )
      if not {side for t in trials for side in (t.left, t.right)} <= _PICTURES:
        raise TypeError("a trial shows a, b or original")
      labels = {key: record["models"][key]["label"] for key in "ab"}
      if (
        not trials
        or type(record["image_size"]) is not int
        or (record["image_size"] < 1)
      ):
        raise TypeError("there are no trials, or images without a size")
      return cls(
        os.path.abspath(folder),
        record["id"],
        labels,
        record["dataset"],
        record["image_size"],
        record["seed"],
        trials,
      )
    except (KeyError, TypeError) as error:
      raise UserError(
        f"{path} is damaged ({error!r}); prepare the study again"
      ) from None

  def picture_path(self, number: int, side: str) -> str:
    """File of the picture that trial `number` shows at `side`."""
    return os.path.join(
      self.folder, _picture_file(number, self.trials[number].picture(side))
    )

  def order(self, subject: str) -> list[int]:
    """Numbers of the trials in the order of a subject, always the same for one."""
    numbers = list(range(len(self.trials)))
    random.Random(f"{self.id} {subject}").shuffle(numbers)
    return numbers


def draw(ids: Any, catch: int, seed: int) -> list[Trial]:
  """Draws trials with each model on the left equally often (give or take one).

  Args:
    ids: of the originals, one per trial.
    catch: number of catch trials, which show the original itself beside a picture of
      model A and B in turn. Their places are drawn: addresses show the numbers.
    seed: of the sides and the places.

  Returns:
    list of Trial.
  """
  rng = np.random.default_rng(seed)
  pairs = [("a", "b")] * (len(ids) - catch)
  pairs += [("original", "ab"[i % 2]) for i in range(catch)]
  swap = np.concatenate([_half(len(ids) - catch, rng), _half(catch, rng)])
  sides = [pair[::-1] if swapped else pair for pair, swapped in zip(pairs, swap)]
  return [
    Trial(number, int(image), *sides[place])
    for number, (image, place) in enumerate(zip(ids, rng.permutation(len(sides))))
  ]


def _half(n, rng):
  """Bool [n], half of them true, in random order."""
  return rng.permutation(np.arange(n) % 2 == 0)


def choose(num_images: int, trials: int, catch: int, seed: int) -> np.ndarray:
  """Ids of trials + catch different images.

  Raises:
    UserError: there are not that many.
  """
  if trials + catch > num_images:
    raise UserError(
      f"{trials} trials and {catch} catch trials need as many images, but the set has "
      f"{num_images}; lower --trials"
    )
  return np.random.default_rng(seed).permutation(num_images)[: trials + catch]


def prepare(
  inverters: Mapping[str, Any],
  images: np.ndarray,
  ids: Any,
  dataset: str,
  folder: str,
  catch: int = 4,
  seed: int = 0,
) -> Study:
  """Writes a study: pictures and trials.json.

  Args:
    inverters: {label: inversion.Inverter} of the two models, A first.
    images: [n, h, w, c], one original per trial.
    ids: int [n], of the originals in their set.
    dataset: name of the set.
    folder: to write; must not exist or be empty.
    catch: number of catch trials among the n.
    seed: of the sides and of the generators' noise.

  Returns:
    Study.

  Raises:
    UserError: the models differ in the size or the colours of their images, or the
      folder is not empty.
  """
  models = dict(zip("ab", inverters.items()))
  (_, first), (_, second) = models.values()
  if (first.image_size, first.colors) != (second.image_size, second.colors):
    raise UserError(
      f"one module generates {first.image_size} px with {first.colors} colours, the "
      f"other {second.image_size} px with {second.colors}; compare modules of one "
      "size and colour"
    )
  trials = draw(ids, catch, seed)
  pictures = {"original": first.prepare(images)}
  for key, (_, inverter) in models.items():
    pictures[key] = inverter.reconstruct(images, seed=seed)[:, 0]
  record = {
    "format": FORMAT,
    "dataset": dataset,
    "seed": seed,
    "image_size": first.image_size,
    "models": {
      key: {
        "label": label,
        "classifier": inverter.name,
        "module": inverter.path,
        "step": inverter.info.get("step"),
      }
      for key, (label, inverter) in models.items()
    },
    "trials": [{"image": t.image, "left": t.left, "right": t.right} for t in trials],
  }
  record["id"] = _digest(trials, pictures)
  with files.atomic_dir(folder) as temporary:
    os.mkdir(os.path.join(temporary, "images"))
    for trial in trials:
      for name in {"original", trial.left, trial.right}:
        figures.save_image(
          pictures[name][trial.number],
          os.path.join(temporary, _picture_file(trial.number, name)),
        )
    files.write_json(os.path.join(temporary, _FILE), record)
  return Study.load(folder)


def _picture_file(number, name):
  return os.path.join("images", f"{number:04d}_{name}.png")


def _digest(trials, pictures):
  digest = hashlib.sha256(repr(trials).encode())
  for name in sorted(pictures):
    digest.update(figures.to_rgb(pictures[name]).tobytes())
  return digest.hexdigest()[:12]
