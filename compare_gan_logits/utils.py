"""Small things that several rooms share."""

import inspect


def call_with_accepted_args(fn, **kwargs):
  """Calls `fn` with those of `kwargs` that its signature takes.

  Gin may bind functions with other arguments to the same place: the
  distributions of z, the batch norms.
  """
  parameters = inspect.signature(fn).parameters
  if not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
    kwargs = {key: value for key, value in kwargs.items() if key in parameters}
  return fn(**kwargs)
