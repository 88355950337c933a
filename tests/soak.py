"""Trains for a long time with evaluation and export beside it, and says what grows.

Not part of the suite. Ends with one line per process: the slope of its memory and of
its open files over the second half of the time, and the bytes of summaries per step.

  python tests/soak.py --minutes 60 --folder /tmp/soak
"""

import argparse
import os
import signal
import subprocess
import sys
import time

import numpy as np


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = """
options.training_steps = 10000000
run_config.training_minutes = {minutes}
run_config.save_checkpoints_steps = 500
run_config.keep_checkpoint_max = 3
run_config.save_summary_steps = 50
export.standing_images = 256
export.standing_batch_size = 64
"""
_EXPORT_EVERY = 120  # seconds


def _start(folder, schedule):
  with open(os.path.join(folder, f"{schedule}.log"), "ab") as log:
    return subprocess.Popen(
      [
        sys.executable,
        "-m",
        "compare_gan_logits.main",
        "--gin_config",
        os.path.join(folder, "tiny.gin"),
        "--model_dir",
        os.path.join(folder, "run"),
        "--schedule",
        schedule,
        "--eval_every_steps=0",
      ],
      cwd=ROOT,
      stdout=log,
      stderr=log,
    )


def _sample(process):
  """(seconds, resident MB, open files), or None once it has ended."""
  try:
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as f:
      pages = int(f.read().split()[1])
    files = len(os.listdir(f"/proc/{process.pid}/fd"))
  except OSError:
    return None
  return (time.monotonic(), pages * os.sysconf("SC_PAGESIZE") / 1e6, files)


def _report(name, samples):
  """One line: start, end and slopes of the second half, with standard errors."""
  from scipy import stats

  half = np.array(samples[len(samples) // 2 :])
  hours = (half[:, 0] - half[0, 0]) / 3600
  parts = []
  for column, unit in ((1, "MB"), (2, "open files")):
    fit = stats.linregress(hours, half[:, column])
    parts.append(
      f"{half[0, column]:.0f} to {half[-1, column]:.0f} {unit}, slope "
      f"{fit.slope:+.2f} +- {fit.stderr:.2f} an hour"
    )
  print(f"{name}: {'; '.join(parts)} ({len(half)} samples over {hours[-1]:.2f} h)")


def _summary_bytes(folder):
  return sum(
    os.path.getsize(os.path.join(path, name))
    for path, _, names in os.walk(os.path.join(folder, "run"))
    for name in names
    if name.startswith("events.")
  )


def main():
  import tiny

  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--minutes", type=float, default=60)
  parser.add_argument("--folder", required=True)
  given = parser.parse_args()
  folder = os.path.abspath(given.folder)
  os.makedirs(folder)
  tiny.write_training(folder, CONFIG.format(minutes=given.minutes))
  processes = {"train": _start(folder, "train")}
  time.sleep(30)
  processes["continuous_eval"] = _start(folder, "continuous_eval")
  samples = {name: [] for name in processes}
  exports, failed, export, exported_at = 0, 0, None, time.monotonic()
  while processes["train"].poll() is None:
    time.sleep(5)
    for name, process in processes.items():
      found = _sample(process)
      if found and found[1]:  # none while it is dying
        samples[name].append(found)
    if export is None and time.monotonic() - exported_at > _EXPORT_EVERY:
      export, exported_at = _start(folder, "export"), time.monotonic()
    elif export is not None and export.poll() is not None:
      exports, failed, export = exports + 1, failed + (export.returncode != 0), None
  if export is not None:
    export.wait()
  beside = processes["continuous_eval"].poll()
  if beside is None:  # It waits for training_steps that never come.
    processes["continuous_eval"].send_signal(signal.SIGTERM)
    processes["continuous_eval"].wait()
  print(
    f"training ended with {processes['train'].returncode}, evaluation "
    f"{'ran to the end' if beside is None else f'stopped early: {beside}'}, "
    f"{exports} exports beside it, {failed} failed"
  )
  for name, found in samples.items():
    _report(name, found)
  import tensorflow.compat.v1 as tf

  last = int(tf.train.latest_checkpoint(os.path.join(folder, "run")).rsplit("-", 1)[1])
  size = _summary_bytes(folder)
  print(
    f"summaries: {size / 1e6:.1f} MB over {last} steps, {size / last:.0f} bytes a step"
  )


if __name__ == "__main__":
  main()
