"""How commands end: on Ctrl-C, on SIGTERM, when nobody reads, when nothing can be said."""

import importlib.util
import os
import signal
import subprocess
import sys
import time

import forking
import pytest
import tiny

from compare_gan_logits import errors
from compare_gan_logits.cli import dispatch


TOOLS = os.path.join(forking.ROOT, "tools")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("signals")
  tiny.write_training(folder, tiny.DCGAN + "options.training_steps = 100000\n")
  return folder


def _wait_for(path, seconds=120):
  end = time.monotonic() + seconds
  while not path.exists():
    assert time.monotonic() < end, f"no {path}"
    time.sleep(0.05)


@pytest.mark.long
@pytest.mark.parametrize(
  "number, code, word",
  [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_a_training_with_a_sentence_and_it_goes_on(
  server, folder, number, code, word
):
  run = folder / "run"
  given = (
    folder / "logs",
    forking.MAIN,
    "--gin_config",
    folder / "tiny.gin",
    "--model_dir",
    run,
  )
  started = server.start(*given)
  step = 2 if number == signal.SIGINT else 6  # The second goes on from the first.
  _wait_for(run / f"model.ckpt-{step}.index")
  os.kill(started.pid, number)
  done = started.wait(60)
  assert done.returncode == code, done
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith(word) and "give the same command again" in last
  assert "Traceback" not in done.stderr
  assert not [name for name in os.listdir(run) if name.startswith((".part-", "temp"))]


def test_an_interruption_of_the_imports_is_a_sentence():
  started = subprocess.Popen(
    [
      sys.executable,
      "-c",
      "import time\nfrom compare_gan_logits.cli import command\n"
      "command.listen_to_signals()\nprint('ready', flush=True)\ntime.sleep(60)",
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=forking.ROOT,
  )
  assert started.stdout.readline() == "ready\n"
  started.send_signal(signal.SIGINT)
  _, errors = started.communicate(timeout=30)
  assert started.returncode == 130 and errors.startswith("interrupted: ")
  assert errors.count("\n") == 1


def _start(*args, **streams):
  return subprocess.Popen(
    [sys.executable, *map(str, args)],
    cwd=forking.ROOT,
    stderr=subprocess.PIPE,
    text=True,
    env=dict(os.environ, PYTHONPATH=forking.ROOT),
    **streams,
  )


def test_help_describes_every_command():
  said = dispatch.usage()
  assert [line.split()[0] for line in said.splitlines() if line.startswith("  ")] == [
    *dispatch.COMMANDS
  ]
  for module, _ in dispatch.COMMANDS.values():
    assert importlib.util.find_spec(module)


def test_help_lists_a_command_s_flags_as_they_are_typed():
  started = _start(
    "-m",
    "compare_gan_logits.cli.dispatch",
    "reconstruct",
    "--help",
    stdout=subprocess.PIPE,
  )
  said, _ = started.communicate(timeout=60)
  assert started.returncode == 0
  assert "compare-gan-logits reconstruct --module runs/robust/module \\\n" in said
  assert "  --images: " in said and "  --samples: " in said


@pytest.mark.parametrize(
  "args",
  [
    ("reconstruct.py", "--help"),
    pytest.param(("reproduce.py", "--list"), marks=pytest.mark.long),
  ],
)
def test_a_reader_that_has_gone_is_no_error_of_ours(args):
  started = _start(os.path.join(TOOLS, args[0]), *args[1:], stdout=subprocess.PIPE)
  started.stdout.close()
  assert started.stderr.read() == ""
  assert started.wait(60) == 141


@pytest.mark.long
def test_a_cache_ends_when_its_reader_goes(folder):
  """What TensorFlow has open then must not be waited for."""
  started = _start(
    os.path.join(TOOLS, "cache_logits.py"),
    "--gin_config",
    folder / "tiny.gin",
    "--output",
    folder / "cache",
    "--shards",
    "40",
    stdout=subprocess.PIPE,
  )
  lines = iter(started.stdout.readline, "")
  assert any("40 of 40 shards" in line for line in lines)
  started.stdout.close()
  assert started.wait(120) == 141
  assert "Traceback" not in started.stderr.read()


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_that_cannot_be_written_is_one_sentence():
  with open("/dev/full", "w") as full:
    started = _start(os.path.join(TOOLS, "reproduce.py"), "--list", stdout=full)
    _, errors = started.communicate(timeout=60)
  assert started.returncode == 1
  assert errors.startswith("error: No space left") and errors.count("\n") == 1


@pytest.mark.parametrize(
  "text, words",
  [
    (
      "Graph execution error:\n\nDetected at node 'a' defined at (most recent call last):\n"
      "Node: 'a'\nindices[0] = 7 is not in [0, 3)\n\t [[{{node a}}]]",
      "indices[0] = 7",
    ),
    (
      "2 root error(s) found.\n (0) RESOURCE_EXHAUSTED: OOM when allocating tensor",
      "out of memory",
    ),
    (
      "Unsuccessful TensorSliceReader constructor: Failed to find any matching files for "
      "/m/variables/variables\n\t [[node]]",
      "no weights /m/variables/variables; copy",
    ),
  ],
)
def test_what_tensorflow_says_is_put_in_a_sentence(text, words):
  said = errors.explain(RuntimeError(text))
  assert words in said and "\n" not in said
