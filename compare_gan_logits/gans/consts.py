"""Names that gin files and flags use."""

NORMAL_INIT = "normal"
TRUNCATED_INIT = "truncated"
ORTHOGONAL_INIT = "orthogonal"
INITIALIZERS = (NORMAL_INIT, TRUNCATED_INIT, ORTHOGONAL_INIT)

DCGAN_ARCH = "dcgan_arch"
DOSOVITSKIY_BROX_ARCH = "dosovitskiy_brox_arch"
DUMMY_ARCH = "dummy_arch"
INFOGAN_ARCH = "infogan_arch"
RESNET5_ARCH = "resnet5_arch"
RESNET30_ARCH = "resnet30_arch"
RESNET_BIGGAN_ARCH = "resnet_biggan_arch"
RESNET_BIGGAN_DEEP_ARCH = "resnet_biggan_deep_arch"
RESNET_CIFAR_ARCH = "resnet_cifar_arch"
RESNET_STL_ARCH = "resnet_stl_arch"
SNDCGAN_ARCH = "sndcgan_arch"

# compare_gan's; architectures/registry.py knows all.
ARCHITECTURES = (
  INFOGAN_ARCH,
  DCGAN_ARCH,
  RESNET_CIFAR_ARCH,
  SNDCGAN_ARCH,
  RESNET5_ARCH,
  RESNET30_ARCH,
  RESNET_STL_ARCH,
  RESNET_BIGGAN_ARCH,
  RESNET_BIGGAN_DEEP_ARCH,
)

LABEL = "label"  # the only condition that g_inputs and d_inputs may name
