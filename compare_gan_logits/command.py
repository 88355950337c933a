"""What every command line of the project shares: how it starts and how it fails.

A wrong input ends in one sentence on stderr that names the thing and the
remedy, exit code 1, and no traceback unless --debug is given. Ctrl-C and SIGTERM end
in a sentence as well (exit codes 130 and 143), a reader of the output that has gone
(`| head`) in silence (141), as with Unix's own commands.
"""

import difflib
import errno
import os
import re
import select
import signal
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
    errno.ENOTDIR: "name a folder", errno.EEXIST: "name a folder",
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
  close = difflib.get_close_matches(str(name), valid, n=1)
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
  lost = re.search(r"Failed to find any matching files for (\S+)", text)
  if lost:
    return f"no weights {lost.group(1)}; copy the whole module again"
  for code, words in _TENSORFLOW_SAYS.items():
    if words in text:
      return f"{_first_line(text)}: {_REMEDIES[code]}"
  if isinstance(error, MemoryError) or re.search("OOM when allocating|MemoryError", text):
    return ("out of memory; ask for less at a time: smaller batches, images or networks, "
            "fewer samples")
  return (f"{type(error).__name__}: {_first_line(text)}; this was not foreseen, --debug "
          "shows where it happened")


def explain_os_error(error, path=None):
  """What the operating system refused, the file and the remedy, in one sentence."""
  place = error.filename or path
  reason = error.strerror or _first_line(str(error))
  remedy = _REMEDIES.get(error.errno, "look after it and give the same command again")
  return f"{place}: {reason}; {remedy}" if place else f"{reason}; {remedy}"


def _first_line(text):
  """The line that says what happened; TensorFlow's list of places precedes it."""
  lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
  if lines and lines[0] == "Graph execution error:":
    nodes = [i for i, line in enumerate(lines) if line.startswith("Node: ")]
    lines = lines[nodes[-1] + 1:] if nodes else lines[1:]
  return lines[0] if lines else "no message"


class _Terminated(KeyboardInterrupt):
  """SIGTERM, which then ends what Ctrl-C ends, and as tidily."""


def listen_to_signals():
  """Makes SIGTERM an exception, and an interruption anywhere a sentence.

  `run` does it; a command whose imports take seconds does it before them.
  """
  signal.signal(signal.SIGTERM, _terminate)
  sys.excepthook = _excepthook


def _terminate(number, frame):
  raise _Terminated


def _excepthook(kind, error, trace):
  if issubclass(kind, KeyboardInterrupt):
    _exit_interrupted(error)
  sys.__excepthook__(kind, error, trace)


def _exit_interrupted(error):
  """Ends the process now: threads of TensorFlow may have work for a long time."""
  terminated = isinstance(error, _Terminated)
  print(f"{'terminated' if terminated else 'interrupted'}: nothing is half written, and "
        "the same command goes on from what was saved", file=sys.stderr, flush=True)
  _flush_or_drop_stdout()
  os._exit(128 + (signal.SIGTERM if terminated else signal.SIGINT))


def _flush_or_drop_stdout():
  """What cannot be printed any more is not tried again when Python ends."""
  try:
    sys.stdout.flush()
  except OSError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reader_has_gone():
  poll = select.poll()
  poll.register(sys.stdout.fileno(), 0)
  return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def run(main, prepare=None):
  """Runs `main(argv)` under absl.

  Args:
    main: function of the positional arguments, argv[0] is the program's name.
    prepare: called before flags are parsed (flags that late imports define).

  Exits with 0 on success, 1 on an error and 2 on a flag that does not parse.
  """
  if sys.stdout is None:  # closed by the caller
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, to the end
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):  # A name may have letters that it does not know.
      stream.reconfigure(errors="backslashreplace")
  listen_to_signals()

  def guarded(argv):
    if not flags.FLAGS.debug:
      logging.set_verbosity(logging.ERROR)
      warnings.simplefilter("ignore")
    try:
      main(argv)
      sys.stdout.flush()
      return
    except Exception as error:
      no_reader = isinstance(error, BrokenPipeError) and _reader_has_gone()
      _flush_or_drop_stdout()
      if flags.FLAGS.debug or no_reader:
        raise
      print(f"error: {explain(error)}", file=sys.stderr)
    # Out here nothing holds the error's frames any more: a TensorFlow session in one of
    # them that is closed when Python ends waits for ever.
    sys.exit(1)

  try:
    if prepare:
      prepare()
    app.run(guarded, flags_parser=_parse_flags)
  except KeyboardInterrupt as error:
    _exit_interrupted(error)
  except BrokenPipeError:
    os._exit(128 + signal.SIGPIPE)


def _parse_flags(argv):
  """Parses flags; a wrong one gives a sentence, not absl's whole help page."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    print(f"error: {error}; see --help", file=sys.stderr)
    sys.exit(2)
