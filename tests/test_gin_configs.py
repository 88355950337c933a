"""The configurations that come with the program."""

import os
import re

import gin
import gin.tf.external_configurables
import pytest
import tensorflow.compat.v1 as tf
from absl import flags
from absl import logging

from compare_gan_logits import configuration
from compare_gan_logits import datasets
from compare_gan_logits import experiments
from compare_gan_logits import main
from compare_gan_logits import runner_lib
from compare_gan_logits.classifiers import training  # noqa: F401, known to gin
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import fidelity_gan
from compare_gan_logits.questions import settings  # noqa: F401


FOLDER = os.path.join(
  os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "gin_configs"
)
# Section 14.2 of the paper, as printed there.
SECTION_14_2 = """
AdamOptimizer.beta1 = 0.0
AdamOptimizer.beta2 = 0.999
D.spectral_norm = True
dataset.name = 'imagenet_64'
resnet_biggan.Discriminator.project_labels = True
eval_z.distribution_fn = @tf.random.stateless_normal
G.batch_norm_fn = @conditional_batch_norm
G.spectral_norm = True
resnet_biggan.Generator.embed_labels = True
resnet_biggan.Generator.hierarchical_z = True
loss.fn = @hinge
ModularGAN.conditional = True
ModularGAN.d_inputs = ['label']
ModularGAN.d_lr = 0.0005
ModularGAN.d_optimizer_fn = @tf.train.AdamOptimizer
ModularGAN.g_inputs = ['label']
ModularGAN.g_lr = 0.0001
ModularGAN.g_optimizer_fn = @tf.train.AdamOptimizer
ModularGAN.g_use_ema = True
options.architecture = 'resnet_biggan_arch'
options.batch_size = 2048
options.disc_iters = 2
options.gan_class = @ModularGAN
options.lamba = 1
options.training_steps = 250000
options.z_dim = 120
penalty.fn = @no_penalty
run_config.iterations_per_loop = 500
run_config.save_checkpoints_steps = 2500
run_config.tf_random_seed = 8
spectral_norm.singular_value = 'auto'
standardize_batch.decay = 0.9
standardize_batch.epsilon = 1e-05
standardize_batch.use_moving_averages = False
weights.initializer = 'orthogonal'
z.distribution_fn = @tf.random.normal
"""


@pytest.fixture(autouse=True)
def clean():
  gin.clear_config()
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["tests"])
  yield
  gin.clear_config()
  flags.FLAGS.data_fake_dataset = False


def path(name):
  return os.path.join(FOLDER, name)


def test_paper_gin_is_section_14_2_word_for_word():
  with open(path("paper.gin"), encoding="utf-8") as f:
    bindings = [line.strip() for line in f if line.strip() and line[0] != "#"]
  assert bindings == SECTION_14_2.split("\n")[1:-1]


@pytest.mark.parametrize(
  "name", sorted(n for n in os.listdir(FOLDER) if n.endswith(".gin"))
)
def test_every_configuration_parses_and_has_a_head(name):
  for experiment in experiments.EXPERIMENTS:
    experiments.get(experiment)  # gin knows what is imported
  with open(path(name), encoding="utf-8") as f:
    text = f.read()
  # Of photographs, what is the user's.
  yours = ["dataset.name = '/photos@32'", "classifier.handle = 'mine'"]
  if "comparator.handle = %gin.REQUIRED" in text:
    yours.append("comparator.handle = 'mine'")
  main.parse_gin([path(name)], yours if name.startswith("photos") else [])
  head = text.split("\n\n")[0]
  assert head.startswith("# ") and re.search("compare-gan-logits |python |make ", head)


def test_the_paper_s_models_bind_its_classifiers():
  for name in ("robust_resnet152", "resnet152", "inception_v3"):
    gin.clear_config()
    main.parse_gin([path(f"{name}.gin")], [])
    assert gin.query_parameter("classifier.handle") == name
    assert gin.query_parameter("options.batch_size") == 2048


def paper_s_gan(*names):
  main.parse_gin([path(name) for name in names], [])
  flags.FLAGS.data_fake_dataset = True
  run_config = runner_lib.make_run_config(runner_lib.get_run_settings(), "unused")
  options = runner_lib.get_options_dict()
  return runner_lib.Run(datasets.get_dataset(), None, options, run_config).gan


@pytest.mark.long
def test_the_paper_s_training_step_builds_at_its_size():
  """Batch 2048, 64 px, ch 96: the graph, with made-up images under the real name."""
  gan = paper_s_gan("paper.gin")
  with tf.Graph().as_default():
    tf.train.get_or_create_global_step()
    labels = tf.placeholder(tf.int32, [3 * 2048])
    features = {
      "images": tf.placeholder(tf.float32, [3 * 2048, 64, 64, 3]),
      "z": tf.placeholder(tf.float32, [3 * 2048, 120]),
      "sampled_labels": labels,
      "_RANDOM_OFFSET": labels,
    }
    spec = gan.model_fn(features, labels, {"use_tpu": False}, "train")
    assert spec.train_op is not None
    names = {v.op.name for v in tf.trainable_variables()}
    averages = {
      v.op.name
      for v in tf.global_variables()
      if v.op.name.endswith("ExponentialMovingAverage")
    }
  assert "discriminator/embedding_fc/kernel" in names
  assert "generator/B1/bn1/condition/gamma/kernel" in names
  assert len(averages) == len([n for n in names if n.startswith("generator/")])


def test_the_text_s_reading_has_three_norms_and_two_layers():
  gan = paper_s_gan("paper.gin", "section_14_1.gin")
  with tf.Graph().as_default():
    gan.generate(tf.zeros([1, 120]), tf.zeros([1, 1000]))
    names = {v.op.name for v in tf.trainable_variables()}
  for norm in ("bn1", "bn2", "bn_shortcut"):
    for layer in ("hidden", "output"):
      assert f"generator/B4/{norm}/condition/gamma/{layer}/kernel" in names


def test_an_unknown_name_is_answered_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'spectral_norm'"):
    main.parse_gin([], ["spectral_nrom.epsilon = 1"])


def test_a_shipped_file_is_found_by_name_and_by_path_from_any_folder(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  for name in ("quickstart.gin", "gin_configs/quickstart.gin"):
    gin.clear_config()
    main.parse_gin([name], [])
    assert gin.query_parameter("dataset.name") == "embedded"


def test_an_included_file_is_beside_the_one_that_includes_it_or_shipped(
  tmp_path, monkeypatch
):
  files = {
    "a/top.gin": "include 'parts/low.gin'\ninclude 'same.gin'",
    "a/parts/low.gin": "include 'gin_configs/quickstart.gin'\ninclude 'same.gin'",
    "a/parts/same.gin": "options.z_dim = 3",
    "a/same.gin": "options.disc_iters = 7",
    "elsewhere/same.gin": "options.z_dim = 9",
  }
  for path_, text in files.items():
    (tmp_path / path_).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path_).write_text(text)
  monkeypatch.chdir(tmp_path / "elsewhere")
  main.parse_gin([str(tmp_path / "a" / "top.gin")], [])
  assert gin.query_parameter("options.disc_iters") == 7
  assert gin.query_parameter("options.architecture") == "resnet_biggan_arch"
  assert gin.query_parameter("options.z_dim") == 3


def test_an_included_file_that_is_nowhere_is_named_with_the_nearest(tmp_path):
  path_ = tmp_path / "own.gin"
  path_.write_text("include 'quikstart.gin'")
  with pytest.raises(UserError, match="no gin file quikstart.gin") as raised:
    main.parse_gin([str(path_)], [])
  assert "did you mean 'quickstart.gin'" in str(raised.value)
  assert "own.gin" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
  "binding",
  [
    "module.batch_sizes = (8, 16, 32, 64, None)",  # its default
    "self_modulated_batch_norm.num_hidden = 0",  # compare_gan's for no hidden layer
    "options.lamba = 0.5",
    "ModularGAN.ema_start_step = 0",
    "classifier.mean = 0.5",
    "classifier.mean = (0.4, 0.5, 0.6)",
    "classifier.std = (0.2, 0.3, 0.2)",
    "z.minval = -2.0",
    "z.maxval = -0.5",
  ],
)
def test_values_that_are_fine_are_taken(binding):
  verbosity = logging.get_verbosity()
  main.parse_gin([], [binding])
  assert logging.get_verbosity() == verbosity


@pytest.mark.parametrize(
  "binding",
  [
    "linear_decay.start = 1.5",
    "train_classifier.learning_rate = -0.1",
    "attack.step_size = -0.1",
    "classifier.pool = 'two'",
    "module.batch_sizes = (8, -1, None)",
    "questions.epsilons = (0.1, -0.1)",
    "z.stddev = -1.0",
    "z.minval = 1e400",
  ],
)
def test_values_out_of_their_range_are_refused(binding):
  with pytest.raises(UserError, match="must be a"):
    main.parse_gin([], [binding])


def test_a_name_that_only_the_base_of_a_class_refuses_is_answered_with_the_nearest():
  main.parse_gin([], ["FidelityGAN.g_lrr = 0.1"])
  with pytest.raises(UserError) as raised, configuration.gin_errors_explained():
    fidelity_gan.FidelityGAN(None, {}, "unused")
  assert "gin: ModularGAN has no 'g_lrr'; did you mean 'g_lr'?" in str(raised.value)


def test_values_of_configurables_of_ones_own_are_their_own_affair():
  def my_disc(activation_fn="relu", smoothing=False, depth="auto", sizes=(), rate=1):
    return activation_fn, smoothing, depth, sizes, rate

  mine = gin.external_configurable(my_disc, "my_disc")
  bindings = [
    "my_disc.activation_fn = 'elu'",
    "my_disc.smoothing = 0.1",
    "my_disc.depth = 3",
    "my_disc.sizes = 4",
    "my_disc.rate = 'slow'",
  ]
  with pytest.raises(UserError, match="must be"):
    main.parse_gin([], ["ModularGAN.g_lr = 'slow'"])
  gin.clear_config()
  main.parse_gin([], bindings)
  assert mine() == ("elu", 0.1, 3, 4, "slow")
