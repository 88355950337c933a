"""Times whole training steps of a configuration.

--part step: this program's step against the plain formulation of the same
mathematics (zero insertion, pooling after the convolution, scores of real images in
the generator's update), with the operations each needs and the share of the peak of
a matrix product measured in the same run.

--part features: where the logits come from: the classifier in the graph, a logit
cache on disk, an array in memory. The cache is filled with made-up logits: reading
them costs what reading real ones costs.

Ways take turns, so that a machine whose speed drifts is fair to all of them.

  python tools/benchmark.py --gin_config gin_configs/quickstart.gin --part features
"""

import contextlib
import os
import sys
import tempfile
import time
from unittest import mock


sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(1, os.path.join(sys.path[0], "tests"))

from absl import flags

from compare_gan_logits import command


FLAGS = flags.FLAGS
flags.DEFINE_enum("part", "step", ["step", "features"], "What is compared.")
flags.DEFINE_integer("rounds", 5, "Turns of each way.", lower_bound=1)
flags.DEFINE_integer("steps", 5, "Training steps a turn.", lower_bound=1)
flags.DEFINE_string("json", None, "File to write the figures to as well.")


def _define_flags():
  from compare_gan_logits import main  # noqa: F401, defines gin's and the data's flags


def main(argv):
  del argv
  from compare_gan_logits import files
  from compare_gan_logits import main as trainer
  trainer.parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  run = trainer.make_run(FLAGS.model_dir or tempfile.mkdtemp())
  ways = {"step": _formulations, "features": _feature_stages}[FLAGS.part](run)
  with contextlib.ExitStack() as stack:
    sessions = {name: stack.enter_context(_Way(run, *way)) for name, way in ways.items()}
    for _ in range(FLAGS.rounds):
      for way in sessions.values():
        way.turn(FLAGS.steps)
    figures = _figures(run, sessions)
  _print(figures)
  if FLAGS.json:
    files.write_json(FLAGS.json, figures)


def _formulations(run):
  """{name: (context in which the graph is built, logits)}."""
  logits = run.cached_logits()
  return {"this program": (contextlib.nullcontext(), logits),
          "plain formulation": (_plainly(run), logits)}


@contextlib.contextmanager
def _plainly(run):
  """Graphs built in this context have the plain formulation."""
  import plain_ops

  from compare_gan_logits.architectures import arch_ops
  convolutions = {"up": plain_ops.conv_up, "down": plain_ops.conv_down}
  with mock.patch.dict(arch_ops.CONVOLUTIONS, convolutions), mock.patch.object(
      type(run.gan.discriminator), "has_batch_statistics", True):
    yield


def _feature_stages(run):
  import numpy as np

  from compare_gan_logits.classifiers import logit_cache
  if run.classifier is None:
    raise command.UserError("bind classifier.handle: there is no feature stage to time")
  shape = (run.dataset.num_examples("train"), run.classifier.num_logits)
  logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  folder = tempfile.mkdtemp()
  logit_cache.write(run.classifier, run.dataset, "train", folder, logits=logits,
                    log=lambda line: None)
  cache = logit_cache.open(folder, run.classifier, run.dataset, "train")
  return {"in memory": (contextlib.nullcontext(), logits),
          "cache on disk": (contextlib.nullcontext(), cache),
          "classifier in the graph": (contextlib.nullcontext(), None)}


class _Way:
  """One way to make a training step, in a graph and session of its own."""

  def __init__(self, run, building, logits):
    self._run = run
    self._building = building
    self._logits = logits
    self.seconds = []

  def __enter__(self):
    import tensorflow.compat.v1 as tf
    self._graph = tf.Graph()
    params = {"batch_size": self._run.options["batch_size"], "seed": 0}
    with self._graph.as_default(), self._building:
      tf.train.get_or_create_global_step()
      data = self._run.gan.input_fn(params, logits=self._logits)
      features = data.make_one_shot_iterator().get_next()
      spec = self._run.gan.model_fn(features, None, params, "train")
      self._step = spec.train_op
      self._session = tf.Session(graph=self._graph)
      self._session.run([tf.global_variables_initializer(),
                         tf.local_variables_initializer(), tf.tables_initializer()])
    self.turn(2)  # compiles kernels, fills the input pipeline
    self.seconds.clear()
    return self

  def __exit__(self, *error):
    self._session.close()

  def turn(self, steps):
    for _ in range(steps):
      start = time.perf_counter()
      self._session.run(self._step)
      self.seconds.append(time.perf_counter() - start)

  def gflop(self):
    """Operations of the graph's convolutions and matrix products, per step."""
    import tensorflow.compat.v1 as tf
    options = tf.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.profiler.profile(self._graph, options=options).total_float_ops / 1e9


def _peak():
  """GFLOP/s of a 2048 x 2048 float32 matrix product, the best of ten."""
  import tensorflow.compat.v1 as tf
  with tf.Graph().as_default(), tf.Session() as session:
    matrix = tf.get_variable("matrix", [2048, 2048])
    product = tf.matmul(matrix, matrix).op
    session.run(tf.global_variables_initializer())
    times = []
    for _ in range(10):
      start = time.perf_counter()
      session.run(product)
      times.append(time.perf_counter() - start)
  return 2 * 2048**3 / min(times) / 1e9


def _figures(run, sessions):
  import numpy as np
  peak = _peak()
  figures = {"peak_gflop_per_s": round(peak, 1), "ways": {}}
  for name, way in sessions.items():
    seconds, gflop = float(np.median(way.seconds)), way.gflop()
    figures["ways"][name] = {
        "seconds_per_step": round(seconds, 4),
        "images_per_s": round(run.options["batch_size"] / seconds, 2),
        "gflop": round(gflop, 2),
        "share_of_peak": round(gflop / seconds / peak, 3)}
  return figures


def _print(figures):
  print(f"peak of a matrix product: {figures['peak_gflop_per_s']} GFLOP/s")
  first = next(iter(figures["ways"].values()))["seconds_per_step"]
  print(f"{'':26}{'s/step':>10}{'images/s':>10}{'GFLOP':>10}{'of peak':>9}{'speed':>8}")
  for name, way in figures["ways"].items():
    print(f"{name:26}{way['seconds_per_step']:10.4f}{way['images_per_s']:10.2f}"
          f"{way['gflop']:10.2f}{way['share_of_peak']:9.1%}"
          f"{first / way['seconds_per_step']:8.2f}")


if __name__ == "__main__":
  command.run(main, prepare=_define_flags)
