"""A web page to play with a classifier's logits, live.

Drop in a photo, change what the paper changed (shift, scale and perturbation of the
logits, noise, attack, brightness, ...), raise single classes by name, and see each
module's reconstructions and the classes that its classifier gives them. Views are saved
as PNG, as JSON (--open shows it again) and as Python.

  compare-gan-logits explore --module robust=runs/quickstart/robust/module \
      --module standard=runs/quickstart/standard/module
"""

import sys

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command
from compare_gan_logits.cli import modules


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module",
  [],
  "Folder of an exported module, or name=folder. "
  "Give the flag once for each module to see them side by side. "
  "Default: the inverter of photographs that comes with the "
  "program.",
)
flags.DEFINE_multi_string("classifier", [], modules.CLASSIFIER_HELP)
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
flags.DEFINE_string(
  "outer_url",
  None,
  "The page's address in the browser where a notebook server or an https proxy passes "
  "requests on, e.g. https://hub.example/user/me/proxy/8001/. Pages of that address "
  "may then use this one as well.",
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
  web.outer(FLAGS.outer_url)
  # Before the seconds that TensorFlow and the modules take: a port may be taken.
  listener = web.listen(FLAGS.host, FLAGS.port)
  from compare_gan_logits import inversion
  from compare_gan_logits.apps.explorer import saving
  from compare_gan_logits.apps.explorer import server

  saved, view = saving.from_json(text) if text is not None else ({}, None)
  shown = [modules.named(module) for module in FLAGS.module] or list(saved.items())
  shown = shown or [("photographs", inversion.SHIPPED)]
  print(
    f"loading {', '.join(folder for _, folder in shown)}", file=sys.stderr, flush=True
  )
  explorer = server.Explorer(shown, _classifiers(server.names_of(shown)))
  for problem in explorer.problems.values():
    print(f"warning: {problem}", file=sys.stderr)
  running = server.open_server(explorer, listener, view, FLAGS.outer_url)
  if FLAGS.host not in web.LOCAL:
    print("note: every machine that reaches this one can look and upload")
  address = web.url(FLAGS.host, running, FLAGS.outer_url)
  print(f"exploring at {address} (Ctrl-C ends it)", flush=True)
  running.run()


def _classifiers(names):
  """{name of a module: Classifier} of --classifier."""
  from compare_gan_logits import classifiers

  given = modules.for_labels("--classifier", FLAGS.classifier, names)
  loaded = {handle: classifiers.load(handle) for handle in set(given.values())}
  return {name: loaded[handle] for name, handle in given.items()}


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
