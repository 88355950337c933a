"""Reading gin files and bindings: the same for every command."""

import inspect
import numbers
import os
import tokenize

import gin
from absl import logging

from compare_gan_logits import command
from compare_gan_logits.command import UserError


def parse_gin(config_files, bindings):
  """Parses gin files and bindings.

  Raises:
    UserError: a file is missing or none of gin's, or binds what does not exist or a
      value of the wrong kind.
  """
  for path in config_files:
    if not os.path.isfile(path):
      raise UserError(f"no gin file {path}; the ones that come with the program are "
                      "in gin_configs/")
    _check_text(path)
    # A file includes its neighbours by name, from wherever it is run.
    gin.add_config_file_search_path(os.path.dirname(os.path.abspath(path)))
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)  # gin logs each place it looks at in vain
  try:
    gin.parse_config_files_and_bindings(config_files, bindings)
  except tokenize.TokenError as error:
    raise UserError(f"gin: a bracket or a string is not closed ({error.args[0]}) in "
                    f"{', '.join(config_files) or 'the bindings'}") from error
  except (ValueError, TypeError, SyntaxError, OSError, AttributeError) as error:
    raise UserError(explain_gin_error(error)) from error
  finally:
    logging.set_verbosity(verbosity)
  _check_kinds()


def _check_text(path):
  try:
    with open(path, encoding="utf-8") as f:
      f.read()
  except UnicodeDecodeError:
    raise UserError(f"{path} is no gin file but something binary; name one such as those "
                    "in gin_configs/") from None


def _check_kinds():
  """Refuses a bound text where the default is a number, and the like."""
  # Gin has no public list of what is bound.
  for (_, selector), bound in gin.config._CONFIG.items():
    if selector not in gin.config._REGISTRY:
      continue  # a macro
    defaults = _defaults(selector)
    for parameter, value in bound.items():
      default = defaults.get(parameter)
      if _kind(value) and _kind(default) and _kind(value) != _kind(default):
        raise UserError(f"gin binds {selector.split('.')[-1]}.{parameter} = {value!r}; it "
                        f"must be {_kind(default)}, such as {default!r}")


def _kind(value):
  """What a plain value is, in words; None of any other."""
  for kind, words in ((bool, "True or False"), (numbers.Real, "a number"),
                      (str, "a text in quotes")):
    if isinstance(value, kind):
      return words
  return None


def _defaults(selector):
  """{parameter: default} of a configurable."""
  try:
    parameters = _parameters(selector)
  except ValueError:  # some built-in functions do not tell
    return {}
  return {name: parameter.default for name, parameter in parameters.items()}


def _parameters(selector):
  return inspect.signature(gin.config._REGISTRY[selector].wrapped).parameters


def explain_gin_error(error):
  """Gin's error in one sentence, with the nearest name where one is unknown."""
  if isinstance(error, SyntaxError):
    line = f" {error.text.strip()!r}" if error.text else ""
    return (f"gin cannot read{line} in {error.filename or '--gin_bindings'}; see "
            "gin_configs/ for how it is written")
  message = str(error).split("\n\n")[0].replace("\n", " ").strip()
  quoted = message.split("'")
  if "No configurable" in message and len(quoted) > 1:
    # Gin has no public list of what is registered.
    known = {selector.split(".")[-1] for selector, _ in gin.config._REGISTRY.items()}
    name = quoted[1].lstrip("@")
    close = command.nearest(name, known).split("known:")[0]
    return f"gin knows no {name!r}; {close or 'see gin_configs/'}".rstrip(" ;")
  if "have a parameter named" in message:
    name, parameter = quoted[1], quoted[4]
    known = _parameters(gin.config._REGISTRY.get_match(name).selector)
    return f"gin: {name} has no {parameter!r}; {command.nearest(parameter, known)}"
  return f"gin: {message}"
