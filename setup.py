"""What pyproject.toml cannot say: gin_configs/ is installed inside the package."""

import setuptools


setuptools.setup(
  packages=[
    *setuptools.find_packages(include=["compare_gan_logits*"]),
    "compare_gan_logits.gin_configs",
  ],
  package_dir={"compare_gan_logits.gin_configs": "gin_configs"},
  include_package_data=False,
  package_data={
    "compare_gan_logits": ["py.typed", "data/**", "apps/**"],
    "compare_gan_logits.gin_configs": ["**/*.gin"],
  },
)
