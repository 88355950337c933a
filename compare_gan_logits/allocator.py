"""How this process's memory allocator treats what TensorFlow frees."""

from __future__ import annotations

import ctypes


# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
  """Lets freed memory be used again instead of going back to the system.

  Every large tensor of a CPU training step is otherwise mapped, zeroed page by page
  and unmapped again: a sixth of the step's processor time (docs/performance.md).
  The process's peak memory stays what it was; it just does not shrink between.
  Call before memory is allocated from several threads. Where the C library is not
  glibc nothing happens.
  """
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is not None:
    mallopt(_MMAP_MAX, 0)
    mallopt(_ARENA_MAX, 1)
    mallopt(_TRIM_THRESHOLD, _NEVER)
