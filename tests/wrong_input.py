"""What the tables of wrong inputs share: a case, and what has to come of it."""

import os
from typing import Any
from typing import NamedTuple

import forking


MAIN = forking.MAIN
# A program's own error is 1, a flag that does not parse 2, as in Unix's own commands.
WRONG, WRONG_FLAG = 1, 2


class Case(NamedTuple):
  """One wrong command, and what its sentence must say."""

  name: str
  tool: str
  args: str
  words: tuple
  code: int = WRONG
  environment: Any = None


def training(name, bindings, *words, flags="", environment=None):
  """A case of the main program: quickstart.gin with bindings, split at ';'."""
  args = "--gin_config {gin} --model_dir {out} " + flags
  args += " --gin_bindings classifier.handle='embedded_standard'"
  for binding in filter(None, bindings.split(";")):
    args += f" --gin_bindings {binding.strip().replace(' ', '')}"
  return Case(name, MAIN, args, words, environment=environment)


def tree(folder):
  """{path: (size, time)} of everything below a folder, but for locks."""
  found = {}
  for top, folders, names in os.walk(folder):
    for name in folders + [n for n in names if not n.endswith(".lock")]:
      status = os.lstat(os.path.join(top, name))
      kept = (status.st_size, status.st_mtime_ns) if name in names else None
      found[os.path.join(top, name)] = kept
  return found


def check(case, places, server, tmp_path):
  """Runs a case; asserts that it ends in one sentence, and writes nothing.

  Args:
    case: Case, whose arguments may name places in braces, and {out}.
    places: {name: path}, of which `world` is the folder of all others.
    server: forking.Server.
    tmp_path: an empty folder.
  """
  places = dict(places, out=tmp_path / "out")
  before = tree(places["world"])
  environment = {
    name: value.format(**places) if "{out}" in value else value
    for name, value in (case.environment or {}).items()
  }
  done = server.start(
    tmp_path / "streams",
    case.tool,
    *case.args.format(**places).split(),
    environment=environment,
  ).wait(120)
  assert "Traceback" not in done.stdout + done.stderr
  assert done.returncode == case.code, done
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
  assert "(unexpected)" not in done.stderr, done.stderr
  for words in case.words:
    assert words.format(**places) in done.stderr, done.stderr
  assert tree(places["world"]) == before
  assert not tree(tmp_path / "out"), "half written"
