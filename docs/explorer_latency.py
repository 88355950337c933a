"""Times the explorer: from moving a slider to seeing the pictures.

For every slider the median of --times changes (and the largest), over HTTP and in the
page of a headless Chromium, where all that the page does is in it. Prints the machine's
load beside, without which such figures say nothing.

  python docs/explorer_latency.py --module robust=runs/quickstart/robust/module \
      --module standard=runs/quickstart/standard/module
"""

import dataclasses
import http.client
import json
import os
import shutil
import threading
import time

from absl import flags

from compare_gan_logits.cli import command
from compare_gan_logits.cli.modules import named


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module", [], "label=folder of an exported module, as for the explorer."
)
flags.DEFINE_integer("times", 20, "Changes of each slider.", lower_bound=3)
_READY = 'return typeof busy !== "undefined" && !busy && last !== null;'
# Moves a slider and answers with the milliseconds until its pictures are on screen.
_MOVE = """
  const [name, value, done] = arguments;
  const input = document.getElementById(name);
  const start = performance.now();
  input.value = value;
  input.dispatchEvent(new Event("input", {bubbles: true}));
  const look = async () => {
    if (busy || waiting) return setTimeout(look, 1);
    await Promise.all(all("#stage img").map((image) => image.decode()));
    done(performance.now() - start);
  };
  look();"""


def main(argv):
  del argv
  from compare_gan_logits.apps import web
  from compare_gan_logits.apps.explorer import controls
  from compare_gan_logits.apps.explorer import server

  explorer = server.Explorer([named(module) for module in FLAGS.module])
  running = server.open_server(explorer, web.listen())
  threading.Thread(target=running.run, daemon=True).start()
  print(
    f"{len(explorer.inverters)} modules, medians (largest) of {FLAGS.times} changes; "
    f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
  )
  print(f"{'':24}{'over HTTP':>16}{'in the page':>18}")
  with _browser() as browser:
    browser.get(f"http://127.0.0.1:{running.effective_port}/")
    while not browser.execute_script(_READY):
      time.sleep(0.05)
    for control in controls.CONTROLS:
      values = _values(control)
      wire = [
        _over_http(running.effective_port, explorer, control.name, value)
        for value in values
      ]
      page = [
        browser.execute_async_script(_MOVE, control.name, value) for value in values
      ]
      browser.execute_script("change(resetView());")
      print(f"{control.name:24}{_written(wire):>16}{_written(page):>18}", flush=True)
  print(f"load at the end {os.getloadavg()[0]:.1f}")
  running.close()


def _browser():
  from selenium import webdriver

  options = webdriver.ChromeOptions()
  options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser")
  for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,800"):
    options.add_argument(argument)
  return webdriver.Chrome(
    options, webdriver.ChromeService(shutil.which("chromedriver"))
  )


def _values(control):
  """As many values of a slider, no two alike in a row."""
  count = round((control.high - control.low) / control.step)
  steps = [1 + i % max(1, count - 1) for i in range(FLAGS.times)]
  return [round(control.low + step * control.step, 4) for step in steps]


def _over_http(port, explorer, name, value):
  """Milliseconds of one request for a view."""
  value = int(value) if float(value).is_integer() else value
  view = json.dumps(dataclasses.asdict(explorer.first_view()) | {name: value})
  start = time.perf_counter()
  connection = http.client.HTTPConnection("127.0.0.1", port)
  connection.request("POST", "/show", view)
  response = connection.getresponse()
  answer = response.read()
  if response.status != 200:
    raise RuntimeError(answer.decode())
  return 1e3 * (time.perf_counter() - start)


def _written(times):
  times = sorted(times)
  return f"{times[len(times) // 2]:.0f} ms ({times[-1]:.0f})"


if __name__ == "__main__":
  command.run(main)
