"""Architectures by name: what options.architecture may say.

An architecture of your own is registered in the module that defines it,

    registry.register("my_arch", Generator, Discriminator)

and a gin file that says `import my_package.my_arch` first may then use its name.
"""

from __future__ import annotations

from typing import NamedTuple

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import dcgan
from compare_gan_logits.architectures import dosovitskiy_brox
from compare_gan_logits.architectures import dummy
from compare_gan_logits.architectures import infogan
from compare_gan_logits.architectures import resnet5
from compare_gan_logits.architectures import resnet30
from compare_gan_logits.architectures import resnet_biggan
from compare_gan_logits.architectures import resnet_biggan_deep
from compare_gan_logits.architectures import resnet_cifar
from compare_gan_logits.architectures import resnet_stl
from compare_gan_logits.architectures import sndcgan
from compare_gan_logits.errors import UnknownNameError
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


class Architecture(NamedTuple):
  """The two networks of a GAN.

  Attributes:
    Generator: called with image_shape=(height, width, colors).
    Discriminator: called without arguments.
  """

  Generator: type[abstract_arch.AbstractGenerator]
  Discriminator: type[abstract_arch.AbstractDiscriminator]


_registered: dict[str, Architecture] = {
  f"{module.__name__.rsplit('.', 1)[-1]}_arch": Architecture(
    module.Generator, module.Discriminator
  )
  for module in (
    dcgan,
    dosovitskiy_brox,
    dummy,
    infogan,
    resnet5,
    resnet30,
    resnet_biggan,
    resnet_biggan_deep,
    resnet_cifar,
    resnet_stl,
    sndcgan,
  )
}


def register(
  name: str,
  generator: type[abstract_arch.AbstractGenerator],
  discriminator: type[abstract_arch.AbstractDiscriminator],
) -> None:
  """Makes two networks known under a name.

  Args:
    name: for options.architecture.
    generator, discriminator: classes (or functions) that make the networks; see
      Architecture.

  Raises:
    UserError: the name has other networks already.
  """
  new = Architecture(generator, discriminator)
  if _registered.setdefault(name, new) != new:
    raise UserError(f"architecture {name!r} is registered already; choose another name")


def names() -> list[str]:
  """All names, sorted."""
  return sorted(_registered)


def get(name: str) -> Architecture:
  """The networks of a name.

  Raises:
    UnknownNameError: nothing is registered under it.
  """
  if name not in _registered:
    raise UnknownNameError(f"options.architecture {name!r}: {nearest(name, names())}")
  return _registered[name]
