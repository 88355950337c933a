"""examples/inversion.ipynb runs from top to bottom, on a module in closed form."""

import importlib.util
import os
import subprocess
import sys
import time

import explorer_modules
import pytest


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = os.path.join(ROOT, "examples", "inversion.ipynb")


@pytest.mark.long
def test_the_notebook_runs(tmp_path):
  pytest.importorskip("ipykernel")
  nbclient, notebook = pytest.importorskip("nbclient"), _read()
  assert all(not cell.get("outputs") for cell in notebook.cells)
  parameters = [
    cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
  ]
  assert len(parameters) == 1 and "runs/quickstart" in parameters[0].source
  parameters[0].source = f"MODULE = {explorer_modules.write(str(tmp_path), 'tiny')!r}"
  client = nbclient.NotebookClient(
    notebook, timeout=170, resources={"metadata": {"path": os.path.dirname(PATH)}}
  )
  started = time.monotonic()
  client.execute()
  assert time.monotonic() - started < 180
  outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
  assert sum("image/png" in output.get("data", {}) for output in outputs) == 8
  said = "".join(output.get("text", "") for output in outputs)
  assert "10 logits, 32 px" in said and "class kept: " in said


def _read():
  return pytest.importorskip("nbformat").read(PATH, as_version=4)


@pytest.fixture
def form(tmp_path, monkeypatch):
  """Runs the installation's cell where the package is not, and lists its commands."""
  cell = next(cell.source for cell in _read().cells if cell.cell_type == "code")
  commands = []

  def run(command, check):
    assert check
    commands.append((os.getcwd(), command))
    if command[0] == "git":
      os.mkdir(command[-1])

  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", list(sys.path))
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr(subprocess, "run", run)

  def execute(**fields):
    commands.clear()
    lines = [
      f"{name} = {fields[name]!r}" if (name := line.split(" ")[0]) in fields else line
      for line in cell.splitlines()
    ]
    exec("\n".join(lines), {})
    return list(commands)

  assert "# @title" in cell and 'REPOSITORY = ""  # @param' in cell
  return execute


def test_the_form_for_colab_installs_the_package_first(form, tmp_path, monkeypatch):
  with pytest.raises(SystemExit, match="Fill in REPOSITORY"):
    form()
  clone = str(tmp_path / "compare_gan_logits_clone")
  fetch, install, train = form(REPOSITORY="https://a.b/c", TRAIN=True)
  assert fetch == (
    str(tmp_path),
    ["git", "clone", "--depth=1", "https://a.b/c", os.path.basename(clone)],
  )
  assert install == (
    clone,
    [sys.executable, "-m", "pip", "install", "--quiet", ".[explore]"],
  )
  assert train[0] == clone and "gin_configs/quickstart.gin" in train[1]
  assert os.path.exists(os.path.join(ROOT, "gin_configs", "quickstart.gin"))
  # After a restart of the session the package is there, but the folder has changed back.
  os.chdir(tmp_path)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
  assert form() == [] and os.getcwd() == clone


def test_the_form_names_the_pythons_that_will_do(form, monkeypatch):
  monkeypatch.setattr(sys, "version_info", (3, 14, 1))
  with pytest.raises(SystemExit, match="3.9 to 3.13"):
    form(REPOSITORY="https://a.b/c")
