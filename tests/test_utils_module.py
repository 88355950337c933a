"""Calling with the arguments that fit, and the table of parameters."""

import functools
import json
import os
import time

import pytest
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils


class Callable:
  def __call__(self, a, *, b=2):
    return a, b


def plain(a, b=2):
  return a, b


def everything(**kwargs):
  return kwargs


@functools.wraps(plain)
def wrapped(*args, **kwargs):
  return plain(*args, **kwargs)


@pytest.mark.parametrize(
  "fn, result",
  [
    (plain, (1, 3)),
    (functools.partial(plain, b=5), (1, 3)),
    (functools.partial(functools.partial(plain, b=5)), (1, 3)),
    (wrapped, (1, 3)),
    (Callable(), (1, 3)),
    (lambda: "none", "none"),
    (everything, {"a": 1, "b": 3, "c": 4}),
  ],
)
def test_a_function_gets_the_arguments_that_it_takes(fn, result):
  assert utils.call_with_accepted_args(fn, a=1, b=3, c=4) == result


def test_the_table_of_parameters():
  data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
  with open(os.path.join(data, "golden.json"), encoding="utf-8") as f:
    expected = json.load(f)["parameter_overview"]
  with tf.Graph().as_default(), tf.variable_scope("FC"):
    variables = [
      tf.get_variable("weights", [30, 4]),
      tf.get_variable("biases", [4], tf.float64),
    ]
  assert utils.get_parameter_overview(variables).split("\n") == expected
  short = utils.get_parameter_overview(variables, limit=1)
  assert "biases" not in short and "..." in short and short.endswith("Total: 124")


def test_a_session_that_has_read_for_seconds_ends_at_once():
  """With tf.data's autotuning each of the iterators may wait for a second."""
  session = tf.Session(graph=tf.Graph())
  with session.graph.as_default():
    numbers = tf.data.Dataset.range(2**62)
    data = numbers.map(lambda i: i + 1, num_parallel_calls=tf.data.AUTOTUNE)
    following = [utils.next_element(data.prefetch(2)) for _ in range(8)]
  started = time.time()
  while time.time() - started < 4:
    session.run(following)
  started = time.time()
  session.close()
  del session
  assert time.time() - started < 0.5
