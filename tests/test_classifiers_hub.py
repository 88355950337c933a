"""The feature stage on modules in every format, made here; answers from numpy."""

import json
import os
import shutil
import subprocess
import sys

import gin
import numpy as np
import pytest
import tensorflow
import tensorflow.compat.v1 as tf
import tensorflow_hub
import tiny
from tensorflow import keras
from tensorflow_hub import compressed_module_resolver

from compare_gan_logits import classifiers
from compare_gan_logits.errors import UserError


SIZE = 6
CLASSES = 5
RANDOM = np.random.default_rng(3)
WEIGHTS = RANDOM.normal(size=[SIZE * SIZE * 3, CLASSES]).astype(np.float32)
BIAS = RANDOM.normal(size=[CLASSES]).astype(np.float32)
IMAGES = RANDOM.random([4, SIZE, SIZE, 3], dtype=np.float32)
LOGITS = IMAGES.reshape(4, -1) @ WEIGHTS + BIAS


def _tf1_module(folder):
  """TF-Hub's TF1 format, with a second signature that has one more input."""

  def module():
    images = tf.placeholder(tf.float32, [None, SIZE, SIZE, 3])
    rate = tf.placeholder(tf.float32, [])
    kernel = tf.get_variable("kernel", initializer=WEIGHTS, use_resource=True)
    bias = tf.get_variable("bias", initializer=BIAS, use_resource=True, trainable=False)
    logits = tf.reshape(images, [-1, SIZE * SIZE * 3]) @ kernel + bias
    tensorflow_hub.add_signature(
      inputs={"x": images},
      outputs={"default": logits, "probabilities": tf.nn.softmax(logits)},
    )
    tensorflow_hub.add_signature(
      "decaying",
      inputs={"x": images, "decay_rate": rate},
      outputs={"default": logits * (1 - rate)},
    )

  tiny.export(folder, module)


def _tf2_module(folder, signatures=True):
  """A TF2 SavedModel whose answer differs in training mode."""

  class Module(tensorflow.Module):
    def __init__(self):
      super().__init__()
      self.kernel = tensorflow.Variable(WEIGHTS)
      self.bias = tensorflow.Variable(BIAS)

    @tensorflow.function(
      input_signature=[
        tensorflow.TensorSpec([None, SIZE, SIZE, 3]),
        tensorflow.TensorSpec([], tensorflow.bool),
      ]
    )
    def __call__(self, images, training):
      logits = tensorflow.reshape(images, [-1, SIZE * SIZE * 3]) @ self.kernel
      logits = logits + self.bias
      return tensorflow.where(training, 0.0, logits)

    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, SIZE, SIZE, 3])])
    def serve(self, images):
      return {"logits": self(images, False)}

  module = Module()
  tensorflow.saved_model.save(
    module, folder, signatures=module.serve if signatures else None
  )


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
  """{format: folder}."""
  root = tmp_path_factory.mktemp("modules")
  _tf1_module(str(root / "tf1"))
  _tf2_module(str(root / "tf2"))
  _tf2_module(str(root / "object"), signatures=False)
  return {name: str(root / name) for name in ("tf1", "tf2", "object")}


@pytest.fixture(params=["tf1", "tf2"])
def module(request, modules):
  return modules[request.param]


@pytest.mark.parametrize("name", ["tf1", "tf2", "object"])
def test_logits_equal_numpy(modules, name):
  # Only a signature says the size that a module takes.
  size = {"size": SIZE} if name == "object" else {}
  classifier = classifiers.load(modules[name], **size)
  np.testing.assert_allclose(
    classifier.predict(IMAGES, batch_size=3), LOGITS, atol=1e-5
  )
  assert classifier.num_logits == CLASSES
  assert classifier.class_names[4] == "class 4"


def test_module_without_signatures_asks_for_the_size(modules):
  with pytest.raises(UserError, match="bind classifier.size"):
    classifiers.load(modules["object"])


def test_output_by_name_index_softmax_and_dropped_column(modules):
  load, path = classifiers.load, modules["tf1"]
  by_name = load(path, output="probabilities").predict(IMAGES)
  np.testing.assert_allclose(by_name.sum(axis=1), 1, atol=1e-6)
  np.testing.assert_array_equal(load(path, output=1).predict(IMAGES), by_name)
  logs = load(path, output="probabilities", softmax=True).predict(IMAGES)
  expected = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
  np.testing.assert_allclose(logs, expected, atol=1e-4)
  dropped = load(path, drop_column=1)
  np.testing.assert_allclose(
    dropped.predict(IMAGES), np.delete(LOGITS, 1, axis=1), atol=1e-5
  )
  assert dropped.num_logits == CLASSES - 1


def test_extra_inputs(modules):
  classifier = classifiers.load(
    modules["tf1"], signature="decaying", extra_inputs={"decay_rate": 0.5}
  )
  np.testing.assert_allclose(classifier.predict(IMAGES), LOGITS / 2, atol=1e-5)


@pytest.mark.parametrize(
  "wrong, offered",
  [
    (dict(signature="decayin"), "did you mean 'decaying'"),
    (dict(input_name="image"), r"inputs x \[None, 6, 6, 3\]"),
    (dict(output="logit"), "outputs default"),
    (dict(output=2), "probabilities"),
    (dict(signature="decaying"), "decay_rate"),
    (dict(size=8), "takes images of 6 px"),
    (dict(drop_column=5), "5 outputs and so no column 5"),
    (dict(drop_column=-1), "no column -1"),
    (dict(sise=8), "did you mean 'size'"),
  ],
)
def test_a_wrong_setting_is_answered_with_what_is_offered(modules, wrong, offered):
  with pytest.raises(UserError, match=offered):
    classifiers.load(modules["tf1"], **wrong)


def test_images_of_another_size_without_a_resize(module):
  classifier = classifiers.load(module, resize="none")
  np.testing.assert_allclose(classifier.predict(IMAGES), LOGITS, atol=1e-5)
  with pytest.raises(UserError, match=r"\[None, 6, 6, 3\], not \[None, 7, 7, 3\]"):
    classifier.predict(np.zeros([1, 7, 7, 3]))


@pytest.mark.parametrize(
  "wrong, remedy",
  [
    (dict(signature="serve"), "leave out classifier.signature"),
    (dict(input_name="images"), "leave out classifier.signature"),
    (dict(output="features"), "leave out classifier.output"),
    (dict(drop_column=5), "5 outputs and so no column 5"),
  ],
)
def test_wrong_settings_of_a_module_without_signatures(modules, wrong, remedy):
  with pytest.raises(UserError, match=remedy):
    classifiers.load(modules["object"], size=SIZE, **wrong)


def test_module_without_signatures_and_several_outputs(tmp_path):
  class Module(tensorflow.Module):
    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, SIZE, SIZE, 3])])
    def __call__(self, images):
      return {"features": images, "logits": tensorflow.reduce_mean(images, [1, 2])}

  path = str(tmp_path / "module")
  tensorflow.saved_model.save(Module(), path, signatures={})
  means = IMAGES.mean(axis=(1, 2))
  np.testing.assert_allclose(
    classifiers.load(path, size=SIZE).predict(IMAGES), means, atol=1e-6
  )
  features = classifiers.load(path, size=SIZE, output="features")
  np.testing.assert_allclose(features.predict(IMAGES), IMAGES.reshape(4, -1), atol=1e-6)
  assert features.num_logits == SIZE * SIZE * 3
  with pytest.raises(UserError, match="no output 'feature'; outputs features"):
    classifiers.load(path, size=SIZE, output="feature")


@pytest.mark.parametrize("kind", ["float16", "float64", "bfloat16"])
@pytest.mark.parametrize("signatures", [True, False])
def test_outputs_of_any_floating_type_become_float32(tmp_path, kind, signatures):
  class Module(tensorflow.Module):
    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, SIZE, SIZE, 3])])
    def __call__(self, images):
      return tensorflow.cast(tensorflow.reduce_mean(images, [1, 2]), kind)

  module, path = Module(), str(tmp_path / "module")
  tensorflow.saved_model.save(
    module, path, signatures=module.__call__ if signatures else {}
  )
  found = classifiers.load(path, size=SIZE).predict(IMAGES)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, IMAGES.mean(axis=(1, 2)), atol=1e-2)


def test_a_module_without_signatures_in_the_order_that_is_bound(tmp_path):
  """Maps go in and come out with channels first, and mean over what is last."""

  class Module(tensorflow.Module):
    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None] * 4)])
    def __call__(self, images):
      means = tensorflow.reduce_mean(images, [2, 3])
      return {
        "logits": means,
        "map": images + tensorflow.constant([0.0, 1.0, 2.0])[:, None, None],
      }

  path = str(tmp_path / "module")
  tensorflow.saved_model.save(Module(), path, signatures={})
  given = {"size": SIZE, "layout": "nchw"}
  np.testing.assert_allclose(
    classifiers.load(path, **given).predict(IMAGES), IMAGES.mean(axis=(1, 2)), atol=1e-5
  )
  maps = classifiers.load(path, output="map", **given).predict(IMAGES)
  np.testing.assert_allclose(
    maps, (IMAGES + np.float32([0, 1, 2])).reshape(len(IMAGES), -1), atol=1e-5
  )


def test_no_such_classifier(tmp_path):
  with pytest.raises(UserError, match="did you mean 'resnet152'"):
    classifiers.load("resnet-152")
  with pytest.raises(UserError, match="saved_model.pb"):
    classifiers.load(str(tmp_path))
  (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
  with pytest.raises(UserError, match="damaged"):
    classifiers.load(str(tmp_path))
  with pytest.raises(UserError, match="a classifier is a folder with a saved_model.pb"):
    classifiers.load(str(tmp_path / "saved_model.pb"))


def test_unreachable_hub_says_how_to_use_a_copy(monkeypatch, tmp_path):
  monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
  with pytest.raises(UserError, match="bind classifier.path to its folder"):
    classifiers.load("https://localhost:1/no/module/1")


def test_cached_hub_module_needs_no_network(modules, monkeypatch, tmp_path):
  url = "https://localhost:1/some/module/1"
  monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
  name = compressed_module_resolver._module_dir(url)
  shutil.copytree(modules["tf1"], name)
  np.testing.assert_allclose(classifiers.load(url).predict(IMAGES), LOGITS, atol=1e-5)


def test_half_emptied_hub_cache(monkeypatch, tmp_path):
  url = "https://localhost:1/some/module/1"
  monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
  os.makedirs(os.path.join(compressed_module_resolver._module_dir(url), "variables"))
  with pytest.raises(UserError, match="TF-Hub's cache, remove that folder"):
    classifiers.load(url)


def test_module_in_another_file_system(module):
  """As in gs://; a TPU's host reads the weights from there."""
  place = "ram://" + os.path.basename(module)
  for folder, _, names in os.walk(module):
    inside = os.path.normpath(os.path.join(place[6:], os.path.relpath(folder, module)))
    tf.io.gfile.makedirs("ram://" + inside)
    for name in names:
      tf.io.gfile.copy(os.path.join(folder, name), f"ram://{inside}/{name}", True)
  classifier = classifiers.load(place)
  np.testing.assert_allclose(classifier.predict(IMAGES), LOGITS, atol=1e-5)
  assert classifier.digest == classifiers.load(module).digest
  again = classifiers.from_description(classifier.describe())
  assert again.digest == classifier.digest


def test_variables_are_local_only_and_shared_within_a_graph(module):
  classifier = classifiers.load(module)
  for _ in range(2):
    with tf.Graph().as_default(), tf.Session() as session:
      own = tf.get_variable("own", initializer=1.0, use_resource=True)
      first = classifier(tf.constant(IMAGES))
      with tf.variable_scope("elsewhere"):
        second = classifier(tf.constant(IMAGES[:2]))
      assert tf.global_variables() == [own]
      assert tf.trainable_variables() == [own]
      assert len(tf.local_variables()) == 2
      session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
      a, b = session.run([first, second])
    np.testing.assert_allclose(a, LOGITS, atol=1e-5)
    np.testing.assert_allclose(b, LOGITS[:2], atol=1e-5)


def test_differentiable_with_respect_to_images(module):
  with tf.Graph().as_default(), tf.Session() as session:
    images = tf.constant(IMAGES)
    (gradient,) = tf.gradients(classifiers.load(module)(images)[:, 2], images)
    session.run(tf.local_variables_initializer())
    result = session.run(gradient)
  np.testing.assert_allclose(result[0].ravel(), WEIGHTS[:, 2], atol=1e-5)


def test_called_inside_a_data_pipeline(module):
  with tf.Graph().as_default(), tf.Session() as session:
    classifier = classifiers.load(module)
    data = tf.data.Dataset.from_tensors(IMAGES).map(classifier)
    iterator = tf.data.make_initializable_iterator(data)
    logits = iterator.get_next()
    session.run(tf.local_variables_initializer())
    session.run(iterator.initializer)
    np.testing.assert_allclose(session.run(logits), LOGITS, atol=1e-5)


def _model_fn(features, labels, mode, params):
  """Learns a map from logits; stands in for the GAN's model function."""
  del labels
  classifier = classifiers.load(params["module"])
  logits = tf.stop_gradient(classifier(features["image"]))
  scale = tf.get_variable("scale", initializer=0.0, use_resource=True)
  loss = tf.reduce_mean(tf.square(scale * logits - 2 * logits))
  average = tf.train.ExponentialMovingAverage(0.9)
  step = tf.train.AdamOptimizer(0.1).minimize(loss, tf.train.get_global_step())
  with tf.control_dependencies([step]):
    train_op = average.apply(tf.trainable_variables())
  deviation = tf.reduce_max(tf.abs(logits - LOGITS))
  with tf.control_dependencies([tf.debugging.assert_less(deviation, 1e-4)]):
    loss = tf.identity(loss)
  return tf.estimator.tpu.TPUEstimatorSpec(mode, loss=loss, train_op=train_op)


def test_training_and_resuming_in_an_estimator(module, tmp_path):
  """Right logits before and after a resume; nothing of it in checkpoints."""

  def input_fn(params):
    del params
    return tf.data.Dataset.from_tensors({"image": IMAGES}).repeat()

  for steps in (2, 4):
    estimator = tf.estimator.tpu.TPUEstimator(
      _model_fn,
      use_tpu=False,
      train_batch_size=4,
      params={"module": module},
      config=tf.estimator.tpu.RunConfig(model_dir=str(tmp_path)),
    )
    estimator.train(input_fn, max_steps=steps)
  names = {name for name, _ in tf.train.list_variables(str(tmp_path))}
  assert names == {
    "scale",
    "scale/Adam",
    "scale/Adam_1",
    "scale/ExponentialMovingAverage",
    "beta1_power",
    "beta2_power",
    "global_step",
  }
  assert estimator.get_variable_value("global_step") == 4
  assert estimator.get_variable_value("scale") > 0.3


_TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf
from compare_gan_logits import classifiers
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
images = np.load(sys.argv[1])
results = []
for path in sys.argv[3:]:
  strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
  with tf.Graph().as_default(), strategy.scope():
    classifier = classifiers.load(path)
    logits = strategy.run(lambda: classifier(tf.constant(images)))
    assert not tf.global_variables(), tf.global_variables()
    with tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
      session.run(tf.local_variables_initializer())
      results += session.run(strategy.experimental_local_results(logits))
np.save(sys.argv[2], results)
"""


@pytest.mark.long
def test_two_replicas(modules, tmp_path):
  """In a process of its own, since devices are split at start-up."""
  source, target = str(tmp_path / "in.npy"), str(tmp_path / "out.npy")
  np.save(source, IMAGES)
  subprocess.run(
    [
      sys.executable,
      "-c",
      _TWO_REPLICAS,
      source,
      target,
      modules["tf1"],
      modules["tf2"],
    ],
    check=True,
    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
  )
  results = np.load(target)
  assert len(results) == 4
  for logits in results:
    np.testing.assert_allclose(logits, LOGITS, atol=1e-5)


@pytest.mark.parametrize("extension", ["h5", "keras"])
def test_keras_files(extension, tmp_path, monkeypatch):
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path / "cache"))
  model = keras.Sequential(
    [
      keras.layers.Input([SIZE, SIZE, 3]),
      keras.layers.Conv2D(4, 3),
      keras.layers.BatchNormalization(),
      keras.layers.Flatten(),
      keras.layers.Dense(CLASSES, activation="softmax"),
    ]
  )
  for variable in model.variables:
    variable.assign(0.2 * RANDOM.random(variable.shape))
  # A name whose brackets TensorFlow would take for a pattern, were the copy called so.
  file = str(tmp_path / f"model[1].{extension}")
  model.save(file)
  classifier = classifiers.load(file)
  expected = model.predict(IMAGES, verbose=0)
  logits = classifier.predict(IMAGES)
  softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  np.testing.assert_allclose(softmax, expected, atol=1e-5)
  assert not np.allclose(logits, expected)
  features = classifiers.load(file, output="features").predict(IMAGES)
  kernel, bias = model.layers[-1].get_weights()
  np.testing.assert_allclose(features @ kernel + bias, logits, rtol=1e-4)
  np.testing.assert_allclose(
    classifiers.load(file, output="probabilities").predict(IMAGES), expected, atol=1e-5
  )


@pytest.mark.long
def test_keras_application(tmp_path, monkeypatch):
  monkeypatch.setenv("COMPARE_GAN_LOGITS_CACHE", str(tmp_path))
  classifier = classifiers.load("keras:MobileNet", weights=None)
  assert classifier.spec.preprocessing.size == 224
  assert classifier.num_logits == 1000
  # Its softmax is a layer of its own, behind the convolution that gives the logits.
  features = classifiers.load("keras:MobileNet", weights=None, output="features")
  assert features.num_logits == 1024
  with pytest.raises(UserError, match="did you mean 'MobileNet'"):
    classifiers.load("keras:MobilNet")


def test_description_brings_the_same_classifier_back(module, tmp_path):
  path = str(tmp_path / "copy")
  shutil.copytree(module, path)
  classifier = classifiers.load(path, low=-1.0)
  description = json.loads(json.dumps(classifier.describe()))
  again = classifiers.from_description(description)
  np.testing.assert_array_equal(again.predict(IMAGES), classifier.predict(IMAGES))
  assert again.digest == classifier.digest
  assert again.digest != classifiers.load(path).digest
  shutil.rmtree(path)
  with pytest.raises(UserError, match="copy"):
    classifiers.from_description(description)


def test_changed_weights_are_noticed(modules, tmp_path):
  path = str(tmp_path / "model")
  shutil.copytree(modules["tf1"], path)
  description = classifiers.load(path).describe()
  data = next((tmp_path / "model" / "variables").glob("*.data*"))
  data.write_bytes(data.read_bytes()[:-1] + b"\x01")
  with pytest.raises(UserError, match="has changed"):
    classifiers.from_description(description)


def test_bound_by_gin(modules):
  gin.clear_config()
  assert classifiers.from_gin() is None
  gin.parse_config(
    [
      f"classifier.handle = '{modules['tf1']}'",
      "classifier.output = 'probabilities'",
      "classifier.low = -1.0",
      "classifier.cache_dir = '/cache'",
    ]
  )
  classifier = classifiers.from_gin()
  gin.clear_config()
  assert classifier.spec.output == "probabilities"
  assert classifier.spec.preprocessing.low == -1.0
  assert classifier.cache_dir == "/cache"


def test_images_of_another_size_and_colour_are_fitted(module):
  grey = np.full([1, 3 * SIZE, 3 * SIZE, 1], 0.5, np.float32)
  expected = np.full([1, SIZE * SIZE * 3], 0.5) @ WEIGHTS + BIAS
  np.testing.assert_allclose(
    classifiers.load(module).predict(grey), expected, atol=1e-4
  )
