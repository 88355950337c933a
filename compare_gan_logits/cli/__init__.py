"""The commands, one file each; `tools/*.py` and the installed script call them."""
