"""Makes docs/explorer.png and docs/explorer_phone.png from real modules.

Needs Chromium and its driver (apt-get install chromium chromium-driver).

  python docs/explorer_stills.py --module robust=runs/quickstart/robust/module \
      --module standard=runs/quickstart/standard/module
"""

import dataclasses
import os
import shutil
import threading

from absl import flags

from compare_gan_logits.cli import command
from compare_gan_logits.cli.modules import named


FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
  "module", [], "label=folder of an exported module, as for the explorer."
)
flags.DEFINE_string(
  "output", os.path.dirname(os.path.abspath(__file__)), "Folder to write."
)
_READY = """return typeof busy !== "undefined" && !busy && last !== null
            && Array.from(document.images).every((i) => i.hidden || i.complete);"""
_SHOW = "document.getElementById(arguments[0]).scrollIntoView({block: 'end'});"


def main(argv):
  del argv
  from compare_gan_logits.apps.explorer import server

  modules = [named(module) for module in FLAGS.module]
  explorer = server.Explorer(modules)
  # Section 5.4: the attacked photo.
  attacked = dataclasses.replace(explorer.first_view(), epsilon=0.1)
  # Section 5.5: on the way to the second photo.
  between = dataclasses.replace(
    explorer.first_view(), photo=explorer.examples[3][0], mix=0.3, scale=0.15
  )
  _shoot(explorer, attacked, "explorer.png", (1280, 800, 1), "epsilon-finding")
  _shoot(explorer, between, "explorer_phone.png", (390, 844, 2), "variance-finding")


def _shoot(explorer, view, name, screen, in_sight):
  from selenium import webdriver
  from selenium.webdriver.support.ui import WebDriverWait

  from compare_gan_logits.apps import web
  from compare_gan_logits.apps.explorer import server

  running = server.open_server(explorer, web.listen(), view)
  threading.Thread(target=running.run, daemon=True).start()
  options = webdriver.ChromeOptions()
  options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser")
  for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
    options.add_argument(argument)
  service = webdriver.ChromeService(shutil.which("chromedriver"))
  with webdriver.Chrome(options, service) as browser:
    width, height, ratio = screen
    browser.execute_cdp_cmd(
      "Emulation.setDeviceMetricsOverride",
      {
        "width": width,
        "height": height,
        "deviceScaleFactor": ratio,
        "mobile": ratio > 1,
      },
    )
    browser.execute_cdp_cmd(
      "Emulation.setTouchEmulationEnabled", {"enabled": ratio > 1}
    )
    browser.get(f"http://127.0.0.1:{running.effective_port}/")
    WebDriverWait(browser, 60).until(lambda b: b.execute_script(_READY))
    browser.execute_script(_SHOW, in_sight)
    browser.save_screenshot(os.path.join(FLAGS.output, name))
  running.close()


if __name__ == "__main__":
  command.run(main)
