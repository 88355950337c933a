"""The web page that asks the questions.

The server keeps no state but the answers: the next trial is the first one in the
subject's order that has no answer, so a reload, a closed browser or a restarted
server loses nothing.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import socket
import sys
from typing import Any

import flask
from werkzeug.exceptions import SecurityError
from werkzeug.exceptions import ServiceUnavailable

from compare_gan_logits.apps import web
from compare_gan_logits.apps.two_afc import answers as answers_lib
from compare_gan_logits.apps.two_afc.trials import Study
from compare_gan_logits.errors import UserError


_SIDES = ("left", "right")
_MAX_BYTES = 4096  # of a request
_MILLISECONDS = re.compile(r"\d{0,9}", re.ASCII)
_DEFAULT_SIDE = 128  # CSS pixels of a picture before, or without, the script
_THREADS = 8


def create_app(
  study: Study, host: str | None = None, outer_url: str | None = None
) -> flask.Flask:
  """The web application of a study.

  Args:
    study: trials.Study.
    host: that it listens at; a local one is only called by this machine's names.
    outer_url: the page's address behind a proxy (see web.secure).

  Returns:
    flask.Flask.
  """
  app = flask.Flask(__name__, template_folder=".", static_folder=None)
  app.config["MAX_CONTENT_LENGTH"] = _MAX_BYTES
  # Without a referrer browsers would hide the Origin of forms.
  web.secure(app, host, outer_url, form_action="'self'", referrer="same-origin")
  answers = answers_lib.Answers(study.folder, study.id)
  zoom = max(1, _DEFAULT_SIDE // study.image_size)
  common = {
    "size": study.image_size,
    "side": zoom * study.image_size,
    "study": study.id,
  }

  @app.get("/")
  def start():
    return flask.render_template("start.html", code=_new_code(answers), **common)

  @app.post("/start")
  def begin():
    text = flask.request.form.get("code", "")
    code = answers_lib.subject_code(text)
    if code is None:
      page = flask.render_template("start.html", code=text[:20], wrong=True, **common)
      return page, 400
    return flask.redirect(flask.url_for("session", code=code), 303)

  @app.get("/s/<code>")
  def session(code):
    code = _checked(code)
    answered = answers.answered(code)
    left = [number for number in study.order(code) if number not in answered]
    if not left:
      return flask.render_template(
        "done.html", code=code, total=len(study.trials), **common
      )
    return flask.render_template(
      "trial.html",
      code=code,
      trial=left[0],
      following=left[1:2],
      place=len(study.trials) - len(left) + 1,
      total=len(study.trials),
      **common,
    )

  @app.post("/s/<code>")
  def answer(code):
    given = _answer(_checked(code), flask.request.form, study)
    # A page may still be open from another study that was served here.
    if flask.request.form.get("study") == study.id:
      answers.add(given)
    return flask.redirect(flask.url_for("session", code=given.subject), 303)

  @app.get("/picture/<study_id>/<int:number>/<side>.png")
  def picture(study_id, number, side):
    # Addresses name sides, never models: nothing tells which model made a picture.
    if (
      study_id != study.id
      or number >= len(study.trials)
      or side not in (*_SIDES, "original")
    ):
      flask.abort(404)
    return _picture(study.picture_path(number, side))

  @app.get("/<any('style.css', 'page.js'):name>")
  def asset(name):
    return _send(os.path.join(app.root_path, name))

  _answer_errors(app, common)
  return app


def _answer_errors(app, common):
  """Errors are answered with a page; what keeps answers from being kept is printed."""

  def refused(error):
    page = flask.render_template("error.html", error=error, **common)
    return page, error.code or 500

  @app.errorhandler(UserError)
  def failed(error):
    print(f"error: {error}", file=sys.stderr, flush=True)
    return refused(
      ServiceUnavailable(
        "Answers cannot be kept just now. The person who runs the study sees why."
      )
    )

  @app.errorhandler(SecurityError)
  def refuse_host(error):
    # No page: addresses cannot be made for this host.
    return error.description, error.code or 400

  for status in (400, 403, 404, 405, 413):
    app.register_error_handler(status, refused)


def _answer(code, form, study):
  """The answers.Answer that a form holds; 400 where it holds none."""
  number, side = form.get("trial", ""), form.get("side")
  milliseconds = form.get("milliseconds", "")
  if (
    not re.fullmatch(r"[0-9]{1,6}", number)
    or int(number) >= len(study.trials)
    or side not in _SIDES
    or not _MILLISECONDS.fullmatch(milliseconds)
  ):
    flask.abort(400, "This is no answer to a trial.")
  return answers_lib.Answer(
    code, int(number), side, int(milliseconds) if milliseconds else None
  )


def _checked(code):
  """The code of an address in the form that is kept; 404 where it is none."""
  checked = answers_lib.subject_code(code)
  if checked is None:
    flask.abort(404)
  return checked


def _new_code(answers):
  """A code that is not in use, and that nobody guesses."""
  codes = iter(lambda: f"S-{secrets.token_hex(4).upper()}", None)
  return next(code for code in codes if not answers.answered(code))


def _picture(path):
  """The bytes alone: a file's name, which a header would hold, names the model."""
  try:
    with open(path, "rb") as f:
      data = io.BytesIO(f.read())
  except OSError:
    flask.abort(404)
  return flask.send_file(data, mimetype="image/png", max_age=3600)


def _send(path):
  if not os.path.isfile(path):
    flask.abort(404)
  return flask.send_file(path, max_age=0)


def open_server(
  study: Study, listener: socket.socket, outer_url: str | None = None
) -> Any:
  """A threaded server: `.run()` serves until Ctrl-C.

  Args:
    study: trials.Study.
    listener: socket of web.listen.
    outer_url: the page's address behind a proxy.
  """
  return web.server(
    create_app(study, listener.getsockname()[0], outer_url),
    listener,
    outer_url,
    threads=_THREADS,
  )
