"""Trains a small classifier, ordinarily or adversarially, and exports it.

Adversarial training replaces every batch by its attacked version (Madry et al.,
2018): projected gradient descent ("pgd"), one step from a random start ("fast",
Wong et al., 2020), or the gradient that the weights' update computes anyway, on
batches that are replayed ("free", Shafahi et al., 2019).
"""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from typing import Optional

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import files
from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers import networks
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.command import UserError
from compare_gan_logits.command import nearest


NORMS = ("linf", "l2")
METHODS = ("pgd", "fast", "free")


@gin.configurable("attack")
@dataclasses.dataclass(frozen=True)
class Attack:
  """An attack within a ball around images in [0, 1].

  Attributes:
    epsilon: radius, in units of the image range; per pixel and channel ("linf")
      or over the whole image ("l2").
    norm: "linf" or "l2".
    steps: gradient steps.
    step_size: None: 2.5 epsilon / steps, as in Madry et al.
    random_start: from a random point of the ball instead of its centre.
  """

  epsilon: float = 0.1
  norm: str = "linf"
  steps: int = 3
  step_size: Optional[float] = None
  random_start: bool = True

  def __post_init__(self):
    if self.norm not in NORMS:
      raise UserError(f"unknown attack.norm {self.norm!r}: {nearest(self.norm, NORMS)}")

  @property
  def step(self):
    return 2.5 * self.epsilon / self.steps if self.step_size is None else self.step_size

  def perturb(self, images, labels, logits_fn):
    """Attacked images, same shape, in [0, 1], within epsilon of `images`.

    Args:
      images: [b, h, w, c] in [0, 1].
      labels: int [b]; their cross-entropy is driven up.
      logits_fn: graph function of images -> logits [b, n].
    """
    delta = self.start(images) if self.random_start else tf.zeros_like(images)
    for _ in range(self.steps):
      gradient, = tf.gradients(cross_entropy(logits_fn(images + delta), labels), delta)
      delta = self.move(images, delta, gradient)
    return tf.stop_gradient(images + delta)

  def start(self, images):
    """A random point of the ball, clipped to valid images."""
    if self.norm == "linf":
      delta = tf.random.uniform(tf.shape(images), -self.epsilon, self.epsilon)
    else:
      # Direction uniform on the sphere; the radius's power makes the ball uniform.
      size = np.prod(images.shape.as_list()[1:])
      radius = tf.random.uniform([tf.shape(images)[0], 1, 1, 1]) ** (1 / size)
      delta = self.epsilon * radius * _unit(tf.random.normal(tf.shape(images)))
    return tf.clip_by_value(images + delta, 0.0, 1.0) - images

  def move(self, images, delta, gradient):
    """One step up the gradient, back into the ball and into valid images."""
    if self.norm == "linf":
      delta = tf.clip_by_value(delta + self.step * tf.sign(gradient),
                               -self.epsilon, self.epsilon)
    else:
      delta += self.step * _unit(gradient)
      delta *= tf.minimum(1.0, self.epsilon / tf.maximum(_length(delta), 1e-12))
    return tf.clip_by_value(images + delta, 0.0, 1.0) - images


def _length(x):
  return tf.sqrt(tf.reduce_sum(tf.square(x), axis=[1, 2, 3], keepdims=True))


def _unit(x):
  return x / tf.maximum(_length(x), 1e-12)


def cross_entropy(logits, labels):
  """Cross-entropy per example, [b]."""
  return tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels)


@dataclasses.dataclass(frozen=True)
class Network:
  """What is trained.

  Attributes:
    build: graph function of preprocessed images and the number of classes ->
      {"logits": [b, classes], "features": [b, f]}; its variables come from
      tf.get_variable.
    preprocessing: of images in [0, 1].
    initial: {variable name within the network: numpy array}; others are drawn.
  """

  build: Callable
  preprocessing: Preprocessing
  initial: dict = dataclasses.field(default_factory=dict)


@gin.configurable("train_classifier", denylist=["dataset", "output", "log"])
def train(dataset, output, robust=False, method="pgd", steps=600, batch_size=128,
          learning_rate=2e-3, replays=4, eval_every=200, eval_examples=500, seed=0,
          log=print):
  """Trains a classifier and exports it as a TF-Hub module (TF1 format).

  A killed run goes on from the checkpoints in `<output>-checkpoints`, which are
  removed once the module is written.

  Args:
    dataset: datasets.ImageDataset.
    output: folder of the module; classifiers.load(output) takes it.
    robust: adversarial training, with the attack bound as attack.* in gin.
    method: "pgd", "fast" or "free".
    steps: updates of the weights.
    batch_size: images a step.
    learning_rate: Adam's first one; falls linearly to zero.
    replays: times that "free" replays each batch.
    eval_every: steps between lines of progress.
    eval_examples: validation images for those lines; the last one uses them all.
    seed: of the initial weights and of the attacks' starts.
    log: function of a line of text.

  Returns:
    {"clean_accuracy", "attacked_accuracy"} on the whole validation set, in [0, 1].

  Raises:
    UserError: output is taken, or checkpoints were made with other settings.
  """
  if method not in METHODS:
    raise UserError(f"unknown train_classifier.method {method!r}: "
                    f"{nearest(method, METHODS)}")
  if os.path.isdir(output) and os.listdir(output):
    raise UserError(f"{output} is not empty; name another folder or remove it")
  network = Network(networks.convnet, Preprocessing(size=dataset.resolution,
                                           colors=dataset.colors))
  method = method if robust else None
  settings = dict(dataset=dataset.name, method=method, steps=steps, seed=seed,
                  batch_size=batch_size, learning_rate=learning_rate,
                  attack=dataclasses.asdict(Attack()))
  with tf.Graph().as_default():
    tf.set_random_seed(seed)
    trainer = _Trainer(dataset, network, method, steps, batch_size, learning_rate)
    with tf.Session() as session:
      checkpoints = _Checkpoints(output, settings, session, trainer)
      step = checkpoints.restore()
      batches = trainer.batches(session, step, replays if method == "free" else 1)
      started, first = time.time(), step
      while step < steps:
        loss = trainer.step(session, next(batches))
        step += 1
        if step % eval_every == 0 or step == steps:
          checkpoints.save(step)
          clean, attacked = trainer.evaluate(session, eval_examples)
          speed = (step - first) / (time.time() - started)
          log(f"step {step}/{steps}  loss {loss:.3f}  clean {clean:.1%}  "
              f"attacked {attacked:.1%}  {speed:.1f} steps/s")
      clean, attacked = trainer.evaluate(session)
    log(f"{dataset.name} validation: clean {clean:.2%}, under attack "
        f"({_phrase(Attack())}) {attacked:.2%}")
  result = {"clean_accuracy": clean, "attacked_accuracy": attacked}
  _export(dataset, network, checkpoints.latest(), output, {**settings, **result})
  checkpoints.remove()
  return result


def _phrase(attack):
  return f"{attack.norm} {attack.epsilon:g}, {evaluation_attack(attack).steps} steps"


def evaluation_attack(attack):
  """The attack that accuracies are reported under: 10 steps, whatever trained."""
  return dataclasses.replace(attack, steps=10, step_size=None, random_start=True)


class _Trainer:
  """Graph of one training step and of the accuracies."""

  def __init__(self, dataset, network, method, steps, batch_size, learning_rate):
    self._dataset = dataset
    self._batch_size = batch_size
    shape = [dataset.resolution, dataset.resolution, dataset.colors]
    self._images = tf.placeholder(tf.float32, [None] + shape)
    self._labels = tf.placeholder(tf.int32, [None])

    def logits_fn(images):
      with tf.variable_scope(networks.SCOPE, reuse=tf.AUTO_REUSE):
        return network.build(network.preprocessing.apply(images),
                             dataset.num_classes)["logits"]

    logits_fn(self._images)
    self.variables = tf.trainable_variables(networks.SCOPE)
    self.global_step = tf.train.get_or_create_global_step()
    rate = tf.train.polynomial_decay(learning_rate, self.global_step, steps, 0.0)
    self._optimizer = tf.train.AdamOptimizer(rate)
    if method == "free":
      self._loss, self._update = self._free_step(logits_fn, [batch_size] + shape)
    else:
      self._loss, self._update = self._step(logits_fn, method)
    attacked = evaluation_attack(Attack()).perturb(self._images, self._labels, logits_fn)
    self._correct = [tf.nn.in_top_k(logits_fn(x), self._labels, 1)
                     for x in (self._images, attacked)]

  def _step(self, logits_fn, method):
    """An ordinary step, or one on attacked images."""
    attack = Attack()
    images = self._images
    if method == "fast":
      attack = dataclasses.replace(attack, steps=1, random_start=True,
                                   step_size=1.25 * attack.epsilon)
    if method:
      images = attack.perturb(images, self._labels, logits_fn)
    loss = tf.reduce_mean(cross_entropy(logits_fn(images), self._labels))
    return loss, self._optimizer.minimize(loss, self.global_step, self.variables)

  def _free_step(self, logits_fn, shape):
    """One backward pass moves the weights down and the perturbation up."""
    attack = dataclasses.replace(Attack(), step_size=Attack().epsilon)
    kept = tf.get_variable("perturbation", shape, trainable=False,
                           initializer=tf.zeros_initializer())
    delta = tf.clip_by_value(self._images + kept, 0.0, 1.0) - self._images
    loss = tf.reduce_mean(cross_entropy(logits_fn(self._images + delta), self._labels))
    gradients = self._optimizer.compute_gradients(loss, self.variables)
    towards, = tf.gradients(loss, delta)
    moved = kept.assign(attack.move(self._images, delta, towards))
    update = self._optimizer.apply_gradients(gradients, self.global_step)
    return loss, tf.group(update, moved)

  def batches(self, session, start, replays):
    """Endless (images, labels), each batch `replays` times, from step `start` on."""
    data = self._dataset.train(self._batch_size, start=start // replays)
    element = tf.data.make_one_shot_iterator(data).get_next()
    following = element["image"], element["label"]
    while True:
      batch = session.run(following)
      for _ in range(replays):
        yield batch

  def step(self, session, batch):
    """Updates the weights; returns the loss."""
    images, labels = batch
    loss, _ = session.run([self._loss, self._update],
                          {self._images: images, self._labels: labels})
    return loss

  def evaluate(self, session, limit=None):
    """Clean and attacked accuracy on the validation set."""
    images, labels = self._dataset.arrays("validation", limit=limit)
    counts = np.zeros(2)
    for i in range(0, len(images), 256):
      feed = {self._images: images[i:i + 256], self._labels: labels[i:i + 256]}
      counts += [np.sum(correct) for correct in session.run(self._correct, feed)]
    return tuple(float(count) / len(images) for count in counts)


class _Checkpoints:
  """Keeps a run's state beside its output until that is written."""

  def __init__(self, output, settings, session, trainer):
    self._folder = os.path.abspath(output) + "-checkpoints"
    self._session = session
    self._global_step = trainer.global_step
    self._saver = tf.train.Saver(tf.global_variables(), max_to_keep=1)
    record = os.path.join(self._folder, "settings.json")
    if not os.path.exists(record):
      files.write_json(record, settings)
    elif files.read_json(record) != settings:
      raise UserError(f"{self._folder} holds a run with other settings; remove it, or "
                      "name another output folder")

  def restore(self):
    """Restores or initialises the variables; returns the step to go on from."""
    self._session.run(tf.global_variables_initializer())
    if self.latest():
      self._saver.restore(self._session, self.latest())
    return int(self._session.run(self._global_step))

  def save(self, step):
    self._saver.save(self._session, os.path.join(self._folder, "model"), step,
                     write_meta_graph=False)

  def latest(self):
    return tf.train.latest_checkpoint(self._folder)

  def remove(self):
    shutil.rmtree(self._folder, ignore_errors=True)


def _export(dataset, network, checkpoint, output, facts):
  """Writes the TF-Hub module and, in it, classifier.json."""
  wanted = network.preprocessing

  spec = hub.Spec(
      name=os.path.basename(os.path.abspath(output)), handle="", output="logits",
      preprocessing=wanted, class_names=tuple(dataset.class_names),
      licence="that of its training set",
      source="compare_gan_logits/classifiers/training.py",
      verified=f"validation accuracy {facts['clean_accuracy']:.4f}, under attack "
               f"({_phrase(Attack())}) {facts['attacked_accuracy']:.4f}")
  with files.atomic_dir(output) as folder:
    os.rmdir(folder)  # TF-Hub makes it.
    networks.export(lambda images: network.build(images, dataset.num_classes),
                    [wanted.size, wanted.size, wanted.colors], checkpoint, folder)
    files.write_json(os.path.join(folder, "classifier.json"),
                     {"spec": dataclasses.asdict(spec), "training": facts})
