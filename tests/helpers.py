"""What several tests need."""

import tensorflow.compat.v1 as tf


def session():
  """A session without graph rewriting, which takes longer than a few small steps."""
  config = tf.ConfigProto()
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  return tf.Session(config=config)
