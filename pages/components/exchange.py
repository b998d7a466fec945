"""Recipes and bundles in and out of the page."""

import io
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from compression.experiments import (
    ExperimentResult,
    InputError,
    Recipe,
    Technique,
    recipe_from_dict,
    recipe_from_yaml,
    recipe_to_yaml,
)
from pages.components.state import in_suggested_order, widget_values

if TYPE_CHECKING:
    from compression.experiments import Service

logger = logging.getLogger(__name__)
_LARGEST_RECIPE = 1_000_000
_MESSAGE = "import-message"


def show_downloads(service: "Service", result: ExperimentResult) -> None:
    """Buttons that export a result: the bundle and the recipe alone.

    The bundle's bytes are given, not a function that makes them: Streamlit forgets such a function at the next
    redraw, and this page is redrawn while points are measured.
    """
    name = f"{result.recipe['model']}-{result.key[:8]}"
    with st.container(horizontal=True):
        st.download_button(
            "Bundle (.zip)", service.bundle(result.key).read_bytes(), f"{name}.zip", "application/zip", key="bundle",
            icon=":material/download:", on_click="ignore",
            help="recipe, ONNX model, packed weights, result and a run.py that needs only onnxruntime and numpy",
        )
        recipe = recipe_to_yaml(recipe_from_dict(result.recipe))
        st.download_button(
            "recipe.yaml", recipe, f"{name}.yaml", "application/yaml", key="recipe", icon=":material/description:",
            on_click="ignore", help="for python -m compression run, or to import it here again",
        )


def address_values(values: Mapping[str, object]) -> dict[str, str]:
    """Widget values as they stand in the address of Explore; those of techniques that are off are left out."""

    def shown(key: str) -> bool:
        technique, dot, _ = key.partition(".")
        return bool(values.get(technique)) if dot else values[key] not in (False, "")

    return {key: _in_address(value) for key, value in values.items() if shown(key)}


def _in_address(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_recipe(content: bytes) -> Recipe:
    """A recipe from a YAML or JSON file, or from a bundle.

    Raises:
        InputError: if it is none.
    """
    if zipfile.is_zipfile(io.BytesIO(content)):
        content = _from_bundle(content)
    if len(content) > _LARGEST_RECIPE:
        raise InputError("file", f"{len(content):,} bytes", "a recipe of less than 1 MB is needed")
    return recipe_from_yaml(content)


def _from_bundle(content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle, bundle.open("recipe.yaml") as member:
            return member.read(_LARGEST_RECIPE + 1)
    except (KeyError, zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        raise InputError("bundle", "zip file", "a bundle with a readable recipe.yaml is needed") from None


def show_import(
    models: Sequence[str], techniques: Sequence[Technique], use: Callable[[Mapping[str, object]], None] | None = None
) -> None:
    """A field that takes a recipe or a bundle and sets the sliders.

    Args:
        models: Models that the sliders can be set to.
        techniques: All techniques.
        use: What is done with the widgets' values; by default they are set on this page.
    """

    def take() -> None:
        upload = st.session_state.get("import")
        if upload is None:
            st.session_state.pop(_MESSAGE, None)
            return
        try:
            recipe = read_recipe(upload.getvalue())
            values = widget_values(recipe, models, techniques)
        except InputError as error:
            st.session_state[_MESSAGE] = ("error", f"{upload.name}: {error}")
            return
        (use or apply)(values)
        moved = recipe.steps != in_suggested_order(recipe.steps, techniques)
        told = " Its steps were put in the suggested order." if moved else ""
        st.session_state[_MESSAGE] = ("success", f"{upload.name} was put into the sliders.{told}")

    st.file_uploader(
        "Import a recipe or bundle", type=["yaml", "yml", "json", "zip"], key="import", on_change=take,
        max_upload_size=128,
        help="Sets the sliders to a recipe.yaml or to an exported bundle.",
    )
    kind, text = st.session_state.get(_MESSAGE, ("", ""))
    if text:
        (st.error if kind == "error" else st.success)(text)


def apply(values: Mapping[str, object]) -> None:
    """Make the widgets show other values; called by callbacks, that is before the page is drawn.

    Widgets on the page take their new value to the address themselves. One that will be drawn for the first time
    does not, so its value is put there for it.
    """
    for key, value in values.items():
        technique, dot, _ = key.partition(".")
        if dot and values.get(technique) and not st.session_state.get(technique):
            st.query_params[key] = _in_address(value)
    st.session_state.update(values)
