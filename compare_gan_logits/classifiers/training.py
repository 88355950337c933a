"""Trains a small classifier, ordinarily or adversarially, and exports it.

Adversarial training replaces every batch by its attacked version (Madry et al.,
2018): projected gradient descent ("pgd"), one step from a random start ("fast",
Wong et al., 2020), or the gradient that the weights' update computes anyway, on
batches that are replayed ("free", Shafahi et al., 2019).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import attacks
from compare_gan_logits import checkpoints as checkpoint_lib
from compare_gan_logits import files
from compare_gan_logits import utils
from compare_gan_logits.classifiers import class_order
from compare_gan_logits.classifiers import converted
from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers import small_networks
from compare_gan_logits.classifiers import zoo
from compare_gan_logits.classifiers.classifier import Classifier
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.tpu import tpu_random


if TYPE_CHECKING:
  from compare_gan_logits.datasets.image_set import ImageDataset


METHODS = ("pgd", "fast", "free")


@gin.configurable("attack")
@dataclasses.dataclass(frozen=True)
class Attack:
  """Projected gradient descent from a random start, around images in [0, 1].

  Attributes:
    epsilon: radius, in units of the image range; per pixel and channel ("linf")
      or over the whole image ("l2").
    norm: "linf" or "l2".
    steps: gradient steps.
    step_size: None: 2.5 epsilon / steps, as in Madry et al.
  """

  epsilon: float = 0.1
  norm: str = "linf"
  steps: int = 3
  step_size: float | None = None

  def perturb(
    self,
    images: tf.Tensor,
    labels: tf.Tensor,
    logits_fn: Callable[[tf.Tensor], tf.Tensor],
    step: Any = 0,
  ) -> tf.Tensor:
    """Attacked images [b, h, w, c] in [0, 1]; see attacks.pgd.

    The start is drawn from `step` alone, so that a resumed training draws what it
    would have.
    """
    step_size = self.step_size
    if step_size is None:
      step_size = 2.5 * self.epsilon / self.steps
    return attacks.pgd(
      logits_fn,
      images,
      labels,
      self.epsilon,
      step_size,
      self.steps,
      self.norm,
      seed=tpu_random.step_seed(0, "attack", step),
    )

  def single_step(self) -> Attack:
    """The "fast" one: one step, of 1.25 epsilon."""
    return dataclasses.replace(self, steps=1, step_size=1.25 * self.epsilon)

  def for_evaluation(self) -> Attack:
    """What accuracies are reported under: 10 steps, whatever trained."""
    return dataclasses.replace(self, steps=10, step_size=None)

  def __str__(self):
    return f"PGD, {self.norm} {self.epsilon:g}, {self.steps} steps"


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Cross-entropy per example, [b]."""
  return tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels)


@dataclasses.dataclass(frozen=True)
class Network:
  """What is trained.

  Attributes:
    build: graph function of preprocessed images -> {"logits", "features"}; one of
      networks.py.
    preprocessing: of images in [0, 1], with its size.
    initial: {variable name: array}; other variables are drawn.
    learning_rate: Adam's first one, unless gin binds another.
  """

  build: Callable
  preprocessing: Preprocessing
  initial: dict
  learning_rate: float


@dataclasses.dataclass(frozen=True)
class Extras:
  """What a training has beside the cross-entropy of its images.

  Attributes:
    name: recorded with the classifier; a resumed run must have the same.
    loss: graph function of (images [b, h, w, c] in [0, 1], outputs of the network) ->
      scalar that is added; variables that it makes are trained along.
    mix: function of (images, labels int [b], step) -> (images, targets
      [b, classes]), numpy, that takes the batch's place in ordinary training. A
      function of its arguments alone, so that a resumed run has the same batches.
  """

  name: str
  loss: Callable[[tf.Tensor, networks.Outputs], tf.Tensor] | None = None
  mix: Callable[[np.ndarray, np.ndarray, int], tuple] | None = None


def _network(dataset, init, network, size):
  """The network for a data set, from scratch or from ImageNet weights."""
  if init is None:
    kind = small_networks.kind(network)
    return Network(
      functools.partial(kind.build, num_classes=dataset.num_classes),
      Preprocessing(size=size or dataset.resolution, colors=dataset.colors),
      {},
      kind.learning_rate,
    )
  if init != "efficientnet_lite0":
    raise UserError(f"--init takes 'efficientnet_lite0', not {init!r}")
  preprocessing = zoo.get(init).preprocessing
  values = converted.efficientnet_lite0_values(converted.efficientnet_lite0_file())
  for name in ("logits/kernel", "logits/bias"):
    # The last layer's columns of these classes, or a new layer.
    value = values.pop(name)
    if dataset.imagenet_indices is not None:
      values[name] = value[..., dataset.imagenet_indices]
  # Without batch norms to hold them, larger steps kill the features for good.
  return Network(
    functools.partial(networks.efficientnet_lite0, num_classes=dataset.num_classes),
    dataclasses.replace(preprocessing, size=size or preprocessing.size),
    values,
    3e-5,
  )


@gin.configurable("train_classifier", denylist=["dataset", "output", "log", "extras"])
def train(
  dataset: ImageDataset,
  output: str,
  robust: bool = False,
  init: str | None = None,
  size: int | None = None,
  network: str = "cnn",
  method: str = "pgd",
  steps: int = 900,
  batch_size: int = 64,
  learning_rate: float | None = None,
  warmup_steps: int = 0,
  replays: int = 4,
  eval_every: int = 300,
  eval_examples: int = 500,
  test_examples: int | None = None,
  seed: int = 0,
  extras: Extras | None = None,
  log: Callable[[str], None] = print,
) -> dict[str, float]:
  """Trains a classifier and exports it as a TF-Hub module (TF1 format).

  A killed run goes on from the checkpoints in `<output>-checkpoints`, which are
  removed once the module is written.

  Args:
    dataset: datasets.ImageDataset.
    output: folder of the module; classifiers.load(output) takes it.
    robust: adversarial training, with the attack bound as attack.* in gin.
    init: "efficientnet_lite0": fine-tunes that network from its ImageNet weights,
      with batch norms folded, and from its last layer where the data set knows its
      classes' places among ImageNet's; None: a small network from scratch.
    size: pixels that images are resized to; None: the data set's resolution, or 224
      with init.
    network: kind of the small network, "cnn", "resnet", "vit" or "mixer" (see
      small_networks.py); without init.
    method: "pgd", "fast" or "free".
    steps: updates of the weights.
    batch_size: images a step.
    learning_rate: Adam's first one, which falls linearly to zero; None: 3e-3 from
      scratch (1e-3 for "vit" and "mixer"), 3e-5 with init.
    warmup_steps: steps in which the training attack's epsilon grows from 0 to its own;
      pretrained weights fall to chance under the whole of it at once. Not for "free".
    replays: times that "free" replays each batch.
    eval_every: steps between lines of progress.
    eval_examples: validation images for those lines, about.
    test_examples: validation images for the final figures, about; None: all.
    seed: of the initial weights.
    extras: losses and mixed batches beside the cross-entropy; not for "free".
    log: function of a line of text.

  Returns:
    {"clean_accuracy", "attacked_accuracy"} on validation images, in [0, 1].

  Raises:
    UserError: output is taken, or checkpoints were made with other settings.
  """
  _check_arguments(robust, init, network, method, extras)
  files.check_no_pattern(output)
  files.check_new(output)
  for split in ("train", "validation"):
    dataset.check_labelled(split)
  built = _network(dataset, init, network, size)
  method = method if robust else None
  settings = dict(
    dataset=dataset.name,
    method=method,
    init=init,
    steps=steps,
    seed=seed,
    batch_size=batch_size,
    learning_rate=learning_rate or built.learning_rate,
    warmup_steps=warmup_steps,
    preprocessing=dataclasses.asdict(built.preprocessing),
    attack=dataclasses.asdict(Attack()),
  )
  if network != "cnn":
    settings["network"] = network  # The records of earlier runs have none.
  if method == "free":
    settings["replays"] = replays
  if extras:
    settings["extras"] = extras.name
  settings = files.as_json(settings)  # As a checkpoint's record reads.
  with tf.Graph().as_default():
    tf.set_random_seed(seed)
    trainer = _Trainer(
      dataset,
      built,
      method,
      steps,
      batch_size,
      settings["learning_rate"],
      warmup_steps,
      extras,
    )
    with tf.Session() as session, files.locked(_checkpoint_folder(output), "training"):
      checkpoints = _Checkpoints(output, settings, session, trainer)
      if method != "free":
        replays = 1
      for step, loss, speed in _steps(session, trainer, checkpoints, steps, replays):
        if step % eval_every == 0 or step == steps:
          checkpoints.save(step)
          clean, attacked = trainer.evaluate(session, eval_examples)
          log(
            f"step {step}/{steps}  loss {loss:.3f}  clean {clean:.1%}  "
            f"attacked {attacked:.1%}  {speed:.1f} steps/s"
          )
      clean, attacked = trainer.evaluate(session, test_examples)
      log(
        f"{dataset.name} validation: clean {clean:.2%}, under attack "
        f"({Attack().for_evaluation()}) {attacked:.2%}"
      )
      result = {"clean_accuracy": clean, "attacked_accuracy": attacked}
      _export(dataset, built, checkpoints.latest(), output, {**settings, **result})
      checkpoints.remove()
  return result


def _check_arguments(robust, init, network, method, extras):
  """Raises UserError where arguments of `train` do not go together."""
  if method not in METHODS:
    raise UserError(
      f"unknown train_classifier.method {method!r}: {nearest(method, METHODS)}"
    )
  if robust and method == "free" and Attack().norm != "linf":
    raise UserError("train_classifier.method 'free' is for attack.norm 'linf' only")
  if extras and robust and (extras.mix or method == "free"):
    raise UserError(
      "train_classifier mixes no batches, and 'free' has no extra loss, in adversarial "
      "training; leave extras out"
    )
  if init is not None and network != "cnn":
    raise UserError("give --init or --network, not both: init names its network")


def _steps(session, trainer, checkpoints, steps, replays):
  """Trains from the last checkpoint on; yields (step, loss, steps a second) after each.

  Raises:
    UserError: a loss is not finite.
  """
  first = checkpoints.restore()
  batches = trainer.batches(session, first, replays)
  started = time.monotonic()
  for step in range(first, steps):
    loss = trainer.step(session, next(batches), step)
    if not np.isfinite(loss):
      checkpoints.give_up("the loss", step + 1)
    yield step + 1, loss, (step + 1 - first) / (time.monotonic() - started)


def bound_settings() -> dict[str, str]:
  """What gin binds of `train`, by name, as text: a resumed study compares it."""
  bound = gin.get_bindings("train_classifier")
  return {name: repr(value) for name, value in bound.items()}


def accuracy(
  classifier: Classifier, dataset: ImageDataset, limit: int | None = None
) -> dict[str, float]:
  """How often a classifier is right on a data set's validation images.

  Args:
    classifier: with one logit per class of the data set, or ImageNet's 1000 for a
      data set that knows its classes' places among them.
    dataset: datasets.ImageDataset.
    limit: about so many images, spread evenly; None: all. Those without a label do
      not count.

  Returns:
    {"images": count, "top1": share}, and, for ImageNet's 1000 logits on other
    classes, "top1_of_1000", top1 being among the data set's classes only.

  Raises:
    UserError: logits and classes do not fit; or no image has a label.
  """
  indices = class_order.of_classifier(classifier, dataset).indices
  counts = np.zeros(3, int)
  with contextlib.closing(_validation_batches(dataset, limit)) as batches:
    for images, labels in batches:
      images, labels = images[labels >= 0], labels[labels >= 0]
      logits = classifier.predict(images)
      counts += [
        len(images),
        np.sum(logits[:, indices].argmax(axis=1) == labels),
        np.sum(logits.argmax(axis=1) == indices[labels]),
      ]
  if not counts[0]:
    raise UserError(
      f"no validation image of {dataset.name} has a label; bind dataset.labels to a "
      "table of files and classes"
    )
  result = {"images": int(counts[0]), "top1": counts[1] / counts[0]}
  if len(indices) < classifier.num_logits:
    result["top1_of_1000"] = counts[2] / counts[0]
  return result


def _validation_batches(dataset, limit, batch_size=256):
  """Images and labels (numpy) of the validation split, about `limit`, spread evenly:
  file order is often class by class."""
  stride = max(1, dataset.num_examples("validation") // limit) if limit else 1
  graph = tf.Graph()
  with graph.as_default():
    data = dataset.load("validation", lambda i: tf.equal(i % stride, 0))
    element = utils.next_element(data.batch(batch_size))
  with tf.Session(graph=graph) as session:
    yield from utils.run_to_end(session, (element["image"], element["label"]))


class _Trainer:
  """Graph of one training step and of the accuracies."""

  def __init__(
    self,
    dataset,
    network,
    method,
    steps,
    batch_size,
    learning_rate,
    warmup_steps,
    extras=None,
  ):
    self._dataset = dataset
    self._batch_size = batch_size
    self._extras = extras or Extras("")
    shape = [dataset.resolution, dataset.resolution, dataset.colors]
    self._images = tf.placeholder(tf.float32, [None] + shape)
    self._labels = tf.placeholder(tf.int32, [None])
    self._targets = tf.placeholder(tf.float32, [None, dataset.num_classes])

    def outputs_fn(images):
      with tf.variable_scope(networks.SCOPE, reuse=tf.AUTO_REUSE):
        return network.build(network.preprocessing.apply(images))

    def logits_fn(images):
      return outputs_fn(images)["logits"]

    logits_fn(self._images)
    self._assign_initial = networks.assign(network.initial)
    self.variables = tf.trainable_variables(networks.SCOPE)
    self.global_step = tf.train.get_or_create_global_step()
    rate = tf.train.polynomial_decay(learning_rate, self.global_step, steps, 0.0)
    self._optimizer = tf.train.AdamOptimizer(rate)
    self._warmup_steps = warmup_steps
    if method == "free":
      self._loss, self._update = self._free_step(logits_fn, [batch_size] + shape)
    else:
      self._loss, self._update = self._step(outputs_fn, method)
    attacked = Attack().for_evaluation().perturb(self._images, self._labels, logits_fn)
    self._correct = [
      tf.nn.in_top_k(logits_fn(x), self._labels, 1) for x in (self._images, attacked)
    ]

  def _step(self, outputs_fn, method):
    """An ordinary step, or one on attacked images."""
    images = self._images
    if method:
      attack = self._training_attack(method)
      images = attack.perturb(
        images, self._labels, lambda x: outputs_fn(x)["logits"], self.global_step
      )
    outputs = outputs_fn(images)
    if self._extras.mix:
      losses = tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=self._targets, logits=outputs["logits"]
      )
    else:
      losses = cross_entropy(outputs["logits"], self._labels)
    loss = tf.reduce_mean(losses)
    if self._extras.loss:
      loss += self._extras.loss(images, outputs)
      self.variables = tf.trainable_variables()  # with those of the loss
    return loss, self._optimizer.minimize(loss, self.global_step, self.variables)

  def _training_attack(self, method):
    attack = Attack()
    if self._warmup_steps:
      progress = tf.cast(self.global_step, tf.float32) / self._warmup_steps
      attack = dataclasses.replace(
        attack, epsilon=attack.epsilon * tf.minimum(progress, 1.0)
      )
    return attack.single_step() if method == "fast" else attack

  def _free_step(self, logits_fn, shape):
    """One backward pass moves the weights down and the perturbation up."""
    epsilon = Attack().epsilon
    kept = tf.get_variable(
      "perturbation", shape, trainable=False, initializer=tf.zeros_initializer()
    )
    attacked = tf.clip_by_value(self._images + kept, 0.0, 1.0)
    loss = tf.reduce_mean(cross_entropy(logits_fn(attacked), self._labels))
    gradients = self._optimizer.compute_gradients(loss, self.variables)
    (towards,) = tf.gradients(loss, attacked)
    moved = kept.assign(
      tf.clip_by_value(kept + epsilon * tf.sign(towards), -epsilon, epsilon)
    )
    update = self._optimizer.apply_gradients(gradients, self.global_step)
    return loss, tf.group(update, moved)

  def initialize(self, session):
    session.run(tf.global_variables_initializer())
    session.run(self._assign_initial)

  def batches(self, session, start, replays):
    """Endless (images, labels), each batch `replays` times, from step `start` on."""
    data = self._dataset.train(
      self._batch_size, start=start // replays * self._batch_size
    )
    element = utils.next_element(data)
    following = element["image"], element["label"]
    done = start % replays
    while True:
      batch = session.run(following)
      for _ in range(done, replays):
        yield batch
      done = 0

  def step(self, session, batch, number=0):
    """Updates the weights; returns the loss."""
    images, labels = batch
    feed = {self._images: images, self._labels: labels}
    if self._extras.mix:
      images, targets = self._extras.mix(images, labels, number)
      feed = {self._images: images, self._targets: targets}
    loss, _ = session.run([self._loss, self._update], feed)
    return loss

  def evaluate(self, session, limit=None):
    """Clean and attacked accuracy on the validation set."""
    correct = np.zeros(2)
    total = 0
    with contextlib.closing(_validation_batches(self._dataset, limit)) as batches:
      for images, labels in batches:
        feed = {self._images: images, self._labels: labels}
        correct += [np.sum(right) for right in session.run(self._correct, feed)]
        total += len(images)
    return tuple(float(share) for share in correct / total)


def _checkpoint_folder(output):
  return os.path.abspath(output) + "-checkpoints"


class _Checkpoints:
  """Keeps a run's state beside its output until that is written."""

  _BASE = "model-"

  def __init__(self, output, settings, session, trainer):
    self._folder = _checkpoint_folder(output)
    self._session = session
    self._trainer = trainer
    # The one before is for the case that the newest is damaged.
    self._saver = tf.train.Saver(tf.global_variables(), max_to_keep=2)
    record = os.path.join(self._folder, "settings.json")
    if not checkpoint_lib.of_run(self._folder, self._BASE):  # nothing to be lost
      files.write_json(record, settings)
    elif files.read_json(record) != settings:
      raise UserError(
        f"{self._folder} holds a run with other settings; remove it, or "
        "name another output folder"
      )

  def restore(self):
    """Restores or initialises the variables; returns the step to go on from.

    Raises:
      UserError: every checkpoint is damaged.
    """
    step = checkpoint_lib.prepare_to_resume(self._folder, self._BASE)
    self._trainer.initialize(self._session)
    if step:
      self._saver.recover_last_checkpoints(
        [path for _, path in checkpoint_lib.of_run(self._folder, self._BASE)]
      )
      self._saver.restore(self._session, self.latest())
    return step

  def save(self, step):
    """Saves the state.

    Raises:
      UserError: a weight is not finite; the checkpoints stay as they were.
    """
    variables = self._trainer.variables
    for variable, value in zip(variables, self._session.run(variables)):
      if not np.all(np.isfinite(value)):
        self.give_up(variable.op.name, step)
    self._saver.save(
      self._session,
      os.path.join(self._folder, self._BASE[:-1]),
      step,
      write_meta_graph=False,
    )

  def give_up(self, what, step):
    """Says where training broke and what is left."""
    raise UserError(
      f"{what} is not finite at step {step}; last good checkpoint: "
      f"{self.latest() or 'none'}; try a smaller train_classifier.learning_rate or "
      "attack.epsilon in another --output"
    )

  def latest(self):
    return tf.train.latest_checkpoint(self._folder)

  def remove(self):
    shutil.rmtree(self._folder, ignore_errors=True)


def _role(method):
  """What the verdicts of experiments go by: the training's attack, where it had one."""
  if method is None:
    return Role("standard")
  attack = Attack()
  steps = f", {attack.steps} steps" if method == "pgd" else ""
  return Role("robust", f"{method}, {attack.norm}{steps}", attack.epsilon)


def _export(dataset, network, checkpoint, output, facts):
  """Writes the TF-Hub module and, in it, classifier.json."""
  wanted = network.preprocessing
  spec = Spec(
    name=os.path.basename(os.path.abspath(output)),
    handle="",
    output="logits",
    preprocessing=wanted,
    class_names=tuple(dataset.class_names),
    role=_role(facts["method"]),
    licence="that of its training set",
    source="compare_gan_logits/classifiers/training.py",
    verified=f"validation accuracy {facts['clean_accuracy']:.4f}, under attack "
    f"({Attack().for_evaluation()}) {facts['attacked_accuracy']:.4f}",
  )
  with files.atomic_dir(output) as folder:
    os.rmdir(folder)  # TF-Hub makes it.
    networks.export(
      network.build, [wanted.size, wanted.size, wanted.colors], checkpoint, folder
    )
    files.write_json(
      os.path.join(folder, "classifier.json"),
      {"spec": dataclasses.asdict(spec), "training": facts},
    )
