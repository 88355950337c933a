"""An empty package named tensorflow that requires tensorflow-cpu of its version.

tensorflow-cpu is the same TensorFlow without GPU kernels, for x86-64 only. By itself it
does not satisfy a requirement of `tensorflow`, and if both are installed they overwrite
each other's files. This package satisfies the requirement in place of the large one:

  pip install ./packaging/tensorflow-cpu .
"""

import sys

import setuptools


# The releases that this project requires on older Pythons, and on those since 3.12.
VERSION = "2.15.1" if sys.version_info < (3, 12) else "2.21.0"

setuptools.setup(
  name="tensorflow",
  version=VERSION,
  description="Installs tensorflow-cpu in place of tensorflow",
  packages=[],
  py_modules=[],
  install_requires=[f"tensorflow-cpu=={VERSION}"],
)
