"""``library`` and ``download --remove`` on the command line."""

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from compression.core.paths import home
from compression.experiments.store import ResultStore
from compression.library.catalogue import find_download, remove_download
from compression.library.disk import measure_disk
from compression.library.entries import DatasetEntry, ModelEntry, dataset_entries, model_entries
from compression.library.folder import choose_folder
from compression.reports.text import format_bytes, text_table
from models import registry
from models.parameters import count_parameters, known_parameters
from models.sources.locations import chosen_data_folder

_DISK = (
    "shipped", "weights", "data", "own_models", "own_data", "unfinished", "decoded", "statistics", "results", "free",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of ``library``."""
    parser.add_argument(
        "--data-folder", metavar="FOLDER", help="have data looked for in this folder, too; '' drops the choice"
    )


def show_library(options: Namespace) -> int:
    """``library``: what is at hand, whose it is, what was measured of it, and what it takes on the disk."""
    if options.data_folder is not None:
        choose_folder(options.data_folder)
    store, chosen = ResultStore(options.store or home()), chosen_data_folder()
    disk = measure_disk(store)
    models = [_model(own) for own in model_entries(store.baselines(), _parameters)]
    data = [_dataset(own, disk.by_dataset[own.info.name]) for own in dataset_entries()]
    used = {name: getattr(disk, name) for name in _DISK}
    if options.json:
        folder = None if chosen is None else str(chosen)
        _print(json.dumps({"models": models, "datasets": data, "disk": used, "data_folder": folder}))
        return 0
    _print(_table(models, ("name", "here", "bytes", "parameters", "accuracy", "stated_accuracy", "source")) + "\n")
    _print(_table(data, ("name", "here", "bytes", "place", "source")) + "\n")
    _print(text_table(("disk", "used"), [(name, format_bytes(size)) for name, size in used.items()]))
    if chosen is not None:
        _print(f"\nData are looked for below {chosen}, too.")
    return 0


def _parameters(name: str) -> int | None:
    """Counted only of what is here: the first build of a model takes seconds."""
    known = known_parameters(name)
    return count_parameters(name) if known is None and registry.has_weights(name) else known


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _table(records: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    return text_table(columns, [tuple(_shown(name, record[name]) for name in columns) for record in records])


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "bytes":
        return format_bytes(value)
    if "accuracy" in name:
        return f"{100 * value:.2f} %"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _model(entry: ModelEntry) -> dict[str, Any]:
    """Bytes on the disk, or to download of what is not here."""
    origin, figures = entry.origin, None if entry.baseline is None else entry.baseline.figures
    return {
        "name": entry.info.name, "task": entry.info.task, "dataset": entry.info.dataset, "here": entry.here,
        "bytes": entry.size_bytes or (None if entry.download is None else entry.download.about_bytes),
        "parameters": entry.parameters, "source": entry.info.source if origin is None else origin.source,
        "license": entry.info.license if origin is None else origin.license,
        "trained_here": origin is not None and origin.ours,
        "command": entry.card.get("command"), "date": entry.card.get("date"),
        "stated_accuracy": entry.card.get("accuracy", entry.published_accuracy),
        "accuracy": None if figures is None else figures.accuracy,
        "accuracy_low": None if figures is None else figures.accuracy_low,
        "accuracy_high": None if figures is None else figures.accuracy_high,
        "n_samples": None if figures is None else figures.n_samples,
        "latency_ms_p50": None if figures is None else figures.latency_ms_p50,
        "downloaded": None if entry.download is None else entry.download.date,
    }


def _dataset(entry: DatasetEntry, size: int) -> dict[str, Any]:
    info = entry.info
    return {
        "name": info.name, "task": info.task, "here": entry.here, "place": entry.place or None,
        "bytes": size or (None if entry.download is None or entry.here else entry.download.about_bytes),
        "source": info.source, "license": info.license, "num_classes": info.num_classes, "n_train": entry.n_train,
        "n_test": info.n_test, "downloaded": None if entry.download is None else entry.download.date,
    }


def remove(options: Namespace) -> int:
    """``download NAME --remove``: delete what was downloaded of a model or dataset."""
    freed = remove_download(find_download(options.name))
    sys.stderr.write(f"{options.name}: {format_bytes(freed)} were freed\n")
    if options.json:
        _print(json.dumps({"name": options.name, "freed_bytes": freed}))
    return 0
