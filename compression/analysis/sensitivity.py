"""How much a network suffers when one layer alone is compressed: each layer at several strengths of a technique.

Predicted for all layers at once from one backward pass, see `compression.analysis.prediction`, or measured.
Measured in worker processes piece by piece, so that other jobs come in between, and kept in the store row by row: a
page can show a map that is partly filled, and what was cancelled goes on where it was.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from compression.analysis.prediction import Predictor
from compression.analysis.probing import Prober, prober
from compression.core.errors import CancelledError, InputError, NotApplicableError
from compression.experiments.code_version import code_version
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.knobs import knobs_of
from compression.recipe import Recipe
from compression.techniques import Technique, get_technique, list_techniques

_MOST_STRENGTHS, _BEND = 5, 1.5
_LAYERS, _PREDICTED = "layers", "predicted"
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Sensitivity:
    """What compressing one layer alone costs and saves.

    Measured on samples of the training split that are not in the calibration sample, or predicted from the calibration
    sample; the test split is not looked at.

    Attributes:
        fqn: The layer.
        technique: Key of the technique.
        knob: Its main knob, which was varied; the others have their defaults.
        value: Value of that knob.
        error: Mean Kullback-Leibler divergence (nats per sample or token) of the network's predictions from the
            uncompressed network's.
        accuracy_drop: Accuracy lost on the same samples, a fraction; below 0 where some was won.
        size_bytes: Packed bytes of this layer at this setting, weighed: its tensors as a packed file holds them,
            without the file's header. What other layers save by it (the readers of removed channels) is not in it.
        macs: Multiply-accumulates of this layer at this setting, counted.
    """

    fqn: str
    technique: str
    knob: str
    value: Any
    error: float
    accuracy_drop: float
    size_bytes: int
    macs: int


def strengths(technique: Technique) -> tuple[Any, ...]:
    """Values of the main knob that are measured, weakest first: at most five of its sweep, the weakest left out.

    They lie closer together where compression is strong, as layers differ there.
    """
    sweep = knobs_of(technique.config_type)[technique.main_knob].sweep
    if len(sweep) <= _MOST_STRENGTHS:
        return sweep
    rest, last = sweep[1:], _MOST_STRENGTHS - 1
    places = (1 - (1 - i / last) ** _BEND for i in range(last + 1))
    return tuple(rest[round(place * (len(rest) - 1))] for place in places)


def layerwise_technique(key: str) -> Technique:
    """A technique that can act on one layer alone.

    Raises:
        InputError: if there is no such technique or it acts on whole models.
    """
    technique = get_technique(key)
    if not technique.by_layer:
        allowed = ", ".join(own.key for own in list_techniques() if own.by_layer)
        raise InputError("technique", key, f"it acts on whole models; allowed: {allowed}")
    return technique


def sensitivity_key(model: str, dataset: str, technique: str) -> str:
    """Key of a sensitivity map in the store, of its job and its rows: model, data, technique, knob and code.

    Raises:
        InputError: if one of them is unknown or unavailable.
    """
    found = layerwise_technique(technique)
    task = load_task(Recipe(model, dataset))
    parts = ("sensitivity", task.model_hash, task.data_hash, technique, found.main_knob, code_version(), _own_code())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]


@lru_cache(maxsize=1)
def _own_code() -> str:
    here = Path(__file__)
    files = (here, here.with_name("probing.py"), here.with_name("prediction.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


@dataclass(frozen=True)
class SensitivityMap:
    """A map as far as it is measured.

    Attributes:
        technique: Key of the technique.
        layers: fqns in the model's order; empty until the first part has been begun.
        strengths: Values of the main knob, weakest first.
        rows: What is measured, by layer and strength in their orders.
        gaps: Layers on which the technique cannot act alone, ``fqn -> why``.
        predicted: Predictions for cells that are not measured, in the same order.
        has_prediction: Whether predictions have been made, whatever they cover.
    """

    technique: str
    layers: tuple[str, ...]
    strengths: tuple[Any, ...]
    rows: tuple[Sensitivity, ...]
    gaps: dict[str, str]
    predicted: tuple[Sensitivity, ...] = ()
    has_prediction: bool = False

    @property
    def known(self) -> tuple[Sensitivity, ...]:
        """Measured cells, and predictions for the others of each layer, by layer and strength in their orders."""
        cells = {(row.fqn, row.value): row for row in (*self.predicted, *self.rows)}
        layers = {fqn: place for place, fqn in enumerate(self.layers)}
        values = {value: place for place, value in enumerate(self.strengths)}
        return tuple(sorted(
            cells.values(),
            key=lambda row: (layers.get(row.fqn, len(layers)), values.get(row.value, len(values))),
        ))

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return self.measured == 1.0

    @property
    def measured(self) -> float:
        """Measured fraction of the map."""
        total = len(self.layers) * len(self.strengths)
        return (len(self.rows) + len(self.gaps) * len(self.strengths)) / total if total else 0.0


def read_map(store: ResultStore, key: str, technique: str) -> SensitivityMap:
    """The map of a key as far as it is measured."""
    found = layerwise_technique(technique)
    parts, values = store.parts(key), strengths(found)
    layers = tuple(parts.get(_LAYERS, {}).get("layers", ()))
    known = {kind: data for kind, data in parts.items() if kind not in (_LAYERS, _PREDICTED)}
    rows = [Sensitivity(**known[_row(fqn, v)]) for fqn in layers for v in values if _row(fqn, v) in known]
    gaps = {fqn: str(known[_gap(fqn)]["reason"]) for fqn in layers if _gap(fqn) in known}
    all_predicted = [Sensitivity(**row) for row in parts.get(_PREDICTED, {}).get("rows", ())]
    measured = {(row.fqn, row.value) for row in rows}
    predicted = [row for row in all_predicted if (row.fqn, row.value) not in measured and row.fqn not in gaps]
    return SensitivityMap(technique, layers, values, tuple(rows), gaps, tuple(predicted), _PREDICTED in parts)


def _row(fqn: str, value: Any) -> str:
    return f"{fqn} at {value}"


def _gap(fqn: str) -> str:
    return f"{fqn} not applicable"


def measure(
    store: ResultStore, key: str, model: str, dataset: str, technique: str, progress: Progress,
    cancelled: Callable[[], bool], part: int = 0, parts: int = 1,
) -> bool:
    """Measure what is still missing of one part of a map, row by row into the store.

    Args:
        store: Where rows are kept and looked for.
        key: `sensitivity_key` of the map.
        model: Name of the model.
        dataset: Name of the dataset.
        technique: Key of the technique.
        progress: Called with the measured fraction of the whole map and the layer at work.
        cancelled: Polled; True stops.
        part: Which part, from 0.
        parts: How many parts the map is divided into.

    Returns:
        Whether the whole map is measured now, other parts included.

    Raises:
        InputError: if model, dataset or technique are unknown or do not fit.
        CancelledError: if `cancelled` became true; what was measured stays.
    """
    found, own = layerwise_technique(technique), prober(model, dataset, store.cache_dir())
    store.put_part(key, _LAYERS, {"layers": own.layers()})
    cells = [(fqn, value) for value in reversed(strengths(found)) for fqn in own.layers()]  # the telling ones first
    for fqn, value in cells[len(cells) * part // parts : len(cells) * (part + 1) // parts]:
        if cancelled():
            raise CancelledError("cancelled")
        progress(read_map(store, key, technique).measured, fqn)
        if store.get_part(key, _row(fqn, value)) is None and store.get_part(key, _gap(fqn)) is None:
            _measure_one(store, key, own, found, fqn, value, cancelled)
    return read_map(store, key, technique).complete


def predict(
    store: ResultStore, key: str, model: str, dataset: str, technique: str, progress: Progress,
    cancelled: Callable[[], bool],
) -> None:
    """Predict a whole map into the store, unless it is there; see `compression.analysis.prediction`.

    Args:
        store: Where predictions are kept.
        key: `sensitivity_key` of the map.
        model: Name of the model.
        dataset: Name of the dataset.
        technique: Key of the technique.
        progress: Called with the predicted fraction and what is predicted.
        cancelled: Polled; True stops and keeps nothing.

    Raises:
        InputError: if model, dataset or technique are unknown or do not fit.
        CancelledError: if `cancelled` became true.
    """
    if store.get_part(key, _PREDICTED) is not None:
        return
    found, own = layerwise_technique(technique), predictor(model, dataset, store.cache_dir())
    store.put_part(key, _LAYERS, {"layers": own.layers()})
    values, rows = strengths(found), dict[tuple[str, Any], Sensitivity]()
    for place, value in enumerate(reversed(values)):
        if cancelled():
            raise CancelledError("cancelled")
        progress(place / len(values), f"predicting {found.title} at {value}")
        try:
            predictions = dict(own.predict(found, value, cancelled))
        except NotApplicableError:
            predictions = {}
        if not predictions and place == 0:
            break  # it changes shapes, or cannot act on this model: nothing of it can be predicted
        for fqn, probed in predictions.items():
            rows[fqn, value] = Sensitivity(fqn, technique, found.main_knob, value, **asdict(probed))
    ordered = [rows[fqn, value] for fqn in own.layers() for value in values if (fqn, value) in rows]
    store.put_part(key, _PREDICTED, {"rows": [asdict(row) for row in ordered]})


@lru_cache(maxsize=1)
def predictor(model: str, dataset: str, cache_dir: Path) -> Predictor:
    """The predictor of a model, kept for the next technique.

    Raises:
        InputError: if model or dataset are unknown or unavailable.
    """
    return Predictor(load_task(Recipe(model, dataset)), cache_dir)


def _measure_one(
    store: ResultStore, key: str, own: Prober, technique: Technique, fqn: str, value: Any,
    cancelled: Callable[[], bool],
) -> None:
    try:
        probed = own.probe(fqn, technique, technique.main_knob, value, cancelled)
    except NotApplicableError as error:
        store.put_part(key, _gap(fqn), {"reason": str(error)})
        return
    row = Sensitivity(fqn, technique.key, technique.main_knob, value, **asdict(probed))
    store.put_part(key, _row(fqn, value), asdict(row))
