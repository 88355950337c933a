"""Reading gin files and bindings: the same for every command."""

import os
import tokenize

import gin
from absl import logging

from compare_gan_logits import command
from compare_gan_logits.command import UserError


def parse_gin(config_files, bindings):
  """Parses gin files and bindings.

  Raises:
    UserError: a file is missing, or binds what does not exist.
  """
  for path in config_files:
    if not os.path.isfile(path):
      raise UserError(f"no gin file {path}; the ones that come with the program are "
                      "in gin_configs/")
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


def explain_gin_error(error):
  """Gin's error in one sentence, with the nearest name where one is unknown."""
  message = str(error).split("\n\n")[0].replace("\n", " ").strip()
  quoted = message.split("'")
  if "No configurable" in message and len(quoted) > 1:
    # Gin has no public list of what is registered.
    known = {selector.split(".")[-1] for selector, _ in gin.config._REGISTRY.items()}
    close = command.nearest(quoted[1], known).split("known:")[0]
    return f"gin knows no {quoted[1]!r}; {close or 'see gin_configs/'}".rstrip(" ;")
  return f"gin: {message}"
