"""Real networks through every source; answers from PyTorch itself."""

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from compare_gan_logits import classifiers
from compare_gan_logits.classifiers import converted


IMAGES = np.random.default_rng(0).random([3, 64, 64, 3], dtype=np.float32)
LITE = """
from efficientnet_lite_pytorch import EfficientNet


def build():
  network = EfficientNet.from_name("efficientnet-lite0")
  network.preprocessing = {"size": 224, "high": 255.0, "mean": 127.0, "std": 128.0}
  return network
"""


@pytest.mark.long
def test_efficientnet_is_one_network_in_tensorflow_pytorch_and_onnx(tmp_path):
  weights = converted.efficientnet_lite0_file()
  (tmp_path / "lite.py").write_text(LITE)
  expected = classifiers.load("efficientnet_lite0").predict(IMAGES)
  own = classifiers.load(f"torch:{tmp_path}/lite.py:build", weights=weights)
  np.testing.assert_allclose(own.predict(IMAGES), expected, atol=1e-4)

  network = EfficientNet.from_name("efficientnet-lite0").eval()
  network.load_state_dict(torch.load(weights, weights_only=True))
  path = str(tmp_path / "lite.onnx")
  batch = {0: "batch"}
  torch.onnx.export(
    network,
    (torch.zeros(1, 3, 224, 224),),
    path,
    dynamo=False,
    input_names=["images"],
    output_names=["logits"],
    dynamic_axes={"images": batch, "logits": batch},
  )
  exported = classifiers.load(path, high=255.0, mean=127.0, std=128.0)
  np.testing.assert_allclose(exported.predict(IMAGES), expected, atol=1e-4)


@pytest.fixture(scope="module")
def torchvision_operations():
  """timm imports torchvision, whose build for GPUs wants two operations of its own
  library, which PyTorch for CPUs cannot load; no network here uses them."""
  try:
    torch.ops.torchvision.nms  # noqa: B018
    yield
  except AttributeError:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
      library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    yield


@pytest.mark.long
def test_an_architecture_of_timm(torchvision_operations):
  import timm

  classifier = classifiers.load("timm:resnet18", weights="random")
  steps = classifier.spec.preprocessing
  assert (steps.size, steps.mean) == (224, (0.485, 0.456, 0.406))
  assert classifier.class_names[0].startswith("tench")
  torch.manual_seed(0)
  network = timm.create_model("resnet18", pretrained=False).eval()
  images = np.random.default_rng(1).random([2, 224, 224, 3], dtype=np.float32)
  inputs = (images - np.float32(steps.mean)) / np.float32(steps.std)
  with torch.no_grad():
    expected = network(torch.from_numpy(inputs.transpose(0, 3, 1, 2))).numpy()
  np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-4)


def test_an_architecture_of_torchvision(torchvision_operations):
  from torchvision import models

  classifier = classifiers.load("torchvision:squeezenet1_1", weights="random")
  assert classifier.spec.preprocessing.size == 224
  torch.manual_seed(0)
  network = models.squeezenet1_1(weights=None).eval()
  transform = models.SqueezeNet1_1_Weights.DEFAULT.transforms()
  images = np.random.default_rng(1).random([1, 224, 224, 3], dtype=np.float32)
  pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  mean, std = torch.tensor(transform.mean), torch.tensor(transform.std)
  with torch.no_grad():
    inputs = (pixels - mean[:, None, None]) / std[:, None, None]
    expected = network(inputs).numpy()
  np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-4)
