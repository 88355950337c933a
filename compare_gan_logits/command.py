"""What every command line of the project shares: how it starts and how it fails.

A wrong input ends in one sentence on stderr that names the thing and the
remedy, exit code 1, and no traceback unless --debug is given.
"""

import difflib
import errno
import re
import sys
import warnings

from absl import app
from absl import flags
from absl import logging


flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


_FULL = "free some space and give the same command again"
_REMEDIES = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL,
    errno.EACCES: "change its permissions or name another folder",
    errno.EPERM: "change its permissions or name another folder",
    errno.EROFS: "name a folder that can be written to",
    errno.ENOENT: "name one that is there",
    errno.ENOTDIR: "name a folder",
    errno.EEXIST: "name a folder, or a name that is free",
    errno.EISDIR: "name a file",
}
_TENSORFLOW_SAYS = {errno.ENOSPC: "No space left on device",
                    errno.EACCES: "Permission denied",
                    errno.EROFS: "Read-only file system"}


class UserError(Exception):
  """A wrong input. Its text is one sentence that says what to do about it."""


def nearest(name, valid):
  """A hint for a misspelt `name`: the closest of `valid`, and the whole list."""
  valid = sorted(valid)
  close = difflib.get_close_matches(name, valid, n=1)
  hint = f"did you mean {close[0]!r}? " if close else ""
  return f"{hint}known: {', '.join(valid)}"


def sentence(error):
  """An error's text in one line, without the call stack that gin appends."""
  return " ".join(str(error).split("\n  In call to configurable")[0].split())


def explain(error):
  """Any error as one sentence; of one that nobody foresaw, what can be said of it."""
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
  for code, words in _TENSORFLOW_SAYS.items():
    if words in text:
      return f"{_first_line(text)}: {_REMEDIES[code]}"
  if isinstance(error, MemoryError) or "OOM when allocating" in text:
    return "out of memory; use smaller batches"
  return (f"{type(error).__name__}: {_first_line(text)}; this was not foreseen, --debug "
          "shows where it happened")


def explain_os_error(error, path=None):
  """What the operating system refused, the file and the remedy, in one sentence."""
  place = error.filename or path
  reason = error.strerror or _first_line(str(error))
  remedy = _REMEDIES.get(error.errno, "look after it and give the same command again")
  return f"{place}: {reason}; {remedy}" if place else f"{reason}; {remedy}"


def _first_line(text):
  lines = text.strip().splitlines()
  return lines[0].strip() if lines else "no message"


def run(main, prepare=None):
  """Runs `main(argv)` under absl.

  Args:
    main: function of the positional arguments, argv[0] is the program's name.
    prepare: called before flags are parsed (flags that late imports define).

  Exits with 0 on success, 1 on an error and 2 on a flag that does not parse.
  """
  if prepare:
    prepare()

  def guarded(argv):
    if not flags.FLAGS.debug:
      logging.set_verbosity(logging.ERROR)
      warnings.simplefilter("ignore")
    try:
      main(argv)
    except KeyboardInterrupt:
      print("interrupted: the same command goes on from the last saved state",
            file=sys.stderr)
      sys.exit(130)
    except Exception as error:
      if flags.FLAGS.debug:
        raise
      print(f"error: {explain(error)}", file=sys.stderr)
      sys.exit(1)

  app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv):
  """Parses flags; a wrong one gives a sentence, not absl's whole help page."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    print(f"error: {error}; see --help", file=sys.stderr)
    sys.exit(2)
