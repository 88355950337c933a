"""Modules small enough to know in closed form, written as real ones are."""

import os
import shutil

import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

from compare_gan_logits import files
from compare_gan_logits.classifiers.preprocessing import Preprocessing
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError


_PAPER = os.path.join(
  os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
  "gin_configs",
  "paper.gin",
)
_TRAINING = """
include 'paper.gin'
dataset.name = 'embedded'
resnet_biggan.Generator.ch = 1
resnet_biggan.Discriminator.ch = 4
options.batch_size = 4
options.z_dim = 8
options.disc_iters = 1
ModularGAN.ema_start_step = 0
run_config.save_checkpoints_steps = 2
# Half of the operations of a step, which take longer to build here than to run.
G.spectral_norm = False
weights.initializer = 'normal'
export.standing_images = 64
export.standing_batch_size = 32
evaluation.num_images = 50
module.batch_sizes = (64,)
module.batch_sizes = ()
"""


# For tests of processes and files, in the place of BigGAN's: half the time to build.
DCGAN = "options.architecture = 'dcgan_arch'\n"


def write_training(folder, more=""):
  """Writes the smallest training: its classifier and tiny.gin, whose path it returns.

  Args:
    folder: an existing one.
    more: gin bindings that are added, or that take the place of the tiny ones.
  """
  kernel = np.random.default_rng(0).normal(size=[1024, 10]) / 10
  classifier = write_classifier(os.path.join(folder, "classifier"), kernel, size=32)
  shutil.copy(_PAPER, folder)
  path = os.path.join(folder, "tiny.gin")
  files.write_text(path, f"{_TRAINING}classifier.handle = '{classifier}'\n{more}")
  return path


class LinearClassifier:
  """logits = flattened image @ kernel: what Inverter needs of a Classifier."""

  feature_shape = None
  no_gradient = None
  digest = "linear"
  spec = Spec("linear", "linear", "logits", Preprocessing())

  def __init__(self, kernel):
    self.kernel = np.asarray(kernel, np.float32)
    self.num_logits = self.kernel.shape[1]
    self.class_names = [f"class {i}" for i in range(self.num_logits)]

  def __call__(self, images):
    return tf.reshape(images, [-1, self.kernel.shape[0]]) @ tf.constant(self.kernel)

  def predict(self, images):
    return np.reshape(images, [len(images), -1]) @ self.kernel


def export(path, build):
  """Writes a TF-Hub module (TF1 format); its variables have their initial values."""
  with tf.Graph().as_default(), tf.Session() as session:
    module = hub.Module(hub.create_module_spec(build))
    session.run(tf.global_variables_initializer())
    module.export(str(path), session)
  return str(path)


def write_module(path, picture, size=8, colors=1, z_dim=3, num_logits=4, **info):
  """A module whose generator is the graph function picture(z, logits) -> [b, pixels].

  Values are clipped to [0, 1]. It has one variable, as a trained one would.
  """

  def build():
    z = tf.placeholder(tf.float32, [None, z_dim])
    logits = tf.placeholder(tf.float32, [None, num_logits])
    one = tf.get_variable("one", initializer=1.0, use_resource=True)
    flat = tf.clip_by_value(picture(z, logits) * one, 0.0, 1.0)
    generated = tf.reshape(flat, [-1, size, size, colors])
    for name in ("generator", None):
      hub.add_signature(
        name,
        inputs={"z": z, "logits": logits},
        outputs={"generated": generated, "default": generated},
      )

  export(path, build)
  files.write_json(
    os.path.join(path, "inversion.json"),
    {
      "format": 1,
      "classifier": None,
      "dataset": "tiny",
      "image_size": size,
      "colors": colors,
      "z_dim": z_dim,
      "num_logits": num_logits,
      "conditioning": "logits",
      "step": 7,
      "gin_config": "",
      "class_names": [f"class {i}" for i in range(num_logits)],
      **info,
    },
  )
  return str(path)


def linear(matrix, noise_matrix=None, offset=0.5):
  """Graph function of z and logits: offset + logits @ matrix + z @ noise_matrix."""

  def picture(z, logits):
    flat = offset + logits @ tf.constant(matrix, tf.float32)
    if noise_matrix is not None:
      flat += z @ tf.constant(noise_matrix, tf.float32)
    return flat

  return picture


def write_classifier(path, kernel, size=8, colors=1):
  """A TF-Hub module: logits = flattened image @ kernel."""

  def build():
    images = tf.placeholder(tf.float32, [None, size, size, colors])
    weights = tf.get_variable(
      "kernel", use_resource=True, initializer=tf.constant(kernel, tf.float32)
    )
    logits = tf.reshape(images, [-1, size * size * colors]) @ weights
    hub.add_signature(inputs={"images": images}, outputs={"logits": logits})

  return export(path, build)


class Images:
  """A labelled set in memory, with what Data asks of datasets.ImageDataset.

  train: images of the training split, whose labels are 0; None: as for validation.
  """

  name = "tiny"
  imagenet_indices = None

  def __init__(self, images, labels, num_classes=4, train=None):
    images = np.asarray(images, np.float32)
    labels = np.asarray(labels, np.int32)
    self._splits = {"validation": (images, labels), "train": (images, labels)}
    if train is not None:
      train = np.asarray(train, np.float32)
      self._splits["train"] = train, np.zeros(len(train), np.int32)
    self.resolution, self.colors = images.shape[1], images.shape[3]
    self.num_classes = num_classes
    self.class_names = [f"class {i}" for i in range(num_classes or 0)]

  def num_examples(self, split):
    return len(self._splits[split][0])

  def arrays(self, split, limit=None, indices=None):
    images, labels = self._splits[split]
    chosen = np.arange(len(images)) if indices is None else np.asarray(indices)
    return images[chosen[:limit]], labels[chosen[:limit]]

  def load(self, split):
    images, labels = self._splits[split]
    return tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})

  def check_labelled(self, split):
    if self.num_classes is None or (self._splits[split][1] < 0).any():
      raise UserError(f"images of {self.name} have no label")

  def fingerprint(self, split):
    return f"{split} {float(self._splits[split][0].sum()):.6g}"


def manifest(classifier):
  """manifest.json of a cache of logits, whose shards are missing."""
  return {
    "format": 1,
    "classifier": classifier,
    "num_examples": 4,
    "num_logits": 2,
    "shards": 1,
    "dtype": "float32",
  }
