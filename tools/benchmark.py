r"""Measures the speed of this program. What is compared runs alternately, in one run.

--part step (default): whole training steps, and the plain formulation of the same
  mathematics (zero insertion, pooling after the convolution, scores of real images in
  the generator's update), for the configuration given with --gin_config.
--part sizes: the same for the paper's networks at several sizes, with made-up images.
--part features: three sources of logits: the classifier in the graph, a logit cache on
  disk, an array in memory.
--part growth: how a step's cost grows with batch, width, resolution, number of logits.
--part startup: from the start of Python to the end of the first step, at the paper's
  width.
--part inference: an exported module: images/s, latency, the command reconstruct.
--part model: the cost model's seconds and measured ones, at the sizes of --size, on one
  core; the share of the peak is fitted at the first size.
--plan: what the configuration costs on hardware that need not be present (--device).

Each variant runs in a process of its own, whose peak memory is printed. The variants
take turns, so that a change of the machine's speed affects all of them. GFLOP are those
that this program's graph needs; the peak is that of a matrix product, measured in the
same run.

  python tools/benchmark.py --part sizes --part inference --json figures.json
  python tools/benchmark.py --gin_config gin_configs/quickstart.gin --part features
  python tools/benchmark.py --plan --gin_config gin_configs/robust_resnet152.gin \
      --device a100_40gb --replicas 8 --replicas 64
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

from absl import flags

from compare_gan_logits import errors
from compare_gan_logits.cli import command
from compare_gan_logits.planning import plan


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLAGS = flags.FLAGS
_PARTS = ("step", "sizes", "features", "growth", "startup", "inference", "model")
flags.DEFINE_multi_enum("part", ["step"], _PARTS, "What is measured; may be repeated.")
flags.DEFINE_integer("rounds", 3, "Turns of each way.", lower_bound=1)
flags.DEFINE_integer("steps", 3, "Training steps a turn.", lower_bound=1)
flags.DEFINE_multi_string(
  "size",
  ["32:32:32", "64:16:8", "64:32:16"],
  "Resolution, width ch and batch of --part sizes and model.",
)
flags.DEFINE_string(
  "module",
  None,
  "Module of --part inference. Default: an untrained "
  "one is made at quickstart size; speed does not depend on it.",
)
flags.DEFINE_string("json", None, "File to write the figures to as well.")

_PAPER = os.path.join(ROOT, "gin_configs", "paper.gin")
_COLUMNS = ("s/step", "images/s", "GFLOP", "of peak", "memory GB", "speed")


def _define_flags():
  from compare_gan_logits import main  # noqa: F401, defines gin's and the data's flags


def main(argv: list[str]) -> None:
  command.check_no_arguments(argv)
  _check_flags()
  from compare_gan_logits import files

  if FLAGS.plan:
    figures = plan.run(_this_machine)
  else:
    figures = _measure()
  if FLAGS.json:
    files.write_json(FLAGS.json, figures)


def _measure():
  peak = _peak()
  print(
    f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, matrix product "
    f"2048 x 2048: {peak:.0f} GFLOP/s",
    flush=True,
  )
  figures = {
    "cores": os.cpu_count(),
    "load": os.getloadavg()[0],
    "peak_gflop_per_s": peak,
  }
  parts = {
    "step": _step,
    "sizes": _sizes,
    "features": _features,
    "growth": _growth,
    "startup": _startup,
    "inference": _inference,
    "model": _model,
  }
  for part in FLAGS.part:
    figures[part] = parts[part](peak)
  return figures


def _check_flags():
  """Before minutes are spent on the first part."""
  from compare_gan_logits import configuration

  for size in FLAGS.size:
    _numbers(size)
  if {"step", "features"} & set(FLAGS.part):
    if not FLAGS.gin_config:
      raise errors.UserError(
        "--gin_config names the training to time, or --part another thing to measure"
      )
    configuration.parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  if FLAGS.module and not os.path.isfile(os.path.join(FLAGS.module, "inversion.json")):
    raise errors.UserError(
      f"{FLAGS.module} holds no inversion.json; --module names the "
      "folder of an exported module"
    )


# Parts: peak [GFLOP/s] -> figures --------------------------------------------


def _step(peak):
  return _table(_compare(_given(), _formulations()), peak)


def _given():
  """The flags that say what is trained on which data, for a worker's process."""
  from compare_gan_logits.datasets import flag_definitions

  arguments = [f"--gin_config={path}" for path in FLAGS.gin_config]
  arguments += [f"--gin_bindings={binding}" for binding in FLAGS.gin_bindings]
  return arguments + [
    FLAGS[name].serialize() for name in flag_definitions.NAMES if FLAGS[name].present
  ]


def _sizes(peak):
  figures = {}
  for size in FLAGS.size:
    resolution, ch, batch = _numbers(size)
    print(f"\n{resolution} px, ch {ch}, batch {batch}, 1000 logits")
    arguments = _paper(resolution, ch, batch)
    figures[size] = _table(_compare(arguments, _formulations()), peak)
  return figures


def _numbers(size):
  """Resolution, width and batch of --size."""
  try:
    resolution, ch, batch = (int(x) for x in size.split(":"))
  except ValueError:
    raise errors.UserError(
      f"--size {size}: three numbers such as 32:32:32, for "
      "resolution, width ch and batch"
    ) from None
  return resolution, ch, batch


def _formulations():
  ways = ["this program", "plain formulation"]
  return ways + ["bfloat16"] if _has_bfloat16() else ways


def _features(peak):
  ways = ["in memory", "cache on disk", "classifier in the graph"]
  return _table(_compare(_given(), ways), peak)


def _growth(peak):
  base = dict(resolution=32, ch=16, batch=8, classes=1000)
  print(f"\n{'one value changed of':22}{base}")
  figures = {}
  for name, values in (
    ("batch", (8, 16, 32)),
    ("ch", (8, 32)),
    ("resolution", (64, 128)),
    ("classes", (10, 10000)),
  ):
    for value in values:
      measured = _compare(_paper(**{**base, name: value}), ["this program"])
      figures[f"{name} {value}"] = _table(measured, peak, f"{name} {value}")
  return figures


def _startup(peak):
  """Seconds from starting Python to the end of the first training step."""
  del peak
  start = time.perf_counter()
  with _Worker(_paper(64, 96, 4), "this program") as worker:
    seconds = time.perf_counter() - start
    print(
      f"\n64 px, ch 96, batch 4: first step done after {seconds:.1f} s, of which "
      f"the step {worker.first_step:.1f} s"
    )
    return {"seconds": seconds, "first_step": worker.first_step}


def _paper(resolution, ch, batch, classes=1000):
  """Arguments for the paper's networks at another size, fed made-up images."""
  bindings = {
    "dataset.name": f"'fake:{classes}@{resolution}'",
    "resnet_biggan.Generator.ch": ch,
    "resnet_biggan.Discriminator.ch": ch,
    "options.batch_size": batch,
  }
  return [f"--gin_config={_PAPER}"] + [
    f"--gin_bindings={name} = {value}" for name, value in bindings.items()
  ]


def _inference(peak):
  del peak
  import numpy as np

  from compare_gan_logits import datasets
  from compare_gan_logits import files

  with tempfile.TemporaryDirectory() as folder:
    module = os.path.abspath(FLAGS.module or _made_module(folder))
    size = files.read_json(os.path.join(module, "inversion.json"))["image_size"]
    figures = _in_process(module)
    images, _ = datasets.get_dataset("embedded").arrays("validation", 100)
    _write_images(np.repeat(images, 3, axis=-1), os.path.join(folder, "images"))
    figures["reconstruct_100_images_s"] = _command_seconds(
      "tools/reconstruct.py",
      "--module",
      module,
      "--images",
      os.path.join(folder, "images"),
      "--output",
      os.path.join(folder, "out"),
    )
    figures["help_s"] = _command_seconds("tools/reconstruct.py", "--help")
  print(f"\nmodule of {size} px")
  for name, value in figures.items():
    print(f"{name:36}{value:10.3f}")
  return figures


def _made_module(folder):
  """An untrained module at quickstart size, by the commands that users run."""
  classifier, run = os.path.join(folder, "classifier"), os.path.join(folder, "run")
  _command_seconds(
    "tools/train_classifier.py",
    "--output",
    classifier,
    "--gin_bindings=train_classifier.steps = 1",
    "--gin_bindings=train_classifier.test_examples = 10",
  )
  _command_seconds(
    "-m",
    "compare_gan_logits.main",
    "--model_dir",
    run,
    "--gin_config",
    os.path.join(ROOT, "gin_configs/quickstart.gin"),
    f"--gin_bindings=classifier.handle = '{classifier}'",
    "--gin_bindings=options.training_steps = 1",
  )
  return os.path.join(run, "module")


def _in_process(module):
  """Loading, and images/s of generator and classifier, in this process."""
  import numpy as np

  from compare_gan_logits.inversion import Inverter

  start = time.perf_counter()
  inverter = Inverter.load(module)
  shape = (inverter.image_size, inverter.image_size, inverter.colors)
  inverter.reconstruct(np.zeros((1, *shape), np.float32))
  figures = {"load_and_first_reconstruction_s": time.perf_counter() - start}
  for batch in (1, 64):
    logits = np.zeros((batch, inverter.num_logits), np.float32)
    images = np.zeros((batch, *shape), np.float32)
    figures[f"generator_batch_{batch}_ms"] = 1e3 * _median(
      lambda logits=logits: inverter.generate(logits)
    )
    figures[f"classifier_batch_{batch}_ms"] = 1e3 * _median(
      lambda images=images: inverter.logits(images)
    )
  figures["generator_images_per_s"] = 64e3 / figures["generator_batch_64_ms"]
  return figures


def _write_images(images, folder):
  from PIL import Image

  os.makedirs(folder)
  for i, image in enumerate((255 * images).astype("uint8")):
    Image.fromarray(image).save(os.path.join(folder, f"{i:03}.png"))


def _command_seconds(*arguments):
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
  )
  if done.returncode:
    raise errors.UserError(f"{' '.join(arguments)} failed: {done.stderr[-500:]}")
  return time.perf_counter() - start


def _median(function, times=20, clock="perf_counter"):
  import numpy as np

  function()
  return float(np.median([_seconds(function, clock) for _ in range(times)]))


# Training steps, a process for each way --------------------------------------


def _compare(arguments, ways):
  """{way: figures} of ways that take turns."""
  import numpy as np

  with contextlib.ExitStack() as stack:
    workers = {way: stack.enter_context(_Worker(arguments, way)) for way in ways}
    seconds = {way: [] for way in ways}
    for _ in range(FLAGS.rounds):
      for way, worker in workers.items():
        seconds[way] += worker.turn(FLAGS.steps)
    gflop = next(iter(workers.values())).facts["gflop"]
    return {
      way: {
        "seconds_per_step": float(np.median(seconds[way])),
        "images_per_s": worker.facts["batch"] / float(np.median(seconds[way])),
        "gflop_needed": gflop,
        "gflop_computed": worker.facts["gflop"],
        "peak_memory_gb": worker.peak_memory(),
      }
      for way, worker in workers.items()
    }


def _table(measured, peak, title=None):
  first = next(iter(measured.values()))["seconds_per_step"]
  if title is None:
    print(f"{'':26}" + "".join(f"{column:>10}" for column in _COLUMNS))
  for way, figures in measured.items():
    seconds = figures["seconds_per_step"]
    figures["share_of_peak"] = figures["gflop_needed"] / seconds / peak
    print(
      f"{title or way:26}{seconds:10.4f}{figures['images_per_s']:10.2f}"
      f"{figures['gflop_computed']:10.2f}{figures['share_of_peak']:10.1%}"
      f"{figures['peak_memory_gb']:10.2f}{first / seconds:10.2f}",
      flush=True,
    )
  return measured


class _Worker:
  """A process that has built one way of training and makes steps on demand."""

  def __init__(self, arguments, way, clock="perf_counter"):
    context = multiprocessing.get_context("spawn")
    self._pipe, pipe = context.Pipe()
    self._process = context.Process(
      target=_work, daemon=True, args=(pipe, arguments, way, clock)
    )

  def __enter__(self):
    self._process.start()
    self.facts = self._receive()
    self.first_step = self.turn(1)[0]
    self.turn(1)
    return self

  def __exit__(self, *error):
    self._process.terminate()
    self._process.join()

  def turn(self, steps):
    """Seconds of each of so many steps."""
    return self._ask(steps)

  def peak_memory(self):
    """GB."""
    return self._ask(None)

  def count(self):
    """Its training step as a cost_model.Step."""
    return self._ask("count")

  def _ask(self, question):
    self._pipe.send(question)
    return self._receive()

  def _receive(self):
    try:
      answer = self._pipe.recv()
    except (EOFError, ConnectionError):
      raise errors.UserError(
        "a process that makes steps was killed, probably because memory ran out; ask "
        "for smaller sizes"
      ) from None
    if isinstance(answer, errors.UserError):
      raise answer
    return answer


def _work(pipe, arguments, way, clock):
  """A worker's process, whose failure is the parent's."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the parent ends its workers.
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  try:
    _answer(pipe, arguments, way, clock)
  except Exception as error:
    pipe.send(errors.UserError(f"{way}: {errors.explain(error)}"))


def _answer(pipe, arguments, way, clock):
  """Builds, then answers a number of steps with their seconds."""
  import tensorflow.compat.v1 as tf

  from compare_gan_logits import classifiers
  from compare_gan_logits import datasets
  from compare_gan_logits import devices
  from compare_gan_logits import main as trainer
  from compare_gan_logits import runner_lib
  from compare_gan_logits.planning import cost_model

  tf.logging.set_verbosity(tf.logging.ERROR)
  FLAGS(["benchmark", *arguments])
  bindings = FLAGS.gin_bindings + (
    ["compute.dtype = 'bfloat16'"] if way == "bfloat16" else []
  )
  trainer.parse_gin(FLAGS.gin_config, bindings)
  devices.configure()
  settings = runner_lib.get_run_settings()
  run = runner_lib.Run(
    datasets.get_dataset(),
    classifiers.from_gin(),
    runner_lib.get_options_dict(),
    runner_lib.make_run_config(settings, tempfile.mkdtemp()),
  )
  with _training_step(run, *_WAYS[way](run)) as (step, gflop):
    pipe.send({"gflop": gflop, "batch": run.options["batch_size"]})
    while True:
      question = pipe.recv()
      if question is None:
        pipe.send(_peak_memory())
      elif question == "count":
        pipe.send(cost_model.count(run.gan))
      else:
        pipe.send([_seconds(step, clock) for _ in range(question)])


def _seconds(function, clock="perf_counter"):
  """Of a clock of `time`: process_time is the processor's, "perf_counter" the wall's."""
  now = getattr(time, clock)
  start = now()
  function()
  return now() - start


def _peak_memory():
  # Linux counts in KiB.
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@contextlib.contextmanager
def _training_step(run, building, logits):
  """(function that makes one step, GFLOP of the step)."""
  import tensorflow.compat.v1 as tf

  from compare_gan_logits import utils
  from compare_gan_logits.planning import cost_model

  whole_step = run.options["batch_size"] * run.gan.num_sub_steps
  params = {"batch_size": whole_step, "seed": 0}
  with tf.Graph().as_default() as graph, building:
    tf.train.get_or_create_global_step()
    data = run.gan.input_fn(params, logits=logits)
    features, labels = utils.next_element(data)
    train_op = run.gan.model_fn(features, labels, params, "train").train_op
    with tf.Session(graph=graph) as session:
      session.run(
        [
          tf.global_variables_initializer(),
          tf.local_variables_initializer(),
          tf.tables_initializer(),
        ]
      )
      gflop = cost_model.executed_flops(train_op) / 1e9
      yield lambda: session.run(train_op), gflop


# Ways: run -> (context in which the graph is built, logits) ------------------


def _as_it_is(run):
  return contextlib.nullcontext(), run.cached_logits()


def _plainly(run):
  from compare_gan_logits.architectures import scaled_convolutions

  return scaled_convolutions.plain_formulation(), run.cached_logits()


def _made_up_logits(run):
  """What is read costs the same whatever it says."""
  import numpy as np

  if run.classifier is None:
    raise errors.UserError("bind classifier.handle: there is no feature stage to time")
  shape = (run.dataset.num_examples("train"), run.classifier.num_logits)
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _in_memory(run):
  return contextlib.nullcontext(), _made_up_logits(run)


def _on_disk(run):
  from compare_gan_logits.classifiers import logit_cache

  logits = _made_up_logits(run)
  folder = tempfile.mkdtemp()
  logit_cache.write(
    run.classifier, run.dataset, "train", folder, logits=logits, log=lambda line: None
  )
  cache = logit_cache.open(folder, run.classifier, run.dataset, "train")
  return contextlib.nullcontext(), cache


def _in_the_graph(run):
  del run
  return contextlib.nullcontext(), None


_WAYS = {
  "this program": _as_it_is,
  "bfloat16": _as_it_is,
  "plain formulation": _plainly,
  "in memory": _in_memory,
  "cache on disk": _on_disk,
  "classifier in the graph": _in_the_graph,
}


def _has_bfloat16():
  import tensorflow.compat.v1 as tf

  if tf.config.list_physical_devices("GPU"):
    return True
  try:
    with open("/proc/cpuinfo") as f:
      return any(flag in f.read().split() for flag in ("avx512_bf16", "amx_bf16"))
  except OSError:
    return False


# This machine ----------------------------------------------------------------


def _peak(clock="perf_counter"):
  """GFLOP/s of a 2048 x 2048 float32 matrix product, the best of ten."""
  import tensorflow.compat.v1 as tf

  with tf.Graph().as_default(), tf.Session() as session:
    matrix = tf.get_variable("matrix", [2048, 2048])
    product = tf.matmul(matrix, matrix).op
    session.run(tf.global_variables_initializer())
    return (
      2
      * 2048**3
      / min(_seconds(lambda: session.run(product), clock) for _ in range(10))
      / 1e9
    )


def _this_machine(clock="perf_counter", efficiency=0.95):
  """cost_model.Device of this processor, measured; --part model fits the efficiency."""
  from compare_gan_logits.planning import cost_model

  bandwidth, overhead = _bandwidth_and_overhead(clock)
  return cost_model.Device(
    peak={"float32": 1e9 * _peak(clock)},
    bandwidth=bandwidth,
    op_overhead=overhead,
    memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    efficiency=efficiency,
    link_bandwidth=1e9,
    link_latency=1e-4,
    node=1,
    network_bandwidth=1e8,
    network_latency=1e-4,
    fuses=False,
    source="measured here: matrix product, sum of large arrays, small sums; "
    "efficiency as fitted in docs/scaling.md; links assumed",
  )


def _bandwidth_and_overhead(clock):
  """Bytes/s of adding a number to 64 MB, and seconds of one of many tiny additions."""
  import tensorflow.compat.v1 as tf

  from compare_gan_logits import allocator

  allocator.keep_freed_memory()
  elements, many = 1 << 24, 1000
  config = tf.ConfigProto()
  # Otherwise TensorFlow makes one addition of many.
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  with tf.Graph().as_default(), tf.Session(config=config) as session:
    large = tf.get_variable("large", [elements])
    chain = tiny = tf.get_variable("tiny", [8])
    for _ in range(many):
      chain = chain + tiny
    addition = (large + 1.0).op
    session.run(tf.global_variables_initializer())
    moved, taken = (
      _median(lambda op=op: session.run(op), 9, clock) for op in (addition, chain.op)
    )
  return 2 * 4 * elements / moved, taken / many


def _model(peak):
  """Predicted seconds and memory of steps against measured ones, on one core."""
  del peak
  import numpy as np

  from compare_gan_logits.planning import cost_model

  # Seconds of one core's work are the same beside other work; shares of two are not.
  os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  with contextlib.ExitStack() as stack:
    workers = {
      size: stack.enter_context(
        _Worker(_paper(*_numbers(size)), "this program", "process_time")
      )
      for size in FLAGS.size
    }
    steps = {size: worker.count() for size, worker in workers.items()}
    machines, seconds = [], {size: [] for size in workers}
    for _ in range(FLAGS.rounds):
      for size, worker in workers.items():
        machines.append(_this_machine("process_time"))
        seconds[size] += worker.turn(FLAGS.steps)
    measured = {size: float(np.median(values)) for size, values in seconds.items()}
    memory = {size: worker.peak_memory() for size, worker in workers.items()}
  machine = dataclasses.replace(
    machines[0],
    peak={"float32": float(np.median([m.peak["float32"] for m in machines]))},
    **{
      name: float(np.median([getattr(m, name) for m in machines]))
      for name in ("bandwidth", "op_overhead")
    },
  )
  first = FLAGS.size[0]
  machine = dataclasses.replace(
    machine,
    efficiency=cost_model.fitted_efficiency(
      steps[first], machine, _numbers(first)[2], measured[first]
    ),
  )
  print(
    f"\none core: {machine.peak['float32'] / 1e9:.1f} GFLOP/s, "
    f"{machine.bandwidth / 1e9:.2f} GB/s, {machine.op_overhead * 1e6:.1f} us an "
    f"operation; efficiency {machine.efficiency:.3f}, fitted at {first}\n"
    f"{'px:ch:batch':>14}{'GFLOP':>10}{'measured s':>12}{'predicted s':>12}"
    f"{'ratio':>8}{'tensors GB':>12}{'peak GB':>10}"
  )
  rows = {
    size: _model_row(
      steps[size], machine, _numbers(size)[2], measured[size], memory[size]
    )
    for size in FLAGS.size
  }
  for size, row in rows.items():
    print(
      f"{size:>14}{row['gflop']:10.2f}{row['measured']:12.3f}{row['predicted']:12.3f}"
      f"{row['ratio']:8.2f}{row['tensors_gb']:12.2f}{row['peak_gb']:10.2f}"
    )
  return {
    "machine": {
      "gflop_per_s": machine.peak["float32"] / 1e9,
      "bandwidth_gb_per_s": machine.bandwidth / 1e9,
      "op_overhead_us": machine.op_overhead * 1e6,
      "efficiency": machine.efficiency,
    },
    "sizes": rows,
  }


def _model_row(step, machine, batch, measured, peak_gb):
  from compare_gan_logits.planning import cost_model

  planned = cost_model.plan(step, machine, batch, micro_batches=1)
  return {
    "gflop": sum(step.flops(batch).values()) / 1e9,
    "measured": measured,
    "predicted": planned.seconds,
    "ratio": planned.seconds / measured,
    "tensors_gb": planned.memory / 1e9,
    "peak_gb": peak_gb,
  }


if __name__ == "__main__":
  command.run(main, prepare=_define_flags)
