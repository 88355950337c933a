r"""Opens a local web page on which you edit an image or its logits.

Choose or drop a photo, change what the paper changes (shift, scale and perturbation of
the logits, noise, attack, brightness, ...), raise or lower single classes by name, and
see each module's reconstructions and the classes that its classifier gives them. A view
can be saved as PNG, as JSON (which --open shows again) and as Python.

  compare-gan-logits explore --module robust=runs/quickstart/robust/module \
      --module standard=runs/quickstart/standard/module
"""

from __future__ import annotations

import sys

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command
from compare_gan_logits.cli import modules


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module",
  [],
  "Folder of an exported module, or label=folder. "
  "Give the flag once for each module to see them side by side. "
  "Default: the inverter of photographs that comes with the "
  "program.",
)
flags.DEFINE_multi_string("classifier", [], modules.CLASSIFIER_HELP)
flags.DEFINE_string(
  "open",
  None,
  "JSON file of a view that was saved from the page. Its "
  "modules are shown unless --module names others.",
)
flags.DEFINE_string(
  "host", "127.0.0.1", "Address to listen on; 0.0.0.0 admits other machines."
)
flags.DEFINE_integer(
  "port", 8001, "Port; 0 chooses a free one.", lower_bound=0, upper_bound=65535
)
flags.DEFINE_string(
  "outer_url",
  None,
  "The page's address in the browser, if a notebook server or an https proxy forwards "
  "requests to it, e.g. https://hub.example/user/me/proxy/8001/. Requests from that "
  "address are then accepted as well.",
)


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
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

  saved = saving.from_json(text) if text is not None else None
  shown = [modules.named(module) for module in FLAGS.module]
  handles = {}
  if saved and not shown:
    shown, handles = list(saved.modules.items()), saved.classifiers
  shown = shown or [("photographs", inversion.SHIPPED)]
  print(
    f"loading {', '.join(folder for _, folder in shown)}", file=sys.stderr, flush=True
  )
  names = server.names_of(shown)
  folders = {name: folder for name, (_, folder) in zip(names, shown)}
  loaded, handles = _classifiers(folders, handles)
  explorer = server.Explorer(shown, loaded, handles)
  for problem in explorer.problems.values():
    print(f"warning: {problem}", file=sys.stderr)
  view = saved.view if saved else None
  running = server.open_server(explorer, listener, view, FLAGS.outer_url)
  if FLAGS.host not in web.LOCAL:
    print("note: every machine that can connect to this one can look and upload")
  address = web.url(FLAGS.host, running, FLAGS.outer_url)
  print(f"exploring at {address} (Ctrl-C ends it)", flush=True)
  running.run()


def _classifiers(folders, saved):
  """{name of a module: Classifier} of --classifier, or else of a saved view, and
  {name: what loads it from any folder}; folders: {name of a module: folder}."""
  from compare_gan_logits import classifiers

  given = modules.for_labels("--classifier", FLAGS.classifier, list(folders)) or saved
  return (
    {name: modules.classifier_of(given[name], folders[name]) for name in given},
    {name: classifiers.absolute(handle) for name, handle in given.items()},
  )


def _read(path):
  try:
    with open(path, encoding="utf-8") as f:
      return f.read()
  except (OSError, UnicodeDecodeError) as error:
    raise errors.UserError(
      f"cannot read {path} ({error}); --open names a view saved from the page"
    ) from None


def command_line() -> None:
  command.run(main)
