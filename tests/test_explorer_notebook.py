"""examples/inversion.ipynb runs from top to bottom, on a module in closed form."""

import os

import explorer_modules
import pytest


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.mark.long
def test_the_notebook_runs(tmp_path):
  nbformat = pytest.importorskip("nbformat")
  nbclient = pytest.importorskip("nbclient")
  pytest.importorskip("ipykernel")
  path = os.path.join(ROOT, "examples", "inversion.ipynb")
  notebook = nbformat.read(path, as_version=4)
  assert all(not cell.get("outputs") for cell in notebook.cells)
  parameters = [cell for cell in notebook.cells
                if "parameters" in cell.metadata.get("tags", [])]
  assert len(parameters) == 1 and "runs/quickstart" in parameters[0].source
  parameters[0].source = f"MODULE = {explorer_modules.write(str(tmp_path), 'tiny')!r}"
  client = nbclient.NotebookClient(notebook, timeout=170, resources={
      "metadata": {"path": os.path.dirname(path)}})
  client.execute()
  outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
  assert sum("image/png" in output.get("data", {}) for output in outputs) == 8
  said = "".join(output.get("text", "") for output in outputs)
  assert "10 logits, 32 px" in said and "class kept: " in said
