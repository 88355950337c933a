"""A frozen graph (GraphDef) as a SavedModel."""

from __future__ import annotations

import os

import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError

from compare_gan_logits import files
from compare_gan_logits.classifiers.module_cache import cached
from compare_gan_logits.errors import UserError


OUTPUT = "features"


def saved_model(file: str, input_name: str | None, output: str) -> str:
  """SavedModel folder of a frozen graph: "images" -> OUTPUT.

  Args:
    file: a GraphDef, .pb.
    input_name, output: tensors of the graph, as in "Mul:0" (":0" may be left out).

  Raises:
    UserError: the file is no graph, or has no such tensor.
  """
  if not input_name:
    raise UserError(
      f"{file} is a frozen graph, which does not say where images go in; "
      "bind inception.input_name to that tensor ('Mul:0' in TF-GAN's)"
    )
  names = [name if ":" in name else name + ":0" for name in (input_name, output)]

  def build(folder):
    definition = tf.GraphDef()
    try:
      with open(file, "rb") as f:
        definition.ParseFromString(f.read())
      with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, None, None, 3], name="images")
        (found,) = tf.import_graph_def(
          definition, {names[0]: images}, [names[1]], name=""
        )
        os.rmdir(folder)  # TensorFlow makes it.
        tf.saved_model.simple_save(session, folder, {"images": images}, {OUTPUT: found})
    except (DecodeError, ValueError) as error:
      raise UserError(
        f"{file} is not a frozen graph with tensors {' and '.join(names)} ({error}); "
        "see inception.input_name and inception.output"
      ) from None

  name = os.path.splitext(os.path.basename(file))[0]
  return cached(name, [files.digest(file), names], build)
