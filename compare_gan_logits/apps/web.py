"""What the program's local pages share: where they listen, and who may call them."""

from __future__ import annotations

import socket
import urllib.parse
from typing import Any
from typing import NamedTuple

import flask
import waitress.server

from compare_gan_logits.errors import UserError


LOCAL = ("127.0.0.1", "localhost", "::1")  # reached from this machine only
_PORTS = {"http": 80, "https": 443}
_LOCAL_NAMES = ["127.0.0.1", "localhost", "[::1]"]


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
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


class Outer(NamedTuple):
  """The parts of a page's address behind a proxy."""

  origin: str  # as browsers send it: https://hub.example, https://hub.example:8443
  host: str
  prefix: str  # of all paths: "" or /user/me/proxy/8001


def outer(url: str | None) -> Outer | None:
  """Reads the page's address behind a proxy; None gives None.

  Raises:
    UserError: it is no address of a page.
  """
  if url is None:
    return None
  try:
    parts = urllib.parse.urlsplit(url)
    scheme, host, port = parts.scheme, parts.hostname, parts.port
  except ValueError:
    parts = urllib.parse.urlsplit("")
    scheme, host, port = "", None, None
  if scheme not in _PORTS or not host or parts.query or parts.fragment:
    raise UserError(
      f"--outer_url is the page's address as browsers see it, such as "
      f"https://hub.example/user/me/proxy/8001/, not {url!r}"
    )
  name = f"[{host}]" if ":" in host else host
  shown = name if port in (None, _PORTS[scheme]) else f"{name}:{port}"
  return Outer(f"{scheme}://{shown}", name, parts.path.rstrip("/"))


def secure(
  app: flask.Flask,
  host: str | None,
  outer_url: str | None = None,
  form_action: str = "'none'",
  referrer: str = "no-referrer",
) -> None:
  """Keeps other sites away from a page that is meant for this machine.

  Args:
    app: flask.Flask.
    host: that the page listens at, or None for any. A local one may be called only
      by the names of this machine, which keeps other web pages from reaching it
      through a name of their own.
    outer_url: the page's address behind a notebook server or an https proxy, which
      may then call it as well.
    form_action: where forms may go, as in a Content-Security-Policy.
    referrer: Referrer-Policy.

  Raises:
    UserError: outer_url is no address of a page.
  """
  proxy = outer(outer_url)
  trusted = [*_LOCAL_NAMES, *([proxy.host] if proxy else [])]
  app.config["TRUSTED_HOSTS"] = trusted if host in LOCAL else None
  headers = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; "
    f"form-action {form_action}; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": referrer,
    "Cache-Control": "no-store",
  }

  @app.before_request
  def refuse_other_sites():
    own = flask.request.host_url.rstrip("/")
    if proxy and urllib.parse.urlsplit(own).hostname == proxy.host.strip("[]"):
      own = proxy.origin
    origin = flask.request.headers.get("Origin", own)
    # Some proxies pass on this machine's name in the place of their own.
    if flask.request.method == "POST" and origin not in (own, proxy and proxy.origin):
      flask.abort(
        403,
        "This was sent from another site. Behind a proxy, start the program with "
        "--outer_url and the page's address.",
      )

  @app.after_request
  def add_headers(response):
    for name, value in headers.items():
      response.headers.setdefault(name, value)
    return response


def server(
  app: flask.Flask, listener: socket.socket, outer_url: str | None = None, **settings
) -> Any:
  """A threaded server that does not run yet: `.run()` serves until Ctrl-C.

  Args:
    app: flask.Flask.
    listener: socket of `listen`; closed with the server.
    outer_url: as of `secure`. Its path is stripped off requests, unless the proxy has
      done that, and put before the page's own links.
    **settings: waitress's.
  """
  proxy = outer(outer_url)
  prefix = proxy.prefix if proxy else ""
  return waitress.server.create_server(
    app, sockets=[listener], ident=None, url_prefix=prefix, **settings
  )


def url(host: str, running: Any, outer_url: str | None = None) -> str:
  """The address of a running server, for people."""
  if outer_url:
    return outer_url
  return f"http://{f'[{host}]' if ':' in host else host}:{running.effective_port}/"
