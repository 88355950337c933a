"""The picture files that a folder, a glob or a file name on a command line means."""

from __future__ import annotations

import glob
import os
import re
import sys

from compare_gan_logits.datasets import listing
from compare_gan_logits.errors import UserError


def find_images(pattern: str) -> list[str]:
  """Sorted paths of the pictures that are meant; says on stderr what is left out.

  A folder stands for all pictures below it. The ending in a glob is matched without
  regard to capital letters.

  Raises:
    UserError: there are none.
  """
  pattern = os.path.expanduser(pattern)
  notes: list[str] = []
  if os.path.isdir(pattern):
    found = listing.scan(pattern, archives=False)
    paths = [file.path for file in found.pictures]
    notes = found.left_out_notes()
  elif os.path.isfile(pattern):  # whatever brackets its name has
    paths = [pattern]
  else:
    matches = glob.glob(_any_case(pattern), recursive=True)
    paths = [path for path in matches if os.path.isfile(path)]
  if not paths:
    raise UserError(
      "; ".join(
        [
          f"no images at {pattern}",
          *notes,
          "give a folder or a quoted glob such as 'photos/*.jpg'",
        ]
      )
    )
  for note in notes:
    print(note, file=sys.stderr)
  return sorted(paths)


def _any_case(pattern):
  """The pattern with the letters of its ending in either case."""
  stem, ending = os.path.splitext(pattern)
  if "[" in ending:
    return pattern
  return stem + re.sub("[A-Za-z]", lambda m: f"[{m[0].lower()}{m[0].upper()}]", ending)
