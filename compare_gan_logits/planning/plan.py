"""tools/benchmark.py --plan: what a training would cost on hardware that is named."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from absl import flags

from compare_gan_logits import errors


if TYPE_CHECKING:
  from compare_gan_logits.planning import cost_model

FLAGS = flags.FLAGS
flags.DEFINE_bool(
  "plan",
  False,
  "Print what training --gin_config costs on --device; "
  "needs neither the data nor the classifier.",
)
flags.DEFINE_string(
  "device",
  "tpu_v3_core",
  "Of --plan: a name of the cost model's "
  "table, or cpu: this machine, whose speed is measured.",
)
flags.DEFINE_multi_integer(
  "replicas",
  [1],
  "Of --plan: devices that share a batch; may be repeated.",
  lower_bound=1,
)
flags.DEFINE_integer(
  "micro_batches",
  None,
  "Of --plan: parts of a replica's batch. Default: those that gin binds, or as few as fit "
  "into its memory.",
  lower_bound=1,
)
flags.DEFINE_float(
  "classifier_gflop",
  None,
  "Of --plan: GFLOP an image of a classifier that the cost model does not know.",
  lower_bound=0,
)
# Flag -> (field of cost_model.Device, unit, meaning).
_OVERRIDES = {
  "peak_tflops": ("peak", 1e12, "TFLOP/s of matrix products"),
  "memory_gb": ("memory", 1e9, "GB of memory"),
  "bandwidth_gbs": ("bandwidth", 1e9, "GB/s of memory"),
  "efficiency": ("efficiency", 1, "share of the peak that convolutions reach"),
  "link_gbs": ("link_bandwidth", 1e9, "GB/s between devices of a node"),
  "link_latency_us": ("link_latency", 1e-6, "microseconds of a message in a node"),
  "network_gbs": ("network_bandwidth", 1e9, "GB/s between nodes, per device"),
  "network_latency_us": ("network_latency", 1e-6, "microseconds between nodes"),
  "op_overhead_us": ("op_overhead", 1e-6, "microseconds to start an operation"),
}
for _flag, (_, _, _meaning) in _OVERRIDES.items():
  flags.DEFINE_float(_flag, None, f"Of --plan, in the place of --device's: {_meaning}.")
flags.DEFINE_integer(
  "node", None, "Of --plan, in the place of --device's: devices of a node."
)

_IMAGENET_IMAGES = 1281167


def device(measure: Callable[[], cost_model.Device]) -> cost_model.Device:
  """The cost_model.Device that the flags describe; measure() gives this machine's."""
  from compare_gan_logits.planning import cost_model

  overrides = {
    field: FLAGS[flag].value * unit
    for flag, (field, unit, _) in _OVERRIDES.items()
    if FLAGS[flag].value is not None
  }
  overrides["node"] = FLAGS.node
  if FLAGS.device == "cpu":
    return cost_model.replaced(measure(), **overrides)
  return cost_model.device(FLAGS.device, **overrides)


def run(measure: Callable[[], cost_model.Device]) -> dict[str, Any]:
  """Prints the plan.

  Args:
    measure: function that measures this machine: cost_model.Device.

  Returns:
    What was printed, as figures.
  """
  from compare_gan_logits import utils
  from compare_gan_logits.architectures import scaled_convolutions
  from compare_gan_logits.planning import cost_model

  hardware = device(measure)
  micro_batches = FLAGS.micro_batches or utils.bound_value("ModularGAN.micro_batches")
  gan, options, handle, dtype = _trainer()
  batch, classifier = (
    options["batch_size"],
    cost_model.classifier_gflop(handle, FLAGS.classifier_gflop),
  )
  # Refused before minutes are spent on counting.
  cost_model.check_division(batch, FLAGS.replicas, micro_batches)
  cost_model.check_dtype(hardware, dtype)
  print("counting the operations of a step, which can take minutes", flush=True)
  step = cost_model.count(gan)
  with scaled_convolutions.plain_formulation():
    plain = sum(cost_model.flops(gan, batch).values())
  _print_head(hardware, dtype, options, step, plain, handle, classifier)
  plans = [
    cost_model.plan(step, hardware, batch, replicas, micro_batches, dtype)
    for replicas in FLAGS.replicas
  ]
  seconds = cost_model.classifier_seconds(
    hardware, dtype, batch * len(step.gradients), 1e9 * (classifier or 0)
  )
  rows = [
    _row(
      plan,
      step,
      hardware,
      batch,
      dtype,
      options["training_steps"],
      seconds / plan.replicas if classifier else None,
    )
    for plan in plans
  ]
  _print_table(rows)
  return {
    "tflop": sum(step.flops(batch).values()) / 1e12,
    "plain_tflop": plain / 1e12,
    "rows": rows,
  }


def _trainer():
  """(trainer, options, classifier.handle, compute.dtype) of the gin configuration.

  Made-up images and a classifier of which only the number of logits is known stand for
  the real ones.
  """
  import gin

  from compare_gan_logits import classifiers
  from compare_gan_logits import configuration
  from compare_gan_logits import datasets
  from compare_gan_logits import runner_lib
  from compare_gan_logits import utils
  from compare_gan_logits.architectures import arch_ops
  from compare_gan_logits.planning import cost_model

  handle = utils.bound_value("classifier.handle")
  # What weights start from is no part of a step, and takes long to build. The plan
  # divides the batch of a whole step itself.
  with gin.unlock_config():
    gin.bind_parameter("weights.initializer", "normal")
    gin.bind_parameter("ModularGAN.micro_batches", 1)
  FLAGS.data_fake_dataset = True
  try:
    dataset = datasets.get_dataset(examples=1)
    options = runner_lib.get_options_dict()
  except (TypeError, ValueError) as error:
    raise errors.UserError(configuration.explain_gin_error(error)) from error
  classifier = None
  if handle is not None:
    output = utils.bound_value("classifier.output")
    known = handle in cost_model.CLASSIFIER_GFLOP and not output
    classifier = (
      types.SimpleNamespace(num_logits=1000) if known else classifiers.from_gin()
    )
  gan = options["gan_class"](
    dataset=dataset, parameters=options, model_dir=None, classifier=classifier
  )
  return gan, options, handle, arch_ops.compute_dtype().name


def _row(plan, step, hardware, batch, dtype, training_steps, classifier):
  from compare_gan_logits.planning import cost_model

  alone = cost_model.plan(step, hardware, batch, 1, None, dtype)
  days = training_steps / 86400
  return {
    "replicas": plan.replicas,
    "micro_batches": plan.micro_batches,
    "micro_batch": batch // plan.replicas // plan.micro_batches,
    "memory_gb": plan.memory / 1e9,
    "fits": plan.memory <= hardware.memory,
    "seconds": plan.seconds,
    "matrix_seconds": plan.matrix_seconds,
    "other_seconds": plan.other_seconds + plan.update_seconds,
    "moment_seconds": plan.moment_seconds,
    "gradient_seconds": plan.gradient_seconds,
    "efficiency": alone.seconds / plan.replicas / plan.seconds,
    "communication": plan.communication_seconds / plan.seconds,
    "images_per_s": batch * len(step.gradients) / plan.seconds,
    "days": plan.seconds * days,
    "days_with_classifier": None
    if classifier is None
    else (plan.seconds + classifier) * days,
  }


def _print_head(hardware, dtype, options, step, plain, handle, classifier):
  batch, gb = options["batch_size"], 1e9
  updates = len(step.gradients)
  counts = step.flops(batch)
  largest = ", ".join(
    f"{name} {value / 1e12:.4g}" for name, value in counts.most_common(5)
  )
  total = sum(counts.values())
  print(
    f"{FLAGS.device}: {hardware.peak[dtype] / 1e12:.4g} TFLOP/s ({dtype}) of which "
    f"{hardware.efficiency:.0%} are reached, {hardware.memory / gb:.4g} GB, "
    f"{hardware.bandwidth / gb:.4g} GB/s\n  {hardware.source}\n"
    f"a step: {updates - 1} updates of D and one of G, batch {batch}\n"
    f"  operations        {total / 1e12:.4g} TFLOP ({largest}); "
    f"{plain / 1e12:.4g} in the plain formulation\n"
    f"  all steps         {total * options['training_steps']:.3g} operations in "
    f"{options['training_steps']:,} steps"
  )
  if handle is not None:
    images = batch * updates
    print(
      "  classifier        "
      + (
        "not known: give --classifier_gflop"
        if classifier is None
        else f"{classifier:.4g} GFLOP an image: {classifier * images / 1e3:.4g} TFLOP a step "
        f"({images:,} images) without a logit cache, with one "
        f"{classifier * _IMAGENET_IMAGES / 1e6:.3g} PFLOP once for "
        f"{_IMAGENET_IMAGES:,} images"
      )
    )
  kept = step.variables
  per_image = (step.activations(64) - step.activations(32)) / 32
  print(
    "  parameters        "
    + ", ".join(f"{name} {value:,}" for name, value in step.parameters.items())
    + f"\n  memory            weights {kept['weights'] / gb:.3g} GB, optimizer "
    f"{kept['optimizer'] / gb:.3g}, averages {kept['average'] / gb:.3g}; activations "
    f"about {per_image / 1e6:.3g} MB an image of a (micro-)batch (estimate)\n"
    f"  all-reduces       {updates} of gradients, "
    f"{sum(step.gradients) / 1e6:.4g} MB; {len(step.moments)} of batch moments a "
    f"micro-batch, {sum(step.moments) / 1e6:.3g} MB together"
  )


_COLUMNS = (
  ("replicas", "replicas", "d"),
  ("micro", "micro_batches", "d"),
  ("batch", "micro_batch", "d"),
  ("GB", "memory_gb", ".2f"),
  ("s/step", "seconds", ".4g"),
  ("matrix s", "matrix_seconds", ".4g"),
  ("rest s", "other_seconds", ".3g"),
  ("moments s", "moment_seconds", ".2g"),
  ("grads s", "gradient_seconds", ".2g"),
  ("messages", "communication", ".1%"),
  ("efficiency", "efficiency", ".1%"),
  ("images/s", "images_per_s", ".0f"),
  ("days", "days", ".3g"),
  ("no cache", "days_with_classifier", ".3g"),
)


def _print_table(rows):
  print("\n" + "".join(f"{title:>11}" for title, _, _ in _COLUMNS))
  for row in rows:
    cells = (
      "" if row[key] is None else format(row[key], form) for _, key, form in _COLUMNS
    )
    print(
      "".join(f"{cell:>11}" for cell in cells)
      + ("" if row["fits"] else "  does not fit into memory")
    )
