"""What each command of the command line does."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import yaml

from compression.analysis.other_runtimes import measure_in
from compression.analysis.runtime_records import read_record, runtime_info
from compression.analysis.sensitivity import Sensitivity, SensitivityMap, measure, read_map, sensitivity_key
from compression.bundles.verification import verify_bundle
from compression.bundles.writing import export_bundle
from compression.cli.library import remove
from compression.core.errors import InputError
from compression.core.paths import home
from compression.core.progress_bar import progress_bar as _bar
from compression.experiments.graphs import export_graphs
from compression.experiments.results import ExperimentResult
from compression.experiments.scoring_data import dataset_for
from compression.experiments.stages import key_of, run_experiment
from compression.experiments.store import ResultStore
from compression.experiments.tasks import problem_named
from compression.knobs import knobs_of
from compression.library.catalogue import find_download, is_here, run_download
from compression.library.models_file import beside
from compression.recipe import Recipe, recipe_from_yaml, recipe_to_dict
from compression.reports import model_card, report_html, subject_of
from compression.reports.tables import runtime_rows
from compression.reports.text import figure_rows, format_accuracy, format_bytes, format_latency, text_table
from compression.service.sweep import vary
from compression.techniques import list_techniques
from models import datasets, registry

_TECHNIQUE_FIELDS = (
    "key", "title", "family", "paper", "paper_url", "main_knob", "summary", "smaller", "faster", "formula", "symbols",
)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _print_json(data: object) -> None:
    _print(json.dumps(data, default=str))


def _show(options: Namespace, records: list[dict[str, Any]], columns: tuple[str, ...], name: str) -> int:
    if options.json:
        _print_json({name: records})
    else:
        _print(text_table(columns, [tuple(str(r[c]) for c in columns) for r in records]))
    return 0


def show_models(options: Namespace) -> int:
    """``models``: what can be chosen."""
    records = [{**asdict(info), "here": is_here(info.name)} for info in registry.list_models()]
    return _show(options, records, ("name", "task", "dataset", "family", "here", "title"), "models")


def show_datasets(options: Namespace) -> int:
    """``datasets``: what can be scored on."""
    records = [{**asdict(info), "here": is_here(info.name)} for info in datasets.list_datasets()]
    return _show(options, records, ("name", "task", "num_classes", "n_train", "n_test", "here", "title"), "datasets")


def download(options: Namespace) -> int:
    """``download``: fetch weights or a dataset from its public home; the size is said first. Or remove it."""
    if options.remove:
        return remove(options)
    found = find_download(options.name)
    size: int | None = 0
    if found.is_here():
        sys.stderr.write(f"{options.name} is here already\n")
    else:
        size = found.size_bytes()
        shown = "of unknown size" if size is None else format_bytes(size)
        sys.stderr.write(f"{options.name}: {shown}, by {found.source}, {found.license}; {found.files[0].url}\n")
        with _bar(options.name) as progress:
            run_download(found, progress)
    if options.json:
        _print_json({"name": options.name, "downloaded_bytes": size})
    return 0


def show_techniques(options: Namespace) -> int:
    """``techniques``: what can be applied, with every knob."""
    records = []
    for technique in list_techniques():
        knobs = {}
        for name, spec in knobs_of(technique.config_type).items():
            default = next(f.default for f in fields(technique.config_type) if f.name == name)
            knobs[name] = {**asdict(spec), "default": default}
        shown = {k: getattr(technique, k) for k in _TECHNIQUE_FIELDS}
        records.append({**shown, "needs": sorted(technique.needs), "knobs": knobs})
    return _show(options, records, ("key", "family", "main_knob", "paper", "title"), "techniques")


def export_shipped_graphs(options: Namespace) -> int:
    """``graphs``: export the graphs that the project ships."""
    files = [{"model": model, "file": path.name} for model, path in export_graphs().items()]
    return _show(options, files, ("model", "file"), "graphs")


def _read_recipe(path: Path) -> Recipe:
    try:
        return beside(path, recipe_from_yaml(path.read_bytes()))
    except OSError as error:
        raise InputError("recipe", str(path), f"a readable file is needed ({error.strerror})") from None


def _asked_recipe(options: Namespace) -> Recipe:
    """The recipe of a file, on another dataset where the command says so."""
    recipe = _read_recipe(options.recipe)
    if options.dataset is None:
        return recipe
    described = not isinstance(recipe.model, str)  # it is checked when the model is known
    return replace(recipe, dataset=options.dataset if described else dataset_for(str(recipe.model), options.dataset))


def _store(options: Namespace) -> ResultStore:
    return ResultStore(options.store or home())


def _measure(recipe: Recipe, store: ResultStore, quick: bool, label: str) -> ExperimentResult:
    key_of(recipe)  # a wrong model or dataset is told before a progress bar appears
    with _bar(label) as progress:
        return run_experiment(recipe, store, quick=quick, progress=progress)


def run_recipe(options: Namespace) -> int:
    """``run``: measure one recipe and perhaps write its bundle."""
    recipe, store = _asked_recipe(options), _store(options)
    result = _measure(recipe, store, options.quick, options.recipe.name)
    if options.out is not None:
        export_bundle(store, result.key, options.out)
    if options.json:
        _print_json(result.flat())
        return 0
    _print(text_table(("figure", "this model", "uncompressed", "badge"), figure_rows(result)))
    for line in (*result.explanation, *result.notes):
        _print(f"- {line}")
    return 0


def _parse_vary(text: str) -> tuple[str, str, list[Any]]:
    target, _, listed = text.partition("=")
    technique, _, knob = target.partition(".")
    if not (technique and knob and listed):
        raise InputError("--vary", text, "the form technique.field=a,b,c is needed")
    try:
        return technique, knob, [yaml.safe_load(value) for value in listed.split(",")]
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError("--vary", text, "plain values between the commas are needed") from None


def run_sweep(options: Namespace) -> int:
    """``sweep``: measure a recipe at several values of one knob."""
    recipe, store = _asked_recipe(options), _store(options)
    technique, knob, values = _parse_vary(options.vary)
    recipes = vary(recipe, technique, knob, values)
    results = [
        _measure(own, store, options.quick, f"{knob}={value}") for own, value in zip(recipes, values, strict=True)
    ]
    results = [store.get_result(own.key) or own for own in results]  # all on the clock as it is after the last timing
    if options.json:
        _print_json({"vary": f"{technique}.{knob}", "values": values, "results": [r.flat() for r in results]})
        return 0
    rows = [
        (str(v), format_accuracy(r.figures), format_bytes(r.figures.size_bytes), format_latency(r.figures))
        for v, r in zip(values, results, strict=True)
    ]
    quality = results[0].figures.kind.word if results else "accuracy"
    _print(text_table((knob, quality, "packed", "latency"), rows))
    return 0


def show_sensitivity(options: Namespace) -> int:
    """``sensitivity``: compress each layer alone at several strengths and compare predictions."""
    model, store = options.model, _store(options)
    dataset = dataset_for(model, options.dataset)
    wanted = [options.technique] if options.technique else [own.key for own in list_techniques() if own.by_layer]
    maps = [_sensitivity_map(store, model, dataset, technique) for technique in wanted]
    if options.json:
        drop = f"{problem_named(model).quality.key}_drop"
        found = [asdict(row) for own in maps for row in own.rows]
        rows = [{drop if name == "accuracy_drop" else name: v for name, v in row.items()} for row in found]
        gaps = {own.technique: own.gaps for own in maps if own.gaps}
        _print_json({"model": model, "dataset": dataset, "sensitivities": rows, "not_applicable": gaps})
        return 0
    for own in maps:
        cells = {(row.fqn, row.value): row for row in own.rows}
        lines = [(fqn, *(_cell(cells.get((fqn, value))) for value in own.strengths)) for fqn in own.layers]
        _print(text_table((own.technique, *map(str, own.strengths)), lines) + "\n")
    _print(f"{problem_named(model).divergence_title} when a layer alone is compressed; packed size of that layer.")
    return 0


def _cell(row: Sensitivity | None) -> str:
    return "-" if row is None else f"{row.error:.2g}, {format_bytes(row.size_bytes)}"


def _sensitivity_map(store: ResultStore, model: str, dataset: str, technique: str) -> SensitivityMap:
    key = sensitivity_key(model, dataset, technique)
    with _bar(technique) as progress:
        measure(store, key, model, dataset, technique, progress, bool)
    return read_map(store, key, technique)


def verify(options: Namespace) -> int:
    """``verify``: replay a bundle; exit code 1 when a number does not agree."""
    result, checks = verify_bundle(options.bundle)
    passed = all(check.passed for check in checks)
    if options.json:
        recipe = recipe_to_dict(recipe_from_yaml(json.dumps(result.recipe)))
        _print_json({"passed": passed, "checks": [asdict(c) for c in checks], "recipe": recipe})
    else:
        rows = [(c.name, c.stated, c.found, "ok" if c.passed else "DIFFERS") for c in checks]
        notes = [c.note for c in checks if c.note]
        _print("\n".join([text_table(("check", "bundle says", "found", ""), rows), *notes]))
    return 0 if passed else 1


def export_result(options: Namespace) -> int:
    """``export``: write what a stored or measured result is taken away as."""
    wanted = {name: getattr(options, name) for name in ("bundle", "report", "card", "model") if getattr(options, name)}
    runtime, store = runtime_info(options.runtime), _store(options)
    if not wanted and runtime.key == "onnxruntime":
        raise InputError("export", options.result, "one of --bundle, --report, --card, --model, --runtime is needed")
    result = _stored_or_measured(options.result, store)
    if runtime.key != "onnxruntime" and read_record(store, result.key, runtime.key) is None:
        with _bar(runtime.title) as progress:
            measure_in(store, result.key, runtime.key, progress)
    subject = subject_of(store, result.key)
    for name, path in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "bundle":
            export_bundle(store, result.key, path)
        elif name == "model":
            path.write_bytes((store.artifact_dir(result.key) / runtime.file_name).read_bytes())
        else:
            path.write_text((report_html if name == "report" else model_card)(subject), encoding="utf-8")
    header, rows = runtime_rows(subject)
    if options.json:
        runtimes = [asdict(record) for record in subject.records]
        written = {name: str(path) for name, path in wanted.items()}
        _print_json({**result.flat(), "runtimes": runtimes, "written": written})
    else:
        _print(text_table(header, rows))
        for name, path in wanted.items():
            _print(f"{name}: {path}")
    return 0


def _stored_or_measured(text: str, store: ResultStore) -> ExperimentResult:
    """The result of a key, or of a recipe file, which is measured where it has not been yet."""
    stored = store.get_result(text)
    if stored is not None:
        return stored
    path = Path(text)
    if not path.is_file():
        raise InputError("result", text, "the key of a stored result, or a recipe file, is needed")
    return _measure(_read_recipe(path), store, False, path.name)
