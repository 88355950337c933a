"""The web page that asks the questions.

The server keeps no state but the answers: the next trial is the first one in the
subject's order that has no answer, so a reload, a closed browser or a restarted
server loses nothing.
"""

import os
import re
import secrets

import flask
import waitress
from werkzeug.exceptions import SecurityError

from compare_gan_logits.command import UserError
from compare_gan_logits.two_afc import answers as answers_lib


LOCAL = ("127.0.0.1", "localhost", "::1")  # reached from this machine only
_SIDES = ("left", "right")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
                               "frame-ancestors 'none'; form-action 'self'; "
                               "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # no-referrer would hide the Origin of forms
}
_MAX_BYTES = 4096  # of a request
_MILLISECONDS = re.compile(r"\d{0,9}", re.ASCII)
_DEFAULT_SIDE = 128  # CSS pixels of a picture before, or without, the script
_THREADS = 8


def create_app(study, hosts=None):
  """The web application of a study.

  Args:
    study: trials.Study.
    hosts: names under which it may be called; None: any. Naming them keeps other
      web pages from reaching a local server through a name of their own.

  Returns:
    flask.Flask.
  """
  app = flask.Flask(__name__, template_folder=".", static_folder=None)
  app.config.update(MAX_CONTENT_LENGTH=_MAX_BYTES, TRUSTED_HOSTS=hosts)
  answers = answers_lib.Answers(study.folder)
  zoom = max(1, _DEFAULT_SIDE // study.image_size)
  common = {"size": study.image_size, "side": zoom * study.image_size,
            "study": study.id}

  @app.before_request
  def refuse_foreign_forms():
    origin = flask.request.headers.get("Origin")
    if flask.request.method == "POST" and origin not in (
        None, flask.request.host_url.rstrip("/")):
      flask.abort(403, "This form was sent from another site.")

  @app.after_request
  def add_headers(response):
    for name, value in _HEADERS.items():
      response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response

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
      return flask.render_template("done.html", code=code, total=len(study.trials),
                                   **common)
    return flask.render_template(
        "trial.html", code=code, trial=left[0], following=left[1:2],
        place=len(study.trials) - len(left) + 1, total=len(study.trials), **common)

  @app.post("/s/<code>")
  def answer(code):
    code, form = _checked(code), flask.request.form
    number, side = form.get("trial", ""), form.get("side")
    milliseconds = form.get("milliseconds", "")
    if (not re.fullmatch(r"[0-9]{1,6}", number) or int(number) >= len(study.trials)
        or side not in _SIDES or not _MILLISECONDS.fullmatch(milliseconds)):
      flask.abort(400, "This is no answer to a trial.")
    answers.add(answers_lib.Answer(code, int(number), side,
                                   int(milliseconds) if milliseconds else None))
    return flask.redirect(flask.url_for("session", code=code), 303)

  @app.get("/picture/<study_id>/<int:number>/<side>.png")
  def picture(study_id, number, side):
    # Addresses name sides, never models: nothing gives away who painted what.
    if (study_id != study.id or number >= len(study.trials)
        or side not in (*_SIDES, "original")):
      flask.abort(404)
    return _send(study.picture_path(number, side), max_age=3600)

  @app.get("/<any('style.css', 'page.js'):name>")
  def asset(name):
    return _send(os.path.join(app.root_path, name), max_age=0)

  def refused(error):
    return flask.render_template("error.html", error=error, **common), error.code

  @app.errorhandler(SecurityError)
  def refuse_host(error):
    return error.description, error.code  # no page: addresses cannot be made for it

  for status in (400, 403, 404, 405, 413):
    app.register_error_handler(status, refused)
  return app


def _checked(code):
  """The code of an address in the form that is kept; 404 where it is none."""
  checked = answers_lib.subject_code(code)
  if checked is None:
    flask.abort(404)
  return checked


def _new_code(answers):
  """A code that nobody has used."""
  while True:
    code = f"S-{secrets.randbelow(9000) + 1000}"
    if not answers.answered(code):
      return code


def _send(path, max_age):
  if not os.path.isfile(path):
    flask.abort(404)
  return flask.send_file(path, max_age=max_age)


def open_server(study, host="127.0.0.1", port=8000):
  """A threaded server, bound but not yet running.

  Args:
    study: trials.Study.
    host: address to bind.
    port: 0 takes any that is free.

  Returns:
    waitress server: `.run()` serves until Ctrl-C, `.effective_port` is its port.

  Raises:
    UserError: the address cannot be bound.
  """
  hosts = ["127.0.0.1", "localhost", "[::1]"] if host in LOCAL else None
  try:
    return waitress.create_server(create_app(study, hosts), host=host, port=port,
                                  threads=_THREADS, ident=None)
  except (OSError, ValueError, OverflowError) as error:
    raise UserError(f"cannot serve at {host} port {port} ({error}); choose another "
                    "--port or --host") from None
