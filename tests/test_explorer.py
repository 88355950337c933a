"""The explorer without a browser: views, what they show, saving, and the server."""

import base64
import concurrent.futures
import dataclasses
import io
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import urllib.error
import urllib.request

import explorer_modules
import numpy as np
import pytest
import tiny
from PIL import Image

from compare_gan_logits import classifiers
from compare_gan_logits import datasets
from compare_gan_logits import inversion
from compare_gan_logits.apps import web
from compare_gan_logits.apps.explorer import controls
from compare_gan_logits.apps.explorer import examples
from compare_gan_logits.apps.explorer import saving
from compare_gan_logits.apps.explorer import server
from compare_gan_logits.apps.explorer import view as view_lib
from compare_gan_logits.apps.explorer.view import View
from compare_gan_logits.classifiers import foreign
from compare_gan_logits.errors import UserError
from compare_gan_logits.inversion import Inverter


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOL = os.path.join(ROOT, "tools", "explore.py")
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(0, 0.3, [64, 4]).astype(np.float32)
MATRIX = RNG.normal(0, 0.02, [4, 64])
NOISE = RNG.normal(0, 0.02, [3, 64])
PIXELS = RNG.integers(0, 256, [2, 8, 8, 1], dtype=np.uint8)
PHOTO, SECOND = (view_lib.encode(pixels) for pixels in PIXELS)


@pytest.fixture(scope="module")
def inverter(tmp_path_factory):
  path = tmp_path_factory.mktemp("modules") / "linear"
  names = ["crane", "crane", "<b>", "boot"]
  module = tiny.write_module(path, tiny.linear(MATRIX, NOISE), class_names=names)
  return Inverter.load(module, tiny.LinearClassifier(KERNEL))


def test_a_set_of_one_unlabelled_image_opens():
  one = tiny.Images(np.zeros([1, 8, 8, 1], np.float32), np.array([-1]))
  unchanged = types.SimpleNamespace(prepare=lambda images: images)
  (example,) = examples._of_dataset(one, unchanged)
  assert example[1] == "?"
  shown = types.SimpleNamespace(examples=[example])
  view = server.Explorer.first_view(shown)
  assert (view.photo, view.second) == (example[0], None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  folder = str(tmp_path_factory.mktemp("modules"))
  return [explorer_modules.write(folder, name) for name in ("robust", "<i>other")]


@pytest.fixture(scope="module")
def explorer(folders):
  return server.Explorer([("", folder) for folder in folders])


@pytest.fixture
def client(explorer):
  return server.create_app(explorer).test_client()


# What a view shows ---------------------------------------------------------------


def _logits(pixels):
  return (pixels.reshape(-1).astype(np.float32) / 255) @ KERNEL


def _painted(logits, noise):
  return np.clip(0.5 + logits @ MATRIX + noise @ NOISE, 0, 1).reshape(-1, 8, 8, 1)


def _noise(samples, seed=0):
  return np.random.default_rng(seed).standard_normal([samples, 3])


@pytest.mark.parametrize(
  "fields, expected",
  [
    ({}, lambda z, z2: z),
    ({"shift": 0.35}, lambda z, z2: z + 0.35),
    ({"scale": 0.3}, lambda z, z2: z * 10**0.3),
    ({"scale": -0.3, "shift": 1.0}, lambda z, z2: z * 10**-0.3 + 1.0),
    (
      {"variance": 0.55, "perturbation_seed": 7},
      lambda z, z2: z + np.random.default_rng(7).normal(0, np.sqrt(0.55), 4),
    ),
    ({"mix": 0.25}, lambda z, z2: 0.75 * z + 0.25 * z2),
    ({"raised": (("boot", 2.0), ("crane_2", -1.5))}, lambda z, z2: z + [0, -1.5, 0, 2]),
    ({"swapped": ("crane", "<b>")}, lambda z, z2: z[[2, 1, 0, 3]]),
    ({"keep": 2}, lambda z, z2: np.where(z >= np.sort(z)[-2], z, 0)),
    (
      {"keep": 1, "raised": (("boot", 20.0),), "shift": 0.5},
      lambda z, z2: np.array([0, 0, 0, z[3] + 20]) + 0.5,
    ),
  ],
)
def test_logits_and_pictures_in_closed_form(inverter, fields, expected):
  view = View(PHOTO, SECOND, noise_seed=3, samples=2, **fields)
  shown = view_lib.compute(inverter, view)
  logits = expected(_logits(PIXELS[0]), _logits(PIXELS[1]))
  np.testing.assert_allclose(
    shown.seen_logits, _logits(PIXELS[0]), rtol=1e-4, atol=1e-4
  )
  np.testing.assert_allclose(shown.logits, logits, rtol=1e-4, atol=1e-4)
  pictures = _painted(logits, _noise(2, 3))
  np.testing.assert_allclose(shown.pictures, pictures, atol=1e-5)
  np.testing.assert_allclose(
    shown.picture_logits, pictures.reshape(2, 64) @ KERNEL, rtol=1e-3, atol=1e-3
  )


def test_the_plain_view_is_reconstruct_bit_for_bit(inverter):
  shown = view_lib.compute(inverter, View(PHOTO, samples=3, noise_seed=5))
  np.testing.assert_array_equal(shown.photo, PIXELS[0] / np.float32(255))
  np.testing.assert_array_equal(
    shown.pictures, inverter.reconstruct(PIXELS[:1], samples=3, seed=5)[0]
  )


def test_what_the_classifier_sees(inverter):
  image = PIXELS[0] / np.float32(255)

  def seen(**fields):
    return view_lib.compute(inverter, View(PHOTO, **fields)).seen

  np.testing.assert_allclose(
    seen(brightness=1.5), np.clip(1.5 * image, 0, 1), atol=1e-6
  )
  np.testing.assert_array_equal(seen(rotation=90), np.rot90(image))
  np.testing.assert_array_equal(seen(rotation=-180), np.rot90(image, 2))
  smooth = seen(sharpness=0.0)
  assert (
    np.abs(np.diff(smooth, axis=0)).mean() < 0.7 * np.abs(np.diff(image, axis=0)).mean()
  )
  # FGSM on logits = x @ KERNEL: the gradient of the cross-entropy is KERNEL (p - y).
  for brightness in (1.0, 0.5):  # what is attacked has been adjusted
    adjusted = brightness * image
    p = view_lib.confidences(adjusted.reshape(-1) @ KERNEL)
    gradient = KERNEL @ (p - np.eye(4)[p.argmax()])
    attacked = np.clip(adjusted + 0.1 * np.sign(gradient).reshape(8, 8, 1), 0, 1)
    np.testing.assert_allclose(
      seen(brightness=brightness, epsilon=0.1), attacked, atol=1e-6
    )


def test_rotation_between_quarter_turns_goes_the_same_way():
  image = np.zeros([1, 33, 33, 1], np.float32)
  image[0, 4:12, 14:19] = 1.0  # above the centre
  near = view_lib.rotate(image, 85)
  assert np.abs(near - view_lib.rotate(image, 90)).mean() < 0.02
  assert near[0, 16, 8, 0] == pytest.approx(1.0, abs=1e-5)  # left of it


def test_an_unknown_class_is_named_and_left_alone(inverter):
  view = View(PHOTO, raised=(("zebra", 1.0),), swapped=("boot", "zebra"))
  shown = view_lib.compute(inverter, view)
  assert shown.unknown == ("boot", "zebra")[1:] * 2
  np.testing.assert_array_equal(shown.logits, shown.seen_logits)


def test_samples_do_not_depend_on_their_number(inverter):
  few, many = (view_lib.compute(inverter, View(PHOTO, samples=n)) for n in (2, 8))
  np.testing.assert_allclose(few.pictures, many.pictures[:2], atol=1e-6)


# Views as text -------------------------------------------------------------------


FULL = View(
  PHOTO,
  SECOND,
  1.2,
  0.8,
  -35,
  0.105,
  0.62,
  ("crane", "boot"),
  (("<b>", 0.1 + 0.2), ("'\"\n", -3)),
  3,
  -0.15,
  0.3,
  0.55,
  4,
  5,
  6,
)


def test_a_view_survives_its_file_exactly():
  modules = {"a": "/m/a", "b'\"": "/m b"}
  text = saving.to_json(modules, FULL)
  assert saving.from_json(text) == (modules, FULL, {})
  assert hash(FULL) == hash(saving.from_json(text).view)
  handles = {"a": "onnx:/c.onnx"}
  text = saving.to_json(modules, FULL, handles)
  assert saving.from_json(text) == (modules, FULL, handles)


@pytest.mark.parametrize(
  "fields, words",
  [
    ({"shift": 99}, "shift is a number from -3 to 3"),
    ({"shift": "1"}, "shift is a number"),
    ({"shift": float("nan")}, "shift is a number"),
    ({"shift": True}, "shift is a number"),
    ({"samples": 2.5}, "samples is a whole number"),
    ({"samples": 10**9}, "samples is a whole number from 1 to 8"),
    ({"keep": 0}, "keep"),
    ({"swapped": ["boot"]}, "swapped"),
    ({"raised": [["boot", 1e9]]}, "raised"),
    ({"raised": [["boot", -1e9]]}, "raised"),
    ({"raised": [["boot"]]}, "raised"),
    ({"raised": [["boot", 1]] * 1000}, "raised"),
    ({"photo": 7}, "no photo"),
    ({"photo": "no base64"}, "PNG"),
    ({"photo": base64.b64encode(b"text").decode()}, "PNG"),
    ({"second": "!"}, "PNG"),
    ({"shfit": 1}, "did you mean 'shift'"),
  ],
)
def test_no_view(fields, words, client):
  values = {"photo": PHOTO, **fields}
  with pytest.raises(UserError, match=words):
    View.from_json(values)
  for path in ("/show", "/save/json"):
    response = client.post(path, data=json.dumps({**values}))
    assert response.status_code == 400
    assert words in response.json["error"]


def test_a_large_photo_inside_a_view_is_refused():
  with pytest.raises(UserError, match="2000x1 pixels"):
    View(view_lib.encode(np.zeros([1, 2000, 1], np.uint8)))


@pytest.mark.parametrize(
  "text",
  [
    "",
    "{",
    "[]",
    "{}",
    "[" * 100_000,
    json.dumps({"format": "compare_gan_logits view 1", "modules": 3, "view": {}}),
  ],
)
def test_no_view_file(text, client):
  with pytest.raises(UserError, match="not a saved view"):
    saving.from_json(text)
  assert client.post("/open", data=text).status_code == 400


def test_every_control_is_a_field_with_its_neutral_value_and_a_finding():
  fields = {field.name: field.default for field in dataclasses.fields(View)}
  for control in controls.CONTROLS:
    assert fields[control.name] == control.neutral
    seeds = {other.seed for other in controls.CONTROLS}
    assert control.finding.count(".") >= 1 or control.name in seeds
  assert View(PHOTO).changes() == []
  assert View(PHOTO, mix=0.5).changes() == []  # there is nothing to mix with
  assert FULL.changes()[:3] == ["brightness ×1.20", "sharpness ×0.80", "rotation -35°"]


@pytest.mark.long
def test_the_snippet_computes_the_view_bit_for_bit(explorer, folders, tmp_path):
  classes = explorer.labels["robust"]
  photo, second = (photo for photo, _ in explorer.examples[3:5])
  view = dataclasses.replace(
    FULL,
    photo=photo,
    second=second,
    swapped=tuple(classes[:2]),
    raised=((classes[4], 2.5), ('\'"\n"""', 1.0)),
  )
  path = tmp_path / "view.py"
  path.write_text(saving.snippet(explorer.modules, view), encoding="utf-8")
  assert "import" not in path.read_text().split("\n")[0]
  # In a process of its own, as its reader will.
  arrays = tmp_path / "arrays.npz"
  with open(path, "a", encoding="utf-8") as f:
    f.write(f"""
import json, numpy as np
assert list(shown) == ["robust", "<i>other"], shown
np.savez({str(arrays)!r}, view=json.dumps(view.to_json()),
         **{{f"{{name}}/{{field}}": value for name in shown
            for field, value in vars(shown[name]).items()}})
""")
  subprocess.run(
    [sys.executable, str(path)],
    check=True,
    timeout=120,
    env={**os.environ, "PYTHONPATH": ROOT},
  )
  here = explorer.show(view)
  with np.load(arrays) as again:
    assert View.from_json(json.loads(str(again["view"]))) == view
    assert list(here) == ["robust", "<i>other"]
    for name, shown in here.items():
      for field in dataclasses.fields(view_lib.Shown):
        np.testing.assert_array_equal(
          again[f"{name}/{field.name}"], getattr(shown, field.name)
        )
  assert np.ptp(here["robust"].pictures) > 0.3


def test_the_picture_is_drawn_in_memory(explorer, client):
  response = client.post(
    "/save/png",
    data=json.dumps(dataclasses.replace(explorer.first_view(), shift=0.5).to_json()),
  )
  image = Image.open(io.BytesIO(response.data))
  assert image.format == "PNG" and image.size[0] > 5 * 100
  colours = np.asarray(image.convert("L"))
  assert len(np.unique(colours)) > 50


def test_the_picture_has_each_module_s_images_and_opinions_in_order(monkeypatch):
  drawn = []
  monkeypatch.setattr(
    saving.figures, "grid", lambda *arguments: drawn.append(arguments)
  )
  certain = np.log([[0.25, 0.75], [0.9, 0.1], [0.5, 0.5]])
  shown = {
    name: view_lib.Shown(
      photo=base,
      seen=base + 1,
      seen_logits=certain[0],
      logits=certain[1],
      pictures=np.array([base + 2, base + 3]),
      picture_logits=certain[1:] if name == "one" else certain[1::-1],
    )
    for base, name in ((0, "one"), (10, "two"))
  }
  names = {"one": ["cat", "dog"], "two": ["car", "bus"]}
  view = View(PHOTO, samples=2, noise_seed=7, perturbation_seed=3, shift=0.5)
  saving.picture(shown, names, view)
  ((rows, _, row_labels, columns, cells, title),) = drawn
  assert rows == [[0, 1, 2, 3], [10, 11, 12, 13]]
  assert row_labels == ["one", "two"]
  assert columns == ["photo", "as seen", "noise 7.0", "noise 7.1"]
  assert cells == [
    ["", "dog 75%", "cat 90%", "cat 50%"],
    ["", "bus 75%", "car 90%", "bus 75%"],
  ]
  assert title == "shift +0.50, noise seed 7"


@pytest.mark.parametrize(
  "name, value, words",
  [
    ("brightness", 0.5, "×0.50"),
    ("scale", -0.3, "×0.50"),
    ("mix", 0.25, "25 %"),
    ("shift", -1.5, "-1.50"),
    ("rotation", 45, "+45°"),
    ("variance", 0.55, "0.55"),
    ("noise_seed", 12, "12"),
  ],
)
def test_a_control_s_value_is_written_in_its_unit(name, value, words):
  assert controls.BY_NAME[name].write(value) == words


# The server ------------------------------------------------------------------------


def _png(shape, mode="RGB"):
  file = io.BytesIO()
  Image.new(mode, shape, "gray").save(file, "PNG")
  return file.getvalue()


def test_the_page_shows_what_compute_gives(explorer, client):
  view = dataclasses.replace(explorer.first_view(), shift=0.5, samples=2)
  answer = client.post("/show", data=json.dumps(view.to_json())).json["modules"]
  for described, (name, shown) in zip(answer, explorer.show(view).items()):
    assert described["name"] == name
    pictures = [view_lib.decode(p["image"])[..., 0] for p in described["pictures"]]
    np.testing.assert_array_equal(pictures, np.round(shown.pictures[..., 0] * 255))
    order = np.argsort(-shown.logits)
    assert [entry["name"] for entry in described["top"]] == [
      explorer.labels[name][i] for i in order[:5]
    ]
    given = view_lib.confidences(shown.logits)
    assert described["top"][0]["confidence"] == pytest.approx(given.max())
    for picture, logits in zip(described["pictures"], shown.picture_logits):
      assert picture["kept"] == (logits.argmax() == order[0])


def test_a_single_logit_is_shown_as_it_is_and_keeps_no_class(tmp_path):
  module = explorer_modules.write_many(str(tmp_path), "alone", ["smiling"])
  alone = server.Explorer([("", module)])
  view = dataclasses.replace(alone.first_view(), samples=1)
  client = server.create_app(alone).test_client()
  (answer,) = client.post("/show", data=json.dumps(view.to_json())).json["modules"]
  (shown,) = alone.show(view).values()
  (picture,) = answer["pictures"]
  assert picture["kept"] is None
  assert picture["logit"] == pytest.approx(float(shown.picture_logits[0, 0]))
  assert answer["seen_class"]["logit"] == pytest.approx(float(shown.seen_logits[0]))
  assert saving._opinion(np.array([-2.3456]), ["smiling"]) == "smiling logit -2.35"


def test_nothing_of_users_reaches_html_unescaped(client):
  page = client.get("/").get_data(as_text=True)
  assert "<i>other" not in page and "\\u003ci\\u003eother" in page
  assert "script-src" not in page
  headers = client.get("/").headers
  assert "default-src 'self'" in headers["Content-Security-Policy"]
  assert "unsafe" not in headers["Content-Security-Policy"]


def test_other_sites_hosts_and_paths_are_refused(explorer, client):
  view = json.dumps(explorer.first_view().to_json())
  assert (
    client.post(
      "/show", data=view, headers={"Origin": "http://evil.example"}
    ).status_code
    == 403
  )
  assert client.get("/view.py").status_code == 404
  assert client.get("/../server.py").status_code == 404
  assert client.get("/show").status_code == 405
  assert client.post("/show", data="no json").status_code == 400
  local = server.create_app(explorer, host="127.0.0.1").test_client()
  assert local.get("/", headers={"Host": "evil.example"}).status_code == 400
  assert local.get("/", headers={"Host": "127.0.0.1"}).status_code == 200


def test_a_failure_is_told_and_survived(explorer, client, monkeypatch, capsys):
  monkeypatch.setattr(explorer, "show", lambda *_: 1 / 0)
  view = json.dumps(explorer.first_view().to_json())
  response = client.post("/show", data=view)
  assert response.status_code == 500 and "ZeroDivisionError" in response.json["error"]
  assert "Traceback" in capsys.readouterr().err
  monkeypatch.undo()
  assert client.post("/show", data=view).status_code == 200


def test_a_missing_module_is_told_and_the_others_shown(folders, tmp_path, explorer):
  plain = tiny.write_module(tmp_path / "plain", tiny.linear(MATRIX))
  broken = tmp_path / "broken"
  broken.mkdir()
  (broken / "inversion.json").write_text("{")
  some = server.Explorer(
    [("good", folders[0]), ("", str(tmp_path / "gone")), ("", plain), ("", str(broken))]
  )
  assert list(some.inverters) == ["good"]
  assert list(some.problems) == ["gone", "plain", "broken"]
  page = server.create_app(some).test_client().get("/").get_data(as_text=True)
  for words in ("holds no inversion.json", "without a classifier", "is damaged"):
    assert words in page


def test_without_any_module_there_is_no_explorer(tmp_path):
  gone = [("", str(tmp_path / name)) for name in ("a", "b")]
  with pytest.raises(
    UserError, match=r"a cannot be loaded: .* inversion\.json.*; .*b "
  ):
    server.Explorer(gone)


@pytest.fixture
def port(explorer):
  running = server.open_server(explorer, web.listen())
  threading.Thread(target=running.run, daemon=True).start()
  yield running.effective_port
  running.close()


def _request(port, path, body=b"", read=True):
  """A POST over a plain socket: the whole answer, or at once the open socket."""
  connection = socket.create_connection(("127.0.0.1", port), timeout=60)
  connection.sendall(
    f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    + body
  )
  if not read:
    return connection
  with connection:
    parts = iter(lambda: connection.recv(2**16), b"")
    head, _, content = b"".join(parts).partition(b"\r\n\r\n")
  return int(head.split()[1]), json.loads(content)


def test_photos_large_small_and_none_over_the_wire(port, monkeypatch):
  """50 megapixels, and 12 MB of a photo, without a single temporary file."""

  def refuse(*_, **__):
    raise AssertionError("a temporary file was asked for")

  for name in (
    "TemporaryFile",
    "NamedTemporaryFile",
    "SpooledTemporaryFile",
    "mkstemp",
  ):
    monkeypatch.setattr(tempfile, name, refuse)
  status, answer = _request(port, "/photo", _png((8660, 5774)))
  assert status == 200 and view_lib.decode(answer["photo"]).shape == (32, 32, 1)
  noisy = io.BytesIO()
  Image.fromarray(RNG.integers(0, 256, [2000, 2000, 3], np.uint8)).save(noisy, "PNG")
  assert len(noisy.getvalue()) > 10_000_000
  assert _request(port, "/photo", noisy.getvalue())[0] == 200
  status, answer = _request(port, "/photo", b"just text\n" * 100)
  assert status == 400 and "the file cannot be read as an image" in answer["error"]
  assert _request(port, "/photo", b"")[0] == 400
  status, answer = _request(port, "/photo", _png((20000, 6000), "L"))
  assert status == 400 and "more than 100 million" in answer["error"]
  assert _request(port, "/open", b"x" * (server._MAX_VIEW + 1))[0] == 413


def test_many_at_once_get_their_own(explorer, port):
  views = [
    dataclasses.replace(
      explorer.first_view(), shift=shift, samples=1, photo=explorer.examples[i][0]
    )
    for i, shift in enumerate(np.linspace(-1, 1, 12).round(2).tolist())
  ]
  expected = [explorer.show(view)["robust"].pictures[0, ..., 0] for view in views]
  with concurrent.futures.ThreadPoolExecutor(12) as pool:
    answers = list(
      pool.map(
        lambda view: _request(port, "/show", json.dumps(view.to_json()).encode()), views
      )
    )
  for (status, answer), picture in zip(answers, expected):
    assert status == 200
    got = view_lib.decode(answer["modules"][0]["pictures"][0]["image"])[..., 0]
    np.testing.assert_array_equal(got, np.round(picture * 255))


def test_closed_tabs_cost_nothing_and_break_nothing(explorer, port, monkeypatch):
  computed, real = [], view_lib.compute

  def slow(inverter, view):
    computed.append(view.noise_seed)
    time.sleep(0.5)
    return real(inverter, view)

  monkeypatch.setattr(view_lib, "compute", slow)
  monkeypatch.setattr(explorer, "inverters", {"robust": explorer.inverters["robust"]})

  def ask(seed, read=False):
    view = dataclasses.replace(explorer.first_view(), noise_seed=seed)
    return _request(port, "/show", json.dumps(view.to_json()).encode(), read)

  first = ask(1)
  while not computed:
    time.sleep(0.01)
  waiting = [ask(seed) for seed in (2, 3, 4)]
  time.sleep(0.1)
  for connection in (first, *waiting):  # in the middle of it, and before it began
    connection.close()
  time.sleep(0.1)
  assert ask(5, read=True)[0] == 200
  assert computed == [1, 5]


def _run(*arguments):
  return subprocess.run(
    [sys.executable, TOOL, *arguments],
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
  )


@pytest.mark.parametrize(
  "arguments, words",
  [
    (("what",), "unexpected argument 'what'"),
    (("--open", "gone.json"), "cannot read gone.json"),
  ],
)
def test_wrong_commands_end_in_one_sentence(arguments, words):
  done = _run(*arguments)
  assert done.returncode == 1 and words in done.stderr
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.long
def test_the_command_opens_a_view_and_writes_nothing(explorer, folders, tmp_path):
  """Once it listens, its process may not write one byte into any file."""
  view = dataclasses.replace(explorer.first_view(), shift=0.45)
  file, temporary = tmp_path / "view.json", tmp_path / "temporary"
  file.write_text(saving.to_json({"mine": folders[0]}, view))
  temporary.mkdir()
  with subprocess.Popen(
    [sys.executable, TOOL, "--open", str(file), "--port", "0"],
    text=True,
    stdout=subprocess.PIPE,
    cwd=temporary,
    env={**os.environ, "PYTHONPATH": ROOT, "TMPDIR": str(temporary)},
  ) as process:
    try:
      line = process.stdout.readline()
      resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))
      address = next(word for word in line.split() if word.startswith("http"))
      assert address.startswith("http://127.0.0.1:")
      page = urllib.request.urlopen(address, timeout=60).read().decode()
      start = page.index('id="config">') + len('id="config">')
      config = json.loads(page[start : page.index("</script>", start)])
      assert View.from_json(config["view"]) == view
      assert [module["name"] for module in config["modules"]] == ["mine"]
      port = int(address.rstrip("/").rpartition(":")[2])
      noisy = io.BytesIO()
      Image.fromarray(RNG.integers(0, 256, [1000, 1000, 3], np.uint8)).save(
        noisy, "PNG"
      )
      status, answer = _request(port, "/photo", noisy.getvalue())  # 3 MB
      assert status == 200
      uploaded = json.dumps({**view.to_json(), "photo": answer["photo"]}).encode()
      status, answer = _request(port, "/show", uploaded)
      assert status == 200 and len(answer["modules"][0]["pictures"]) == 4
      for kind in ("png", "json", "py"):
        request = urllib.request.Request(f"{address}save/{kind}", uploaded)
        assert len(urllib.request.urlopen(request, timeout=60).read()) > 1000
      assert [name for _, _, names in os.walk(temporary) for name in names] == []
    finally:
      process.terminate()


def test_an_address_in_use_is_one_sentence_before_anything_is_loaded(port):
  with pytest.raises(UserError, match="choose another"):
    web.listen(port=port)
  code = f"""
import runpy, sys
sys.argv = [{TOOL!r}, "--module", "gone", "--port", "{port}"]
try:
  runpy.run_path({TOOL!r}, run_name="__main__")
finally:
  print([name for name in ("tensorflow", "matplotlib") if name in sys.modules])"""
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": ROOT},
    timeout=120,
  )
  assert done.returncode == 1 and done.stdout == "[]\n"
  assert "choose another --port" in done.stderr and done.stderr.count("\n") == 1


# Behind a proxy ------------------------------------------------------------------

OUTER = "https://hub.example/user/me/proxy/8001/"


@pytest.mark.parametrize("stripped", [True, False])
def test_behind_a_proxy_the_page_takes_its_own_requests_and_no_others(
  stripped, explorer
):
  """A notebook server's proxy strips its prefix off the paths, others leave it."""
  running = server.open_server(explorer, web.listen(), outer_url=OUTER)
  threading.Thread(target=running.run, daemon=True).start()
  prefix = "" if stripped else "/user/me/proxy/8001"
  root = f"http://127.0.0.1:{running.effective_port}{prefix}/"

  def ask(path, origin=None, host="hub.example"):
    data = None if origin is None else json.dumps(explorer.first_view().to_json())
    headers = {"Host": host, **({"Origin": origin} if origin else {})}
    request = urllib.request.Request(
      root + path, data and data.encode(), headers=headers
    )
    try:
      with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
      return error.code, error.read().decode()

  try:
    status, page = ask("")
    assert status == 200 and 'src="/user/me/proxy/8001/page.js"' in page
    assert '"root": "/user/me/proxy/8001/"' in page
    assert ask("page.js")[0] == 200
    assert ask("show", "https://hub.example")[0] == 200
    for origin in ("http://hub.example", "https://evil.example", "null"):
      status, answer = ask("show", origin)
      assert status == 403 and "--outer_url" in answer
    assert ask("", host="evil.example")[0] == 400
    # The tunnel to this machine's own address works as well.
    assert ask("", host=f"127.0.0.1:{running.effective_port}")[0] == 200
  finally:
    running.close()


def test_outer_addresses():
  assert web.outer(None) is None
  assert web.outer("https://Hub.example:443") == (
    "https://hub.example",
    "hub.example",
    "",
  )
  found = web.outer("http://[::1]:8080/a/")
  assert found == ("http://[::1]:8080", "[::1]", "/a")
  at = types.SimpleNamespace(effective_port=80)
  assert web.url("::1", at) == "http://[::1]:80/"
  assert web.url("127.0.0.1", at) == "http://127.0.0.1:80/"
  assert web.url("127.0.0.1", at, "https://x/y/") == "https://x/y/"
  for wrong in ("hub.example", "ftp://x", "https://", "https://x:y/", "https://x/?a=1"):
    with pytest.raises(UserError, match="--outer_url"):
      web.outer(wrong)


# Photos to begin with, classifiers elsewhere ---------------------------------------


def test_the_shipped_inverter_opens_with_photographs_it_may_know():
  photographs = Inverter.load(inversion.SHIPPED)
  found = dict((name, photo) for photo, name in examples.examples([photographs]))
  assert len(found) == 12 and "Sneaker" not in found
  import skimage

  pixels = view_lib.decode(found["cat"])
  size = photographs.image_size
  expected = Image.fromarray(skimage.data.chelsea()).crop((75, 0, 375, 300))
  expected = np.asarray(expected.resize((size, size), Image.Resampling.BICUBIC))
  np.testing.assert_allclose(pixels.astype(float), expected, atol=1)
  # A classifier of garments whose data set is not here is offered garments.
  garments = datasets.get_dataset("embedded").class_names
  lost = photographs
  lost.info = {**lost.info, "dataset": "gone@32"}
  lost.class_names = garments
  assert {name for _, name in examples.examples([lost])} == set(garments)


def test_a_classifier_in_place_of_a_lost_one(tmp_path):
  module = explorer_modules.write(str(tmp_path), "robust")
  copy = (tmp_path / "robust_classifier").rename(tmp_path / "copy")
  with pytest.raises(UserError, match="--classifier"):
    server.Explorer([("", module)])
  names = server.names_of([("", module)])
  assert names == ["robust"]
  handles = {"robust": classifiers.absolute(str(copy))}
  loaded = {"robust": classifiers.load(str(copy))}
  found = server.Explorer([("", module)], loaded, handles)
  assert not found.problems and list(found.inverters) == names
  # What is saved names it as well: the module's own is gone.
  view = found.first_view()
  client = server.create_app(found).test_client()
  saved = client.post("/save/json", json=view.to_json()).text
  assert saving.from_json(saved).classifiers == {"robust": str(copy)}
  assert client.post("/open", data=saved).json["note"] == ""
  plain = saving.to_json(found.modules, view)
  assert (
    "another classifier for robust" in client.post("/open", data=plain).json["note"]
  )
  program = client.post("/save/py", json=view.to_json()).text
  values = {}
  exec(program, values)
  expected = found.show(view)["robust"]
  np.testing.assert_array_equal(values["shown"]["robust"].logits, expected.logits)


class WithoutGradient(tiny.LinearClassifier):
  """As a classifier of another framework that gives logits only."""

  no_gradient = "has no gradient"
  digest, spec = "other", types.SimpleNamespace(name="other", role=None, handle="other")

  def __call__(self, images):
    return foreign.without_gradient(super().__call__(images), images, "no gradient")


def test_a_classifier_without_gradients_is_explored_but_not_attacked(folders):
  kernel = RNG.normal(size=[1024, 10])
  found = server.Explorer([("x", folders[0])], {"x": WithoutGradient(kernel)})
  assert not found.problems
  client = server.create_app(found).test_client()
  view = found.first_view()
  assert client.post("/show", json=view.to_json()).status_code == 200
  attacked = dataclasses.replace(view, epsilon=0.1)
  answer = client.post("/show", json=attacked.to_json())
  assert answer.status_code == 400 and "no gradient" in answer.json["error"]
