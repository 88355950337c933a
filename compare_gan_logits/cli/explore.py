"""A web page to play with a classifier's logits, live.

Drop in a photo, turn what the paper turned (shift, scale and perturbation of the
logits, noise, attack, brightness, ...), raise single classes by name, and see each
module's pictures and what the classifier says of them. Views are saved as PNG, as
JSON (--open shows it again) and as Python.

  python tools/explore.py --module robust=runs/quickstart/robust/module \
      --module standard=runs/quickstart/standard/module
"""

import sys

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module",
  [],
  "Folder of an exported module, or name=folder. "
  "Give the flag once for each module to see them side by side. "
  "Default: the inverter of photographs that comes with the "
  "program.",
)
flags.DEFINE_string(
  "open",
  None,
  "View (JSON) to begin with, saved from the page; its "
  "modules are shown unless --module names others.",
)
flags.DEFINE_string(
  "host", "127.0.0.1", "Address to bind; 0.0.0.0 lets other machines of the network in."
)
flags.DEFINE_integer(
  "port", 8001, "Port; 0 takes any that is free.", lower_bound=0, upper_bound=65535
)


def main(argv):
  if len(argv) > 1:
    raise errors.UserError(f"what is {argv[1]!r}? Everything is a flag; see --help")
  text = _read(FLAGS.open) if FLAGS.open else None
  try:
    from compare_gan_logits.apps import web
  except ModuleNotFoundError as error:
    raise errors.UserError(
      f"the page needs {error.name}: pip install 'flask>=3.1,<4' 'waitress>=3,<4'"
    ) from None
  # Before the seconds that TensorFlow and the modules take: a port may be taken.
  listener = web.listen(FLAGS.host, FLAGS.port)
  from compare_gan_logits import inversion
  from compare_gan_logits.apps.explorer import saving
  from compare_gan_logits.apps.explorer import server

  saved, view = saving.from_json(text) if text is not None else ({}, None)
  modules = [_named(module) for module in FLAGS.module] or list(saved.items())
  modules = modules or [("photographs", inversion.SHIPPED)]
  print(
    f"loading {', '.join(folder for _, folder in modules)}", file=sys.stderr, flush=True
  )
  explorer = server.Explorer(modules)
  for problem in explorer.problems.values():
    print(f"warning: {problem}", file=sys.stderr)
  running = server.open_server(explorer, listener, view)
  if FLAGS.host not in web.LOCAL:
    print("note: every machine that reaches this one can look and upload")
  print(f"exploring at {web.url(FLAGS.host, running)} (Ctrl-C ends it)", flush=True)
  running.run()


def _named(module):
  """(name or "", folder) of "name=folder" or "folder"."""
  name, _, folder = module.rpartition("=")
  return name, folder


def _read(path):
  try:
    with open(path, encoding="utf-8") as f:
      return f.read()
  except (OSError, UnicodeDecodeError) as error:
    raise errors.UserError(
      f"cannot read {path} ({error}); --open names a view saved from the page"
    ) from None


def command_line():
  command.run(main)
