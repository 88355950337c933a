"""Inception score (Salimans et al. 2016, arXiv:1606.03498), by TF-GAN."""

from __future__ import annotations

from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.metrics import eval_task


@gin.configurable
class InceptionScoreTask(eval_task.EvalTask):
  """exp(E[KL(p(class | image), p(class))]) of generated images: "inception_score"."""

  _LABEL = "inception_score"

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    import tensorflow_gan as tfgan  # takes seconds

    del real_dset
    with tf.Graph().as_default(), self._create_session() as session:
      logits = tf.placeholder(tf.float32, [None, fake_dset.logits.shape[1]])
      score = tfgan.eval.classifier_score_from_logits(logits)
      return {self._LABEL: float(session.run(score, {logits: fake_dset.logits}))}
