"""What the program's local pages share: where they listen, and who may call them."""

import socket

import flask
import waitress

from compare_gan_logits.errors import UserError


LOCAL = ("127.0.0.1", "localhost", "::1")  # reached from this machine only
_LOCAL_NAMES = ["127.0.0.1", "localhost", "[::1]"]


def listen(host="127.0.0.1", port=0):
  """Takes an address, before a command spends time on what it will show there.

  Args:
    host: address to bind.
    port: 0 takes any that is free.

  Returns:
    A socket that is bound and listens.

  Raises:
    UserError: the address cannot be bound.
  """
  try:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[
      0
    ]
    return socket.create_server(address[:2], family=family)
  except (OSError, UnicodeError, OverflowError) as error:
    raise UserError(
      f"cannot serve at {host} port {port} ({error}); choose another --port or --host"
    ) from None


def secure(app, host, form_action="'none'", referrer="no-referrer"):
  """Keeps other sites away from a page that is meant for this machine.

  Args:
    app: flask.Flask.
    host: that the page listens at, or None for any. A local one may be called only
      by the names of this machine, which keeps other web pages from reaching it
      through a name of their own.
    form_action: where forms may go, as in a Content-Security-Policy.
    referrer: Referrer-Policy.
  """
  app.config["TRUSTED_HOSTS"] = _LOCAL_NAMES if host in LOCAL else None
  headers = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; "
    f"form-action {form_action}; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": referrer,
    "Cache-Control": "no-store",
  }

  @app.before_request
  def refuse_other_sites():
    origin = flask.request.headers.get("Origin")
    if flask.request.method == "POST" and origin not in (
      None,
      flask.request.host_url.rstrip("/"),
    ):
      flask.abort(403, "This was sent from another site.")

  @app.after_request
  def add_headers(response):
    for name, value in headers.items():
      response.headers.setdefault(name, value)
    return response


def server(app, listener, **settings):
  """A threaded server that does not run yet: `.run()` serves until Ctrl-C.

  Args:
    app: flask.Flask.
    listener: socket of `listen`; closed with the server.
    **settings: waitress's.
  """
  return waitress.create_server(app, sockets=[listener], ident=None, **settings)


def url(host, running):
  """The address of a running server, for people."""
  return f"http://{f'[{host}]' if ':' in host else host}:{running.effective_port}/"
