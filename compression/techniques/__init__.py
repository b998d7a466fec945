"""One file per technique: a config dataclass and a function ``(model, config, context) -> model``."""

from importlib import import_module
from pkgutil import iter_modules

from compression.techniques.registry import Technique, get_technique, list_techniques

__all__ = ["Technique", "get_technique", "list_techniques"]

for _module in iter_modules(__path__):
    if _module.name != "registry":
        import_module(f"{__name__}.{_module.name}")
