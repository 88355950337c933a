"""Files and folders that appear whole or not at all, and locks on folders.

Everything is written beside its final name and renamed, so that a killed
process leaves either the old file or the new one. What it was writing is removed
by the next one that writes there.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile

from compare_gan_logits.command import UserError
from compare_gan_logits.command import explain_os_error


try:
  import fcntl
except ImportError:  # not a Unix: folders go unlocked
  fcntl = None


@contextlib.contextmanager
def atomic_path(path):
  """Yields a temporary path in the same folder, renamed to `path` on success.

  The extension is kept, since image and array writers go by it. Of two processes
  that write one path, the second waits.

  Raises:
    UserError: the file cannot be written.
  """
  path = os.path.abspath(path)
  folder, base = os.path.split(path)
  temporary = os.path.join(folder, f".part-{base}")
  with _named(path):
    os.makedirs(folder, exist_ok=True)
    with _owned(temporary):
      try:
        yield temporary
        os.replace(temporary, path)
      finally:
        if os.path.exists(temporary):
          os.remove(temporary)


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
def atomic_dir(path, overwrite=False):
  """Yields a new empty folder beside `path`, renamed to `path` on success.

  Raises:
    UserError: `path` holds something already and overwrite is False, or it cannot
      be written.
  """
  path = os.path.abspath(path)
  with _named(path):
    if os.path.isdir(path) and os.listdir(path) and not overwrite:
      raise UserError(f"{path} is not empty; name another folder or remove it")
    parent = os.path.dirname(path)
    os.makedirs(parent, exist_ok=True)
    with _opened(parent) as parent_descriptor:
      with _held(parent_descriptor):
        _clear(path)
        temporary = tempfile.mkdtemp(prefix=".", suffix="-" + os.path.basename(path),
                                     dir=parent)
      os.chmod(temporary, 0o755)
      with _opened(temporary) as descriptor:
        _flock(descriptor)  # Says that it is in use, for as long as we live.
        try:
          yield temporary
          with _held(parent_descriptor):
            _put_in_place(temporary, path)
        finally:
          shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary, path):
  old = temporary + "-old"
  if os.path.isdir(path):
    os.rename(path, old)
  os.rename(temporary, path)
  shutil.rmtree(old, ignore_errors=True)


def _clear(path):
  """Removes what killed processes left beside `path`; puts an old folder back."""
  parent, base = os.path.split(path)
  pattern = re.compile(rf"\.[a-z0-9_]{{8}}-{re.escape(base)}(-old)?")
  for name in os.listdir(parent):
    left = os.path.join(parent, name)
    if not pattern.fullmatch(name) or not os.path.isdir(left):
      continue
    if name.endswith("-old") and not os.path.exists(path):
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
def locked(folder, purpose):
  """Keeps other processes from doing the same in `folder` for as long as it takes.

  A dead process leaves no lock behind; the file that carries it stays.

  Args:
    folder: made if need be; one with a scheme (gs://...) is not locked.
    purpose: one word, such as "training"; other purposes do not exclude each other.

  Raises:
    UserError: another process has the lock; names its id. Or the folder cannot be
      written.
  """
  if "://" in folder:
    yield
    return
  path = os.path.join(folder, f".{purpose}.lock")
  with _named(path):
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
  try:
    if not _flock(descriptor):
      holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
      raise UserError(f"{folder} is in use: process {holder or '(starting)'} does its "
                      f"{purpose}; wait for it or stop it, or name another folder")
    with _named(path):
      os.ftruncate(descriptor, 0)
      os.write(descriptor, f"{os.getpid()}\n".encode())
    yield
  finally:
    os.close(descriptor)


def check_writable(folder):
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
    raise UserError(explain_os_error(error, path)) from error


def write_text(path, text):
  with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
    f.write(text)


def write_json(path, value):
  """Writes JSON with sorted keys: equal values give equal bytes."""
  write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path):
  """Reads a JSON file.

  Raises:
    UserError: there is no such file, or it is not JSON.
  """
  try:
    with open(path, encoding="utf-8") as f:
      return json.load(f)
  except FileNotFoundError:
    raise UserError(f"no file {path}") from None
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is damaged ({error}); make it again") from None
