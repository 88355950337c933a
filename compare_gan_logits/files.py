"""Files and folders that appear whole or not at all.

Everything is written beside its final name and renamed, so that a killed
process leaves either the old file or the new one.
"""

import contextlib
import json
import os
import shutil
import tempfile

from compare_gan_logits.command import UserError


@contextlib.contextmanager
def atomic_path(path):
  """Yields a temporary path in the same folder, renamed to `path` on success.

  The extension is kept, since image and array writers go by it.
  """
  folder, base = os.path.split(os.path.abspath(path))
  os.makedirs(folder, exist_ok=True)
  temporary = os.path.join(folder, f".{os.getpid()}-{base}")
  try:
    yield temporary
    os.replace(temporary, path)
  finally:
    if os.path.exists(temporary):
      os.remove(temporary)


@contextlib.contextmanager
def atomic_dir(path, overwrite=False):
  """Yields a new empty folder beside `path`, renamed to `path` on success.

  Raises:
    UserError: `path` holds something already and overwrite is False.
  """
  path = os.path.abspath(path)
  if os.path.isdir(path) and os.listdir(path) and not overwrite:
    raise UserError(f"{path} is not empty; name another folder or remove it")
  os.makedirs(os.path.dirname(path), exist_ok=True)
  temporary = tempfile.mkdtemp(prefix="." + os.path.basename(path) + "-",
                               dir=os.path.dirname(path))
  os.chmod(temporary, 0o755)
  try:
    yield temporary
    old = temporary + "-old"
    if os.path.isdir(path):
      os.rename(path, old)
    os.rename(temporary, path)
    shutil.rmtree(old, ignore_errors=True)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


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
  except (ValueError, UnicodeDecodeError) as error:
    raise UserError(f"{path} is damaged ({error}); make it again") from None
