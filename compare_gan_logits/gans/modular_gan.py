"""The trainer: a GAN put together by gin from networks, loss and penalty.

One training step is disc_iters discriminator updates and one generator update,
all in one session call. With a classifier bound, 'label' is the logit vector of
the real image, which conditions both networks (Figure 2 of the paper).
"""

import gin
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits import utils
from compare_gan_logits.architectures import network_pass
from compare_gan_logits.architectures import registry
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.gans import abstract_gan
from compare_gan_logits.gans import consts
from compare_gan_logits.gans import health
from compare_gan_logits.gans import loss_lib
from compare_gan_logits.gans import module_spec
from compare_gan_logits.gans import penalty_lib
from compare_gan_logits.tpu import tpu_ops
from compare_gan_logits.tpu import tpu_random
from compare_gan_logits.tpu import tpu_summaries


_GRID_ROWS = 8  # image pairs in the summary of originals beside reconstructions


@gin.configurable("z")
def sample_z(
  shape,
  seed,
  distribution_fn=tf.random.stateless_normal,
  minval=None,
  maxval=None,
  stddev=None,
):
  """The generator's noise.

  Args:
    shape: [batch, z_dim].
    seed: integer tensor [2].
    distribution_fn: tf.random.normal, tf.random.uniform, their stateless forms or
      any function of (shape, seed). A stateful one is replaced by the stateless
      one of the same distribution, so that a resumed run draws what it would have.
    minval, maxval, stddev: passed on where the function takes them.
  """
  given = {"minval": minval, "maxval": maxval, "stddev": stddev}
  return utils.call_with_accepted_args(
    tpu_random.stateless_counterpart(distribution_fn),
    shape=shape,
    seed=seed,
    **{name: value for name, value in given.items() if value is not None},
  )


def _own(values, rows):
  """The replica's rows of values of the whole batch; None: all of them."""
  return values if rows is None else tf.gather(values, rows)


def _check_inputs(name, inputs):
  """Whether a network takes the condition: [] no, ['label'] yes."""
  for value in inputs:
    if value != consts.LABEL:
      raise UserError(
        f"ModularGAN.{name} has {value!r}: {nearest(value, [consts.LABEL])}"
      )
  return bool(inputs)


@gin.configurable(denylist=["dataset", "parameters", "model_dir", "classifier"])
class ModularGAN(abstract_gan.AbstractGAN):
  """A conditional or unconditional GAN.

  Args:
    deprecated_split_disc_calls: score real and generated images in two calls.
    experimental_joint_gen_for_disc: make the images of all discriminator updates in
      one generator call, with common batch moments.
    experimental_force_graph_unroll: accepted; the step is always one graph.
    g_use_ema: keep an exponential moving average of the generator's weights.
    ema_decay: of that average.
    ema_start_step: before this step the average is the weights themselves.
    g_optimizer_fn, d_optimizer_fn: function of (learning_rate, name); d defaults to g.
    g_lr, d_lr: learning rates; d_lr None means g_lr.
    conditional: condition both networks on 'label'.
    fit_label_distribution: without a classifier, draw the labels of generated images
      from the data's distribution instead of uniformly.
    g_inputs, d_inputs: what each network is conditioned on, ['label'] or []; None
      means ['label'] where `conditional` is on.
    micro_batches: in how many parts, one after the other, a replica computes each
      update; their gradients are averaged. Memory falls with the size of a part.
      Batch norms see the moments of a part (over all replicas), not of the batch. As
      without it, spectral norm makes one iteration per update, and steps and the
      moving average count updates; moving_mean and moving_variance move once per part.
      In summaries, losses are means over the parts, scores and images those of the
      last one.
  """

  def __init__(
    self,
    dataset,
    parameters,
    model_dir,
    deprecated_split_disc_calls=False,
    experimental_joint_gen_for_disc=False,
    experimental_force_graph_unroll=False,
    g_use_ema=False,
    ema_decay=0.9999,
    ema_start_step=40000,
    g_optimizer_fn=tf.train.AdamOptimizer,
    d_optimizer_fn=None,
    g_lr=0.0002,
    d_lr=None,
    conditional=False,
    fit_label_distribution=False,
    classifier=None,
    g_inputs=None,
    d_inputs=None,
    micro_batches=1,
  ):
    super().__init__(dataset, parameters, model_dir, classifier)
    self._architecture = parameters["architecture"]
    self._z_dim = parameters["z_dim"]
    self._lambda = parameters["lambda"]
    self._disc_iters = parameters.get("disc_iters", 1)
    self._conditional = conditional
    self._generator = self._discriminator = None
    del experimental_force_graph_unroll  # a mode of the reference's TPU code
    self._split_disc_calls = deprecated_split_disc_calls
    self._joint_gen_for_disc = experimental_joint_gen_for_disc
    self.g_use_ema = g_use_ema
    self._ema_decay = ema_decay
    self._ema_start_step = ema_start_step
    self._g_optimizer_fn = g_optimizer_fn
    self._d_optimizer_fn = d_optimizer_fn or g_optimizer_fn
    self._g_lr = g_lr
    self._d_lr = g_lr if d_lr is None else d_lr
    self._fit_label_distribution = fit_label_distribution
    if not isinstance(micro_batches, int) or micro_batches < 1:
      raise UserError(
        f"ModularGAN.micro_batches is {micro_batches!r}; it must be a positive integer"
      )
    self._micro_batches = micro_batches
    default = [consts.LABEL] if conditional else []
    self._g_conditional = _check_inputs(
      "g_inputs", default if g_inputs is None else g_inputs
    )
    self._d_conditional = _check_inputs(
      "d_inputs", default if d_inputs is None else d_inputs
    )
    if (self._g_conditional or self._d_conditional) and not conditional:
      raise UserError(
        "gin binds ModularGAN.g_inputs or d_inputs, but not "
        "ModularGAN.conditional = True; bind it or drop the inputs"
      )
    if classifier is not None and not conditional:
      raise UserError(
        "gin binds classifier.handle, but ModularGAN.conditional is "
        "False, so the logits would not be used; set it to True"
      )

  @property
  def generator(self):
    """The generator network; made when it is first asked for."""
    if self._generator is None:
      architecture = registry.get(self._architecture)
      self._generator = architecture.Generator(image_shape=self.image_shape)
    return self._generator

  @property
  def discriminator(self):
    """The discriminator network; made when it is first asked for."""
    if self._discriminator is None:
      self._discriminator = registry.get(self._architecture).Discriminator()
    return self._discriminator

  @property
  def image_shape(self):
    """(height, width, colors)."""
    resolution = self._dataset.resolution
    return (resolution, resolution, self._dataset.colors)

  @property
  def z_dim(self):
    return self._z_dim

  @property
  def conditional(self) -> bool:
    """Whether any network may be told a condition."""
    return self._conditional

  @property
  def condition_name(self) -> str:
    """What a condition is: the "logits" of a classifier, or class "labels"."""
    return "labels" if self._classifier is None else "logits"

  @property
  def conditioning(self):
    """What the generator is told: "logits", "labels" or "none"."""
    return self.condition_name if self._g_conditional else "none"

  @property
  def discriminator_is_conditional(self) -> bool:
    return self._d_conditional

  @property
  def condition_size(self):
    """Length of the condition: the number of logits, or of classes."""
    if self._classifier is not None:
      return self._classifier.num_logits
    return self._dataset.num_classes

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
    return tf.estimator.tpu.TPUEstimator(
      model_fn=self.model_fn,
      config=run_config,
      params=params,
      use_tpu=use_tpu,
      train_batch_size=batch_size * self.num_sub_steps,
    )

  def as_module_spec(self) -> hub.ModuleSpec:
    """The TF-Hub module of both networks (see gans/module_spec.py)."""
    return module_spec.create(self)

  # Inputs --------------------------------------------------------------------

  @property
  def num_sub_steps(self):
    return self._disc_iters + 1

  def input_fn(
    self,
    params,
    mode=tf.estimator.ModeKeys.TRAIN,
    start_step=0,
    logits=None,
    shard=0,
    num_shards=1,
    replicas=1,
  ):
    """Features of whole training steps: images [sub steps * batch, h, w, c].

    The images of a step are one batch, in an order that does not depend on replicas.
    A worker reads every num_shards-th of them and deals them out to its replicas in
    turn: so each replica's sub-batch is a part of the whole one's.

    Args:
      params: dict with batch_size: images of a whole step of one replica.
      mode: tf.estimator.ModeKeys.TRAIN.
      start_step: training step to go on from; the images before it are passed over.
      logits: cached logits [num examples, n] or None.
      shard, num_shards: which part of the data this worker reads.
      replicas: of this worker. With several in all, there is an element for each of
        its replicas, in turn, and "rows" has the images' places in the step's batch.
    """
    del mode
    own = params["batch_size"]
    dataset = self._dataset.train(
      own * replicas,
      start=start_step * own * replicas,
      shard=shard,
      num_shards=num_shards,
      with_logits=logits,
    )

    def to_features(element):
      features = {"images": element["image"], "labels": element["label"]}
      if logits is not None:
        features["logits"] = element["logits"]
      if num_shards * replicas > 1:
        features["rows"] = shard + num_shards * tf.range(own * replicas)
      return features

    def deal(value):
      shape = [own, replicas, *value.shape[1:]]
      return tf.transpose(tf.reshape(value, shape), [1, 0, *range(2, len(shape))])

    dataset = dataset.map(to_features)
    if replicas > 1:
      dataset = dataset.map(
        lambda features: {name: deal(value) for name, value in features.items()},
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
      ).unbatch()
    return dataset.prefetch(2 * replicas)

  def condition(self, features):
    """The condition of real images: logits, or one-hot labels. No gradient."""
    if self._classifier is None:
      return tf.one_hot(features["labels"], self.condition_size)
    if "logits" in features:
      return features["logits"]
    return tf.stop_gradient(self._classifier(features["images"]))

  def _fake_condition(self, condition, seed, rows=None):
    """The condition of generated images.

    Logits belong to an image, so generated images take those of the real ones.
    """
    if self._classifier is not None or self._fit_label_distribution:
      return condition
    labels = tf.random.stateless_uniform(
      [condition.shape[0] * tpu_ops.num_replicas()],
      seed,
      0,
      self.condition_size,
      dtype=tf.int32,
    )
    return tf.one_hot(_own(labels, rows), self.condition_size)

  # Networks ------------------------------------------------------------------

  def generate(self, z, y):
    """Images [batch, h, w, c] for inference."""
    y = y if self._g_conditional else None
    with network_pass.network_pass(network_pass.current_pass()):
      return self.generator(z, y, is_training=False)

  def discriminate(self, images, y):
    """Scores [batch, 1] for inference."""
    y = y if self._d_conditional else None
    with network_pass.network_pass(network_pass.current_pass()):
      return self.discriminator(images, y, is_training=False)[1]

  def _fake(self, z, y):
    return self.generator(z, y if self._g_conditional else None, is_training=True)

  def _score(self, images, y):
    """(probability, score) of images [batch, h, w, c] in training."""
    y = y if self._d_conditional else None
    return self.discriminator(images, y, is_training=True)[:2]

  def _score_pair(self, real, fake, y_real, y_fake):
    """Scores of real and generated images, as one batch.

    Returns:
      dict of d_real, d_fake, d_real_logits, d_fake_logits, each [batch, 1].
    """
    if self._split_disc_calls:
      d_real, d_real_logits = self._score(real, y_real)
      d_fake, d_fake_logits = self._score(fake, y_fake)
    else:
      d_both, d_both_logits = self._score(
        tf.concat([real, fake], 0), tf.concat([y_real, y_fake], 0)
      )
      d_real, d_fake = tf.split(d_both, 2)
      d_real_logits, d_fake_logits = tf.split(d_both_logits, 2)
    return {
      "d_real": d_real,
      "d_fake": d_fake,
      "d_real_logits": d_real_logits,
      "d_fake_logits": d_fake_logits,
    }

  # One training step ---------------------------------------------------------

  def model_fn(self, features, labels, params, mode):
    """Builds one whole training step; `features` as input_fn makes them."""
    del labels, mode  # inference graphs are export.py's
    batch_size = int(features["images"].shape[0]) // self.num_sub_steps
    step = tf.train.get_or_create_global_step()
    seed = params.get("seed", 0)
    if batch_size % self._micro_batches:
      raise UserError(
        f"ModularGAN.micro_batches {self._micro_batches} does not divide a replica's "
        f"batch of {batch_size}; change it or options.batch_size"
      )
    # Every replica draws the numbers of all, and takes those of its images.
    rows = features["rows"] if tpu_ops.num_replicas() > 1 else None
    whole_batch = self.num_sub_steps * batch_size * tpu_ops.num_replicas()
    z = _own(
      sample_z([whole_batch, self.z_dim], tpu_random.step_seed(seed, "z", step)), rows
    )
    condition = self.condition(features)
    fake_condition = self._fake_condition(
      condition, tpu_random.step_seed(seed, "labels", step), rows
    )
    summaries = tpu_summaries.TpuSummaries(
      self._model_dir, params.get("save_summary_steps", 100)
    )
    train_op, losses = self.train_step(
      features["images"],
      z,
      condition,
      fake_condition,
      params.get("use_tpu", False),
      summaries,
    )
    # What is not finite on one replica shows, and ends the training, on all.
    loss = tpu_ops.cross_replica_mean(losses["d_loss"] + losses["g_loss"])
    host_call = summaries.get_host_call()
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

  def train_step(self, images, z, y_real, y_fake, use_tpu=False, summaries=None):
    """disc_iters discriminator updates, then one generator update.

    All inputs hold disc_iters + 1 sub-batches, one after the other.

    Args:
      images: real images [sub steps * batch, h, w, c] in [0, 1].
      z: noise [sub steps * batch, z_dim].
      y_real, y_fake: conditions of the real and the generated images.
      use_tpu: whether gradients are summed over TPU cores.
      summaries: tpu_summaries.TpuSummaries or None.

    Returns:
      (op of the whole step, dict of losses: d_loss_<k> of each update, the others of
      the last one).
    """
    d_optimizer = make_optimizer(self._d_optimizer_fn, self._d_lr, "d_opt", use_tpu)
    g_optimizer = make_optimizer(self._g_optimizer_fn, self._g_lr, "g_opt", use_tpu)
    global_step = tf.train.get_or_create_global_step()
    global_step_disc = tf.get_variable(
      "global_step_disc",
      [],
      tf.int32,
      tf.zeros_initializer(),
      trainable=False,
      use_resource=True,
      aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
    *d_steps, g_step = self._sub_steps(images, z, y_real, y_fake)

    # All images are made from the weights at the start of the step, in one pass of
    # calls, but each only when its turn comes: so memory holds few at once.
    g_pass = network_pass.NetworkPass()
    if self._joint_gen_for_disc:
      with network_pass.network_pass(g_pass):
        self._add_joint_fakes(d_steps)

    def fake(part):
      if "fake" not in part:
        with network_pass.network_pass(g_pass):
          part["fake"] = self._fake(part["z"], part["y_fake"])
      return part["fake"]

    def discriminator_losses(part):
      return self._discriminator_losses(part, tf.stop_gradient(fake(part)))

    losses, previous = {}, []
    for update_number, parts in enumerate(d_steps):
      with tf.control_dependencies(previous), network_pass.network_pass() as d_pass:
        gradients, d_losses = mean_gradients(
          d_optimizer, discriminator_losses, parts, self.discriminator
        )
        update = d_optimizer.apply_gradients(gradients, global_step_disc)
        losses[f"d_loss_{update_number}"] = d_losses["d_loss"]
        previous = [update] + d_pass.updates

    def generator_losses(part):
      return {"g_loss": self._generator_loss(part, fake(part))}

    with tf.control_dependencies(previous), network_pass.network_pass() as d_pass:
      gradients, g_losses = mean_gradients(
        g_optimizer, generator_losses, g_step, self.generator
      )
      g_update = g_optimizer.apply_gradients(gradients, global_step)
    updates = [g_update] + g_pass.updates + d_pass.updates
    if self.g_use_ema:
      with tf.control_dependencies([g_update]):
        updates.append(self._ema_update(global_step))

    losses.update(d_losses, **g_losses)
    if summaries is not None:
      self._summarize(
        summaries,
        losses,
        d_steps[-1][-1]["scores"],
        g_step[-1]["x"],
        g_step[-1]["fake"],
      )
    return tf.group(*updates), losses

  def _sub_steps(self, *inputs):
    """The inputs of each update, as a list of its micro-batches."""
    names = ("x", "z", "y_real", "y_fake")
    sub_steps = [
      dict(zip(names, sub_batch))
      for sub_batch in zip(*(tf.split(t, self.num_sub_steps) for t in inputs))
    ]
    if self._micro_batches == 1:
      return [[sub_step] for sub_step in sub_steps]
    return [
      [
        dict(zip(names, part))
        for part in zip(
          *(tf.split(sub_step[name], self._micro_batches) for name in names)
        )
      ]
      for sub_step in sub_steps
    ]

  def _add_joint_fakes(self, d_steps):
    """Adds "fake" to every micro-batch of the discriminator's updates."""
    for parts in zip(*d_steps):  # the same micro-batch of every update
      joint = self._fake(
        tf.concat([p["z"] for p in parts], 0),
        tf.concat([p["y_fake"] for p in parts], 0),
      )
      for part, images in zip(parts, tf.split(joint, len(parts))):
        part["fake"] = images

  def _discriminator_losses(self, part, fake):
    """The losses of a micro-batch, to which it adds "scores"."""
    part["scores"] = self._score_pair(part["x"], fake, part["y_real"], part["y_fake"])
    loss, real, fake_loss, _ = loss_lib.get_losses(**part["scores"])
    penalty = self._penalty(part, fake)
    return {
      "d_loss": loss + self._lambda * penalty,
      "d_loss_real": real,
      "d_loss_fake": fake_loss,
      "penalty": penalty,
    }

  def _penalty(self, sub_step, fake):
    kernels = [v for v in self.discriminator.trainable_variables if v.shape.rank > 1]
    return penalty_lib.get_penalty_loss(
      discriminator=lambda x: self._score(x, sub_step["y_real"])[1],
      x=sub_step["x"],
      x_fake=fake,
      kernels=kernels,
    )

  def _generator_loss(self, g_step, generated):
    """The generator's loss needs the scores of generated images only.

    Unless the discriminator has batch statistics, to which real images belong.
    """
    if self.discriminator.has_batch_statistics:
      scores = self._score_pair(
        g_step["x"], generated, g_step["y_real"], g_step["y_fake"]
      )
    else:
      d_fake, d_fake_logits = self._score(generated, g_step["y_fake"])
      # The losses of real images are computed along, and not used.
      scores = {
        "d_real": d_fake,
        "d_fake": d_fake,
        "d_real_logits": d_fake_logits,
        "d_fake_logits": d_fake_logits,
      }
    return loss_lib.get_losses(**scores)[3]

  def ema(self, step=None):
    """The moving average of the generator's weights; decay 0 before its start."""
    decay = self._ema_decay
    if step is not None:
      decay *= tf.cast(tf.greater_equal(step, self._ema_start_step), tf.float32)
    return tf.train.ExponentialMovingAverage(decay)

  def _ema_update(self, global_step):
    return self.ema(global_step.read_value()).apply(self.generator.trainable_variables)

  def _summarize(self, summaries, losses, scores, x, generated):
    for name, value in losses.items():
      summaries.scalar(f"loss/{name}", value)
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
    rows = min(_GRID_ROWS, x.shape[0])
    pairs = tf.concat([x[:rows], tf.cast(generated, tf.float32)[:rows]], axis=2)
    _, height, width, colors = pairs.shape
    summaries.image(
      "originals_and_reconstructions",
      tf.reshape(pairs, [1, rows * height, width, colors]),
    )


def make_optimizer(optimizer_fn, learning_rate, name, use_tpu):
  """An optimiser that, on a TPU, sums gradients over the cores."""
  optimizer = optimizer_fn(learning_rate=learning_rate, name=name)
  return tf.tpu.CrossShardOptimizer(optimizer) if use_tpu else optimizer


def mean_gradients(optimizer, losses_of, parts, network):
  """The mean over micro-batches of the gradients of their first loss.

  One micro-batch is done before the next one begins, so that memory holds the
  activations of one.

  Args:
    optimizer: tf.train.Optimizer.
    losses_of: function of a micro-batch that returns a dict of scalars.
    parts: list of micro-batches of one size.
    network: whose weights to differentiate by, once the losses have made them.

  Returns:
    ([(gradient, weight)], dict of the mean losses).
  """
  sums, losses = None, []
  for part in parts:
    with tf.control_dependencies([g for g in sums or [] if g is not None]):
      losses.append(losses_of(part))
      loss = next(iter(losses[-1].values()))
      weights = network.trainable_variables
      gradients = [g for g, _ in optimizer.compute_gradients(loss, weights)]
      sums = (
        gradients
        if sums is None
        else [total if g is None else total + g for total, g in zip(sums, gradients)]
      )
  if len(parts) > 1:
    sums = [None if total is None else total / len(parts) for total in sums]
    losses = [
      {
        name: tf.add_n([part[name] for part in losses]) / len(parts)
        for name in losses[0]
      }
    ]
  return list(zip(sums, weights)), losses[0]
