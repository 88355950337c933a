"""What every command line of the project shares: how it starts and how it fails.

A wrong input ends in one sentence on stderr that names the thing and the
remedy, exit code 1, and no traceback unless --debug is given. Ctrl-C and SIGTERM end
in a sentence as well (exit codes 130 and 143), a reader of the output that has gone
(`| head`) in silence (141), as with Unix's own commands.
"""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

from absl import app
from absl import flags
from absl import logging

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import explain


flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


class _Terminated(KeyboardInterrupt):
  """SIGTERM, which then ends what Ctrl-C ends, and as tidily."""


def listen_to_signals() -> None:
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
  if issubclass(kind, UserError) and "--debug" not in sys.argv:
    print(f"error: {explain(error)}", file=sys.stderr)  # while modules are imported
    return
  sys.__excepthook__(kind, error, trace)


def _exit_interrupted(error):
  """Ends the process now: threads of TensorFlow may have work for a long time."""
  terminated = isinstance(error, _Terminated)
  print(
    f"{'terminated' if terminated else 'interrupted'}: no incomplete file is left, "
    "and what was saved is kept; give the same command again",
    file=sys.stderr,
    flush=True,
  )
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


def check_no_arguments(argv: list[str], remedy: str = "use flags") -> None:
  """Raises UserError where there is more than the program's name and its flags."""
  if len(argv) > 1:
    raise UserError(f"unexpected argument {argv[1]!r}: {remedy}; see --help")


def run(
  main: Callable[[list[str]], Any], prepare: Callable[[], Any] | None = None
) -> None:
  """Runs `main(argv)` under absl.

  Args:
    main: function of the positional arguments, argv[0] is the program's name.
    prepare: called before flags are parsed (flags that late imports define).

  Exits with 0 on success, 1 on an error and 2 on a flag that does not parse.
  """
  if sys.stdout is None:  # closed by the caller
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, to the end
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # Names may have letters unknown to it.
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
    _describe(sys.modules[main.__module__])
    app.run(guarded, flags_parser=_parse_flags)
  except KeyboardInterrupt as error:
    _exit_interrupted(error)
  except BrokenPipeError:
    os._exit(128 + signal.SIGPIPE)


def _describe(module):
  """Makes --help show the text and flags of the command, whatever file started it."""
  if module.__name__ == "__main__":
    return
  sys.modules["__main__"].__doc__ = module.__doc__
  for flag in flags.FLAGS.get_key_flags_for_module(module.__name__):
    # absl knows the flags of the running file by its path.
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _parse_flags(argv):
  """Parses flags; a wrong one gives a sentence, not absl's whole help page."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    print(f"error: {error}; see --help", file=sys.stderr)
    sys.exit(2)
  except SystemExit:  # absl ends --help as it ends an error
    sys.exit(0)
