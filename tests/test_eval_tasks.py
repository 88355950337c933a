"""Metrics of generated images: the reference's recorded numbers and closed forms."""

import json
import os

import gin
import gin.tf.external_configurables
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from matplotlib import pyplot
from scipy import stats

from compare_gan_logits import eval_utils
from compare_gan_logits.metrics import eval_task
from compare_gan_logits.metrics import fid_score
from compare_gan_logits.metrics import fractal_dimension
from compare_gan_logits.metrics import gilbo
from compare_gan_logits.metrics import image_similarity
from compare_gan_logits.metrics import inception_score
from compare_gan_logits.metrics import inversion_tasks
from compare_gan_logits.metrics import jacobian_conditioning
from compare_gan_logits.metrics import kid_score
from compare_gan_logits.metrics import ms_ssim_score
from compare_gan_logits.metrics import prd_score


DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
with open(os.path.join(DATA, "golden.json"), encoding="utf-8") as f:
  GOLDEN = json.load(f)


def normal(seed, *shape):
  return np.random.RandomState(seed).randn(*shape)


def run(tensor):
  with tf.Session() as session:
    return session.run(tensor)


def sample(images=None, activations=None, logits=None):
  """An eval_utils.EvalDataSample of what a task reads."""
  if images is None:
    images = np.zeros([len(logits if activations is None else activations), 1, 1, 3])
  data = eval_utils.EvalDataSample(images)
  data.set_inception_features(activations, logits)
  return data


@pytest.fixture(scope="module")
def features():
  fake = normal(14, 200, 8).astype("f")
  real = (normal(15, 200, 8) * 1.5 + 0.2).astype("f")
  return sample(activations=fake), sample(activations=real)


def test_fid(features):
  fake, real = features
  expected = GOLDEN["fid"]["compute_fid_from_activations"]
  task = fid_score.FIDScoreTask().run_after_session(fake, real)
  assert task == {"fid_score": pytest.approx(expected, rel=1e-5)}
  same = fid_score.compute_fid_from_activations(real.activations, real.activations)
  assert same == pytest.approx(0, abs=1e-4)


def test_inception_score():
  logits = (normal(13, 50, 10) * 2).astype("f")
  found = inception_score.InceptionScoreTask().run_after_session(
    sample(logits=logits), None
  )
  assert found["inception_score"] == pytest.approx(GOLDEN["inception_score"]["score"])


@pytest.mark.parametrize("size", [1024, 20])
def test_kid(size):
  fake = normal(1, 64, 16).astype("f") + np.float32(0.3)
  real = normal(2, 64, 16).astype("f")
  (key,) = (k for k in GOLDEN["kid"] if k.startswith(f"max_batch_size {size}"))
  with tf.Graph().as_default():
    found = run(kid_score.kid(tf.constant(fake), tf.constant(real), size))
  assert found == pytest.approx(GOLDEN["kid"][key], rel=1e-5)


def test_kid_with_its_error_in_float64_and_as_a_task():
  fake = normal(1, 64, 16).astype("f") + np.float32(0.3)
  real = normal(2, 64, 16).astype("f")
  with tf.Graph().as_default():
    fakes, reals = tf.constant(fake), tf.constant(real)
    with_error = run(kid_score.kid(fakes, reals, 10, return_stderr=True))
    double = run(kid_score.kid(fakes, reals, dtype=tf.float64))
  expected = GOLDEN["kid"]["max_batch_size 10 with stderr (7 blocks)"]
  assert with_error == pytest.approx(expected, rel=1e-5)
  assert double == pytest.approx(GOLDEN["kid"]["float64"], rel=1e-9)
  found = kid_score.KIDScoreTask().run_after_session(
    sample(activations=fake), sample(activations=real[:50])
  )
  # Binkowski et al. 2018, equation 4.
  k = [(a @ b.T / 16 + 1) ** 3 for a, b in ((fake, fake), (real[:50],) * 2)]
  cross = (fake @ real[:50].T / 16 + 1) ** 3
  within = sum((m.sum() - np.trace(m)) / len(m) / (len(m) - 1) for m in k)
  assert found["kid_score"] == pytest.approx(within - 2 * cross.mean(), rel=1e-4)


def test_the_error_of_kid_where_the_sets_differ_in_size():
  """Three blocks, as many as the larger set needs, of twenty and of ten."""
  fake, real = normal(1, 60, 8) + 0.3, normal(2, 30, 8)
  blocks = []
  for a, b in zip(np.split(fake, 3), np.split(real, 3)):
    aa, bb, ab = ((x @ y.T / 8 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within = [(k.sum() - np.trace(k)) / len(k) / (len(k) - 1) for k in (aa, bb)]
    blocks.append(sum(within) - 2 * ab.mean())
  with tf.Graph().as_default():
    found = run(
      kid_score.kid(tf.constant(fake), tf.constant(real), 20, return_stderr=True)
    )
  expected = np.mean(blocks), np.std(blocks) / np.sqrt(3)
  assert found == pytest.approx(expected, rel=1e-6)


def formula(size):
  i, y, x, k = np.meshgrid(*map(np.arange, (2, size, size, 3)), indexing="ij")
  a = ((y + 2 * x + 29 * k + 5 * i) % 256).astype("f")
  noise = np.random.RandomState(7).randn(*a.shape) * 20
  return a, np.clip(a + noise, 0, 255).astype("f")


@pytest.mark.parametrize("size", [64, 97, 180])
def test_multiscale_ssim(size):
  golden = GOLDEN["ms_ssim"]
  (key,) = (k for k in golden if k.startswith(f"multiscale_ssim size {size}:"))
  with tf.Graph().as_default():
    a, b = map(tf.constant, formula(size))
    found = run(image_similarity.multiscale_ssim(a, b))
    plain = run(image_similarity.multiscale_ssim_unweighted(a, b))
  np.testing.assert_allclose(found, golden[key], atol=1e-5)
  if size != 97:
    np.testing.assert_allclose(plain, golden[f"unweighted size {size}"], atol=3e-5)


def test_mean_similarity_of_all_pairs():
  ramp = np.arange(64 * 64 * 3).reshape(64, 64, 3)
  images = [
    np.clip(128 + 60 * np.sin(ramp * (0.01 + 0.003 * i)), 0, 255) for i in range(4)
  ]
  (key,) = (k for k in GOLDEN["ms_ssim"] if k.startswith("compute_msssim"))
  found = ms_ssim_score.compute_msssim(np.stack(images), 1)
  assert found == pytest.approx(GOLDEN["ms_ssim"][key], abs=3e-5)
  task = ms_ssim_score.MultiscaleSSIMTask()
  same = task.run_after_session(sample(np.stack(images[:1] * 3)), None)
  assert same["ms_ssim"] == pytest.approx(1, abs=1e-4)


FRACTALS = {
  "np.random.seed(0) before each; RandomState(11).rand(500,2)": (
    lambda: np.random.RandomState(11).rand(500, 2),
    {},
  ),
  "line: stack([linspace(0,1,500)]*3,1)": (
    lambda: np.stack([np.linspace(0, 1, 500)] * 3, 1),
    {},
  ),
  "RandomState(12).rand(300,4,4,1), 50 seeds, 200 bins, scale .2": (
    lambda: np.random.RandomState(12).rand(300, 4, 4, 1),
    {"num_fd_seeds": 50, "n_bins": 200, "scale": 0.2},
  ),
}


@pytest.mark.parametrize("name", FRACTALS)
def test_fractal_dimension(name):
  make, arguments = FRACTALS[name]
  np.random.seed(0)
  found = fractal_dimension.compute_fractal_dimension(make(), **arguments)
  assert found == pytest.approx(GOLDEN["fractal_dimension"][name], rel=1e-9)


def test_prd_of_distributions():
  golden = GOLDEN["prd"]
  evaluated, reference = (np.random.RandomState(seed).rand(8) for seed in (3, 4))
  evaluated, reference = evaluated / evaluated.sum(), reference / reference.sum()
  precision, recall = prd_score.compute_prd(evaluated, reference, num_angles=11)
  np.testing.assert_allclose(precision, golden["compute_prd num_angles=11 precision"])
  np.testing.assert_allclose(recall, golden["recall"])
  curve = prd_score.compute_prd(evaluated, reference)
  for beta, key in ((8, "max_f_beta_pair of 1001 angles, beta 8"), (2, None)):
    expected = golden[key or "max_f_beta_pair beta 2"]
    assert prd_score.prd_to_max_f_beta_pair(*curve, beta) == pytest.approx(expected)


def test_prd_of_features_and_its_picture(tmp_path, monkeypatch):
  (key,) = (k for k in GOLDEN["prd"] if k.startswith("from_embedding"))
  np.random.seed(0)
  fake, real = normal(5, 300, 4), normal(6, 300, 4) * 0.7 + 0.5
  curve = prd_score.compute_prd_from_embedding(fake, real, 5, 101)
  scores = prd_score.prd_to_max_f_beta_pair(*curve)
  assert scores == pytest.approx(GOLDEN["prd"][key]["f_beta 8"], abs=0.05)
  assert curve[0].mean() == pytest.approx(
    GOLDEN["prd"][key]["precision mean"], abs=0.05
  )
  drawn = []
  monkeypatch.setattr(pyplot, "close", drawn.append)
  prd_score.plot([curve], ["it"], str(tmp_path / "a" / "prd.png"))
  monkeypatch.undo()
  figure = drawn[-1]  # Older releases of matplotlib close "all" first, for a backend.
  pyplot.close(figure)
  assert (tmp_path / "a" / "prd.png").stat().st_size > 1000
  precision, recall = curve
  (line,) = figure.axes[0].lines
  np.testing.assert_array_equal(line.get_xydata(), np.stack([recall, precision], 1))
  with pytest.raises(ValueError, match="equally many"):
    prd_score.compute_prd_from_embedding(fake[:9], real)
  same = prd_score.PRDScoreTask().run_after_session(
    sample(activations=fake), sample(activations=fake)
  )
  assert same == {"prd_recall": pytest.approx(1), "prd_precision": pytest.approx(1)}


@pytest.mark.parametrize("kind", ["metric_tensor", "mean_metric_tensor"])
def test_spectra_of_jacobians(kind):
  found = jacobian_conditioning.analyze_jacobian(normal(8, 2, 6, 3))[kind]
  for name, expected in GOLDEN["jacobian_conditioning"][kind].items():
    np.testing.assert_allclose(found[name], expected, rtol=1e-6, err_msg=name)


def test_jacobian_of_a_graph():
  (key,) = (k for k in GOLDEN["jacobian_conditioning"] if k.startswith("compute_"))
  with tf.Graph().as_default():
    x = tf.constant(normal(9, 3, 2), tf.float32)
    fx = tf.square(x @ tf.constant(normal(10, 2, 4), tf.float32))
    found = run(jacobian_conditioning.compute_jacobian(x, fx))
  np.testing.assert_allclose(found, GOLDEN["jacobian_conditioning"][key], rtol=1e-5)


@pytest.mark.parametrize("prior", [gilbo.NormalPrior(2.0), gilbo.UniformPrior(-1, 3)])
def test_gilbo_of_densities(prior):
  """The encoder's answer at the start is a normal or a uniform distribution."""
  z = np.float32([[0.5, 1.0], [2.0, -0.5]])
  with tf.Graph().as_default(), tf.Session() as session:
    ratio = prior.log_ratio(tf.constant(z), tf.zeros([2, 3]))
    for name in ("a", "b", "deviation"):
      for variable in tf.global_variables():
        if variable.op.name == f"{name}/bias":
          session.run(variable.initializer)
          variable.load(np.log(np.expm1([1.0, 3.0])), session)
        elif variable.op.name.endswith("kernel") or variable.op.name == "mean/bias":
          session.run(variable.initializer)
    found = session.run(ratio)
  if isinstance(prior, gilbo.UniformPrior):
    encoder = stats.beta([1, 3], [1, 3], loc=-1, scale=4).logpdf(z)
    expected = encoder - stats.uniform(-1, 4).logpdf(z)
  else:
    expected = stats.norm(0, [2, 6]).logpdf(z) - stats.norm(0, 2).logpdf(z)
  np.testing.assert_allclose(found, expected.sum(1), rtol=1e-4, atol=1e-5)


def test_gilbo_approaches_the_mutual_information_from_below():
  with tf.Graph().as_default(), tf.Session() as session:
    tf.set_random_seed(1)
    z = tf.random.normal([64, 2])
    seen = (z + tf.random.normal([64, 2])) / 8 + 0.5
    images = tf.ones([1, 4, 4, 1]) * seen[:, tf.newaxis, tf.newaxis]
    found = gilbo.compute_gilbo(session, z, images, gilbo.NormalPrior(), 300, 3e-3)
  # Of two values with noise of the same variance: log(1 + 1) / 2 each.
  assert 0.8 * np.log(2) < found < 1.05 * np.log(2)


def test_gilbo_takes_the_noise_that_gin_binds():
  gin.clear_config()
  assert gilbo.bound_prior() == gilbo.UniformPrior(-1, 1)
  gin.parse_config("eval_z.distribution_fn = @tf.random.normal\neval_z.stddev = 3.0")
  assert gilbo.bound_prior() == gilbo.NormalPrior(3.0)
  gin.parse_config("eval_z.distribution_fn = @tf.random.stateless_uniform")
  assert gilbo.bound_prior() == gilbo.UniformPrior(-1, 1)
  for unknown in ("@tf.random.gamma", "@tf.random.normal\ntf.random.normal.mean = 5.0"):
    gin.parse_config(f"eval_z.distribution_fn = {unknown}")
    with pytest.raises(ValueError, match="density"):
      gilbo.bound_prior()
  gin.clear_config()


def test_a_task_of_ones_own_names_its_scores():
  class MeanColour(eval_task.EvalTask):
    _LABEL = "mean_colour"

    def run_after_session(self, fake_dset, real_dset):
      return {"mean_colour": float(fake_dset.images.mean())}

  task = MeanColour()
  assert task.metric_list() == {"mean_colour"}
  found = task.run_on_module("unused", sample(np.full([2, 4, 4, 3], 7.0)), None)
  assert found == {"mean_colour": 7.0}
  with pytest.raises(TypeError):
    eval_task.EvalTask()


def test_recall_is_what_the_generator_misses_of_the_real_images():
  """It shows one of two equally frequent kinds: all of it is real, half is missed."""
  np.random.seed(0)
  two = np.repeat([[0.0, 0.0], [9.0, 9.0]], 200, axis=0) + 0.01 * normal(1, 400, 2)
  one = 0.01 * normal(2, 400, 2)
  scores = prd_score.PRDScoreTask().run_after_session(
    sample(activations=one), sample(activations=two)
  )
  assert scores["prd_precision"] > scores["prd_recall"] + 0.2


def test_similarity_looks_at_every_batch():
  """A batch of equal images, and one of noise."""
  rng = np.random.default_rng(0)
  equal = np.repeat(rng.uniform(0, 255, [1, 16, 16, 1]), 64, axis=0)
  noise = rng.uniform(0, 255, [64, 16, 16, 1])
  of_equal = ms_ssim_score.compute_msssim(equal, 1)
  of_noise = ms_ssim_score.compute_msssim(noise, 1)
  both = ms_ssim_score.compute_msssim(np.concatenate([equal, noise]), 5)
  assert of_equal > of_noise + 0.3
  assert both == pytest.approx((of_equal + of_noise) / 2, abs=1e-5)


def test_a_classifier_of_one_logit_has_no_agreement(capsys):
  pixels = np.random.RandomState(0).randint(0, 256, [3, 16, 16, 1]).astype(np.float32)
  images = eval_utils.EvalDataSample(np.repeat(pixels, 3, axis=-1))
  classifier = tiny.LinearClassifier(np.ones([16 * 16, 1]))
  scores = inversion_tasks.ReconstructionTask(classifier).run_after_session(
    images, images
  )
  assert "psnr" in scores and "agreement" not in scores
  assert "no agreement: the classifier has a single logit" in capsys.readouterr().err
