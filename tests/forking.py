"""The real commands without the seconds that importing TensorFlow takes.

A server process imports the package once; every command is a fork of it that runs
the tool's file as __main__, with arguments, exit code, standard output and error of
its own. Nothing of TensorFlow's runtime has started before a fork, so a fork is as
good as a new process.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import types


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ONE_THREAD = {
  "OMP_NUM_THREADS": "1",
  "TF_NUM_INTRAOP_THREADS": "1",
  "TF_NUM_INTEROP_THREADS": "1",
  "TF_CPP_MIN_LOG_LEVEL": "2",
}
MAIN = "compare_gan_logits.main"


class Server:
  """Starts forks; use as a context.

  Args:
    *modules: names of further modules that every fork has imported.
  """

  def __init__(self, *modules):
    self._modules = modules

  def __enter__(self):
    self._process = subprocess.Popen(
      [sys.executable, os.path.abspath(__file__), *self._modules],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=dict(os.environ, PYTHONPATH=ROOT, **ONE_THREAD),
    )
    return self

  def __exit__(self, *error):
    self._process.stdin.close()
    self._process.wait()

  def start(self, folder, tool, *args, cwd=ROOT, environment=None):
    """Starts a command with its output in `folder`; returns a Command.

    Args:
      folder: made if need be.
      tool: name of a file of tools/, or of a module of the package.
      *args: its arguments.
      cwd: its working folder.
      environment: dict of variables that it has beside the server's.
    """
    os.makedirs(folder, exist_ok=True)
    request = {
      "tool": tool,
      "args": [str(a) for a in args],
      "folder": str(folder),
      "cwd": str(cwd),
      "environment": environment or {},
    }
    self._process.stdin.write(json.dumps(request) + "\n")
    self._process.stdin.flush()
    return Command(int(self._process.stdout.readline()), str(folder))

  def run(self, folder, tool, *args, timeout=300, cwd=ROOT):
    """Runs a command to its end; returns returncode, stdout and stderr."""
    return self.start(folder, tool, *args, cwd=cwd).wait(timeout)


class Command:
  """A command that was started."""

  def __init__(self, pid, folder):
    self.pid = pid
    self._folder = folder

  def poll(self):
    """The exit code, or None while it runs; negative: the signal that ended it."""
    if not os.path.exists(self._path("code")):
      return None
    with open(self._path("code"), encoding="ascii") as f:
      return int(f.read())

  def kill(self):
    """kill -9."""
    with contextlib.suppress(ProcessLookupError):
      os.kill(self.pid, signal.SIGKILL)
    return self.wait()

  def wait(self, timeout=300):
    end = time.monotonic() + timeout
    while self.poll() is None:
      if time.monotonic() > end:
        self.kill()
        raise TimeoutError(f"still running after {timeout} s")
      time.sleep(0.02)
    texts = []
    for name in ("stdout", "stderr"):
      with open(self._path(name), encoding="utf-8", errors="replace") as f:
        texts.append(f.read())
    return types.SimpleNamespace(
      returncode=self.poll(), stdout=texts[0], stderr=texts[1]
    )

  def _path(self, name):
    return os.path.join(self._folder, f"{self.pid}.{name}")


def _child(request):
  """Runs the command in a fork; never returns."""
  import runpy

  os.chdir(request["cwd"])
  os.environ.update(request["environment"])
  place = os.path.join(request["folder"], str(os.getpid()))
  for descriptor, path in (
    (0, os.devnull),
    (1, f"{place}.stdout"),
    (2, f"{place}.stderr"),
  ):
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.dup2(file, descriptor)
    os.close(file)
  code = 1
  try:
    sys.argv = [request["tool"], *request["args"]]
    if "." in os.path.basename(request["tool"]):
      runpy.run_module(request["tool"], run_name="__main__")
    else:
      runpy.run_path(
        os.path.join(ROOT, "tools", request["tool"] + ".py"), run_name="__main__"
      )
  except SystemExit as error:
    code = error.code if isinstance(error.code, int) else int(bool(error.code))
  except BaseException:
    sys.excepthook(*sys.exc_info())
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code or 0)


def _reaper(request):
  """A fork that starts the command, waits for it and writes its exit code."""
  report, told = os.pipe()
  if os.fork() == 0:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
      os.close(told)
      _child(request)
    os.write(told, f"{pid}\n".encode())
    os.close(told)
    _, status = os.waitpid(pid, 0)
    path = os.path.join(request["folder"], f"{pid}.code")
    with open(path + ".new", "w", encoding="ascii") as f:
      f.write(str(os.waitstatus_to_exitcode(status)))
    os.rename(path + ".new", path)
    os._exit(0)
  os.close(told)
  with os.fdopen(report) as f:
    return f.readline().strip()


def _serve():
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)
  from compare_gan_logits import datasets  # noqa: F401
  from compare_gan_logits import report  # noqa: F401
  from compare_gan_logits import runner_lib  # noqa: F401
  from compare_gan_logits.classifiers import training  # noqa: F401
  from compare_gan_logits.experiments import EXPERIMENTS  # noqa: F401
  from compare_gan_logits.gans import perceptual_gan  # noqa: F401

  for name in sys.argv[1:]:
    importlib.import_module(name)
  for line in sys.stdin:
    print(_reaper(json.loads(line)), flush=True)


if __name__ == "__main__":
  # A fork must find the modules under their own names, not this one's.
  sys.path.pop(0)
  _serve()
