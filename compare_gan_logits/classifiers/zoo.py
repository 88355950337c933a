"""Known classifiers by short name, with what is known of each and how well."""

from compare_gan_logits.classifiers import hub
from compare_gan_logits.classifiers.preprocessing import Preprocessing


def _specs():
  return [
      hub.Spec(
          name="resnet152",
          handle="https://tfhub.dev/google/imagenet/resnet_v2_152/classification/4",
          drop_column=0,
          preprocessing=Preprocessing(size=224),
          licence="Apache-2.0",
          source="its TF-Hub page: RGB in [0, 1], 224 px, 1001 logits with the "
                 "background class first; the paper's standard ResNet-152",
          verified="not verified: the module was not at hand"),
      hub.Spec(
          name="robust_resnet152",
          handle="https://tfhub.dev/deepmind/local-linearity/imagenet/1",
          extra_inputs={"decay_rate": 0},
          preprocessing=Preprocessing(size=224, low=-1.0),
          licence="Apache-2.0",
          source="its TF-Hub page: RGB in [-1, 1], 224 px, decay_rate=0; trained by "
                 "Qin et al. (2019); the paper's robust ResNet-152",
          verified="not verified: the module was not at hand"),
      hub.Spec(
          name="inception_v3",
          handle="https://tfhub.dev/google/imagenet/inception_v3/classification/4",
          drop_column=0,
          preprocessing=Preprocessing(size=299),
          licence="Apache-2.0",
          source="its TF-Hub page: RGB in [0, 1], 299 px, 1001 logits with the "
                 "background class first; the paper's Inception-V3",
          verified="not verified: the module was not at hand"),
  ]


ZOO = {spec.name: spec for spec in _specs()}
