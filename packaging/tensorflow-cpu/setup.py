"""An empty package named tensorflow that requires tensorflow-cpu of its version.

tensorflow-cpu is the same TensorFlow without GPU kernels, for x86-64 only. It satisfies
nobody's requirement of `tensorflow` by itself, and installed beside it the two
overwrite each other's files. With this package in the place of the large one it does:

  pip install ./packaging/tensorflow-cpu .
"""

import sys

import setuptools


# The releases that this project requires on older Pythons, and on those since 3.12.
VERSION = "2.15.1" if sys.version_info < (3, 12) else "2.21.0"

setuptools.setup(
  name="tensorflow",
  version=VERSION,
  description="Stands for tensorflow where tensorflow-cpu is wanted",
  packages=[],
  py_modules=[],
  install_requires=[f"tensorflow-cpu=={VERSION}"],
)
