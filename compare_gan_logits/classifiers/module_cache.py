"""Modules made from models of other formats, each once, in a cache folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from compare_gan_logits import files
from compare_gan_logits.classifiers import hub


# Goes into the folders' names: raise it when a conversion changes.
VERSION = 1


def cached(name: str, facts: Any, build: Callable[[str], None]) -> str:
  """Folder of a SavedModel that `build(folder)` writes unless it is there.

  Args:
    name: readable start of the folder's name.
    facts: JSON-able; everything that the result depends on.
    build: function of the empty folder to fill.
  """
  facts = json.dumps([VERSION, facts], sort_keys=True).encode()
  key = hashlib.sha256(facts).hexdigest()
  name = files.without_pattern(name)  # as it comes from a file's
  path = os.path.join(files.cache_folder(), f"{name}-{key[:16]}")
  if not os.path.exists(os.path.join(path, "saved_model.pb")):
    with files.atomic_dir(path, overwrite=True) as folder:
      build(folder)
      files.write_text(os.path.join(folder, hub.SOURCE_DIGEST), key)
  return path
