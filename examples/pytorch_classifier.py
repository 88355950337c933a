r"""Trains a classifier in PyTorch, inverts it, and reports what its logits keep.

Run it from the project's root; everything goes to runs/pytorch:

  python examples/pytorch_classifier.py

The functions `build` and `train` make the classifier, in plain PyTorch, from the 12,000
garments of Fashion-MNIST that come with the program. The rest is three commands, which are
printed as they run; a fourth, which is printed at the end, opens the explorer.
"""

import argparse
import os
import subprocess
import sys

import torch


CLASSES = (
  "T-shirt",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
)


class Residual(torch.nn.Module):
  """x + two convolutions of x."""

  def __init__(self, width):
    super().__init__()
    layer = lambda: torch.nn.Conv2d(width, width, 3, padding=1)  # noqa: E731
    self.inner = torch.nn.Sequential(layer(), torch.nn.ReLU(), layer())

  def forward(self, x):
    return torch.relu(x + self.inner(x))


def build():
  """The network, as classifier.handle names it: images [b, 1, 32, 32] to 10 logits."""
  down = lambda a, b: torch.nn.Conv2d(a, b, 3, stride=2, padding=1)  # noqa: E731
  network = torch.nn.Sequential(
    down(1, 16), Residual(16), down(16, 32), Residual(32), down(32, 64), Residual(64)
  )
  network.extend([torch.nn.Flatten(), torch.nn.Linear(64 * 4 * 4, len(CLASSES))])
  # What the program reads off the network: how it is to be fed, and its classes.
  network.preprocessing = {"size": 32, "mean": 0.29, "std": 0.35}
  network.class_names = CLASSES
  return network


def train(steps, weights):
  """Trains the network and saves its state dictionary."""
  from compare_gan_logits import datasets

  images, labels = datasets.get_dataset("embedded").arrays("train")
  x = (torch.from_numpy(images.transpose(0, 3, 1, 2).copy()) - 0.29) / 0.35
  y = torch.from_numpy(labels.astype("int64"))
  torch.manual_seed(0)
  torch.set_num_threads(1)  # More gain nothing here, and on a busy machine they wait.
  network = build()
  optimizer = torch.optim.Adam(network.parameters(), 1e-3)
  for _ in range(steps):
    batch = torch.randint(len(x), [64])
    loss = torch.nn.functional.cross_entropy(network(x[batch]), y[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
  torch.save(network.state_dict(), weights)
  print(f"PyTorch: {steps} steps, loss {loss.item():.2f}: {weights}", flush=True)


def run(*arguments):
  """One of the program's commands."""
  shown = (f'"{part}"' if "'" in part else part for part in arguments)
  print("\n$ compare-gan-logits " + " ".join(shown), flush=True)
  command = [sys.executable, "-m", "compare_gan_logits.cli.dispatch", *arguments]
  subprocess.run(command, check=True)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--output", default="runs/pytorch")
  parser.add_argument("--classifier_steps", type=int, default=600)
  parser.add_argument("--steps", type=int, default=1200, help="of the inverter")
  parser.add_argument("--images", type=int, default=500, help="of each experiment")
  flags = parser.parse_args()
  os.makedirs(flags.output, exist_ok=True)
  weights = os.path.join(flags.output, "weights.pt")
  train(flags.classifier_steps, weights)
  bindings = [
    f"classifier.handle = 'torch:{os.path.abspath(__file__)}:build'",
    f"classifier.weights = '{os.path.abspath(weights)}'",
    "classifier.name = 'my network'",
    "classifier.role = 'standard'",
    f"classifier.cache_dir = '{os.path.abspath(flags.output)}/logits'",
    f"options.training_steps = {flags.steps}",
  ]
  configuration = ["--gin_config=quickstart.gin"]
  configuration += [f"--gin_bindings={binding}" for binding in bindings]
  # Each image's logits are computed once and kept.
  run("cache-logits", f"--output={flags.output}/logits", *configuration)
  run("train", f"--model_dir={flags.output}/inverter", *configuration)
  module = f"{flags.output}/inverter/module"
  run(
    "reproduce",
    f"--module=mine={module}",
    "--dataset=embedded",
    f"--limit={flags.images}",
    "--only=comparison,noise_resampling,adversarial",
    f"--output={flags.output}/report",
  )
  print(
    f"\nThe report is {flags.output}/report/report.html. To play with the logits:\n"
    f"compare-gan-logits explore --module {module}"
  )


if __name__ == "__main__":
  main()
