"""Options that are not in the paper: each in closed form, and all of them off."""

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import network_pass
from compare_gan_logits.architectures import scaled_convolutions
from compare_gan_logits.errors import UserError
from compare_gan_logits.gans import fidelity_gan
from compare_gan_logits.gans import fidelity_lib
from compare_gan_logits.gans import modular_gan


CONFIG = """
D.spectral_norm = True
D.project_y = True
loss.fn = @hinge
penalty.fn = @no_penalty
"""
RNG = np.random.default_rng(0)
X, MADE = RNG.uniform(size=[2, 4, 32, 32, 1]).astype("f")
Y = RNG.normal(size=[4, 3]).astype("f")


class Classifier:
  """Three logits that nobody asks for."""

  num_logits = 3


class Images:
  """What a GAN asks of a dataset whose images it does not read."""

  image_shape = (32, 32, 1)
  num_classes = 5


@pytest.fixture(autouse=True)
def graph():
  gin.clear_config()
  gin.parse_config(CONFIG)
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    yield


def make_gan(gan_class=fidelity_gan.FidelityGAN, **kwargs):
  parameters = {
    "architecture": kwargs.pop("architecture", "dummy_arch"),
    "disc_iters": kwargs.pop("disc_iters", 1),
    "lambda": 1,
    "training_steps": 10,
    "z_dim": 8,
  }
  kwargs = {"conditional": True, "classifier": Classifier(), **kwargs}
  return gan_class(Images(), parameters, "unused", **kwargs)


def create_loss(gan):
  features = {
    "images": tf.constant(X),
    "generated": tf.constant(MADE),
    "sampled_y": tf.constant(Y),
  }
  gan.create_loss(features, tf.constant(Y), {})


def run(*tensors):
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    return session.run(tensors)


def score_of(images, y, gan):
  """(scores, features) of the whole network."""
  outputs = gan.discriminator(tf.constant(images), y=tf.constant(y), is_training=True)
  return outputs[1:]


# Closed forms ----------------------------------------------------------------


def test_pixel_distance_is_the_mean_of_absolute_differences():
  x, fake = np.random.default_rng(0).uniform(size=[2, 3, 4, 4, 1])
  (value,) = run(fidelity_lib.pixel_distance(tf.constant(x), tf.constant(fake)))
  assert value == pytest.approx(np.abs(x - fake).mean())


def test_feature_distance_moves_the_generated_features_only():
  real, fake = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 1.5]])
  distance = fidelity_lib.feature_distance(real, fake)
  assert tf.gradients(distance, real) == [None]
  value, gradient = run(distance, tf.gradients(distance, fake)[0])
  assert value == 1.25
  np.testing.assert_array_equal(gradient, [[0.5, -0.5]])


def test_mismatched_conditions_are_the_same_ones_and_nobody_s_own():
  y = np.arange(8.0).reshape(4, 2)
  (other,) = run(fidelity_lib.mismatched(tf.constant(y)))
  assert not np.any(np.all(other == y, axis=1))
  np.testing.assert_array_equal(np.sort(other, axis=0), y)


@pytest.mark.parametrize(
  "schedule, expected",
  [
    (fidelity_lib.linear_decay, [1.0, 1.0, 1.0, 0.5, 0.0, 0.0]),
    (fidelity_lib.cosine_decay, [1.0, 0.85355, 0.5, 0.14645, 0.0, 0.0]),
  ],
)
def test_schedules_begin_at_one_and_end_at_zero(schedule, expected):
  progress = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5]
  values = run(*[schedule(tf.constant(p)) for p in progress])
  np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_scheduled_optimiser_steps_by_rate_times_schedule():
  step = tf.train.get_or_create_global_step()
  weight = tf.get_variable("w", initializer=0.0, use_resource=True)
  make = fidelity_lib.scheduled(
    lambda learning_rate, name: tf.train.GradientDescentOptimizer(
      learning_rate, name=name
    ),
    fidelity_lib.linear_decay,
    4,
  )
  train = make(learning_rate=0.1, name="opt").minimize(weight, global_step=step)
  values = [0.0]
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(4):
      session.run(train)
      values.append(session.run(weight))
  np.testing.assert_allclose(-np.diff(values), [0.1, 0.1, 0.1, 0.05], rtol=1e-5)


def test_augmentation_shifts_brightens_and_cuts_out():
  images = np.random.default_rng(0).uniform(0.2, 1.0, [5, 8, 8, 1]).astype("f")
  seed = tf.constant([1, 2])
  shifted, brighter, cut, again = run(
    *[
      fidelity_lib.augment(tf.constant(images), seed, **kwargs)
      for kwargs in (
        {"translation": 0.25, "brightness": 0, "cutout": 0},
        {"translation": 0, "brightness": 0.5, "cutout": 0},
        {"translation": 0, "brightness": 0, "cutout": 0.5},
        {"translation": 0, "brightness": 0, "cutout": 0.5},
      )
    ]
  )
  framed = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
  for index in range(5):
    windows = [framed[index, r : r + 8, c : c + 8] for r in range(5) for c in range(5)]
    assert any(np.array_equal(shifted[index], window) for window in windows)
  added = (brighter - images).reshape(5, -1)
  np.testing.assert_allclose(added, added[:, :1].repeat(64, 1), atol=1e-6)
  assert np.all(np.abs(added) <= 0.25) and np.ptp(added[:, 0]) > 0.01
  holes = cut == 0
  sizes = holes.sum(axis=(1, 2, 3))
  assert sizes.min() >= 1 and sizes.max() <= 16
  np.testing.assert_array_equal(cut[~holes], images[~holes])
  np.testing.assert_array_equal(cut, again)


# Upsampling ------------------------------------------------------------------


def interpolated(values, axis):
  """Twice as many values, a quarter of the way to their neighbours; edges repeat."""
  padded = np.pad(values, [(int(a == axis),) * 2 for a in range(4)], mode="edge")
  before, after = (
    np.take(padded, np.arange(values.shape[axis]) + shift, axis) for shift in (0, 2)
  )
  pairs = [0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after]
  shape = [n * (1 + int(a == axis)) for a, n in enumerate(values.shape)]
  return np.stack(pairs, axis + 1).reshape(shape)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_upsampling_folded_into_a_convolution(method, size):
  gin.bind_parameter("upsampling.method", method)
  values = np.random.default_rng(0).normal(size=[2, 4, 6, 3]).astype("f")
  kernel = np.random.default_rng(1).normal(size=[size, size, 3, 5]).astype("f")
  if method == "nearest":
    doubled = tf.constant(values.repeat(2, axis=1).repeat(2, axis=2))
  else:
    doubled = tf.constant(interpolated(interpolated(values, axis=1), axis=2))
  expected, found = run(
    tf.nn.conv2d(doubled, kernel, strides=1, padding="SAME"),
    scaled_convolutions.convolve(tf.constant(values), tf.constant(kernel), "up"),
  )
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_unknown_upsampling_is_named():
  gin.bind_parameter("upsampling.method", "nearby")
  with pytest.raises(UserError, match="upsampling.method 'nearby'.*nearest"):
    scaled_convolutions.upsample(tf.zeros([1, 4, 4, 1]))


def test_the_first_layer_sees_the_condition_where_it_is_asked_to():
  gin.bind_parameter("resnet_biggan.Generator.ch", 1)
  gin.bind_parameter("resnet_biggan.Generator.embed_y_dim", 5)
  gin.bind_parameter("resnet_biggan.Generator.condition_first_layer", True)
  gan = make_gan(architecture="resnet_biggan_arch")
  gan.generate(tf.zeros([1, 8]), tf.zeros([1, 3]))
  kernel = next(v for v in tf.trainable_variables() if "fc_noise/kernel" in v.name)
  assert kernel.shape.as_list() == [8 // 4 + 5, 16 * 4]


# Losses ----------------------------------------------------------------------


def test_losses_are_the_weighted_sums_that_are_asked_for():
  gan = make_gan(pixel_weight=10.0, feature_weight=2.0, mismatch_weight=0.5)
  with network_pass.network_pass():
    create_loss(gan)
    d_loss, g_loss = gan.d_loss, gan.g_loss
    gan._updates_generator = True  # scores images one by one
    create_loss(gan)
    parts = [
      score_of(X, Y, gan),
      score_of(MADE, Y, gan),
      score_of(X, Y[[3, 0, 1, 2]], gan),
    ]
  (real, fake, wrong), losses = run(parts, [d_loss, g_loss, gan.g_loss])
  hinge = np.maximum(0, 1 - real[0]).mean() + np.maximum(0, 1 + fake[0]).mean()
  expected_d = hinge + 0.5 * np.maximum(0, 1 + wrong[0]).mean()
  expected_g = -fake[0].mean() + 10 * np.abs(X - MADE).mean()
  expected_g += 2 * np.abs(real[1] - fake[1]).mean()
  np.testing.assert_allclose(losses, [expected_d, expected_g, expected_g], rtol=1e-4)


def test_relativistic_hinge_compares_pairs():
  real, fake = np.float32([[1.0], [0.5]]), np.float32([[-1.0], [0.25]])
  d_loss, _, _, g_loss = run(
    *fidelity_lib.relativistic_hinge(tf.constant(real), tf.constant(fake))
  )
  assert d_loss == pytest.approx((0 + 0.75) / 2)
  assert g_loss == pytest.approx((3 + 1.25) / 2)


def test_projection_scale_is_the_factor_of_what_the_logits_add():
  gan, plain = make_gan(), make_gan()
  gan.discriminator._projection_scale = 0.25
  with network_pass.network_pass():
    scores = [score_of(X, Y, g)[0] for g in (plain, gan)] + [score_of(X, 0 * Y, gan)[0]]
  whole, scaled, without = run(*scores)
  np.testing.assert_allclose(scaled - without, (whole - without) / 4, rtol=1e-3)


def test_with_all_options_off_the_losses_are_modular_gan_s():
  graphs = []
  for gan_class in (modular_gan.ModularGAN, fidelity_gan.FidelityGAN):
    with tf.Graph().as_default() as graph, network_pass.network_pass():
      create_loss(make_gan(gan_class))
      nodes = graph.as_graph_def().node
      graphs.append([(node.name, node.op, list(node.input)) for node in nodes])
  assert graphs[0] == graphs[1]


def test_one_batch_makes_the_images_of_both_updates_in_one_call():
  seen = []

  class Recorded(fidelity_gan.FidelityGAN):
    def create_loss(self, features, labels, params, is_training=True):
      seen.append(features["generated"])
      super().create_loss(features, labels, params, is_training)

  gan = make_gan(Recorded, one_batch=True)
  assert gan.num_sub_steps == 1
  features = {
    "images": tf.constant(X),
    "z": tf.zeros([4, 8]),
    "sampled_y": tf.constant(Y),
  }
  gan.train_step(features, tf.constant(Y))
  of_discriminator, of_generator = seen
  assert of_discriminator.op.type == "StopGradient"
  assert of_discriminator.op.inputs[0] is of_generator


@pytest.mark.parametrize(
  "kwargs, words",
  [
    ({"classifier": None, "pixel_weight": 1.0}, "classifier.handle"),
    ({"classifier": None, "standardize_logits": 8}, "classifier.handle"),
    ({"disc_iters": 2, "one_batch": True}, "disc_iters"),
    ({"micro_batches": 2, "one_batch": True}, "micro_batches"),
    ({"more_ema_decays": [0.5]}, "g_use_ema"),
  ],
)
def test_options_that_do_not_go_together(kwargs, words):
  with pytest.raises(UserError, match=words):
    make_gan(**kwargs)


def test_an_image_and_its_reconstruction_are_augmented_alike():
  seen = []

  def look(images, seed):
    seen.append((images, seed))
    return fidelity_lib.augment(images, seed)

  gan = make_gan(augment_fn=look, feature_weight=1.0)
  x = tf.constant(X)
  features = {"images": x, "generated": x, "sampled_y": tf.constant(Y)}
  with network_pass.network_pass():
    gan.create_loss(features, tf.constant(Y), {})
  (_, first), (_, second) = seen
  same, a, b = run(fidelity_lib.feature_distance(*gan._features), first, second)
  np.testing.assert_array_equal(a, b)
  assert same == pytest.approx(0, abs=1e-6)  # a perfect reconstruction costs nothing


def test_augmentations_of_two_updates_and_of_two_runs_differ():
  seeds = []
  for run_seed in (1, 2):
    with tf.Graph().as_default():
      tf.set_random_seed(run_seed)
      for scope in ("disc_step_1", "gen_step"):
        with tf.name_scope(scope):
          seeds.append(tuple(run(fidelity_gan._augmentation_seed())[0]))
  assert len(set(seeds)) == 4


def test_parts_of_an_update_are_augmented_each_in_its_way():
  seeds = []

  def augment(images, seed):
    seeds.append(seed)
    return images

  gan = make_gan(augment_fn=augment, micro_batches=2)
  features = {"images": tf.constant(np.concatenate([X, MADE])), "z": tf.ones([8, 8])}
  features["sampled_y"] = y = tf.constant(np.concatenate([Y, Y]))
  gan.train_step(features, y)
  # Of an image and its reconstruction, in two parts of two updates.
  found = [tuple(seed) for seed in run(*seeds)]
  assert found[::2] == found[1::2] and len(set(found)) == 4


def test_one_image_has_no_other_image_s_logits():
  gan = make_gan(mismatch_weight=0.1)
  features = {
    "images": tf.constant(X[:1]),
    "generated": tf.constant(MADE[:1]),
    "sampled_y": tf.constant(Y[:1]),
  }
  with network_pass.network_pass(), pytest.raises(UserError, match="two images"):
    gan.create_loss(features, tf.constant(Y[:1]), {})


def test_a_decay_that_begins_after_the_end_is_refused():
  with pytest.raises(UserError, match="linear_decay.start is 1.5"):
    fidelity_lib.linear_decay(tf.constant(0.1), start=1.5)


def test_mismatched_pairs_need_a_projection():
  gin.bind_parameter("D.project_y", False)
  gan = make_gan(mismatch_weight=0.1)
  with network_pass.network_pass(), pytest.raises(UserError, match="project_y"):
    create_loss(gan)


def test_further_moving_averages_are_kept_and_can_be_exported():
  gan = make_gan(
    g_use_ema=True, ema_start_step=1, more_ema_decays=[0.5], exported_decay=0.5
  )
  features = {"images": tf.constant(np.concatenate([X, MADE])), "z": tf.ones([8, 8])}
  features["sampled_y"] = y = tf.constant(np.concatenate([Y, Y]))
  train_op, _ = gan.train_step(features, y)
  weight = gan.generator.trainable_variables[0]
  name = f"{weight.op.name}/{gan.ema().name}"  # what the export restores
  average = next(v for v in tf.global_variables() if v.op.name == name)
  values = []
  with helpers.session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(3):
      session.run(train_op)
      values.append(session.run([weight, average]))
  (first, of_first), (second, _), (third, of_third) = values
  assert name.endswith("_0.5") and np.abs(third - first).max() > 0
  np.testing.assert_allclose(of_first, first)  # the average starts behind it
  expected = 0.25 * first + 0.25 * second + 0.5 * third
  np.testing.assert_allclose(of_third, expected, atol=1e-6)


def test_an_average_that_is_not_kept_is_not_exported():
  with pytest.raises(UserError, match="0.9999, 0.5: name one"):
    make_gan(g_use_ema=True, more_ema_decays=[0.5], exported_decay=0.9)


class Brightness:
  """Logits of images [b, h, w, c]: their mean, large and far from 0, and a constant."""

  num_logits = 2

  def __call__(self, images):
    mean = tf.reduce_mean(images, [1, 2, 3])
    return tf.stack([100 * mean + 500, tf.ones_like(mean)], axis=1)


class Shades(Images):
  """Eight grey training images, of value 0, .1, ... .7."""

  seed = 0

  def train(self, batch_size):
    shades = np.arange(8, dtype="f")[:, None, None, None] / 10
    images = np.broadcast_to(shades, [8, 32, 32, 1])
    data = tf.data.Dataset.from_tensor_slices({"image": images, "label": [0] * 8})
    return data.repeat().batch(batch_size)


def test_both_networks_see_standardised_logits(tmp_path, capsys):
  gin.parse_config("G.batch_norm_fn = @conditional_batch_norm")
  logits = np.array([[500, 1], [570, 3]], "f")  # of shades 0 and .7
  # Of shades 0 to .5; the second logit does not vary.
  standardised = (logits - [525, 1]) / [np.std(np.arange(6)) * 10, 1]
  z, images = tf.ones([2, 8]), tf.constant(X[:2])
  parameters = {
    "architecture": "resnet_cifar_arch",
    "lambda": 1,
    "training_steps": 1,
    "z_dim": 8,
  }
  outputs = []
  for number, y in ((6, logits), (0, standardised)):
    gan = fidelity_gan.FidelityGAN(
      Shades(),
      parameters,
      str(tmp_path),
      conditional=True,
      classifier=Brightness(),
      standardize_logits=number,
    )
    gan.as_estimator(tf.estimator.tpu.RunConfig(), 2, False)
    y = tf.constant(y, tf.float32)
    outputs.append([gan.generate(z, y), gan.discriminate(images, y)])
  assert capsys.readouterr().out.count("measuring 6 training images") == 1
  of_logits, of_standardised = run(*outputs)
  for found, expected in zip(of_logits, of_standardised):
    assert np.ptp(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_moments_that_nobody_measured_are_not_numbers():
  gan = make_gan(standardize_logits=8)
  (score,) = run(gan.discriminate(tf.constant(X), tf.constant(Y)))
  assert np.isnan(score).all()


def test_the_range_of_what_augmentation_draws():
  """All shifts, half a range to both sides, squares of a quarter of the picture."""
  number, size = 600, 8
  ramp = np.arange(1.0, size + 1).astype("f")
  images = tf.constant(
    np.broadcast_to((10 * ramp[:, None] + ramp)[..., None], [number, size, size, 1])
  )
  ones, seed = tf.ones([number, size, size, 1]), tf.constant([1, 2])
  shifted, brighter, cut = run(
    fidelity_lib.augment(images, seed, translation=0.25, brightness=0, cutout=0),
    fidelity_lib.augment(ones, seed, translation=0, brightness=0.5, cutout=0),
    fidelity_lib.augment(ones, seed, translation=0, brightness=0, cutout=0.5),
  )
  # A pixel that is there at every shift tells both of its parts.
  shifts = {(int(v) // 10, int(v) % 10) for v in shifted[:, 3, 3, 0]}
  assert shifts == {(r, c) for r in range(2, 7) for c in range(2, 7)}
  added = brighter[:, 0, 0, 0] - 1
  assert added.min() == pytest.approx(-0.25, abs=0.01)
  assert added.max() == pytest.approx(0.25, abs=0.01)
  holes = (cut == 0)[..., 0]
  sides = np.stack([holes.any(2).sum(1), holes.any(1).sum(1)], 1)
  np.testing.assert_array_equal(holes.sum((1, 2)), sides.prod(1))  # rectangles
  assert sides.max() == 4  # half of the picture's side, cut by its edge
  assert sides.min() in (2, 1)
  middles = np.array([[h.any(1).argmax(), h.any(0).argmax()] for h in holes])
  assert abs(np.corrcoef(middles.T)[0, 1]) < 0.2


def test_what_augmentation_draws_is_independent():
  ones, seed = tf.ones([600, 8, 8, 1]), tf.constant([1, 2])
  shifted, cut = run(
    fidelity_lib.augment(ones, seed, translation=0.25, brightness=0, cutout=0),
    fidelity_lib.augment(ones, seed, translation=0, brightness=0, cutout=0.5),
  )
  shift = (shifted[:, :2, 4, 0] == 0).sum(1) - (shifted[:, -2:, 4, 0] == 0).sum(1)
  place = (np.arange(8) * (cut == 0)[..., 0].any(2)).sum(1) / (cut == 0)[..., 0].any(
    2
  ).sum(1)
  assert abs(np.corrcoef(shift, place)[0, 1]) < 0.2


def test_gradients_are_those_of_the_weighted_sums():
  gan = make_gan(
    pixel_weight=10.0,
    feature_weight=2.0,
    mismatch_weight=0.5,
    augment_fn=lambda images, seed: 0.5 * images,
  )
  made = tf.constant(MADE)
  features = {"images": tf.constant(X), "generated": made, "sampled_y": tf.constant(Y)}
  with network_pass.network_pass():
    gan.create_loss(features, tf.constant(Y), {})
    (real, real_features), (fake, fake_features), (wrong, _) = (
      gan.discriminator(0.5 * images, y=tf.constant(y), is_training=True)[1:]
      for images, y in (
        (features["images"], Y),
        (made, Y),
        (features["images"], np.roll(Y, 1, 0)),
      )
    )
  d_loss = tf.reduce_mean(tf.nn.relu(1 - real) + tf.nn.relu(1 + fake))
  d_loss += 0.5 * tf.reduce_mean(tf.nn.relu(1 + wrong))
  g_loss = -tf.reduce_mean(fake) + 10 * tf.reduce_mean(tf.abs(made - X))
  g_loss += 2 * tf.reduce_mean(tf.abs(fake_features - real_features))
  weights = gan.discriminator.trainable_variables
  found = [*tf.gradients(gan.d_loss, weights), *tf.gradients(gan.g_loss, made)]
  expected = [*tf.gradients(d_loss, weights), *tf.gradients(g_loss, made)]
  for value, of_formula in zip(*run(found, expected)):
    np.testing.assert_allclose(value, of_formula, rtol=1e-3, atol=1e-6)


def test_augmentations_of_two_steps_differ():
  step = tf.train.get_or_create_global_step()
  seed = fidelity_gan._augmentation_seed()
  with helpers.session() as session:
    seeds = []
    for number in (1, 2):
      step.load(number, session)
      seeds.append(tuple(session.run(seed)))
  assert seeds[0] != seeds[1]
