"""Names that gin files and flags use."""

RESNET_BIGGAN_ARCH = "resnet_biggan_arch"
DOSOVITSKIY_BROX_ARCH = "dosovitskiy_brox_arch"
ARCHITECTURES = (RESNET_BIGGAN_ARCH, DOSOVITSKIY_BROX_ARCH)

LABEL = "label"  # the only condition that g_inputs and d_inputs may name
