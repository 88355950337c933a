"""Nobody is let in: foreign files run nothing, local pages serve nothing but themselves."""

import ast
import concurrent.futures
import contextlib
import io
import os
import pickle
import re
import shutil
import socket
import tarfile
import threading
import zlib
from urllib.parse import quote

import explorer_modules
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from PIL import Image
from tensorflow import keras

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import files
from compare_gan_logits import images as image_lib
from compare_gan_logits import weight_files
from compare_gan_logits.apps import web
from compare_gan_logits.apps.explorer import server as explorer_server
from compare_gan_logits.apps.two_afc import server as study_server
from compare_gan_logits.apps.two_afc import trials
from compare_gan_logits.errors import UserError


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What runs code that is in a file, or writes where a file's own names say.
FORBIDDEN = {
  "pickle.load",
  "pickle.loads",
  "pickle.Unpickler",
  "torch.load",
  "joblib.load",
  "yaml.load",
  "marshal.loads",
  "shelve.open",
  "eval",
  "exec",
  "os.system",
  "shutil.unpack_archive",
}
FORBIDDEN_METHODS = {"extractall", "extract"}


# Files of foreign origin ---------------------------------------------------------


def _sources():
  for top in ("compare_gan_logits", "tools"):
    for folder, _, names in os.walk(os.path.join(ROOT, top)):
      for name in names:
        if name.endswith(".py"):
          path = os.path.join(folder, name)
          with open(path, encoding="utf-8") as f:
            yield os.path.relpath(path, ROOT), ast.parse(f.read())


def _dangers(tree):
  """Calls in FORBIDDEN, and keywords that unlock what is dangerous."""
  for node in ast.walk(tree):
    if not isinstance(node, ast.Call):
      continue
    called = ast.unparse(node.func)
    keywords = {(k.arg, ast.unparse(k.value)) for k in node.keywords}
    if called == "torch.load" and ("weights_only", "True") in keywords:
      continue
    if called in FORBIDDEN or called.split(".")[-1] in FORBIDDEN_METHODS:
      yield called
    for keyword in node.keywords:
      if (keyword.arg, ast.unparse(keyword.value)) in {
        ("allow_pickle", "True"),
        ("shell", "True"),
        ("weights_only", "False"),
      }:
        yield f"{called}({keyword.arg}=...)"


def test_nothing_in_the_sources_runs_what_a_file_says():
  found = {(path, danger) for path, tree in _sources() for danger in _dangers(tree)}
  # A pickle whose digest the user has named: tests/test_classifiers_torch.py.
  trusted = "compare_gan_logits/classifiers/torch_models.py"
  assert {path for path, _ in found} <= {trusted}
  assert len(found) == 2  # one call, by its name and by its keyword


@pytest.mark.parametrize(
  "text",
  [
    "pickle.load(f)",
    "torch.load(f)",
    "torch.load(f, weights_only=False)",
    "np.load(f, allow_pickle=True)",
    "tar.extractall()",
    "subprocess.run(x, shell=True)",
    "eval(text)",
  ],
)
def test_the_search_finds_what_it_should(text):
  assert list(_dangers(ast.parse(text)))


class _Command:
  """Pickled, it makes a folder when it is read by the plain unpickler."""

  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return os.mkdir, (self._path,)


def test_a_pickle_with_a_command_in_it_is_refused_unrun(tmp_path):
  harm = str(tmp_path / "harm")
  data = pickle.dumps({"weights": _Command(harm)})
  with pytest.raises(UserError, match="damaged or unsafe"):
    weight_files.load_pickle(io.BytesIO(data))
  assert not os.path.exists(harm)
  pickle.loads(data)  # the command works
  assert os.path.isdir(harm)
  np.save(
    tmp_path / "array.npy", np.array([_Command(harm + "2")], object), allow_pickle=True
  )
  with pytest.raises(ValueError, match="allow_pickle"):
    np.load(tmp_path / "array.npy")
  assert not os.path.exists(harm + "2")


@pytest.mark.parametrize("kind", ["h5", "keras"])
def test_python_in_a_keras_file_is_refused_unrun(tmp_path, monkeypatch, kind):
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  harm, path = str(tmp_path / "harm"), str(tmp_path / f"model.{kind}")
  with tf.Graph().as_default():
    keras.Sequential(
      [
        keras.layers.Input((8, 8, 1)),
        keras.layers.Flatten(),
        keras.layers.Lambda(lambda x: (__import__("os").makedirs(harm), x)[1]),
      ]
    ).save(path)
  os.rmdir(harm)  # it ran when it was made
  with pytest.raises(UserError, match="lambda"):
    classifiers.load(path)
  assert not os.path.exists(harm)


def test_a_tar_is_read_in_place_whatever_its_names_say(tmp_path):
  inside = tmp_path / "deep" / "set"
  inside.mkdir(parents=True)
  file = io.BytesIO()
  Image.new("RGB", (8, 8), "red").save(file, "PNG")
  with tarfile.open(inside / "all.tar", "w") as tar:
    for name in (
      "train/cats/1.png",
      "validation/cats/1.png",
      "../../evil.png",
      "/tmp/evil.png",
      "train/../evil.png",
      "train/cats/link.png",
    ):
      member = tarfile.TarInfo(name)
      if "link" in name:
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
      else:
        member.size = len(file.getvalue())
        tar.addfile(member, io.BytesIO(file.getvalue()))
  before = sorted(str(path) for path in tmp_path.rglob("*"))
  dataset = datasets.get_dataset(f"{inside}@8")
  images, _ = dataset.arrays("train")
  assert len(images) == 1 and dataset.class_names == ["cats"]
  assert len(dataset.listing.left_out["names that lead out of their tar"]) == 2
  assert len(dataset.listing.left_out["links to what their tar does not hold"]) == 1
  assert sorted(str(path) for path in tmp_path.rglob("*")) == before
  assert not os.path.exists("/tmp/evil.png")


def _png_of(width, height):
  """Bytes of a PNG that claims to be so large, and ends there."""
  file = io.BytesIO()
  Image.new("1", (1, 1)).save(file, "PNG")
  data = bytearray(file.getvalue())
  data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
  data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
  return bytes(data)


@pytest.mark.parametrize(
  "width, height",
  [(10001, 10000), (20000, 20000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)],
)
def test_images_have_a_pixel_bound(width, height):
  with pytest.raises(UserError, match="more than 100 million pixels; make it smaller"):
    image_lib.read_image(_png_of(width, height), 8, 3, "the file")


def test_a_classifier_can_be_pinned(tmp_path):
  rng = np.random.default_rng(0)
  path = tiny.write_classifier(
    tmp_path / "model", rng.normal(size=[64, 4]).astype(np.float32)
  )
  digest = classifiers.from_gin(path).digest
  assert re.fullmatch("[0-9a-f]{64}", digest)
  assert classifiers.from_gin(path, digest=digest).digest == digest
  shutil.rmtree(path)
  tiny.write_classifier(path, rng.normal(size=[64, 4]).astype(np.float32))
  with pytest.raises(UserError, match=f"has changed.*not {digest}.*if you trust it"):
    classifiers.from_gin(path, digest=digest)


def test_a_wrong_digest_is_refused_before_anything_is_loaded(tmp_path, monkeypatch):
  path = tiny.write_classifier(tmp_path / "model", np.ones([64, 4], np.float32))

  def refuse(*_):
    raise AssertionError("it was loaded")

  monkeypatch.setattr("tensorflow_hub.load", refuse)
  with pytest.raises(UserError, match="digest"):
    classifiers.from_gin(path, digest="0" * 64)


# Local pages ---------------------------------------------------------------------


SIZE = 8
SECRET = "the secret of the test"


def _study(folder):
  pictures = os.path.join(folder, "study", "images")
  os.makedirs(pictures)
  for name in ("original", "a", "b"):
    Image.new("L", (SIZE, SIZE)).save(os.path.join(pictures, f"0000_{name}.png"))
  files.write_json(
    os.path.join(folder, "study", "trials.json"),
    {
      "format": 1,
      "id": "abc",
      "models": {key: {"label": SECRET} for key in "ab"},
      "dataset": "x",
      "image_size": SIZE,
      "seed": 0,
      "trials": [{"image": 0, "left": "a", "right": "b"}],
    },
  )
  return trials.Study.load(os.path.join(folder, "study"))


@pytest.fixture(scope="module", params=["study", "explorer"])
def page(request, tmp_path_factory):
  """(port of a running page, its name); beside its files lies secret.txt."""
  folder = str(tmp_path_factory.mktemp(request.param))
  files.write_text(os.path.join(folder, "secret.txt"), SECRET)
  if request.param == "study":
    running = study_server.open_server(_study(folder), web.listen())
  else:
    explorer = explorer_server.Explorer(
      [("", explorer_modules.write(folder, "linear"))]
    )
    running = explorer_server.open_server(explorer, web.listen())
  threading.Thread(target=running.run, daemon=True).start()
  yield int(running.effective_port), request.param
  running.close()


def _ask(port, request, patience=60):
  """Sends bytes over a plain socket; returns what comes back in time, as text."""
  with socket.create_connection(("127.0.0.1", port), patience) as connection:
    with contextlib.suppress(OSError):  # It may close before it has read all.
      connection.sendall(request)
    parts = []
    with contextlib.suppress(OSError):
      for part in iter(lambda: connection.recv(2**16), b""):
        parts.append(part)
  return b"".join(parts).decode("utf-8", "replace")


def _http(port, path="/", method="GET", body=b"", headers=()):
  head = [
    f"{method} {path} HTTP/1.1",
    f"Host: 127.0.0.1:{port}",
    "Connection: close",
    f"Content-Length: {len(body)}",
    *headers,
  ]
  return _ask(port, "\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + body)


def _still_answers(port):
  assert _http(port).startswith("HTTP/1.1 200")


def test_loopback_is_the_default(page):
  port, _ = page
  with socket.socket() as probe:
    probe.connect(("127.0.0.1", port))
    assert probe.getpeername()[0] == "127.0.0.1"
  with web.listen() as listener:
    assert listener.getsockname()[0] == "127.0.0.1"
  for tool in ("two_afc", "explore"):
    path = os.path.join(ROOT, "compare_gan_logits", "cli", tool + ".py")
    with open(path, encoding="utf-8") as f:
      assert 'DEFINE_string("host","127.0.0.1"' in "".join(f.read().split())


@pytest.mark.parametrize(
  "path",
  [
    "/../secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/secret.txt",
    "//etc/passwd",
    "/etc/passwd",
    "/style.css/../../secret.txt",
    "/trials.json",
    "/answers.sqlite",
    "/picture/abc/0/../../../trials.json",
    "/picture/abc/0/..%2f..%2ftrials.json",
    "/picture/abc/0/a.png",
    "/picture/../0/left.png",
    "/page.html",
    "/server.py",
    "/static/../server.py",
    "/style.css%00.png",
    "/\\..\\secret.txt",
    "/s/..%2f..%2fsecret.txt",
    "/s/%00",
    "/s/" + "A" * 9000,
    "file:///etc/passwd",
    "*",
  ],
)
def test_no_path_outside_its_own_is_served(page, path):
  port, _ = page
  answer = _http(port, path)
  assert SECRET not in answer and "root:" not in answer and "def " not in answer
  assert re.match(r"HTTP/1.[01] (400|404|405|414|308|431)", answer), answer[:200]
  _still_answers(port)


@pytest.mark.parametrize(
  "text",
  ["<script>alert(1)</script>", '"><img src=x>', "{{70007*7}}", "'onload=alert(1)"],
)
def test_what_is_sent_is_shown_escaped(page, text):
  port, kind = page
  form = ("Content-Type: application/x-www-form-urlencoded",)
  answers = [_http(port, "/" + quote(text)), _http(port, "/s/" + quote(text))]
  if kind == "study":
    answers.append(_http(port, "/start", "POST", f"code={quote(text)}".encode(), form))
    answers.append(
      _http(port, "/s/A1", "POST", f"trial={quote(text)}&side=left".encode(), form)
    )
  for answer in answers:
    assert answer.startswith(("HTTP/1.1 400", "HTTP/1.1 404")), answer[:100]
    content = answer.partition("\r\n\r\n")[2]
    # A template's braces may come back as they are, but not computed.
    assert text.startswith("{") or text not in content
    assert "490049" not in content


def test_requests_that_are_none(page):
  port, _ = page
  rng = np.random.default_rng(0)
  host = f"Host: 127.0.0.1:{port}\r\n".encode()
  for request in (
    b"",
    b"\r\n\r\n",
    b"GET",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    rng.bytes(999),
    b"\0" * 500,
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /show HTTP/1.1\r\n" + host + b"Content-Length: 1e9\r\n\r\n",
    b"POST /show HTTP/1.1\r\n" + host + b"Content-Length: 99\r\n\r\nshort",
    b"POST /show HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 30000,
    b"GET / HTTP/1.1\r\nHost: " + b"x" * 300000 + b"\r\n\r\n",
  ):
    answer = _ask(port, request, patience=0.3)
    assert "Traceback" not in answer and 'File "' not in answer
  _still_answers(port)


def _random_request(rng, kind):
  """(path, method, body, headers), half of it nearly right."""
  routes = {
    "study": ["/", "/start", "/s/A1", "/s/", "/picture/abc/0/left.png", "/style.css"],
    "explorer": [
      "/",
      "/photo",
      "/show",
      "/open",
      "/save/png",
      "/save/json",
      "/save/exe",
      "/page.js",
    ],
  }[kind]
  words = [
    b'{"photo": "x"}',
    b"[",
    b"null",
    b"code=A1",
    b"trial=0&side=left",
    b"side=up",
    b'{"format": 1}',
    b"%00",
    b'{"photo": ' + b"[" * 2000,
    b"1" * 5000,
    b"\xff" * 9,
  ]
  path = routes[rng.integers(len(routes))]
  if rng.random() < 0.5:
    path += "".join(chr(c) for c in rng.integers(33, 127, rng.integers(1, 20)))
  method = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"][rng.integers(7)]
  body = (
    words[rng.integers(len(words))]
    if rng.random() < 0.7
    else rng.bytes(rng.integers(0, 300))
  )
  kinds = [
    "application/json",
    "application/x-www-form-urlencoded",
    "\x80",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "text/plain; charset=x",
  ]
  headers = [f"Content-Type: {kinds[rng.integers(len(kinds))]}"]
  extra = [
    "Origin: http://evil.example",
    "Cookie: a=" + "b" * 900,
    "Range: bytes=9-1",
    "Accept-Encoding: ;;q=x",
    "If-Modified-Since: never",
    "Content-Encoding: gzip",
    "X-Forwarded-Host: evil.example",
    "Expect: 100-continue",
  ]
  headers += [header for header in extra if rng.random() < 0.2]
  return path, method, body, headers


@pytest.mark.long
def test_two_hundred_clients_with_random_requests(page, capfd):
  port, kind = page
  rng = np.random.default_rng(0)
  requests = [_random_request(rng, kind) for _ in range(800)]
  with concurrent.futures.ThreadPoolExecutor(200) as pool:
    answers = list(pool.map(lambda request: _http(port, *request), requests))
  for request, answer in zip(requests, answers):
    # An answer of 100 asks for the body, and another one follows.
    statuses = re.findall(r"^HTTP/1\.[01] ([0-9]{3}) ", answer, re.MULTILINE)
    assert statuses and max(statuses) < "500", (request, answer[:300])
    assert "Traceback" not in answer and "evil.example" not in answer, request
  assert "Traceback" not in capfd.readouterr().err
  _still_answers(port)


def test_clients_that_never_finish(page):
  port, _ = page
  with contextlib.ExitStack() as stack:
    for _ in range(60):
      slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
      slow.sendall(b"POST /show HTTP/1.1\r\nContent-Length: 100\r\n")
    _still_answers(port)


def test_two_hundred_clients_get_the_page(page):
  port, _ = page
  with concurrent.futures.ThreadPoolExecutor(200) as pool:
    answers = list(pool.map(lambda _: _http(port), range(200)))
  assert all(answer.startswith("HTTP/1.1 200") for answer in answers)
  assert all("Content-Security-Policy" in answer for answer in answers)
