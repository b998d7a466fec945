"""Smaller architectures that may learn from a model."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from models import registry
from models.info import ModelInfo
from models.parameters import count_of
from models.preparing import bake
from models.user import kept_models
from models.user.builders import with_classes


def students_of(name: str) -> Mapping[str, registry.Factory]:
    """Smaller architectures that may learn from a model: ``name -> factory``, the weights untrained.

    Its own variants, and the models of the same task, input and classes with fewer parameters.

    Raises:
        ModelError: if there is no such model.
    """
    return _students_of(name, kept_models.SHELF.signature())


@lru_cache(maxsize=64)
def _students_of(name: str, own_models: tuple[tuple[str, int], ...]) -> Mapping[str, registry.Factory]:
    """Kept until a user adds or removes a model."""
    del own_models
    info, factory = registry.entry(name)
    own, size = _variants(info), count_of(info, factory)
    others = {i.name: (i, f) for i, f in registry.entries().values() if _sees_the_same(i, info) and i.name != name}
    found = own | {n: f for n, (i, f) in others.items() if n not in own and count_of(i, f) < size}
    return MappingProxyType({n: _baked(f) for n, f in found.items()})


def _baked(factory: registry.Factory) -> registry.Factory:
    """A factory of networks whose weights are all plain."""
    return lambda: bake(factory())


def _variants(info: ModelInfo) -> dict[str, registry.Factory]:
    """Smaller variants of an architecture, for a user's model with as many classes as that has."""
    if info.architecture is None:
        return registry.variants(info.name)
    usual = registry.registered(info.architecture)
    if usual is None or usual.input_shape != info.input_shape:
        return {}
    own = registry.variants(info.architecture)
    return {name: _with_classes(usual, factory, info) for name, factory in own.items()}


def _with_classes(usual: ModelInfo, factory: registry.Factory, info: ModelInfo) -> registry.Factory:
    return lambda: with_classes(factory(), usual, info.num_classes)


def _sees_the_same(one: ModelInfo, other: ModelInfo) -> bool:
    names = ("task", "dataset", "input_shape", "input_dtype", "num_classes")
    return all(getattr(one, name) == getattr(other, name) for name in names)
