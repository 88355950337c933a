"""Files and folders that appear whole or not at all, and locks on folders.

Everything is written beside its final name and renamed, so that a killed
process leaves either the old file or the new one. What it was writing is removed
by the next one that writes there.

Paths with a scheme (gs://, ...) go through TensorFlow's file systems, which know no
locks and rename no folders. There a file is made on this machine, copied beside its
place when it is whole, and renamed, which for object stores is a copy that appears when
it is complete; of a folder the file that vouches for the others is removed first and
copied last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import explain_os_error
from compare_gan_logits.errors import first_line


try:
  import fcntl
except ImportError:  # not a Unix: folders go unlocked
  fcntl = None


_FOLDER = r"\.[a-z0-9_]{8}-"  # how the names begin of what atomic_dir makes
_OLD = r"\.old-[a-z0-9_]{8}-"  # and of what it replaces
_TEMPORARY = re.compile(rf"[\\/](\.part-|{_FOLDER})")  # and atomic_path
# What TensorFlow takes for a pattern in the names of checkpoints and SavedModels.
_PATTERN = set("*?[\\") - {os.sep}


def is_remote(path: str) -> bool:
  """Whether a path has a scheme and belongs to one of TensorFlow's file systems."""
  return "://" in os.fspath(path)


def absolute(path: str) -> str:
  """The path made independent of the working folder; ~ is a home folder."""
  return path if is_remote(path) else os.path.abspath(os.path.expanduser(path))


def cache_folder() -> str:
  """Folder of what can be computed again.

  $COMPARE_GAN_LOGITS_CACHE, or compare_gan_logits in $XDG_CACHE_HOME or ~/.cache.
  """
  base = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
  own = os.environ.get("COMPARE_GAN_LOGITS_CACHE")
  return os.path.expanduser(own or os.path.join(base, "compare_gan_logits"))


def _gfile():
  import tensorflow.compat.v1 as tf  # most who write files need not wait for it

  return tf.io.gfile


@contextlib.contextmanager
def _made_here():
  """A folder on this machine for what is to be copied."""
  with tempfile.TemporaryDirectory(prefix="compare_gan_logits-") as folder:
    yield folder


def _copy(source, path):
  """Copies one file to a remote path."""
  folder, base = os.path.split(path)
  part = os.path.join(folder, f".part-{base}")
  with _named(path):
    _gfile().makedirs(folder)
    if _gfile().exists(part):
      _gfile().remove(part)
    _gfile().copy(source, part)
    _gfile().rename(part, path, overwrite=True)


@contextlib.contextmanager
def atomic_path(path: str) -> Iterator[str]:
  """Yields a temporary path in the same folder, renamed to `path` on success.

  The extension is kept, since image and array writers go by it. Of two processes
  that write one path, the second waits.

  Raises:
    UserError: the file cannot be written.
  """
  if is_remote(path):
    with _made_here() as folder:
      temporary = os.path.join(folder, os.path.basename(path))
      yield temporary
      _copy(temporary, path)
    return
  path = os.path.abspath(path)
  folder, base = os.path.split(path)
  temporary = os.path.join(folder, f".part-{base}")
  with _named(path):
    os.makedirs(folder, exist_ok=True)
    with _owned(temporary):
      try:
        yield temporary
        os.replace(temporary, path)
      except BaseException:
        # Not after the renaming: a file of that name is then another process's.
        with contextlib.suppress(FileNotFoundError):
          os.remove(temporary)
        raise


@contextlib.contextmanager
def _owned(path):
  """Makes a file and holds a lock on it."""
  while True:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
      _flock(descriptor, wait=True)
      # Whoever had the lock before has renamed or removed the file.
      if not _is_at(descriptor, path):
        continue
      yield
      return
    finally:
      os.close(descriptor)


def _is_at(descriptor, path):
  try:
    return os.path.samestat(os.fstat(descriptor), os.stat(path))
  except FileNotFoundError:
    return False


@contextlib.contextmanager
def atomic_dir(
  path: str, overwrite: bool = False, voucher: str | None = None
) -> Iterator[str]:
  """Yields a new empty folder beside `path`, renamed to `path` on success.

  Args:
    path: the folder; with a scheme it is copied to, file by file.
    overwrite: whether what it holds may be replaced.
    voucher: name of the file without which readers refuse the folder.

  Raises:
    UserError: `path` holds something already and overwrite is False, or it cannot
      be written.
  """
  if is_remote(path):
    with _made_here() as folder:
      yield folder
      _copy_folder(folder, path, overwrite, voucher)
    return
  path = os.path.abspath(path)
  with _named(path):
    if not overwrite:
      check_new(path)
    parent = os.path.dirname(path)
    os.makedirs(parent, exist_ok=True)
    with _opened(parent) as parent_descriptor:
      with _held(parent_descriptor):
        _clear(path)
        temporary = tempfile.mkdtemp(
          prefix=".", suffix="-" + os.path.basename(path), dir=parent
        )
      os.chmod(temporary, 0o755)
      with _opened(temporary) as descriptor:
        _flock(descriptor)  # Says that it is in use, for as long as we live.
        try:
          yield temporary
          with _held(parent_descriptor):
            _put_in_place(temporary, path)
        finally:
          shutil.rmtree(temporary, ignore_errors=True)


def check_new(path: str) -> None:
  """Refuses a folder to write that is a file, or holds something already.

  Raises:
    UserError: it is, or does.
  """
  with _named(path):
    if is_remote(path):
      taken = _gfile().isdir(path) and _gfile().listdir(path)
    else:
      if os.path.exists(path) and not os.path.isdir(path):
        raise UserError(f"{path} is a file; name a folder")
      taken = os.path.isdir(path) and os.listdir(path)
  if taken:
    raise UserError(f"{path} is not empty; name another folder or remove it")


def _copy_folder(folder, path, overwrite, voucher):
  """Makes a remote folder what a local one is, its voucher last."""
  gfile = _gfile()
  if not overwrite:
    check_new(path)
  with _named(path):
    if gfile.isdir(path) and gfile.listdir(path):
      if voucher and gfile.exists(os.path.join(path, voucher)):
        gfile.remove(os.path.join(path, voucher))
      gfile.rmtree(path)
  names = [
    os.path.relpath(os.path.join(root, name), folder)
    for root, _, found in os.walk(folder)
    for name in found
  ]
  for name in sorted(names, key=lambda name: (name == voucher, name)):
    _copy(os.path.join(folder, name), os.path.join(path, name))


def _put_in_place(temporary, path):
  parent, base = os.path.split(temporary)
  old = os.path.join(parent, ".old-" + base[1:])
  if os.path.isdir(path):
    os.rename(path, old)
  os.rename(temporary, path)
  shutil.rmtree(old, ignore_errors=True)


def _clear(path):
  """Removes what killed processes left beside `path`; puts an old folder back."""
  parent, base = os.path.split(path)
  names = set(os.listdir(parent))
  new, old = (re.compile(begin + re.escape(base)) for begin in (_FOLDER, _OLD))
  for name in names:
    left = os.path.join(parent, name)
    # As earlier versions wrote it. Alone, it belongs to a folder called so.
    before = name.endswith("-old") and name[:-4] in names and new.fullmatch(name[:-4])
    is_old = old.fullmatch(name) or before
    if not (is_old or new.fullmatch(name)) or not os.path.isdir(left):
      continue
    if is_old and not os.path.exists(path):
      os.rename(left, path)
      continue
    with _opened(left) as descriptor:
      if _flock(descriptor):
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _opened(path):
  descriptor = os.open(path, os.O_RDONLY)
  try:
    yield descriptor
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def _held(descriptor):
  """Holds a lock for as long as the block takes."""
  _flock(descriptor, wait=True)
  try:
    yield
  finally:
    if fcntl:
      with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _flock(descriptor, wait=False):
  """Whether the lock is ours now; where the file system knows no locks, it is.

  The system drops a lock with its process, however that ends.
  """
  if fcntl is None:
    return True
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except BlockingIOError:
    return False
  except OSError:
    return True
  return True


@contextlib.contextmanager
def locked(folder: str, purpose: str) -> Iterator[None]:
  """Keeps other processes from doing the same in `folder` for as long as it takes.

  A dead process leaves no lock behind; the file that carries it stays. Where an error
  ends the block and nothing else is in the folder, what was made here is removed.

  Args:
    folder: made if need be; one with a scheme (gs://...) is not locked.
    purpose: one word, such as "training"; other purposes do not exclude each other.

  Raises:
    UserError: another process has the lock; names its id. Or the folder cannot be
      written.
  """
  if is_remote(folder):
    yield
    return
  path = os.path.join(folder, f".{purpose}.lock")
  descriptor, made = _locked_file(path, purpose)
  try:
    with _named(path):
      os.ftruncate(descriptor, 0)
      os.write(descriptor, f"{os.getpid()}\n".encode())
    try:
      yield
    except BaseException:
      _remove_if_alone(path, made)
      raise
  finally:
    os.close(descriptor)


def _locked_file(path, purpose):
  """Takes the lock of a file; returns its descriptor and whether its folder is new.

  Whoever had the lock before may remove the file, and the folder, at any moment.
  """
  folder = os.path.dirname(path)
  while True:
    made = not os.path.isdir(folder)
    with _named(path):
      os.makedirs(folder, exist_ok=True)
      try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
      except FileNotFoundError:
        continue
    if not _flock(descriptor):
      holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
      os.close(descriptor)
      raise UserError(
        f"{folder} is in use: process {holder or '(starting)'} does its "
        f"{purpose}; wait for it or stop it, or name another folder"
      )
    if _is_at(descriptor, path):
      return descriptor, made
    os.close(descriptor)


def _remove_if_alone(path, with_folder):
  """Removes a file beside which nothing was written."""
  folder, name = os.path.split(path)
  with contextlib.suppress(OSError):
    if os.listdir(folder) == [name]:
      os.remove(path)
      if with_folder:
        os.rmdir(folder)


def check_no_pattern(path: str) -> None:
  """Refuses a folder whose checkpoints and modules TensorFlow would not find.

  It takes the names of their files for patterns.

  Raises:
    UserError: the path has a character that stands for others in a pattern.
  """
  path = absolute(path)
  found = sorted(_PATTERN & set(path))
  if found:
    raise UserError(
      f"{path}: TensorFlow takes a path with {' or '.join(found)} for a pattern; name a "
      "folder whose path has none of " + " ".join(sorted(_PATTERN))
    )


def without_pattern(name: str) -> str:
  """The name with "_" for the characters that check_no_pattern refuses."""
  return "".join("_" if c in _PATTERN else c for c in name)


def check_writable(folder: str) -> None:
  """Makes a folder, before time is spent on what will be written there.

  Raises:
    UserError: it cannot be made or written.
  """
  with _named(folder):
    os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


@contextlib.contextmanager
def _named(path):
  """Turns the system's refusals into a sentence that names the file."""
  try:
    yield
  except BrokenPipeError:  # of what is printed meanwhile
    raise
  except OSError as error:
    if _TEMPORARY.search(str(error.filename or "")):
      error.filename = path  # A user knows what was to be written.
    raise UserError(explain_os_error(error, path)) from error
  except Exception as error:
    if not is_remote(path) or isinstance(error, UserError):
      raise
    raise UserError(
      f"{path}: {first_line(error)}; check it and run the same command again"
    ) from error


def is_file(path: str) -> bool:
  """Whether there is a file (and no folder) of that name, local or remote."""
  if not is_remote(path):
    return os.path.isfile(path)
  return _gfile().exists(path) and not _gfile().isdir(path)


def slug(name: str) -> str:
  """The name with everything but letters, digits, "-" and "_" replaced by "_"."""
  return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def unique(names: Iterable[str]) -> list[str]:
  """Names with a number appended to those that came before."""
  seen: set[str] = set()
  result: list[str] = []
  for name in names:
    candidate, number = name, 2
    while candidate in seen:
      candidate, number = f"{name}_{number}", number + 1
    seen.add(candidate)
    result.append(candidate)
  return result


def digest(path: str) -> str:
  """SHA-256 (hex) of a file, local or remote.

  Raises:
    FileNotFoundError: there is no such local file; of a remote one,
      tf.errors.NotFoundError.
  """
  total = hashlib.sha256()
  with open(path, "rb") if not is_remote(path) else _gfile().GFile(path, "rb") as f:
    for block in iter(lambda: f.read(1 << 20), b""):
      total.update(block)
  return total.hexdigest()


def digests(folder: str) -> dict[str, str]:
  """{name below `folder`: SHA-256 (hex)} of every file of a folder, sorted."""
  walk = _gfile().walk if is_remote(folder) else os.walk
  names = []
  for place, _, found in walk(folder):
    names += [os.path.relpath(os.path.join(place, name), folder) for name in found]
  return {name: digest(os.path.join(folder, name)) for name in sorted(names)}


def read_text(path: str) -> str:
  """The text of a file; raises FileNotFoundError where there is none."""
  if not is_remote(path):
    with open(path, newline="", encoding="utf-8") as f:
      return f.read()
  if not _gfile().exists(path):
    raise FileNotFoundError(path)
  with _named(path), _gfile().GFile(path, "rb") as f:
    return f.read().decode("utf-8")


def write_text(path: str, text: str) -> None:
  """Writes UTF-8, with its folder where that is missing; whole or not at all."""
  with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
    f.write(text)


def write_json(path: str, value: Any) -> None:
  """Writes JSON with sorted keys: equal values give equal bytes."""
  write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def as_json(value: Any) -> Any:
  """The value as JSON gives it back: lists for tuples, text for the keys of a dict."""
  return json.loads(json.dumps(value))


def read_json(path: str) -> Any:
  """Reads a JSON file.

  Raises:
    UserError: there is no such file, or it is not JSON.
  """
  try:
    return json.loads(read_text(path))
  except FileNotFoundError:
    raise UserError(f"no file {path}") from None
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is damaged ({error}); make it again") from None
