"""Which checkpoints of a run can be relied on.

TensorFlow's own record names the newest one that was finished; it does not say
whether the files are still what was written.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow.compat.v1 as tf

from compare_gan_logits import files
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import first_line


_BASE = "model.ckpt-"
_INDEX = ".index"
_SET_ASIDE = "damaged-"
_PATIENCE_SECONDS = 120


def of_run(model_dir: str, base: str = _BASE) -> list[tuple[int, str]]:
  """[(step, prefix)] of the checkpoints that are there, oldest first."""
  found = []
  for name in _names(model_dir):
    step = name[len(base) : -len(_INDEX)]
    if name.startswith(base) and name.endswith(_INDEX) and step.isdigit():
      found.append((int(step), os.path.join(model_dir, base + step)))
  return sorted(found)


def step_of(prefix: str) -> int:
  """The training step that is in a checkpoint's name.

  Raises:
    UserError: there is none.
  """
  number = os.path.basename(prefix).rpartition("-")[2]
  if not number.isdigit():
    raise UserError(f"{prefix} has no training step in its name, as in {_BASE}5000")
  return int(number)


def damage(prefix: str) -> str | None:
  """What is wrong with a checkpoint, in a few words, or None.

  Reads every value, which checks its checksum.
  """
  try:
    reader = tf.train.NewCheckpointReader(prefix)
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
  except (
    tf.errors.OpError,
    ValueError,
    IndexError,
    RuntimeError,
    MemoryError,
  ) as error:
    return first_line(error)
  return None


def newest(model_dir: str, base: str = _BASE) -> tuple[int, str] | None:
  """(step, prefix) of the newest sound checkpoint, or None where there is none at all.

  Says which newer ones it passes over.

  Raises:
    UserError: there are checkpoints, and all are damaged.
  """
  found = of_run(model_dir, base)
  for step, prefix in reversed(found):
    trouble = damage(prefix)
    if trouble is None:
      return step, prefix
    print(
      f"{prefix} is damaged ({trouble}); looking at the one before",
      file=sys.stderr,
      flush=True,
    )
  if found:
    raise UserError(
      f"every checkpoint in {model_dir} is damaged; put one back from a "
      "copy, or name another folder (--model_dir, --output) to start again"
    )
  return None


def prepare_to_resume(model_dir: str, base: str = _BASE) -> int:
  """Makes TensorFlow go on from the newest sound checkpoint.

  Damaged newer ones are renamed, what a killed process had half written is removed,
  and TensorFlow's record is made to agree. Only for the process that trains there.

  Args:
    model_dir: folder of the run.
    base: what the checkpoints' names begin with.

  Returns:
    Its step; 0 where there is none.

  Raises:
    UserError: as `newest`.
  """
  sound = newest(model_dir, base)
  names = _names(model_dir)
  for name in names:
    if name.startswith(base) and "temp" in name:
      _remove(os.path.join(model_dir, name))
  if sound is None:
    return 0
  step, prefix = sound
  kept = []
  for number, path in of_run(model_dir, base):
    checkpoint = os.path.basename(path)
    if number <= step:
      kept.append(checkpoint)
      continue
    for name in names:
      if name.startswith(checkpoint + "."):
        tf.io.gfile.rename(
          os.path.join(model_dir, name),
          os.path.join(model_dir, _SET_ASIDE + name),
          overwrite=True,
        )
  try:
    state = tf.train.get_checkpoint_state(model_dir)
  except UnicodeDecodeError:  # damaged, and written anew
    state = None
  recorded = state.all_model_checkpoint_paths if state else ()
  if [os.path.basename(path) for path in recorded] != kept:
    # Names without a folder, so that the run can be moved.
    tf.train.update_checkpoint_state(files.absolute(model_dir), kept[-1], kept)
  return step


def wait_until_prepared(model_dir: str) -> int:
  """Waits for the chief's `prepare_to_resume`, which decides for all workers.

  Returns:
    The chief's step.

  Raises:
    UserError: as `newest`, or TensorFlow's record does not come to agree.
  """
  sound = newest(model_dir)
  if sound is None:
    return 0
  step, prefix = sound
  for _ in range(_PATIENCE_SECONDS):
    recorded = tf.train.latest_checkpoint(model_dir)
    if recorded and os.path.basename(recorded) == os.path.basename(prefix):
      return step
    time.sleep(1)
  raise UserError(
    f"{model_dir} was not made ready by the chief (worker 0) within "
    f"{_PATIENCE_SECONDS} s; start all workers again"
  )


@contextlib.contextmanager
def explaining_misfit(model_dir: str) -> Iterator[None]:
  """Says so where a checkpoint was made with another configuration."""
  try:
    yield
  except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
    if "Restoring from checkpoint failed" not in str(error):
      raise
    raise _misfit(model_dir) from error


def of_other_shape(
  saved: Mapping[str, Sequence[int]], variables: Mapping[str, tf.Variable]
) -> list[str]:
  """The names, sorted, under which a checkpoint holds another shape than the variable's.

  TensorFlow restores any shape.

  Args:
    saved: {name: shape} of the checkpoint.
    variables: {name in the checkpoint: variable}.
  """
  return sorted(
    name
    for name, variable in variables.items()
    if name in saved and not variable.shape.is_compatible_with(saved[name])
  )


def check_fit(model_dir: str, variables: Iterable[tf.Variable]) -> None:
  """Compares variables with the newest checkpoint's.

  TensorFlow restores any shape, and passes over weights that the graph has not.

  Args:
    model_dir: folder of the run.
    variables: of the training step.

  Raises:
    UserError: one has another shape there, or a network had another variable, which is
      no average and no optimizer's.
  """
  checkpoint = tf.train.latest_checkpoint(model_dir)
  if checkpoint is None:
    return
  named = {v.op.name: v for v in variables}
  saved = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
  if of_other_shape(saved, named):
    raise _misfit(model_dir)
  networks = {name.partition("/")[0] for name, v in named.items() if v.trainable}
  for name in saved.keys() - named.keys():
    belongs_to_another = name.rpartition("/")[0] in saved
    if name.partition("/")[0] in networks and not belongs_to_another:
      raise _misfit(model_dir)


def _misfit(model_dir):
  if _is_of_old_version(model_dir):
    return UserError(
      f"the checkpoints in {model_dir} were made by an earlier version of this program, "
      "whose optimizers' variables had other names; go on with that version, or name "
      "another --model_dir"
    )
  return UserError(
    f"the checkpoints in {model_dir} were made with another "
    "configuration; use the gin file and the bindings of then "
    "(operative_config-<step>.gin), or name another --model_dir"
  )


def _is_of_old_version(model_dir):
  """Whether the powers of Adam lack compare_gan's name scopes."""
  checkpoint = tf.train.latest_checkpoint(model_dir)
  if checkpoint is None:
    return False
  saved = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
  return "beta1_power" in saved and "generator" in {n.split("/")[0] for n in saved}


def _names(model_dir):
  return tf.io.gfile.listdir(model_dir) if tf.io.gfile.isdir(model_dir) else []


def _remove(path):
  if tf.io.gfile.isdir(path):
    tf.io.gfile.rmtree(path)
  else:
    tf.io.gfile.remove(path)
