"""Reading gin files and bindings: the same for every command."""

from __future__ import annotations

import contextlib
import inspect
import numbers
import os
import re
import sys
import tokenize
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import gin
import gin.config
from absl import logging

from compare_gan_logits import errors
from compare_gan_logits.errors import UserError


def parse_gin(config_files: Sequence[str], bindings: Sequence[str]) -> None:
  """Parses gin files and bindings.

  A file is named by its path, or by its name where it comes with the program
  ("quickstart.gin"). A file that it includes is looked for beside it, in the working
  folder and among those that come with the program.

  Raises:
    UserError: a file is missing or none of gin's, or binds what does not exist or a
      value of the wrong kind.
  """
  paths = [find(path) for path in config_files]
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)  # gin logs each place it looks at in vain
  try:
    with _finding_includes():
      gin.parse_config_files_and_bindings(paths, bindings)
  except tokenize.TokenError as error:
    raise UserError(
      f"gin: a bracket or a string is not closed ({error.args[0]}) in "
      f"{', '.join(config_files) or 'the bindings'}"
    ) from error
  except (
    ValueError,
    TypeError,
    SyntaxError,
    OSError,
    AttributeError,
    ImportError,
    RecursionError,
  ) as error:
    raise UserError(explain_gin_error(error)) from error
  finally:
    logging.set_verbosity(verbosity)
  _check_values()


def gin_folder() -> str:
  """The folder of the gin files that come with the program.

  It is inside the package once that is installed, and beside it in a checkout.
  """
  package = os.path.dirname(os.path.abspath(__file__))
  installed = os.path.join(package, "gin_configs")
  if os.path.isdir(installed):
    return installed
  return os.path.join(os.path.dirname(package), "gin_configs")


def find(path: str, beside: str | None = None) -> str:
  """Where a gin file is.

  Args:
    path: as it was written.
    beside: the folder of the file that includes it, or None.

  Raises:
    UserError: it is nowhere, or holds no text.
  """
  name = path[len("gin_configs/") :] if path.startswith("gin_configs/") else path
  places = [path, os.path.join(gin_folder(), name)]
  if beside is not None:
    places.insert(0, os.path.join(beside, path))
  for place in places:
    if os.path.isfile(place):
      _check_text(place)
      return place
  known = os.listdir(gin_folder())
  raise UserError(
    f"no gin file {path}; among those that come with the program (gin_configs/): "
    f"{errors.nearest(name, [x for x in known if x.endswith('.gin')])}"
  )


@contextlib.contextmanager
def _finding_includes():
  """Has gin look for an included file where `find` does, for each file in turn."""
  parse_file = gin.config.parse_config_file
  including = []

  def parse_found(path, *arguments, **keywords):
    place = find(path, including[-1] if including else None)
    including.append(os.path.dirname(os.path.abspath(place)))
    try:
      return parse_file(place, *arguments, **keywords)
    finally:
      including.pop()

  # Gin looks in one list of folders for all files; it has no other way in.
  gin.config.parse_config_file = parse_found
  try:
    yield
  finally:
    gin.config.parse_config_file = parse_file


def _check_text(path):
  try:
    with open(path, encoding="utf-8") as f:
      f.read()
  except UnicodeDecodeError:
    raise UserError(
      f"{path} is a binary file, not a gin file; name one such as those in gin_configs/"
    ) from None


def _check_values():
  """Refuses a bound text where the default is a number, a negative number of images,
  and the like, of the program's own configurables; of others we know no types."""
  # Gin has no public list of what is bound.
  for (_, selector), bound in gin.config._CONFIG.items():
    if selector not in gin.config._REGISTRY or not _is_ours(selector):
      continue  # a macro, or another's
    defaults = _defaults(selector)
    for parameter, value in bound.items():
      wanted = _wanted(selector, parameter, value, defaults.get(parameter))
      if not wanted:
        wanted = _by_annotation(selector, parameter, value)
      if wanted:
        raise UserError(
          f"gin binds {selector.split('.')[-1]}.{parameter} = {value!r}; it "
          f"must be {wanted}"
        )


def _wanted(selector, parameter, value, default):
  """What the value should have been, in words, or None where it is fine."""
  kind, wanted = _kind(value), _kind(default)
  if kind and parameter.endswith("fn"):
    return "a function with @ before its name; see gin_configs/"
  if kind and wanted and kind != wanted:
    return f"{wanted}, such as {default!r}"
  allowed = _range(selector, parameter, default)
  several = isinstance(value, (list, tuple))
  if kind and isinstance(default, tuple):
    return "a list" + (f", such as {default!r}" if default else " in brackets")
  if allowed is None or not (kind or several):
    return None  # anything, or a reference that gin resolves later
  if several and not isinstance(default, tuple) and parameter not in ("mean", "std"):
    return allowed.words
  if several and default and None in default:
    value = [number for number in value if number is not None]
  fine = all(allowed.holds(number) for number in (value if several else (value,)))
  return None if fine else allowed.words


def _by_annotation(selector, parameter, value):
  """As _wanted, of a parameter that is None or of one plain type by its annotation."""
  with contextlib.suppress(ValueError):  # some built-in functions do not tell
    known = _parameters(selector).get(parameter)
    allowed = known and _ANNOTATIONS.get(str(known.annotation))
    if allowed and _kind(value) not in (None, allowed):
      return allowed
  return None


def _kind(value):
  """What a plain value is, in words; None of any other."""
  for kind, words in (
    (bool, "True or False"),
    (numbers.Real, "a number"),
    (str, "a string in quotes"),
  ):
    if isinstance(value, kind):
      return words
  return None


_ANNOTATIONS = {
  "bool | None": _kind(True),
  "str | None": _kind(""),
  "int | None": _kind(1),
}


class _Range(NamedTuple):
  """Numbers that a parameter can have, in words as well."""

  words: str
  low: float
  high: float
  whole: bool

  def holds(self, number):
    return (
      _kind(number) == "a number"
      and self.low <= number <= self.high
      and (not self.whole or isinstance(number, int))
    )


# TensorFlow counts in 32 bits.
_MOST = 2**31 - 1
_COUNT = _Range("a whole number from 1 to 2147483647", 1, _MOST, True)
_NOT_NEGATIVE = _Range("a whole number from 0 to 2147483647", 0, _MOST, True)
_AMOUNT = _Range(
  "a number that is finite and not negative", 0, sys.float_info.max, False
)
_FINITE = _Range("a finite number", -sys.float_info.max, sys.float_info.max, False)
_SHARE = _Range("a number from 0 to 1", 0, 1, False)
# By name: parameters whose default does not show what they can be.
_RANGES = {
  "size": _COUNT,
  "test_examples": _COUNT,
  "ema_start_step": _NOT_NEGATIVE,
  "keep_checkpoint_max": _NOT_NEGATIVE,
  "seed": _NOT_NEGATIVE,
  "tf_random_seed": _NOT_NEGATIVE,
  "quarter_turns": _NOT_NEGATIVE,
  "drop_column": _NOT_NEGATIVE,
  "d_lr": _AMOUNT,
  "learning_rate": _AMOUNT,
  "step_size": _AMOUNT,
  "training_minutes": _AMOUNT,
  "lamba": _AMOUNT,
  "ema_decay": _SHARE,
  "more_ema_decays": _SHARE,
  "exported_decay": _SHARE,
  "start": _SHARE,
  "unreadable_share": _SHARE,
  "low": _FINITE,
  "high": _FINITE,
  "mean": _FINITE,
  "std": _FINITE,
  "maxval": _FINITE,
}

# Of one configurable, where others of that name have another range.
_RANGES_OF_ONE = {
  # compare_gan's: 0 stands for no hidden layer.
  ("self_modulated_batch_norm", "num_hidden"): _NOT_NEGATIVE,
}


def _range(selector, parameter, default):
  """The _Range of a parameter, or None where nothing is known of it."""
  of_one = _RANGES_OF_ONE.get((selector.split(".")[-1], parameter))
  known = of_one or _RANGES.get(parameter)
  if known:
    return known
  if isinstance(default, tuple) and default:
    return _range(selector, parameter, default[0])
  if isinstance(default, tuple) or _kind(default) != "a number":
    return None
  if isinstance(default, int):
    return _COUNT if default else _NOT_NEGATIVE
  return _AMOUNT if default >= 0 else _FINITE


def _is_ours(selector):
  module = getattr(gin.config._REGISTRY[selector].wrapped, "__module__", None) or ""
  return module.startswith("compare_gan_logits.")


def _defaults(selector):
  """{parameter: default} of a configurable."""
  try:
    parameters = _parameters(selector)
  except ValueError:  # some built-in functions do not tell
    return {}
  return {name: parameter.default for name, parameter in parameters.items()}


def _parameters(selector):
  return inspect.signature(gin.config._REGISTRY[selector].wrapped).parameters


@contextlib.contextmanager
def gin_errors_explained() -> Iterator[None]:
  """Errors of gin about a wrong value become one sentence.

  Raises:
    UserError: in place of gin's errors.
  """
  try:
    yield
  except UserError:
    raise
  except (TypeError, ValueError, RecursionError) as error:
    raise UserError(explain_gin_error(error)) from error


def explain_gin_error(error: BaseException) -> str:
  """Gin's error in one sentence, with the nearest name where one is unknown."""
  if isinstance(error, UserError):
    return errors.sentence(error)
  if isinstance(error, SyntaxError):
    line = f" {error.text.strip()[:80]!r}" if error.text else ""
    return (
      f"gin cannot read{line} in {error.filename or '--gin_bindings'}; see "
      "gin_configs/ for how it is written"
    )
  if isinstance(error, ImportError):
    return (
      f"gin: a file imports what cannot be imported ({errors.sentence(error)}); "
      "remove that line"
    )
  if isinstance(error, RecursionError):
    return (
      "gin: a file includes itself, a macro is its own value, or a value is nested "
      "too deeply; see gin_configs/ for how it is written"
    )
  unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
  caller = re.search(r"In call to configurable '(\w+)'", str(error))
  if unknown and caller:  # A class that hands the rest on to its base takes any name.
    name, parameter = caller[1], unknown[1]
    known = _parameters(gin.config._REGISTRY.get_match(name).selector)
    return f"gin: {name} has no {parameter!r}; {errors.nearest(parameter, known)}"
  message = str(error).split("\n\n")[0].split("\n  In call to")[0]
  message = message.replace("\n", " ").strip()
  quoted = message.split("'")
  macro = re.match(r"No bindings specified for '([^']+)/gin.macro'", message)
  if macro:
    return (
      f"gin: %{macro[1]} stands for a macro that nothing defines; define it "
      f"({macro[1]} = ...), or write the value itself"
    )
  required = re.match(r"([\w.]+) set to `%gin.REQUIRED`", message)
  if required:
    name = required[1]
    return f'the gin file leaves {name} to you: add --gin_bindings "{name} = ..."'
  if "No configurable" in message and len(quoted) > 1:
    # Gin has no public list of what is registered.
    known = {selector.split(".")[-1] for selector, _ in gin.config._REGISTRY.items()}
    name = quoted[1].lstrip("@")
    close = errors.nearest(name, known).split("known:")[0]
    return f"gin knows no {name!r}; {close or 'see gin_configs/'}".rstrip(" ;")
  if "have a parameter named" in message:
    name, parameter = quoted[1], quoted[4]
    known = _parameters(gin.config._REGISTRY.get_match(name).selector)
    return f"gin: {name} has no {parameter!r}; {errors.nearest(parameter, known)}"
  return f"gin: {message}"
