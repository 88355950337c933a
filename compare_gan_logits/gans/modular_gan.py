"""The trainer: a GAN put together by gin from networks, loss and penalty.

One training step is disc_iters discriminator updates and one generator update,
all in one session call. With a classifier bound, the label of an image is its logit
vector, which conditions both networks (Figure 2 of the paper).

Extend ModularGAN by a subclass: `create_loss` says what each network minimises, the
properties `generator` and `discriminator` which networks there are.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import gin
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.architectures import registry
from compare_gan_logits.architectures import scaled_convolutions
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.gans import consts
from compare_gan_logits.gans import health
from compare_gan_logits.gans import input_lib
from compare_gan_logits.gans import loss_lib
from compare_gan_logits.gans import module_spec
from compare_gan_logits.gans import penalty_lib
from compare_gan_logits.gans import update_lib
from compare_gan_logits.gans import utils as gan_utils
from compare_gan_logits.gans.input_lib import z_generator
from compare_gan_logits.gans.update_lib import Features
from compare_gan_logits.tpu import tpu_ops
from compare_gan_logits.tpu import tpu_random
from compare_gan_logits.tpu import tpu_summaries


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


_PAIRS_SHOWN = 8  # in the summary of originals beside reconstructions

__all__ = ["Features", "ModularGAN", "z_generator"]


@gin.configurable(denylist=["dataset", "parameters", "model_dir", "classifier"])
class ModularGAN(input_lib.InputsGAN):
  """A conditional or unconditional GAN.

  Args:
    dataset, parameters, model_dir: as in AbstractGAN.
    deprecated_split_disc_calls: score real and generated images in two calls.
    experimental_joint_gen_for_disc: make the images of all discriminator updates in
      one generator call, with common batch moments.
    experimental_force_graph_unroll: accepted; the step is always one graph.
    g_use_ema: keep an exponential moving average of the generator's weights.
    ema_decay: of that average.
    ema_start_step: up to this step the average is the weights themselves.
    g_optimizer_fn, d_optimizer_fn: function of (learning rate, name=); d defaults to g.
    g_lr, d_lr: learning rates; d_lr None means g_lr.
    conditional: condition both networks on the label.
    fit_label_distribution: without a classifier, draw the labels of generated images
      from the data's distribution instead of uniformly.
    classifier: as in AbstractGAN.
    g_inputs, d_inputs: what each network is conditioned on, ['label'] or []; None
      means ['label'] where `conditional` is on.
    micro_batches: in how many parts, one after the other, a replica computes each
      update; their gradients are averaged. Memory falls with the size of a part.
      Batch norms see the moments of a part (over all replicas), not of the batch. As
      without it, spectral norm makes one iteration per update, and steps and the
      moving average count updates; moving_mean and moving_variance move once per part.
      In summaries, losses are means over the parts, scores and images those of the
      last one.

  Attributes:
    d_loss, g_loss: what create_loss has set last.
    penalty_loss: the penalty in d_loss, before it is weighted.

  Raises:
    UserError: contradictory arguments.
  """

  def __init__(
    self,
    dataset: ImageDataset,
    parameters: dict[str, Any],
    model_dir: str,
    deprecated_split_disc_calls: bool = False,
    experimental_joint_gen_for_disc: bool = False,
    experimental_force_graph_unroll: bool = False,
    g_use_ema: bool = False,
    ema_decay: float = 0.9999,
    ema_start_step: int = 40000,
    g_optimizer_fn: Callable[..., tf.train.Optimizer] = tf.train.AdamOptimizer,
    d_optimizer_fn: Callable[..., tf.train.Optimizer] | None = None,
    g_lr: float = 0.0002,
    d_lr: float | None = None,
    conditional: bool = False,
    fit_label_distribution: bool = False,
    classifier: Classifier | None = None,
    g_inputs: Sequence[str] | None = None,
    d_inputs: Sequence[str] | None = None,
    micro_batches: int = 1,
  ):
    super().__init__(dataset, parameters, model_dir, classifier)
    del experimental_force_graph_unroll  # a mode of the reference's TPU code
    self._architecture = parameters["architecture"]
    self._z_dim = parameters["z_dim"]
    self._lambda = parameters["lambda"]
    self._disc_iters = parameters.get("disc_iters", 1)
    self._deprecated_split_disc_calls = deprecated_split_disc_calls
    self._experimental_joint_gen_for_disc = experimental_joint_gen_for_disc
    self.g_use_ema = g_use_ema
    self._ema_decay = ema_decay
    self._ema_start_step = ema_start_step
    self._g_optimizer_fn = g_optimizer_fn
    self._d_optimizer_fn = d_optimizer_fn or g_optimizer_fn
    self._g_lr = g_lr
    self._d_lr = g_lr if d_lr is None else d_lr
    self._conditional = conditional
    self._fit_label_distribution = fit_label_distribution
    self._micro_batches = micro_batches
    self._set_conditions(g_inputs, d_inputs)
    if not isinstance(micro_batches, int) or micro_batches < 1:
      raise UserError(
        f"ModularGAN.micro_batches is {micro_batches!r}; it must be a positive integer"
      )

    self._generator = self._discriminator = None
    self._tpu_summary = tpu_summaries.TpuSummaries(model_dir)
    self.d_loss = self.g_loss = self.penalty_loss = None
    # Of the training step that is being built:
    self._generator_pass = network_pass.NetworkPass()
    self._updates_generator = False
    self._scores = self._step = None

  def _set_conditions(self, g_inputs, d_inputs):
    default = [consts.LABEL] if self._conditional else []
    for name, inputs in (("g_inputs", g_inputs), ("d_inputs", d_inputs)):
      inputs = default if inputs is None else inputs
      for value in inputs:
        if value != consts.LABEL:
          raise UserError(
            f"ModularGAN.{name} has {value!r}: {nearest(value, [consts.LABEL])}"
          )
      if inputs and not self._conditional:
        raise UserError(
          "gin binds ModularGAN.g_inputs or d_inputs, but not "
          "ModularGAN.conditional = True; bind it or drop the inputs"
        )
      setattr(self, f"_{name[0]}_conditional", bool(inputs))
    if self._classifier is not None and not self._conditional:
      raise UserError(
        "gin binds classifier.handle, but ModularGAN.conditional is "
        "False, so the logits would not be used; set it to True"
      )
    if self._conditional and not self.condition_size:
      raise UserError(
        "ModularGAN.conditional is True, but the dataset has no classes; bind "
        "classifier.handle, another dataset.name, or set it to False"
      )

  # Networks ------------------------------------------------------------------

  @property
  def generator(self) -> abstract_arch.AbstractGenerator:
    """The generator network, made when it is first asked for.

    Raises:
      UnknownNameError: options.architecture is not registered.
    """
    if self._generator is None:
      networks = registry.get(self._architecture)
      self._generator = networks.Generator(image_shape=self.image_shape)
    return self._generator

  @property
  def discriminator(self) -> abstract_arch.AbstractDiscriminator:
    """The discriminator network, made when it is first asked for.

    Raises:
      UnknownNameError: options.architecture is not registered.
    """
    if self._discriminator is None:
      self._discriminator = registry.get(self._architecture).Discriminator()
    return self._discriminator

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(height, width, colors)."""
    return tuple(self._dataset.image_shape)

  @property
  def z_dim(self) -> int:
    """Length of the noise vector."""
    return self._z_dim

  @property
  def conditioning(self) -> str:
    """What the generator is told: "logits", "labels" or "none"."""
    return self.condition_name if self._g_conditional else "none"

  @property
  def discriminator_is_conditional(self) -> bool:
    """Whether the discriminator is told the condition."""
    return self._d_conditional

  @property
  def feature_shape(self) -> tuple[int, int, int] | None:
    """(h, w, c) where the logits reach the generator as a feature map, else None.

    They do where the classifier gives one and the generator's norms take it. The
    discriminator gets the map's means over the positions.
    """
    if self._classifier is None or not self.generator.takes_feature_map:
      return None
    return self._classifier.feature_shape

  def _shaped(self, y):
    """A condition [batch, condition_size] as the generator takes it."""
    if y is None or y.shape.rank != 2 or self.feature_shape is None:
      return y
    return tf.reshape(y, [-1, *self.feature_shape])

  def _pooled(self, y):
    """A condition that has been _shaped as the discriminator takes it."""
    if y is None or y.shape.rank != 4 or self.feature_shape is None:
      return y
    return tf.reduce_mean(y, axis=[1, 2])

  def generate(self, z: tf.Tensor, y: tf.Tensor | None) -> tf.Tensor:
    """Images [batch, h, w, c] in [0, 1], for inference.

    Args:
      z: noise [batch, z_dim].
      y: condition [batch, condition_size]; not used by an unconditional generator.
    """
    y = self._shaped(y) if self._g_conditional else None
    with network_pass.network_pass(network_pass.current_pass()):
      return self.generator(z, y=y, is_training=False)

  def discriminate(self, images: tf.Tensor, y: tf.Tensor | None) -> tf.Tensor:
    """Scores [batch, 1] (logits, not probabilities), for inference."""
    y = self._pooled(self._shaped(y)) if self._d_conditional else None
    with network_pass.network_pass(network_pass.current_pass()):
      return self.discriminator(images, y=y, is_training=False)[1]

  # What runs and exports it --------------------------------------------------

  def as_estimator(
    self, run_config: tf.estimator.tpu.RunConfig, batch_size: int, use_tpu: bool
  ) -> tf.estimator.tpu.TPUEstimator:
    """The estimator of `input_fn` and `model_fn`.

    Args:
      run_config: its tf_random_seed is that of the noise as well, and its
        save_summary_steps the steps between summaries.
      batch_size: images of one update of one network; outside of a TPU, those of one
        replica.
      use_tpu: whether the steps run on a TPU.
    """
    params = {"save_summary_steps": run_config.save_summary_steps}
    if run_config.tf_random_seed is not None:
      params["seed"] = run_config.tf_random_seed
    # A strategy would rewrite it, which takes longer than to build the graph.
    model_fn = tf.autograph.experimental.do_not_convert(self.model_fn)

    def build(features, labels, params, mode):
      return model_fn(features, labels, params, mode)

    return tf.estimator.tpu.TPUEstimator(
      model_fn=build,
      config=run_config,
      params=params,
      use_tpu=use_tpu,
      train_batch_size=batch_size * self.num_sub_steps,
    )

  def as_module_spec(self, params: Any = None, mode: Any = None) -> hub.ModuleSpec:
    """The TF-Hub module of both networks (see gans/module_spec.py)."""
    del params, mode  # the module is the same for all
    return module_spec.create(self)

  # One training step ---------------------------------------------------------

  def model_fn(
    self, features: Features, labels: tf.Tensor, params: dict[str, Any], mode: str
  ) -> tf.estimator.tpu.TPUEstimatorSpec:
    """Builds one whole training step; features and labels as input_fn yields them.

    The loss of the estimator is that of the first discriminator update; it is not
    finite if any loss of the step, on any replica, is not.
    """
    input_lib.check_training(mode)
    if tpu_ops.in_strategy():
      # Replicas are built in turn: one shall not see the other's losses.
      return copy.copy(self)._model_fn(features, labels, params)
    return self._model_fn(features, labels, params)

  def _model_fn(self, features, labels, params):
    self._tpu_summary = tpu_summaries.TpuSummaries(
      self._model_dir, params.get("save_summary_steps", 250)
    )
    features, labels = self._with_conditions(features, labels)
    if tpu_random.RANDOM_OFFSET in features:
      tpu_random.set_random_offset_from_features(features)
    train_op, losses = self.train_step(features, labels, params, self._tpu_summary)
    self._check_variables()
    first, total = tf.unstack(
      tpu_ops.cross_replica_mean(
        tf.stack([losses["d_loss_0"], tf.add_n(list(losses.values()))])
      )
    )
    loss = tf.where(tf.math.is_finite(total), first, total)
    host_call = self._tpu_summary.get_host_call(self._step)
    if tpu_ops.in_strategy() and host_call:
      # Only the first replica's summaries are fetched, and a mean over replicas waits
      # without end for one that does not compute its part.
      train_op = tf.group(train_op, loss, *host_call[1])
    return tf.estimator.tpu.TPUEstimatorSpec(
      mode=tf.estimator.ModeKeys.TRAIN,
      loss=loss,
      train_op=train_op,
      host_call=host_call,
    )

  def train_step(
    self,
    features: Features,
    labels: tf.Tensor,
    params: dict[str, Any] | None = None,
    summaries: tpu_summaries.TpuSummaries | None = None,
  ) -> tuple[tf.Operation, dict[str, tf.Tensor]]:
    """disc_iters discriminator updates, then one generator update.

    All inputs hold disc_iters + 1 sub-batches, one after the other.

    Args:
      features: "images" [sub steps * batch, h, w, c] in [0, 1], "z" [.., z_dim] and,
        of a conditional GAN, "sampled_y", the condition of generated images [.., n].
      labels: int [sub steps * batch], or conditions [.., n], of the real images.
      params: the estimator's; params["use_tpu"]: sum gradients over TPU cores.
      summaries: gets losses, scores and images.

    Returns:
      (op of the whole step, dict of losses: d_loss_<k> of each update, g_loss).
    """
    params = params or {}
    labels = self._pooled(self._shaped(labels))
    if "sampled_y" in features:
      features = dict(features, sampled_y=self._shaped(features["sampled_y"]))
    use_tpu = params.get("use_tpu", False)
    d_optimizer = self.get_disc_optimizer(use_tpu)
    g_optimizer = self.get_gen_optimizer(use_tpu)
    global_step = tf.train.get_or_create_global_step()
    global_step_disc = update_lib.get_or_create_global_step_disc()
    *d_steps, g_step = self._sub_steps(features, labels)

    # All images are made from the weights at the start of the step, in one pass of
    # calls, but each only when its turn comes: so memory holds few at once.
    self._generator_pass = network_pass.NetworkPass()
    if self._experimental_joint_gen_for_disc:
      self._add_joint_images([features for features, _ in d_steps])
    losses, previous = {}, []
    for number, (features, labels) in enumerate(d_steps):
      with self._update_of(f"disc_step_{number + 1}", previous) as d_pass:
        self._add_images_of_one_part(features)
        loss = self._train_discriminator(
          features, labels, global_step_disc, d_optimizer, params
        )
        losses[f"d_loss_{number}"] = loss
        previous = [loss, *d_pass.updates]
    d_scores = self._scores

    features, labels = g_step
    with self._update_of("gen_step", previous) as d_pass:
      self._step = step = global_step.read_value()  # before the update
      self._add_images_of_one_part(features)
      self._updates_generator = True
      with tf.control_dependencies([step]):
        loss = self._train_generator(features, labels, global_step, g_optimizer, params)
      self._updates_generator = False
      losses["g_loss"] = loss
    updates = [loss, *self._generator_pass.updates, *d_pass.updates]
    if self.g_use_ema:
      with tf.control_dependencies([loss]):
        updates.append(self._ema_update(step))
    if summaries is not None:
      self._summarize(summaries, losses, d_scores, features)
    return tf.group(*updates), losses

  @contextlib.contextmanager
  def _update_of(self, name, previous) -> Iterator[network_pass.NetworkPass]:
    """Where an update is built: after `previous`, with one power iteration of D.

    The first use of an optimizer names its variables after the scope.
    """
    with contextlib.ExitStack() as stack:
      stack.enter_context(tf.name_scope(name))
      stack.enter_context(tf.control_dependencies(previous))
      yield stack.enter_context(network_pass.network_pass())

  def _train_discriminator(
    self,
    features: Features,
    labels: tf.Tensor,
    step: tf.Variable,
    optimizer: tf.train.Optimizer,
    params: dict[str, Any],
  ) -> tf.Tensor:
    """One discriminator update on a sub-step.

    Args:
      features: as create_loss gets them; without "generated", which is made for each
        part, where there are micro_batches.
      labels: of the real images.
      step: the counter of updates.
      optimizer: of the discriminator.
      params: the estimator's.

    Returns:
      The loss; it is there once the update is made.
    """

    def loss(features, labels):
      features = dict(features, generated=tf.stop_gradient(self._generated(features)))
      self.create_loss(features, labels, params)
      return self.d_loss

    parts = self._parts(features, labels)
    return update_lib.apply_update(optimizer, loss, parts, self.discriminator, step)

  def _train_generator(
    self,
    features: Features,
    labels: tf.Tensor,
    step: tf.Variable,
    optimizer: tf.train.Optimizer,
    params: dict[str, Any],
  ) -> tf.Tensor:
    """One generator update on a sub-step; as _train_discriminator."""

    def loss(features, labels):
      features["generated"] = self._generated(features)
      self.create_loss(features, labels, params)
      return self.g_loss

    parts = self._parts(features, labels)
    loss = update_lib.apply_update(optimizer, loss, parts, self.generator, step)
    features.setdefault("generated", parts[-1][0]["generated"])
    return loss

  def create_loss(
    self,
    features: Features,
    labels: tf.Tensor,
    params: dict[str, Any],
    is_training: bool = True,
  ) -> None:
    """Sets self.d_loss and self.g_loss, for one update of either network.

    It is called for every update, and a subclass may override it. For the
    discriminator's, no gradient goes back from the generated images.

    Args:
      features: "images" [batch, h, w, c], "generated" of the same shape, "z" and, of a
        conditional GAN, "sampled_y", the condition of the generated images [batch, n].
      labels: of the real images, for _get_one_hot_labels.
      params: the estimator's.
      is_training: for the networks.
    """
    y = self._get_one_hot_labels(labels) if self._conditional else None
    images, generated = features["images"], features["generated"]
    real, fake = self._discriminate_both(
      images, generated, y, features.get("sampled_y"), is_training
    )
    self.d_loss, _, _, self.g_loss = self._adversarial_losses(*real[:2], *fake[:2])
    self.d_loss += self._lambda * self._penalty(images, generated, y, is_training)

  def _discriminate_both(self, real, fake, y_real, y_fake, is_training):
    """What the discriminator says of real images, and of as many generated ones.

    The generator's loss does not depend on the scores of real images as a rule: in its
    update, scored by themselves, they are not computed. But a discriminator with batch
    statistics has to see both together.

    Returns:
      Two tuples of (probability [batch, 1], score [batch, 1], features), the last as the
      network gives them: a tensor, a structure of tensors, or None.
    """

    def call(images, y):
      y = y if self._d_conditional else None
      return self.discriminator(images, y=y, is_training=is_training)

    y_fake = self._pooled(y_fake)
    together = self.discriminator.has_batch_statistics or scaled_convolutions.is_plain()
    apart = self._updates_generator and not together
    if self._deprecated_split_disc_calls or apart:
      return call(real, y_real), call(fake, y_fake)
    y = tf.concat([y_real, y_fake], 0) if self._d_conditional else None
    both = call(tf.concat([real, fake], 0), y)
    halves = [None if t is None else tf.split(t, 2) for t in tf.nest.flatten(both)]
    real, fake = (
      tf.nest.pack_sequence_as(both, [t if t is None else t[half] for t in halves])
      for half in (0, 1)
    )
    return real, fake

  def _adversarial_losses(self, d_real, d_real_logits, d_fake, d_fake_logits):
    """The four losses of gin's loss.fn; the scores are kept for summaries."""
    self._scores = {
      "d_real": d_real,
      "d_fake": d_fake,
      "d_real_logits": d_real_logits,
      "d_fake_logits": d_fake_logits,
    }
    return loss_lib.get_losses(**self._scores)

  def _penalty(self, images, generated, y, is_training):
    """gin's penalty.fn, kept as self.penalty_loss."""
    self.penalty_loss = penalty_lib.get_penalty_loss(
      x=images,
      x_fake=generated,
      y=y if self._d_conditional else None,
      is_training=is_training,
      discriminator=self.discriminator,
      architecture=self._architecture,
    )
    return self.penalty_loss

  # Parts of a step -----------------------------------------------------------

  def _sub_steps(self, features, labels):
    """[(features, labels)] of each update."""
    return update_lib.split(features, labels, self.num_sub_steps)

  def _parts(self, features, labels):
    """[(features, labels)] of the micro-batches of a sub-step."""
    batch_size = int(features["images"].shape[0])
    if batch_size % self._micro_batches:
      raise UserError(
        f"ModularGAN.micro_batches {self._micro_batches} does not divide a replica's "
        f"batch of {batch_size}; change it or options.batch_size"
      )
    return update_lib.split(features, labels, self._micro_batches)

  def _generated(self, features):
    """Images of noise and condition; those that "generated" has already, if any."""
    if "generated" in features:
      return features["generated"]
    y = features["sampled_y"] if self._g_conditional else None
    with network_pass.network_pass(self._generator_pass):
      return self.generator(features["z"], y=y, is_training=True)

  def _add_images_of_one_part(self, features):
    """Adds "generated" where an update is not made in micro-batches."""
    if self._micro_batches == 1:
      features["generated"] = self._generated(features)

  def _add_joint_images(self, steps):
    """Adds "generated" to every sub-step of the discriminator.

    One call makes the same micro-batch of all of them.
    """
    names = [name for name in ("z", "sampled_y") if name in steps[0]]
    parts = [
      tf.split(step[name], self._micro_batches) for step in steps for name in names
    ]
    made = []
    for number in range(self._micro_batches):
      joint = {
        name: tf.concat([part[number] for part in parts[i :: len(names)]], 0)
        for i, name in enumerate(names)
      }
      made.append(tf.split(self._generated(joint), len(steps)))
    for step, images in zip(steps, zip(*made)):
      step["generated"] = tf.concat(images, 0)

  def get_disc_optimizer(self, use_tpu: bool = True) -> tf.train.Optimizer:
    """The discriminator's; on a TPU it sums gradients over the cores."""
    return update_lib.make_optimizer(self._d_optimizer_fn, self._d_lr, "d_opt", use_tpu)

  def get_gen_optimizer(self, use_tpu: bool = True) -> tf.train.Optimizer:
    """The generator's; as get_disc_optimizer."""
    return update_lib.make_optimizer(self._g_optimizer_fn, self._g_lr, "g_opt", use_tpu)

  def ema(self, step: tf.Tensor | None = None) -> tf.train.ExponentialMovingAverage:
    """The moving average of the generator's weights.

    Args:
      step: the one before the update; the decay is 0 before ema_start_step.
    """
    decay = self._ema_decay
    if step is not None:
      decay *= tf.cast(tf.greater_equal(step, self._ema_start_step), tf.float32)
    return tf.train.ExponentialMovingAverage(decay)

  def _ema_update(self, step):
    return self.ema(step).apply(self.generator.trainable_variables)

  def _check_variables(self):
    """Every trainable variable is updated by one of the networks' optimizers.

    Raises:
      UserError: one belongs to none of them, or to both.
    """
    owned = [
      {v.name for v in network.trainable_variables}
      for network in (self.generator, self.discriminator)
    ]
    for variable in tf.trainable_variables():
      count = sum(variable.name in names for names in owned)
      if count != 1:
        raise UserError(
          f"trainable variable {variable.name} belongs to "
          f"{'neither network' if count == 0 else 'both networks'}; its name must "
          f"contain either {self.generator.name!r} or {self.discriminator.name!r}"
        )

  def _summarize(self, summaries, losses, scores, features):
    for name, value in losses.items():
      summaries.scalar(f"loss/{name.replace('_loss', '')}", value)
    x, generated = features["images"], tf.cast(features["generated"], tf.float32)
    for name, images in (("real_images", x), ("fake_images", generated)):
      summaries.image(name, images, reduce_fn=gan_utils.square_grid)
    rows = min(_PAIRS_SHOWN, int(generated.shape[0]))
    pairs = tf.concat([x[-rows:], generated[-rows:]], axis=2)
    summaries.image(
      "originals_and_reconstructions",
      pairs,
      reduce_fn=lambda images: gan_utils.grid(images[:rows], rows, 1),
    )
    if scores is None:  # a subclass has its own create_loss
      return
    for name in ("d_real", "d_fake"):
      mean, variance = tf.nn.moments(scores[f"{name}_logits"], [0, 1])
      summaries.scalar(f"scores/{name}_mean", mean)
      summaries.scalar(f"scores/{name}_deviation", tf.sqrt(variance))
    found = health.measures(
      scores["d_real_logits"], scores["d_fake_logits"], x, generated
    )
    health.publish(found)
    for name, value in found.items():
      summaries.scalar(f"health/{name}", value)
