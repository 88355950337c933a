"""Random numbers of losses and penalties; a test may put others in their place."""

from compare_gan_logits.tpu import tpu_random


random_uniform = tpu_random.uniform
random_normal = tpu_random.normal
