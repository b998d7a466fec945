"""What the Library page says of models, datasets and the disk: entries in, tables and sentences out."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import pandas as pd

from compression.experiments.tasks import problem_of
from compression.library import TASKS, DatasetEntry, DiskUse, Fetchable, Look, ModelEntry
from compression.service import ExperimentResult, format_bytes
from pages.shared.formats import interval_ms, interval_percent, milliseconds, percent, quality_text

Facts = list[tuple[str, str]]


def model_table(entries: Sequence[ModelEntry], titles: Mapping[str, str]) -> pd.DataFrame:
    """One row per model, its name as index.

    Args:
        entries: Models.
        titles: Titles of datasets by name.
    """
    rows = [
        {
            "model": entry.info.title, "installed": entry.here,
            "fp32 %": _accuracy(entry),
            "stated %": _percent(_stated(entry)), "MB": _megabytes(entry.size_bytes, entry.download),
            "latency ms": _figure(entry.baseline, "latency_ms_p50"),
            "parameters": entry.parameters, "dataset": titles.get(entry.info.dataset, entry.info.dataset),
            "task": task_title(entry.info.task), "name": entry.info.name,
        }
        for entry in entries
    ]
    return pd.DataFrame(rows).set_index("name") if rows else pd.DataFrame()


def _accuracy(entry: ModelEntry) -> float | None:
    """Accuracy in percent; None of regressions, whose R2 stands below the table."""
    value = _figure(entry.baseline, "accuracy")
    kind = None if entry.baseline is None else entry.baseline.figures.kind
    return None if value is None or kind is None or not kind.unit else kind.shown(value)


def _figure(result: ExperimentResult | None, name: str) -> float | None:
    """A figure of a result; None while it is preliminary, since a table has no place for its interval."""
    if result is None or result.badges.get(name) == "preliminary":
        return None
    value: float | None = getattr(result.figures, name)
    return value


def dataset_table(entries: Sequence[DatasetEntry], disk: DiskUse | None) -> pd.DataFrame:
    """One row per dataset, its name as index."""
    sizes = {} if disk is None else disk.by_dataset
    rows = [
        {
            "dataset": entry.info.title, "installed": entry.here, "where": entry.place, "test": entry.info.n_test,
            "train": entry.n_train, "classes": entry.info.num_classes,
            "MB": _megabytes(sizes.get(entry.info.name) if entry.here else None, entry.download),
            "task": task_title(entry.info.task), "name": entry.info.name,
        }
        for entry in entries
    ]
    return pd.DataFrame(rows).set_index("name") if rows else pd.DataFrame()


def task_title(task: str) -> str:
    """Name of a task for people."""
    return TASKS.get(task, task.replace("_", " ").capitalize())


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _megabytes(size: int | None, download: Fetchable | None) -> float | None:
    known = size or (None if download is None else download.about_bytes)
    return None if known is None else known / 1e6


def _stated(entry: ModelEntry) -> float | None:
    return entry.card.get("accuracy", entry.published_accuracy)


def model_facts(entry: ModelEntry, titles: Mapping[str, str]) -> Facts:
    """Whose a model is and what is known of it, in words."""
    license_ = entry.info.license if entry.origin is None else entry.origin.license
    facts = [("Weights", whose(entry)), ("Licence", license_)]
    count = "being counted" if entry.parameters is None else f"{entry.parameters:,}"
    facts.append(("Parameters", count))
    if entry.size_bytes is not None:
        facts.append(("On disk", format_bytes(entry.size_bytes)))
    if entry.download is not None and not entry.here:
        facts.append(("Download", download_text(entry.download)))
    facts.append((f"Stated {problem_of(entry.info.task).quality.word}", stated_text(entry)))
    for dataset in entry.datasets:
        result = entry.baselines.get(dataset)
        if result is not None:
            facts += [(f"Measured here on {titles.get(dataset, dataset)}", measured_text(entry, result))]
    if entry.baseline is not None and entry.baseline.figures.latency_ms_p50 is not None:
        own = entry.baseline.figures
        threads = entry.baseline.recipe.get("runtime", {}).get("threads", 1)
        on = "one thread" if threads == 1 else f"{threads} threads"
        facts.append(("Latency", f"{milliseconds(own.latency_ms_p50)}, {on} of ONNX Runtime; {interval_ms(own)}"))
    return facts


def whose(entry: ModelEntry) -> str:
    """Where a model's weights come from."""
    origin = entry.origin
    if origin is None:
        by = entry.download.source if entry.download is not None else entry.info.source
        return f"not here; they are by {by}" if "project" not in by else f"not here; `{_training(entry)}` makes them"
    if origin.ours:
        when = f" on {entry.card['date']}" if "date" in entry.card else ""
        return f"trained by this project{when}: `{entry.card.get('command', _training(entry))}`"
    came = f", downloaded on {entry.download.date}" if entry.download is not None and entry.download.date else ""
    return f"by {origin.source}, not by this project{came}"


def _training(entry: ModelEntry) -> str:
    return f"python -m models.train {entry.info.name}"


def stated_text(entry: ModelEntry) -> str:
    """What those who made the weights say of them."""
    if "accuracy" in entry.card:
        return f"{percent(entry.card['accuracy'], 2)} when it was trained"
    where = f" on {entry.published_on}" if entry.published_on else ""
    if entry.published_accuracy is not None:
        return f"{percent(entry.published_accuracy, 2)}{where}, by those who made them"
    if entry.here and entry.info.release is not None:
        theirs = percent(entry.info.release.accuracy, 2)
        return f"none for this file; {theirs}{where} for the one that can be downloaded"
    return "none"


def measured_text(entry: ModelEntry, result: ExperimentResult) -> str:
    """Accuracy of the untouched model on this machine beside the stated one."""
    figures = result.figures
    text = f"**{quality_text(figures, figures.kind.digits + 1)}**, {interval_percent(figures)}"
    if figures.mean_absolute_error is not None:
        text += f"; mean absolute error {figures.mean_absolute_error:.3g}"
    if figures.bits_per_character is not None:
        text += f"; {figures.bits_per_character:.3f} bits per character"
    if result.stage != "full":
        text += f"; preliminary, {result.samples}" if result.samples else "; preliminary"
    return f"{text}{_against(entry, result)} ({result.created[:10]})"


def _against(entry: ModelEntry, result: ExperimentResult) -> str:
    stated = _stated(entry)
    if stated is None or result.badges.get("accuracy") == "preliminary":
        return ""
    if entry.published_on or result.recipe["dataset"] != entry.info.dataset:
        return "; on other data than the stated one, so the two are not to be compared"
    figures = result.figures
    within = figures.accuracy_low <= stated <= figures.accuracy_high
    return "; the stated one lies within" if within else "; **the stated one lies outside of that**"


def download_text(download: Fetchable) -> str:
    """Size and home of a download, said before it is begun."""
    home = urlsplit(download.url).hostname
    if download.about_bytes is None:
        return f"of unknown size, from {home}"
    about = "about " if download.estimated else ""
    return f"{about}{format_bytes(download.about_bytes)} from {home}; checked by its digest"


def dataset_facts(entry: DatasetEntry, disk: DiskUse | None, look: Look | None) -> Facts:
    """Whose a dataset is and what is in it, in words; as its record says, or as was found by looking."""
    info = entry.info
    n_test, n_train = (info.n_test, info.n_train) if look is None else (look.n_test, look.n_train)
    shape = " x ".join(str(length) for length in info.input_shape)
    facts = [
        ("Task", task_title(info.task)), ("Source", info.source), ("Licence", info.license),
        ("Samples", f"{n_test:,} are scored, {n_train:,} for calibration and training"),
        ("Classes" if info.task != "language_modeling" else "Characters", f"{info.num_classes:,}"),
        ("One sample", f"{shape}, resized as each model wants it" if info.resized else shape),
    ]
    if not entry.here:
        if entry.download is None:
            needs = " or ".join(f"`{need}`" for need in info.needs)
            return [*facts, ("To get it", f"put {needs} into a data folder (below) or into COMPRESSION_DATA")]
        return [*facts, ("Download", download_text(entry.download))]
    if entry.partial and entry.download is not None:
        facts.append(("Full dataset", f"{info.n_train:,} training samples: {download_text(entry.download)}"))
    size = 0 if disk is None else disk.by_dataset.get(info.name, 0)
    return [*facts, ("Where", entry.place + (f", {format_bytes(size)} on disk" if size else ""))]


def facts_text(facts: Facts) -> str:
    """Facts as Markdown, a line each."""
    return "  \n".join(f"**{name}:** {text}" for name, text in facts)


def disk_rows(disk: DiskUse) -> list[tuple[str, str, int, str]]:
    """Kind (empty where it is not cleared as a whole), name, bytes and a remark for each use of the disk."""
    return [
        ("", "Bundled weights", disk.shipped, "part of the project"),
        ("", "Downloaded weights", disk.weights, "removed one by one above"),
        ("", "Downloaded datasets", disk.data, "removed one by one above"),
        ("", "User models", disk.own_models, "removed one by one above"),
        ("", "User datasets", disk.own_data, "removed one by one above"),
        ("", "Unfinished downloads", disk.unfinished, "the next download continues from there"),
        ("decoded", "Decoded images", disk.decoded, "made again when photographs are scored"),
        ("statistics", "Statistics and graphs", disk.statistics, "computed again when a technique needs them"),
        ("results", "Results and their files", disk.results, "all measured points; to be measured again"),
    ]
