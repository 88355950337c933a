"""The commands, one file each.

The installed script `compare-gan-logits` and, in a clone, `tools/*.py` call them.
"""
