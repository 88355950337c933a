"""The classifier feature stage: any pretrained classifier, images to logits.

classifier = classifiers.load("efficientnet_lite0")
logits = classifier.predict(images)      # numpy in, numpy out
logits = classifier(images)              # inside a graph, frozen
"""

from compare_gan_logits.classifiers.classifier import Classifier
from compare_gan_logits.classifiers.loading import absolute
from compare_gan_logits.classifiers.loading import from_description
from compare_gan_logits.classifiers.loading import from_gin
from compare_gan_logits.classifiers.loading import load
from compare_gan_logits.classifiers.spec import DESCRIPTION
from compare_gan_logits.classifiers.spec import Role
from compare_gan_logits.classifiers.spec import Spec


__all__ = [
  "DESCRIPTION",
  "Classifier",
  "Role",
  "Spec",
  "absolute",
  "from_description",
  "from_gin",
  "load",
]
