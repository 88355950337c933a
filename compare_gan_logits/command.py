"""What every command line of the project shares: how it starts and how it fails.

A wrong input ends in one sentence on stderr that names the thing and the
remedy, exit code 1, and no traceback unless --debug is given.
"""

import difflib
import sys
import warnings

from absl import app
from absl import flags
from absl import logging


flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


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


def run(main, prepare=None):
  """Runs `main(argv)` under absl.

  Args:
    main: function of the positional arguments, argv[0] is the program's name.
    prepare: called before flags are parsed (flags that late imports define).

  Exits with 0 on success, 1 on a UserError (or an operating-system error such
  as a full disk) and 2 on a flag that does not parse.
  """
  if prepare:
    prepare()

  def guarded(argv):
    if not flags.FLAGS.debug:
      logging.set_verbosity(logging.ERROR)
      warnings.simplefilter("ignore")
    try:
      main(argv)
    except (UserError, OSError) as error:
      if flags.FLAGS.debug:
        raise
      print(f"error: {sentence(error)}", file=sys.stderr)
      sys.exit(1)
    except KeyboardInterrupt:
      print("interrupted: the same command goes on from the last saved state",
            file=sys.stderr)
      sys.exit(130)

  app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv):
  """Parses flags; a wrong one gives a sentence, not absl's whole help page."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    print(f"error: {error}; see --help", file=sys.stderr)
    sys.exit(2)
