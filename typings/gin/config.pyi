# Gin has no annotations, and what is inferred of its decorators is wrong.
from typing import Any

def __getattr__(name: str) -> Any: ...

parse_config_file: Any
