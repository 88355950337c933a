"""The explorer's web server.

It keeps nothing between requests: the page sends the whole view, with the photo in
it, and gets the pictures back. So any number of browsers can use it at once, and
nothing that is uploaded is ever written to disk (waitress's buffers included: their
limits lie above the largest request).
"""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flask
import numpy as np
import tensorflow.compat.v1 as tf
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import SecurityError

from compare_gan_logits import figures
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits import module_format
from compare_gan_logits.apps import web
from compare_gan_logits.apps.explorer import controls
from compare_gan_logits.apps.explorer import examples as examples_lib
from compare_gan_logits.apps.explorer import saving
from compare_gan_logits.apps.explorer import view as view_lib
from compare_gan_logits.apps.explorer.view import View
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import sentence


MAX_UPLOAD = 64 * 1024 * 1024  # bytes of a photo
_MAX_VIEW = 16 * 1024 * 1024  # bytes of a view with its photos
_TOP = 5  # classes listed with their confidence
_THREADS = 16


class Explorer:
  """The modules, loaded once.

  Attributes:
    modules: {name: folder}, of all.
    handles: {name: handle} of the classifiers in the place of those that modules name.
    inverters: {name: Inverter}, of those that could be loaded.
    problems: {name: sentence}, of the others.
    examples: list of (photo as in a View, name of its class).
  """

  def __init__(
    self,
    modules: Sequence[tuple[str, str]],
    classifiers: Mapping[str, Any] | None = None,
    handles: Mapping[str, str] | None = None,
  ) -> None:
    """
    Args:
      modules: (name or "", folder) of each.
      classifiers: {name: classifiers.Classifier} in place of those that modules name.
      handles: {name: what loads it} of these, for what is saved.

    Raises:
      UserError: none of the modules can be loaded.
    """
    names = names_of(modules)
    classifiers = classifiers or {}
    self.handles = dict(handles or {})
    self.modules: dict[str, str] = {}
    self.inverters: dict[str, inversion.Inverter] = {}
    self.problems: dict[str, str] = {}
    for name, (_, folder) in zip(names, modules):
      self.modules[name] = files.absolute(folder)
      try:
        self.inverters[name] = _load(folder, classifiers.get(name))
      except (UserError, OSError, KeyError, ValueError, tf.errors.OpError) as error:
        self.problems[name] = f"{folder} cannot be loaded: {sentence(error)}"
    if not self.inverters:
      raise UserError("; ".join(self.problems.values()))
    self.labels = saving.all_labels(self.inverters)
    self.examples = examples_lib.examples(list(self.inverters.values()))
    self._computing = threading.Lock()
    self._reading = threading.Lock()
    self._drawing = threading.Lock()

  def first_view(self) -> View:
    """A view of the first two examples, or of the only one."""
    photos = [photo for photo, _ in self.examples]
    return View(photo=photos[0], second=photos[1] if len(photos) > 1 else None)

  def show(
    self, view: View, is_gone: Callable[[], bool] = lambda: False
  ) -> dict[str, view_lib.Shown] | None:
    """{name: view.Shown}, or None where the page that asked has gone.

    One view is computed at a time: two would only share the processors.
    """
    with self._computing:
      if is_gone():
        return None
      return {
        name: view_lib.compute(inverter, view)
        for name, inverter in self.inverters.items()
      }

  def read_photo(self, data: bytes) -> str:
    """An uploaded file as a view holds it; one at a time, which bounds the memory.

    Raises:
      UserError: it cannot be read as an image.
    """
    with self._reading:
      return view_lib.read_photo(data, list(self.inverters.values()))

  def draw(self, view: View) -> bytes:
    """PNG of a view, bytes. Matplotlib is not for several threads."""
    shown = self.show(view) or {}
    with self._drawing:
      return saving.picture(shown, self.labels, view)

  def differences(self, saved: saving.Saved) -> str:
    """Sentences about what a saved view was shown with and is not here; "" for none."""
    notes = []
    missing = sorted(set(saved.modules) - set(self.inverters))
    if missing:
      notes.append(
        f"This view was saved with {', '.join(missing)} as well, which "
        "this explorer does not show."
      )
    others = [
      name
      for name in self.inverters
      if name in saved.modules and saved.classifiers.get(name) != self.handles.get(name)
    ]
    if others:
      notes.append(f"It was saved with another classifier for {', '.join(others)}.")
    return " ".join(notes)


def names_of(modules: Sequence[tuple[str, str]]) -> list[str]:
  """The name of each module, given as (name or "", folder): its own where none is given.

  That is its classifier's, or its folder's where it has none or cannot be read.
  """
  return files.unique([name or _own_name(folder) for name, folder in modules])


def _own_name(folder):
  """A module's name; the folder's where it cannot be read, which is told later."""
  try:
    info = module_format.read(folder)
  except (UserError, OSError):
    info = {}
  return module_format.name_of(info, folder)


def _load(folder, classifier):
  """An Inverter that has run once: the first run is slow."""
  inverter = inversion.Inverter.load(folder, classifier)
  if inverter.classifier is None:
    raise UserError(
      "it was trained without a classifier, so a photo has no logits; name another module"
    )
  attacked = 0.0 if inverter.classifier.no_gradient else 0.1
  blank = View(view_lib.encode(np.zeros([8, 8, 1], np.uint8)), epsilon=attacked)
  view_lib.compute(inverter, blank)
  return inverter


def create_app(
  explorer: Explorer,
  opened: View | None = None,
  host: str | None = None,
  outer_url: str | None = None,
) -> flask.Flask:
  """The web application.

  Args:
    explorer: Explorer.
    opened: View to begin with.
    host: that it listens at; a local one is only called by this machine's names.
    outer_url: the page's address behind a proxy (see web.secure).

  Returns:
    flask.Flask.
  """
  app = flask.Flask(__name__, template_folder=".", static_folder=None)
  app.config["MAX_CONTENT_LENGTH"] = _MAX_VIEW
  web.secure(app, host, outer_url)

  @app.get("/")
  def page():
    return flask.render_template(
      "page.html",
      controls=controls.CONTROLS,
      by_name=controls.BY_NAME,
      modules=list(explorer.inverters),
      config=_config(explorer, opened),
    )

  @app.get("/<any('style.css', 'page.js'):name>")
  def asset(name):
    return flask.send_file(os.path.join(app.root_path, name))

  @app.post("/photo")
  def photo():
    # Read as it comes: a form's parser would put a large file on the disk.
    flask.request.max_content_length = MAX_UPLOAD
    return {"photo": explorer.read_photo(flask.request.get_data(cache=False))}

  @app.post("/show")
  def show():
    view = View.from_json(flask.request.get_json(force=True))
    is_gone = flask.request.environ.get("waitress.client_disconnected", lambda: False)
    shown = explorer.show(view, is_gone)
    if shown is None:
      return "", 204
    return {
      "modules": [
        _described(name, module, explorer.labels[name], view)
        for name, module in shown.items()
      ]
    }

  @app.post("/open")
  def open_view():
    saved = saving.from_json(flask.request.get_data(as_text=True))
    return {"view": saved.view.to_json(), "note": explorer.differences(saved)}

  @app.post("/save/<any('png', 'json', 'py'):kind>")
  def save(kind):
    view = View.from_json(flask.request.get_json(force=True))
    shown = {name: explorer.modules[name] for name in explorer.inverters}
    content = {
      "png": lambda: explorer.draw(view),
      "json": lambda: saving.to_json(shown, view, explorer.handles),
      "py": lambda: saving.snippet(shown, view, explorer.handles),
    }[kind]()
    mimetype = {"png": "image/png", "json": "application/json", "py": "text/x-python"}[
      kind
    ]
    return flask.Response(content, mimetype=mimetype)

  _answer_errors(app)
  return app


def _answer_errors(app):
  """Errors are answered in JSON; what nobody foresaw is printed as well."""

  @app.errorhandler(UserError)
  def wrong_input(error):
    return {"error": sentence(error)}, 400

  @app.errorhandler(SecurityError)
  def refuse_host(error):
    return {"error": error.description}, error.code

  @app.errorhandler(HTTPException)
  def refused(error):
    return {"error": error.description}, error.code

  @app.errorhandler(Exception)
  def failed(error):
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    return {
      "error": f"The server could not do this ({type(error).__name__}); its "
      "terminal says more."
    }, 500


def _config(explorer, opened):
  """What the page's script has to know."""
  names = [name for labels in explorer.labels.values() for name in labels]
  view = opened or explorer.first_view()
  return {
    "root": flask.url_for("page"),
    "view": view.to_json(),
    "controls": [dataclasses.asdict(control) for control in controls.CONTROLS],
    "modules": [
      _facts(name, inverter) for name, inverter in explorer.inverters.items()
    ],
    "problems": explorer.problems,
    "classes": list(dict.fromkeys(names)),
    "examples": [{"photo": photo, "name": name} for photo, name in explorer.examples],
    "max_raise": controls.MAX_RAISE,
    "max_upload": MAX_UPLOAD,
  }


def _facts(name, inverter):
  return {
    "name": name,
    "size": inverter.image_size,
    "step": inverter.info.get("step"),
    "classes": inverter.num_logits,
  }


def _described(name, shown, labels, view):
  """A view.Shown as the page takes it; pictures as PNG in base64."""
  seen, given = (view_lib.confidences(x) for x in (shown.seen_logits, shown.logits))
  wanted = shown.logits.argmax()
  top = np.argsort(-given, kind="stable")[:_TOP]
  described = {
    "name": name,
    "seen": _png(shown.seen),
    "seen_class": _opinion(shown.seen_logits, seen, labels),
    "top": [
      {**_opinion(shown.logits, given, labels, i), "before": float(seen[i])}
      for i in top
    ],
    "pictures": [],
    "unknown": shown.unknown,
    "logits": {label: round(float(x), 2) for label, x in zip(labels, shown.logits)},
    "deviation": round(float(shown.seen_logits.std()), 3),
  }
  opinions = view_lib.confidences(shown.picture_logits)
  for k in range(view.samples):
    opinion = _opinion(shown.picture_logits[k], opinions[k], labels)
    kept = bool(opinions[k].argmax() == wanted) if opinion["logit"] is None else None
    described["pictures"].append(
      {"image": _png(shown.pictures[k]), "kept": kept, **opinion}
    )
  return described


def _opinion(logits, confidences, labels, place=None):
  """What the page shows of one class, of the first where none is given."""
  place = int(confidences.argmax()) if place is None else place
  return {
    "name": labels[place],
    "confidence": float(confidences[place]),
    "logit": view_lib.only_logit(logits),
  }


def _png(image):
  return view_lib.encode(figures.to_rgb(image))


def open_server(
  explorer: Explorer,
  listener: socket.socket,
  opened: View | None = None,
  outer_url: str | None = None,
) -> Any:
  """A threaded server: `.run()` serves until Ctrl-C.

  Args:
    explorer: Explorer.
    listener: socket of web.listen.
    opened: View to begin with.
    outer_url: the page's address behind a proxy.
  """
  return web.server(
    create_app(explorer, opened, listener.getsockname()[0], outer_url),
    listener,
    outer_url,
    threads=_THREADS,
    max_request_body_size=MAX_UPLOAD,
    inbuf_overflow=2 * MAX_UPLOAD,
    outbuf_overflow=2 * MAX_UPLOAD,
    channel_request_lookahead=1,
  )
