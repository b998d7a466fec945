"""A laboratory without workers: made-up outcomes that are there at once, or when a test says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compression.analysis.promise import Promise
from compression.core.errors import InputError
from compression.experiments.results import ExperimentResult, Figures, LayerRecord
from compression.recipe import Recipe, recipe_hash, recipe_to_dict
from compression.search.laboratory import Failure, Sensitivities
from compression.search.outcomes import Outcome

BASELINE = Outcome("baseline", 1.0, 0.98, 1.0, 200, 1_000_000, 1.0, 1.0, 1.0, 1.0)
LAYERS = ("conv1", "block.conv", "linear")
BITS = (8, 4, 2)


@dataclass(frozen=True)
class Row:
    """A sensitivity."""

    fqn: str
    value: Any
    error: float
    accuracy_drop: float
    size_bytes: int


def sensitivity_rows() -> list[Row]:
    """Quantization of three layers, of which the last minds few bits the most."""
    return [
        Row(fqn, bits, (place + 1) / bits**2, 0.002 * (place + 1) * (8 - bits), bits * 25_000)
        for place, fqn in enumerate(LAYERS) for bits in BITS
    ]


def made_up(recipe: Recipe) -> Outcome:
    """The stronger the settings, the smaller, faster and less accurate."""
    key, size, drop, speed = recipe_hash(recipe), 1.0, 0.0, 1.0
    for step in recipe.steps:
        if step.technique == "quantization":
            size *= step.config.weight_bits / 32
            drop += 0.2 / step.config.weight_bits**2
            speed *= 2.0 if step.config.activation_bits == 8 else 1.0
        elif step.technique == "channel_pruning":
            size *= 1 - step.config.pruning_ratio
            drop += 0.3 * step.config.pruning_ratio**3
            speed /= 1 - 0.9 * step.config.pruning_ratio
    accuracy = max(0.0, 1.0 - drop)
    return replace(
        BASELINE, key=key, accuracy=accuracy, accuracy_low=max(0.0, accuracy - 0.02),
        accuracy_high=min(1.0, accuracy + 0.02), size_bytes=round(1_000_000 * size), latency_ms=1 / speed,
        speedup=speed, speedup_low=speed, speedup_high=speed,
    )


def synthetic_result(recipe: Recipe, stage: str = "full") -> ExperimentResult:
    """A result of the same made-up numbers."""
    own = made_up(recipe)
    figures = Figures(
        own.accuracy, own.accuracy_low, own.accuracy_high, 200, own.size_bytes, own.size_bytes, 10, 10, 10,
        latency_ms_p50=own.latency_ms, speedup=own.speedup,
    )
    layers = tuple(LayerRecord(fqn, "Conv2d", (8, 8), 300_000, 10, 0.0, "float32", "float32") for fqn in LAYERS)
    return ExperimentResult(
        own.key, recipe_to_dict(recipe), figures, figures, {}, layers=layers, stage=stage,  # type: ignore[arg-type]
    )


@dataclass
class FakeLaboratory:
    """Outcomes of `made_up`.

    Attributes:
        open: Whether outcomes are handed out; a test may hold them back.
        fails: Recipes with a step of this technique fail.
        flattered: Recipes with a step of this technique look twice as fast until they are measured in full.
        slowed: Whether recipes look slower than they are until they are measured in full.
        measured: Fraction of the sensitivities that is known.
        test_split: Samples of the test split; 0 where promises cannot be made.
    """

    open: bool = True
    fails: str = ""
    flattered: str = ""
    slowed: bool = False
    measured: float = 1.0
    test_split: int = 0
    recipes: dict[str, Recipe] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    refinements: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def check(self, model: str, dataset: str) -> None:
        if model == "nothing":
            raise InputError("model", model, "another is needed")

    def submit(self, recipe: Recipe) -> str:
        key = recipe_hash(recipe)
        self.recipes[key] = recipe
        self.submitted.append(key)
        return key

    def outcome(self, key: str) -> Outcome | Failure | None:
        recipe = self.recipes[key]
        if not self.open and recipe.steps:
            return None
        if self.fails and any(step.technique == self.fails for step in recipe.steps):
            return Failure("it cannot act on this model")
        if key not in self.refinements and self.slowed and recipe.steps:
            return replace(made_up(recipe), speedup=made_up(recipe).speedup / 1.3)
        if key not in self.refinements and any(step.technique == self.flattered for step in recipe.steps):
            return replace(made_up(recipe), speedup=2 * made_up(recipe).speedup)
        return made_up(recipe)

    def refine(self, recipe: Recipe) -> str:
        key = recipe_hash(recipe)
        self.recipes[key] = recipe
        self.refinements.append(key)
        return key

    def refined(self, key: str) -> bool:
        return key in self.refinements

    def cancel(self, keys: Iterable[str]) -> None:
        self.cancelled += keys

    def result(self, key: str) -> ExperimentResult | None:
        recipe = self.recipes.get(key)
        return None if recipe is None else synthetic_result(recipe)

    def current(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        known = {recipe_hash(self.recipes[key]): made_up(self.recipes[key]) for key in self.refinements}
        return [known.get(own.key, own) for own in outcomes]

    def promise(self, key: str, baseline: str, limit: float) -> Promise | None:
        del baseline
        if not self.test_split or key not in self.refinements:
            return None
        drop = 100 * (BASELINE.accuracy - made_up(self.recipes[key]).accuracy)
        return Promise(limit, drop, drop + 0.2, self.test_split // 2, self.test_split)

    def test_samples(self, model: str, dataset: str) -> int:
        del model, dataset
        return self.test_split

    def sensitivities(self, model: str, dataset: str, technique: str) -> Sensitivities:
        return Sensitivities(sensitivity_rows() if technique == "quantization" else [], self.measured)
