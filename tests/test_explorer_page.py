"""The explorer's page in a real browser: desktop, phone, keyboard, saving, opening."""

import base64
import contextlib
import dataclasses
import json
import runpy
import shutil
import threading

import explorer_modules
import numpy as np
import pytest
from PIL import Image

from compare_gan_logits.apps import web
from compare_gan_logits.apps.explorer import controls
from compare_gan_logits.apps.explorer import saving
from compare_gan_logits.apps.explorer import server
from compare_gan_logits.apps.explorer import view as view_lib
from compare_gan_logits.apps.explorer.view import View
from compare_gan_logits.classifiers import zoo


DESKTOP, PHONE = (1280, 800, 1), (390, 844, 3)
# What the page shows for a view, as soon as it shows the present one.
SETTLED = """
  return typeof busy !== "undefined" && !busy && !waiting && last !== null
      && Array.from(document.images).every((image) => image.hidden || image.complete);"""


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
  folder = str(tmp_path_factory.mktemp("modules"))
  return server.Explorer(
    [("", explorer_modules.write(folder, name)) for name in ("robust", "<i>standard")]
  )


@pytest.fixture(scope="module")
def port(explorer):
  running = server.open_server(explorer, web.listen())
  threading.Thread(target=running.run, daemon=True).start()
  yield running.effective_port
  running.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  webdriver = pytest.importorskip("selenium.webdriver")
  binary = shutil.which("chromium") or shutil.which("chromium-browser")
  driver = shutil.which("chromedriver")
  if not binary or not driver:
    pytest.skip("no browser: apt-get install chromium chromium-driver")
  options = webdriver.ChromeOptions()
  options.binary_location = binary
  for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
    options.add_argument(argument)
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  with webdriver.Chrome(options, webdriver.ChromeService(driver)) as opened:
    downloads = tmp_path_factory.mktemp("downloads")
    opened.execute_cdp_cmd(
      "Browser.setDownloadBehavior",
      {"behavior": "allow", "downloadPath": str(downloads)},
    )
    opened.downloads = downloads
    yield opened


@pytest.fixture
def page(browser, port):
  """The page at desktop size, freshly loaded; no console error may come up."""
  resize(browser, *DESKTOP)
  browser.get(f"http://127.0.0.1:{port}/")
  settle(browser)
  yield browser
  # The server's refusals (status 400) are meant; whatever else is logged is not.
  assert [
    entry
    for entry in browser.get_log("browser")
    if "status of 400" not in entry["message"]
  ] == []


def resize(browser, width, height, ratio):
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": ratio > 1},
  )


def wait_for(browser, script, *arguments):
  from selenium.webdriver.support.ui import WebDriverWait

  return WebDriverWait(browser, 60, poll_frequency=0.02).until(
    lambda b: b.execute_script(script, *arguments)
  )


def settle(browser):
  wait_for(browser, SETTLED)


def put(browser, name, value):
  """Moves a control as a hand would, and waits for the pictures."""
  browser.execute_script(
    """
    const input = document.getElementById(arguments[0]);
    input.value = arguments[1];
    input.dispatchEvent(new Event("input", {bubbles: true}));""",
    name,
    str(value),
  )
  settle(browser)


def present(browser):
  return View.from_json(browser.execute_script("return view;"))


def pictures(browser, module):
  """uint8 [samples, h, w] of the pictures that the page has on screen."""
  sources = browser.execute_script(
    """
    return Array.from(document.querySelectorAll("#stage article")).filter(
        (article) => article.dataset.module === arguments[0])[0]
      .querySelectorAll("figure:not(.seen) img").values().map((i) => i.src).toArray();
    """,
    module,
  )
  return np.stack([view_lib.decode(source.split(",")[1])[..., 0] for source in sources])


def check(browser, explorer):
  """What is on screen is what `compute` gives for the page's view."""
  view = present(browser)
  for name, shown in explorer.show(view).items():
    np.testing.assert_array_equal(
      pictures(browser, name), np.round(shown.pictures[..., 0] * 255)
    )
  return view


def message(browser):
  return browser.execute_script("""
    const box = document.getElementById("message");
    return box.hidden ? "" : box.querySelector("p").textContent;""")


def test_every_slider_is_live_and_can_be_reset(page, explorer):
  plain = check(page, explorer)
  assert plain == explorer.first_view()
  for control in controls.CONTROLS:
    before = pictures(page, "robust")
    value = 1 if control.name.endswith("seed") else control.high - control.step
    if control.name == "perturbation_seed":
      put(page, "variance", 0.55)
      before = pictures(page, "robust")
    put(page, control.name, value)
    view = check(page, explorer)
    assert getattr(view, control.name) == pytest.approx(value)
    after = pictures(page, "robust")
    assert before.shape != after.shape or np.any(before != after), control.name
    page.execute_script(
      """document.getElementById(arguments[0]).closest(".control")
                           .querySelector(".reset").click()""",
      control.name,
    )
    settle(page)
    assert check(page, explorer) == plain


def test_only_the_newest_waiting_change_is_computed(page, explorer, monkeypatch):
  asked, real = [], explorer.show

  def show(view, *arguments):
    asked.append(view.shift)
    return real(view, *arguments)

  monkeypatch.setattr(explorer, "show", show)
  page.execute_script("""
    const input = document.getElementById("shift");
    for (let i = 1; i <= 60; i++) {
      input.value = i / 20;
      input.dispatchEvent(new Event("input", {bubbles: true}));
    }""")
  settle(page)
  assert len(asked) <= 2 and asked[-1] == 3.0


def test_keyboard_alone(page, explorer):
  from selenium.webdriver.common.action_chains import ActionChains
  from selenium.webdriver.common.keys import Keys

  for _ in range(100):
    ActionChains(page, duration=0).send_keys(Keys.TAB).perform()
    if page.switch_to.active_element.get_attribute("id") == "shift":
      break
  ActionChains(page, duration=0).send_keys(Keys.ARROW_RIGHT * 3).perform()
  settle(page)
  assert check(page, explorer).shift == pytest.approx(0.15)
  outline = page.execute_script(
    "return getComputedStyle(document.activeElement).outlineStyle"
  )
  assert outline != "none"


def test_single_classes(page, explorer):
  names = explorer.labels["robust"]
  assert page.execute_script("return rows.size") == len(names)
  put(page, "class-8", 6)
  put(page, "class-0", -2.4)
  assert check(page, explorer).raised == ((names[8], 6.0), (names[0], -2.4))
  page.execute_script(
    """document.querySelectorAll(".row:not(.head) .reset")[8].click()"""
  )
  settle(page)
  put(page, "keep", 2)
  put(page, "swap0", names[1])
  assert check(page, explorer).swapped == ()  # half of a pair changes nothing
  put(page, "swap1", names[7])
  view = check(page, explorer)
  assert (view.raised, view.keep, view.swapped) == (
    ((names[0], -2.4),),
    2,
    (names[1], names[7]),
  )
  opinions = page.execute_script("""
    return Array.from(document.querySelectorAll("#stage article:first-child figcaption"))
      .map((caption) => caption.textContent);""")
  assert len(opinions) == 5 and all("✓" in o or "✗" in o for o in opinions[1:])
  page.execute_script("document.getElementById('reset').click()")
  settle(page)
  assert check(page, explorer) == explorer.first_view()


def test_photos_by_file_paste_drop_and_test_image(page, explorer, tmp_path):
  values = np.random.default_rng(0).integers(0, 256, [48, 60, 3], dtype=np.uint8)
  path = tmp_path / "photo.png"
  Image.fromarray(values).save(path)
  expected = view_lib.read_photo(path.read_bytes(), list(explorer.inverters.values()))
  page.find_element("id", "file").send_keys(str(path))
  wait_for(page, "return view.photo === arguments[0]", expected)
  settle(page)
  check(page, explorer)
  page.execute_script("document.querySelector('[data-slot=second]').click()")
  for event in ("paste", "drop"):
    page.execute_script(
      """
      const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], "photo.png", {type: "image/png"}));
      document.dispatchEvent(arguments[0] === "drop"
        ? new DragEvent("drop", {dataTransfer: data, cancelable: true})
        : new ClipboardEvent("paste", {clipboardData: data}));""",
      event,
      base64.b64encode(path.read_bytes()).decode(),
    )
    wait_for(page, "return view.second === arguments[0]", expected)
    page.execute_script("document.querySelectorAll('#examples button')[6].click()")
    settle(page)
    assert present(page).second == explorer.examples[6][0]
  assert present(page).photo == expected and not message(page)


def test_what_is_no_photo_is_told_and_the_page_lives_on(page, explorer, tmp_path):
  path = tmp_path / "<img src=x onerror=alert(1)>.txt"
  path.write_text("no photo")
  page.find_element("id", "file").send_keys(str(path))
  wait_for(page, "return !document.getElementById('message').hidden")
  assert message(page) == (
    f"{path.name} cannot be read as an image (JPEG, PNG, GIF, WebP, "
    "BMP, TIFF and others can); replace or remove it"
  )
  put(page, "shift", 0.5)
  assert not message(page) and check(page, explorer).shift == 0.5
  wrong = tmp_path / "view.json"
  wrong.write_text("{}")
  page.find_element("id", "open").send_keys(str(wrong))
  wait_for(page, "return !document.getElementById('message').hidden")
  assert "not a saved view" in message(page) and present(page).shift == 0.5


def _save(page, kind):
  page.execute_script(
    "document.querySelector(`[data-save=${arguments[0]}]`).click()", kind
  )
  path = page.downloads / f"view.{kind}"
  for _ in range(600):
    if path.exists() and path.stat().st_size:
      break
    threading.Event().wait(0.05)
  return path


def test_save_and_open_again(page, explorer):
  names = explorer.labels["robust"]
  put(page, "scale", 0.3)
  put(page, "noise_seed", 7)
  put(page, "class-3", 4)
  view = check(page, explorer)
  shown = pictures(page, "<i>standard")
  file, code, picture = (_save(page, kind) for kind in ("json", "py", "png"))
  assert saving.from_json(file.read_text()) == (explorer.modules, view, {})
  assert view.raised == ((names[3], 4.0),)
  again = runpy.run_path(str(code))["shown"]["<i>standard"].pictures[..., 0]
  np.testing.assert_array_equal(np.round(again * 255), shown)
  assert Image.open(picture).size[0] > 700
  page.refresh()
  settle(page)
  assert present(page) == explorer.first_view()
  page.find_element("id", "open").send_keys(str(file))
  wait_for(page, "return view.noise_seed === 7")
  settle(page)
  assert check(page, explorer) == view
  np.testing.assert_array_equal(pictures(page, "<i>standard"), shown)
  for path in (file, code, picture):
    path.unlink()


def test_a_view_of_other_modules_and_a_server_that_is_gone(page, explorer, tmp_path):
  path = tmp_path / "view.json"
  view = dataclasses.replace(explorer.first_view(), shift=-0.5)
  path.write_text(saving.to_json({"<b>gone": "/m", **explorer.modules}, view))
  page.find_element("id", "open").send_keys(str(path))
  wait_for(page, "return view.shift === -0.5")
  settle(page)
  assert "saved with <b>gone as well" in message(page)
  assert check(page, explorer) == view
  page.execute_script("window.fetch = () => Promise.reject(new TypeError());")
  put(page, "shift", 1)
  assert "does not answer" in message(page)


def test_a_missing_module_has_its_row(browser, explorer, tmp_path):
  folder = next(iter(explorer.modules.values()))
  some = server.Explorer([("good", folder), ("", str(tmp_path / "<u>gone"))])
  with contextlib.closing(server.open_server(some, web.listen())) as running:
    threading.Thread(target=running.run, daemon=True).start()
    resize(browser, *DESKTOP)
    browser.get(f"http://127.0.0.1:{running.effective_port}/")
    settle(browser)
    problem = browser.find_element("css selector", ".problem").text
    assert problem.startswith("<u>gone") and "holds no inversion.json" in problem
    assert len(pictures(browser, "good")) == 4
    assert browser.get_log("browser") == []


def _type(page, name, text):
  field = page.find_element("id", name)
  field.clear()
  field.send_keys(text, "\n")
  settle(page)


def _rows(page):
  return page.execute_script("return Array.from(rows.keys());")


def test_a_thousand_classes_are_found_by_typing(browser, tmp_path):
  """ImageNet's names, on a phone."""
  explorer = server.Explorer(
    [
      (
        "",
        explorer_modules.write_many(
          str(tmp_path), "many", list(zoo.imagenet_class_names())
        ),
      )
    ]
  )
  with contextlib.closing(server.open_server(explorer, web.listen())) as running:
    threading.Thread(target=running.run, daemon=True).start()
    resize(browser, *PHONE)
    browser.get(f"http://127.0.0.1:{running.effective_port}/")
    settle(browser)
    logits = explorer.show(present(browser))["many"].logits
    largest = [explorer.labels["many"][i] for i in np.argsort(-logits)[:8]]
    assert _rows(browser) == largest
    assert browser.execute_script("""
      const stage = document.getElementById("stage");
      return [document.documentElement.scrollWidth <= innerWidth
                && stage.scrollWidth <= stage.clientWidth,
              document.querySelector("#other").list.options.length,
              Math.max(...all("select").map((s) => s.options.length)) < 50];""") == [
      True,
      1000,
      True,
    ]
    # The start of a name, then the slider that has the focus.
    _type(browser, "other", "black-footed f")
    slider = browser.switch_to.active_element
    assert slider.accessible_name == "black-footed ferret, ferret, Mustela nigripes"
    slider.send_keys("\ue014" * 10)  # arrow right, 0.2 each
    settle(browser)
    assert check(browser, explorer).raised == ((_rows(browser)[-1], 2.0),)
    # A part of a name; the start of two names; none.
    for text, found in (
      ("FRILLED", "frilled lizard"),
      ("mustela ni", "black-footed"),
      ("crane", "crane (bird)"),
      ("crane (m", "crane (machine)"),
    ):
      _type(browser, "other", text)
      assert any(row.startswith(found) for row in _rows(browser))
    rows = _rows(browser)
    _type(browser, "other", "no such thing")
    assert message(browser) == "No class is called “no such thing”."
    assert _rows(browser) == rows
    _type(browser, "swap0", "tench")
    _type(browser, "swap1", "goldfish")
    assert [name.split(",")[0] for name in check(browser, explorer).swapped] == [
      "tench",
      "goldfish",
    ]
    assert not message(browser)
    # A new photo has its own largest; what was chosen stays.
    browser.execute_script("document.querySelectorAll('#examples button')[5].click()")
    settle(browser)
    logits = explorer.show(present(browser))["many"].logits
    assert explorer.labels["many"][logits.argmax()] in _rows(browser)
    assert set(rows[8:]) <= set(_rows(browser)) and len(_rows(browser)) <= 8 + 5
    # All that the page does for a change of one class, but for the server's part.
    took = browser.execute_script("""
      const times = [];
      for (let i = 0; i < 20; i++) {
        const start = performance.now();
        view = {...view, raised: [[config.classes[i], 1]]};
        sync();
        draw(last);
        classNamed("zzz");
        document.body.offsetHeight;
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b)[10];""")
    assert took < 100  # ms; about 10 on an idle machine
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
  "width, height, ratio",
  [DESKTOP, PHONE, (1920, 1080, 1.5), (844, 390, 3), (768, 1024, 2)],
)
def test_the_page_fits_and_pictures_are_sharp(page, width, height, ratio):
  resize(page, width, height, ratio)
  settle(page)
  found = page.execute_script("""
    window.dispatchEvent(new Event("resize"));
    const box = document.querySelector("#stage img").getBoundingClientRect();
    const small = Array.from(document.querySelectorAll("button, select, input[type=range]"))
      .filter((e) => e.offsetParent && !e.closest("#examples"))
      .filter((e) => e.getBoundingClientRect().height < 19).map((e) => e.outerHTML);
    return {over: document.documentElement.scrollWidth - innerWidth,
            zoom: box.width * devicePixelRatio / 32, small};""")
  assert found["over"] <= 0 and found["small"] == []
  assert found["zoom"] == pytest.approx(round(found["zoom"]), abs=0.02)
  assert found["zoom"] >= 2


def test_on_a_phone_the_pictures_stay_in_sight(page, explorer):
  resize(page, *PHONE)
  for name in ("mix", "variance", "class-9", "epsilon"):
    top, bottom, slider = page.execute_script(
      """
      const input = document.getElementById(arguments[0]);
      input.scrollIntoView({block: "end"});
      const stage = document.getElementById("stage").getBoundingClientRect();
      return [stage.top, stage.bottom, input.getBoundingClientRect().top];""",
      name,
    )
    assert top >= 0 and bottom < slider < PHONE[1]
  put(page, "epsilon", 0.1)
  assert check(page, explorer).epsilon == 0.1


def test_names_and_descriptions_for_those_who_hear_the_page(page):
  missing = page.execute_script("""
    return Array.from(document.querySelectorAll("button, input, select")).filter(
      (e) => !(e.ariaLabel || e.textContent.trim() || (e.labels && e.labels.length)
               || e.querySelector("img[alt]:not([alt=''])"))).map((e) => e.outerHTML);""")
  assert missing == []
  alternatives = page.execute_script(
    "return Array.from(document.querySelectorAll('#stage img')).map((i) => i.alt);"
  )
  assert all("which its classifier calls" in text for text in alternatives)
  assert json.dumps(alternatives).count("<i>standard") == 5
