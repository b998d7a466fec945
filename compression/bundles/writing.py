"""A result as a bundle: the artifact that was measured, and all that reproduces it."""

import json
from pathlib import Path

import onnx

from compression.analysis.promises import promise_member
from compression.artifact.bundle import write_bundle
from compression.artifact.graph.integers import wide_layers
from compression.bundles.inputs import extra_members, input_spec
from compression.core.errors import InputError
from compression.experiments.artifacts import GRAPH_NAME, PACKED_NAME
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.recipe import recipe_from_dict, recipe_to_yaml
from compression.reports.text import bundle_readme


def export_bundle(store: ResultStore, key: str, path: Path | None = None) -> Path:
    """Write a zip with everything that runs and reproduces a result.

    Args:
        store: Where the result is.
        key: Its key.
        path: File to write; beside the artifact by default.

    Raises:
        InputError: if there is no such result.
    """
    result = store.get_result(key)
    if result is None:
        raise InputError("result", key, "the key of a stored result is needed")
    folder = store.artifact_dir(key)
    recipe = recipe_from_dict(result.recipe)
    task, proto = load_task(recipe), onnx.load(folder / GRAPH_NAME)
    wide = wide_layers(proto)
    spec = input_spec(task, result, proto, wide_weights=bool(wide))
    return write_bundle(
        path or folder / "bundle.zip",
        recipe_yaml=recipe_to_yaml(recipe),
        onnx_path=folder / GRAPH_NAME,
        packed_path=folder / PACKED_NAME,
        result_json=json.dumps({**result.to_dict(), "wide_integer_weights": wide}, indent=1),
        input_spec=spec,
        readme=bundle_readme(result, task.info.title, spec),
        extra={**extra_members(task, result, proto), **promise_member(store, key, task.info.name, recipe.dataset)},
    )
