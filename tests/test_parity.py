"""The training step against recordings of the reference trainer.

tests/data/*.npz were recorded from real runs of it: initial weights, inputs,
forward passes, and every variable after one or two whole training steps.
"""

import itertools
import json
import os
import types

import gin
import gin.tf.external_configurables
import helpers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.gans import modular_gan


DATA = os.path.join(os.path.dirname(__file__), "data")
RECORDINGS = [
  "biggan32_ch4",
  "biggan32_normal_init",
  "biggan64_ch4",
  "h_movingavg_ns",
  "h_noembed_flatz",
  "h_nosn_uncond_proj",
]


def load(name):
  recording = np.load(os.path.join(DATA, name + ".npz"))
  return recording, json.loads(str(recording["meta"]))


def make_gan(meta):
  gin.clear_config()
  gin.parse_config(meta["gin"])
  dataset = types.SimpleNamespace(
    resolution=meta["resolution"], colors=meta["colors"], num_classes=meta["y_dim"]
  )
  parameters = {
    "architecture": "resnet_biggan_arch",
    "lambda": 1,
    "disc_iters": meta["disc_iters"],
    "z_dim": meta["z_dim"],
  }
  return modular_gan.ModularGAN(dataset, parameters, model_dir=None)


def set_all(variables, recording, prefix):
  """Ops that set every recorded variable; what is recorded must be there."""
  recorded = {key[len(prefix) :] for key in recording.files if key.startswith(prefix)}
  # Adam's powers carry the names of the reference's name scopes; they start alike.
  recorded = {key for key in recorded if not key.endswith("_power")}
  assert recorded <= set(variables)
  return [variables[key].assign(recording[prefix + key]) for key in recorded]


def relative_error(value, reference):
  return np.abs(value - reference).max() / max(np.abs(reference).max(), 1e-30)


@pytest.fixture(scope="module", params=RECORDINGS)
def replay(request):
  """(recording, meta, forward passes, losses, variables after each step)."""
  recording, meta = load(request.param)
  gan = make_gan(meta)
  with tf.Graph().as_default():
    inputs = [
      tf.placeholder(tf.float32, recording[f"step0/{key}"].shape)
      for key in ("images", "z", "y")
    ]
    x, z, y = inputs
    step, losses = gan.train_step(x, z, y, y)
    forward_inputs = [tf.constant(recording[f"forward/{key}"]) for key in "zyx"]
    with arch_ops.network_pass():
      generated = gan.generator(*forward_inputs[:2], is_training=True)
    with arch_ops.network_pass():
      _, d_logit, d_features = gan.discriminator(
        forward_inputs[2], forward_inputs[1], is_training=True
      )
    forward = {"generated": generated, "d_logit": d_logit, "d_features": d_features}
    variables = {v.op.name: v for v in tf.global_variables()}
    assign = set_all(variables, recording, "init/")
    with helpers.session() as sess:
      sess.run(tf.global_variables_initializer())
      sess.run(assign)
      forward = sess.run(forward)
      all_losses, after = [], []
      for t in range(meta["steps"]):
        feed = {
          tensor: recording[f"step{t}/{key}"]
          for tensor, key in zip(inputs, ("images", "z", "y"))
        }
        all_losses.append(sess.run((step, losses), feed)[1])
        after.append(sess.run(variables))
  return recording, meta, forward, all_losses, after


@pytest.mark.parametrize("output", ["generated", "d_logit", "d_features"])
def test_forward_pass(replay, output):
  recording, _, forward, _, _ = replay
  assert relative_error(forward[output], recording[f"forward/{output}"]) < 1.1e-5


def test_losses(replay):
  recording, _, _, losses, _ = replay
  for t, loss in enumerate(losses):
    recorded = float(recording[f"step{t}/d_loss_0"])
    assert loss["d_loss_0"] == pytest.approx(recorded, rel=1e-4)


def is_followed_by_batch_norm(name):
  """Whether a bias is subtracted again by the batch norm behind it.

  Its gradient is zero but for rounding, and Adam makes steps of that rounding: the
  reference's own are up to 0.7 lr. Nothing depends on them.
  """
  return name.startswith("generator/B") and name.split("/ExponentialM")[0].endswith(
    ("conv1/bias", "conv2/bias", "conv_shortcut/bias")
  )


def test_every_variable_after_each_step(replay):
  recording, _, _, _, after = replay
  g_lr = 1e-4
  for t, variables in enumerate(after):
    compared = 0
    for name, value in variables.items():
      key = f"after_step{t}/{name}"
      if key not in recording.files or "/moving_" in name:
        continue
      compared += 1
      tolerance = g_lr * (t + 1) if is_followed_by_batch_norm(name) else 0.0
      excess = np.abs(value - recording[key]).max() - tolerance
      assert excess < 1e-4 * max(np.abs(recording[key]).max(), 1e-6), name
    assert compared > 60


def test_moving_averages_after_a_step():
  """The reference updates them once per generator call, in an order left to chance:
  each is the average for one of the orders of the three calls."""
  recording, meta = load("h_movingavg_ns")
  gan = make_gan(meta)
  moments = []
  with tf.Graph().as_default():
    for z, y in zip(
      np.split(recording["step0/z"], 3), np.split(recording["step0/y"], 3)
    ):
      with arch_ops.network_pass() as g_pass:
        gan.generator(tf.constant(z), tf.constant(y), is_training=True)
      moments.append(
        [
          u
          for u in g_pass.updates
          if u.op.type == "AssignSubVariableOp" or "AssignSub" in u.op.name
        ]
      )
    variables = {v.op.name: v for v in gan.generator.variables}
    moving = {k: v for k, v in variables.items() if "/moving_" in k}
    weights = [v.assign(recording["init/" + k]) for k, v in variables.items()]
    with helpers.session() as sess:
      one_call = []
      for updates in moments:
        sess.run(weights)
        before = sess.run(moving)
        sess.run(updates)
        after = sess.run(moving)
        one_call.append({k: (after[k] - 0.9 * before[k]) / 0.1 for k in moving})
  for key in moving:
    errors = []
    for order in itertools.permutations(range(3)):
      average = recording["init/" + key]
      for call in order:
        average = 0.9 * average + 0.1 * one_call[call][key]
      errors.append(relative_error(average, recording["after_step0/" + key]))
    assert min(errors) < 1e-4, key
