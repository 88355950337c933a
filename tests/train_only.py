"""A training without its export, as a command: compare_gan_logits.main's flags."""

from absl import flags

from compare_gan_logits import main as program
from compare_gan_logits.cli import command
from compare_gan_logits.distribution import Distribution


FLAGS = flags.FLAGS


def main(argv):
  del argv
  program.parse_gin(FLAGS.gin_config, FLAGS.gin_bindings)
  distribution = Distribution(FLAGS.distribute, FLAGS.num_replicas)
  program.make_run(FLAGS.model_dir, distribution).train()


if __name__ == "__main__":
  command.run(main)
