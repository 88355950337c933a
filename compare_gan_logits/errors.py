"""The error that a wrong input raises, and how any error is put into one sentence.

A wrong input raises UserError; the commands print its text as one line
(cli/command.py). Library users catch it as the ValueError that it is.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable


_FULL = "free some space and give the same command again"
_REMEDIES = {
  errno.ENOSPC: _FULL,
  errno.EDQUOT: _FULL,
  errno.EACCES: "change its permissions or name another folder",
  errno.EPERM: "change its permissions or name another folder",
  errno.EROFS: "name a folder that can be written to",
  errno.ENOENT: "name one that is there",
  errno.ENOTDIR: "name a folder",
  errno.EEXIST: "name a folder",
  errno.EISDIR: "name a file",
}
_TENSORFLOW_SAYS = {
  errno.ENOSPC: "No space left on device",
  errno.EACCES: "Permission denied",
  errno.EROFS: "Read-only file system",
}


class UserError(ValueError):
  """A wrong input. Its text is one sentence that says what to do about it."""


class UnknownNameError(UserError, NotImplementedError):
  """A name, such as that of an architecture, that nothing is registered under."""


def nearest(name: object, valid: Iterable[str]) -> str:
  """A hint for a misspelt `name`: the closest of `valid`, and the whole list."""
  valid = sorted(valid)
  close = difflib.get_close_matches(str(name), valid, n=1)
  hint = f"did you mean {close[0]!r}? " if close else ""
  return f"{hint}known: {', '.join(valid)}"


def sentence(error: BaseException) -> str:
  """An error's text in one line, without the call stack that gin appends."""
  return " ".join(str(error).split("\n  In call to configurable")[0].split())


def explain(error: BaseException) -> str:
  """Any error as one sentence; of an unexpected one, its type and first line."""
  if isinstance(error, UserError):
    return sentence(error)
  if isinstance(error, OSError):
    return explain_os_error(error)
  text = str(error)
  # TensorFlow carries errors out of Python functions in its graphs as text.
  inner = re.search(r"UserError: (.+)", text)
  if inner:
    return inner.group(1).strip()
  if text.startswith("Required bindings for"):
    return f"gin: {_first_line(text)}; bind it in a gin file or with --gin_bindings"
  lost = re.search(r"Failed to find any matching files for (\S+)", text)
  if lost:
    return f"no weights {lost.group(1)}; copy the whole module again"
  for code, words in _TENSORFLOW_SAYS.items():
    if words in text:
      return f"{_first_line(text)}: {_REMEDIES[code]}"
  if isinstance(error, MemoryError) or re.search(
    "OOM when allocating|MemoryError", text
  ):
    return (
      "out of memory; ask for less at a time: smaller batches, images or networks, "
      "fewer samples"
    )
  return (
    f"{type(error).__name__}: {_first_line(text)} (unexpected); --debug shows where "
    "it happened"
  )


def explain_os_error(error: OSError, path: str | None = None) -> str:
  """What the operating system refused, the file and the remedy, in one sentence."""
  place = error.filename or path
  reason = error.strerror or _first_line(str(error))
  remedy = _REMEDIES.get(error.errno or 0, "check it and run the same command again")
  return f"{place}: {reason}; {remedy}" if place else f"{reason}; {remedy}"


def first_line(error: BaseException) -> str:
  """The line of an error's text that says what happened; its class where it has none."""
  return _first_line(str(error)) if str(error).strip() else type(error).__name__


def _first_line(text: str) -> str:
  """The line that says what happened; TensorFlow's list of places precedes it."""
  lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
  if lines and lines[0] == "Graph execution error:":
    nodes = [i for i, line in enumerate(lines) if line.startswith("Node: ")]
    lines = lines[nodes[-1] + 1 :] if nodes else lines[1:]
  return lines[0] if lines else "no message"
