"""Feeds damaged files and requests to the program for a long time.

Not part of the suite. Each case is a valid file or request with random edits. It must be
read, or refused with a UserError (a server's answer must not be 500). What ends
otherwise, kills its process or takes longer than a minute is kept in the folder:

  python tests/fuzz.py --target onnx --minutes 30 --folder /tmp/fuzz

A kept case is tried again by its number, which makes the same bytes:

  python tests/fuzz.py --target onnx --first 4711 --cases 1 --folder /tmp/fuzz
"""

import argparse
import collections
import io
import json
import multiprocessing
import os
import shutil
import tarfile
import time
import traceback

import numpy as np


PATIENCE = 60  # seconds a case may take
MORE = b'0123456789-.eE{}[]",:\\/\x00\xff' + b"null true NaN Infinity"


def mutated(rng, data):
  """`data` with one to four random edits."""
  data = bytearray(data)
  for _ in range(rng.integers(1, 5)):
    start = int(rng.integers(0, len(data) + 1))
    stop = min(len(data), start + int(2 ** rng.uniform(0, 6)))
    kind = rng.integers(6)
    if kind == 0:
      data[start:stop] = rng.bytes(stop - start)
    elif kind == 1:
      del data[start:stop]
    elif kind == 2:
      data[start:start] = data[start:stop]
    elif kind == 3:
      data[start:stop] = bytes(stop - start)
    elif kind == 4:
      places = rng.integers(0, len(MORE), int(rng.integers(1, 5)))
      data[start:stop] = bytes(MORE[i] for i in places)
    elif rng.uniform() < 0.2:
      del data[start:]
    data = data or bytearray(b"0")
  return bytes(data)


# Targets: folder -> (valid inputs, function that tries one) ------------------------


def picture(folder):
  """Encoded images of each format."""
  from test_properties import ENCODED

  from compare_gan_logits import images

  del folder
  return ENCODED, lambda data: images.read_image(data, 5, 3, name="the file")


def inversion(folder):
  """inversion.json of a module with a classifier."""
  import tiny

  from compare_gan_logits import classifiers
  from compare_gan_logits import inversion as inversion_lib

  kernel = np.random.default_rng(0).normal(size=[64, 4])
  place = tiny.write_classifier(os.path.join(folder, "classifier"), kernel)
  facts = classifiers.load(place).describe()
  module = tiny.write_module(
    os.path.join(folder, "module"), tiny.linear(np.zeros([4, 64])), classifier=facts
  )
  path = os.path.join(module, "inversion.json")

  def attempt(data):
    _write(path, data)
    inversion_lib.Inverter.load(module)

  return [_read(path)], attempt


def classifier(folder):
  """classifier.json of a classifier that train-classifier writes."""
  from compare_gan_logits import classifiers
  from compare_gan_logits.classifiers import zoo

  source = os.path.join(zoo.SHIPPED_FOLDER, "embedded_robust")
  place = shutil.copytree(source, os.path.join(folder, "classifier"))
  path = os.path.join(place, "classifier.json")

  def attempt(data):
    _write(path, data)
    classifiers.load(place)

  return [_read(path)], attempt


def tar(folder):
  """A tar of class folders of images."""
  from test_properties import ENCODED

  from compare_gan_logits import datasets

  packed = io.BytesIO()
  with tarfile.open(fileobj=packed, mode="w") as f:
    for split in ("train", "validation"):
      for i, encoded in enumerate(ENCODED):
        info = tarfile.TarInfo(f"{split}/class_{i % 2}/{i}.png")
        info.size = len(encoded)
        f.addfile(info, io.BytesIO(encoded))
  place = os.path.join(folder, "photos")
  os.makedirs(place)

  def attempt(data):
    _write(os.path.join(place, "photos.tar"), data)
    datasets.get_dataset(f"{place}@8").arrays("train", limit=3)

  return [packed.getvalue()], attempt


def onnx(folder):
  """A small network of PyTorch's kind."""
  import test_classifiers_onnx as of

  from compare_gan_logits import classifiers

  path = os.path.join(folder, "network.onnx")
  valid = [_read(of._write(path, batch, first)) for batch, first in (("n", 1), (4, 0))]

  def attempt(data):
    _write(path, data)
    classifiers.load(path).predict(of.IMAGES)

  return valid, attempt


def torch(folder):
  """A state dictionary."""
  import pathlib

  import test_classifiers_torch as of
  import torch as torch_lib

  from compare_gan_logits import classifiers

  place = pathlib.Path(folder)
  (place / "network.py").write_text(of.NETWORK.format(size=of.SIZE))
  path = os.path.join(folder, "weights.pt")
  torch_lib.save(of._network(place).state_dict(), path)

  def attempt(data):
    _write(path, data)
    classifiers.load(f"torch:{folder}/network.py:build", weights=path)

  return [_read(path)], attempt


def explorer(folder):
  """What a page sends: views to show, to open and to save, and photographs."""
  import explorer_modules
  from test_properties import ENCODED

  from compare_gan_logits.apps.explorer import server

  module = explorer_modules.write(folder, "module")
  running = server.Explorer([("", module)])
  client = server.create_app(running).test_client()
  view = json.dumps(running.first_view().to_json()).encode()
  views = [b"%s\n%s" % (path, view) for path in (b"/show", b"/save/png", b"/save/py")]
  opened = client.post("/save/json", data=view).data
  valid = [*views, b"/open\n" + opened, *(b"/photo\n" + data for data in ENCODED)]

  def attempt(data):
    path, _, body = data.partition(b"\n")
    _answered(client.post(_path(path), data=body))

  return valid, attempt


def study(folder):
  """What a subject of the study sends."""
  import pathlib

  import test_two_afc as of

  from compare_gan_logits.apps.two_afc import server

  prepared = of.make(pathlib.Path(folder) / "study")
  client = server.create_app(prepared, "127.0.0.1").test_client()
  client.post("/start", data={"code": "s-1"})
  valid = [
    b"POST /start\ncode=s-1",
    f"POST /s/s-1\nstudy={prepared.id}&trial=3&side=left&milliseconds=1200".encode(),
    b"GET /s/s-1\n",
    f"GET /picture/{prepared.id}/3/left.png\n".encode(),
  ]

  def attempt(data):
    line, _, body = data.partition(b"\n")
    method, _, path = line.partition(b" ")
    kind = "application/x-www-form-urlencoded"
    send = client.get if method == b"GET" else client.post
    _answered(send(_path(path), data=body, content_type=kind))

  return valid, attempt


TARGETS = {
  target.__name__: target
  for target in (picture, inversion, classifier, tar, onnx, torch, explorer, study)
}


class ServerError(Exception):
  """A server answered that it had failed."""


def _answered(response):
  if response.status_code >= 500:
    raise ServerError(response.get_data(as_text=True)[:500])


def _path(data):
  # Two slashes in front would be a host to the test client.
  return "/" + data.decode("latin-1").replace(" ", "%20").lstrip("/")


def _read(path):
  with open(path, "rb") as f:
    return f.read()


def _write(path, data):
  with open(path, "wb") as f:
    f.write(data)


# Running ---------------------------------------------------------------------------


def _child(pipe, target, folder):
  """Tries the cases whose numbers come through the pipe."""
  from compare_gan_logits.errors import UserError

  valid, attempt = TARGETS[target](folder)
  for data in valid:
    attempt(data)
  pipe.send("ready")
  while True:
    number = pipe.recv()
    rng = np.random.default_rng(number)
    data = mutated(rng, valid[rng.integers(len(valid))])
    _write(os.path.join(folder, "case"), data)
    try:
      attempt(data)
      found = "accepted", ""
    except UserError:
      found = "refused", ""
    except BaseException:
      found = "failed", traceback.format_exc()
    pipe.send(found)


class _Child:
  def __init__(self, target, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    self._pipe, pipe = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    self.process = context.Process(target=_child, args=(pipe, target, folder))
    self.process.start()
    pipe.close()
    if self._answer(10 * PATIENCE) != "ready":
      raise RuntimeError(f"{target}: the valid inputs were not accepted")

  def attempt(self, number):
    self._pipe.send(number)
    return self._answer(PATIENCE)

  def _answer(self, seconds):
    try:
      if self._pipe.poll(seconds):
        return self._pipe.recv()
      return "slow", f"more than {seconds} s"
    except (EOFError, ConnectionError):
      self.process.join()
      return "died", f"exit code {self.process.exitcode}"

  def end(self):
    self.process.kill()
    self.process.join()


def run(target, folder, first, cases, minutes):
  """Prints what became of the cases; keeps those that went wrong."""
  os.makedirs(folder, exist_ok=True)
  work = os.path.join(folder, f"{target}_work")
  counts, kept, child = collections.Counter(), set(), _Child(target, work)
  stop = time.monotonic() + 60 * minutes
  number = first
  while number < first + cases and time.monotonic() < stop:
    outcome, why = child.attempt(number)
    counts[outcome] += 1
    if outcome in ("died", "slow", "failed"):
      # One case of each kind is kept.
      place = why.strip().splitlines()[-1][:80] if why else outcome
      if (outcome, place) not in kept:
        kept.add((outcome, place))
        name = os.path.join(folder, f"{target}_{number}")
        shutil.copy(os.path.join(work, "case"), name)
        _write(name + ".txt", f"{outcome}\n{why}".encode())
        print(f"{target} {number}: {outcome}: {place}", flush=True)
    if outcome in ("died", "slow"):
      child.end()
      child = _Child(target, work)
    number += 1
  child.end()
  print(f"{target}: {number - first} cases from {first}: {dict(counts)}", flush=True)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--target", choices=sorted(TARGETS), action="append")
  parser.add_argument("--minutes", type=float, default=30, help="of each target")
  parser.add_argument("--first", type=int, default=0, help="number of the first case")
  parser.add_argument("--cases", type=int, default=10**9, help="of each target")
  parser.add_argument("--folder", default="/tmp/fuzz")
  given = parser.parse_args()
  for target in given.target or sorted(TARGETS):
    run(target, given.folder, given.first, given.cases, given.minutes)


if __name__ == "__main__":
  main()
