"""Recipes and bundles in and out of the page."""

import io
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from compression.service import (
    ExperimentResult,
    InputError,
    Recipe,
    Technique,
    recipe_from_dict,
    recipe_from_yaml,
    recipe_to_yaml,
)
from pages.shared.formats import file_stem
from pages.shared.url.changes import ask
from pages.shared.url.state import in_address, widget_values

if TYPE_CHECKING:
    from compression.service import Service

logger = logging.getLogger(__name__)
Values = Mapping[str, object]
_LARGEST_RECIPE = 1_000_000
_FILE, _TAKEN = "import", "import-taken"


def show_downloads(service: "Service", result: ExperimentResult) -> Callable[[], None]:
    """Draw the buttons that export a result, for a row of them: the bundle and the recipe alone.

    They are drawn before what describes the result: whoever reads a description has its files. A bundle that is not
    packed yet has a disabled button until then, so that what was shown before cannot be taken for it. The keys hold the
    result's: a button of another result is replaced and not changed.

    Returns:
        What packs the bundle and enables its button; called once the description is drawn.
    """
    place, packed = st.empty(), service.has_bundle(result.key)
    if packed:
        _bundle_button(place, service, result)
    else:
        _bundle_button(place, None, result)
    recipe = recipe_to_yaml(recipe_from_dict(result.recipe))
    st.download_button(
        "recipe.yaml", recipe, f"{file_stem(result)}.yaml", "application/yaml", key=f"recipe-{result.key}",
        icon=":material/description:", on_click="ignore",
        help="for python -m compression run, or to import it here again",
    )
    return (lambda: None) if packed else partial(_bundle_button, place, service, result)


def _bundle_button(place: DeltaGenerator, service: "Service | None", result: ExperimentResult) -> None:
    """The bundle's button; disabled without a service to pack it.

    The bytes are given, not a function that makes them: Streamlit forgets such a function at the next redraw, and this
    page is redrawn while points are measured.
    """
    content = b"" if service is None else service.bundle(result.key).read_bytes()
    place.download_button(
        "Bundle (.zip)", content, f"{file_stem(result)}.zip", "application/zip", disabled=service is None,
        key=f"{'packing' if service is None else 'bundle'}-{result.key}", icon=":material/download:", on_click="ignore",
        help="recipe, ONNX model, packed weights, result and a run.py that needs only onnxruntime and numpy",
    )


def address_values(values: Mapping[str, object]) -> dict[str, str]:
    """Widget values as they stand in the address of Explore; those of techniques that are off are left out."""

    def shown(key: str) -> bool:
        technique, dot, _ = key.partition(".")
        return bool(values.get(technique)) if dot else values[key] not in (False, "")

    return {key: in_address(value) for key, value in values.items() if shown(key)}


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


def take_import(
    models: Sequence[str], techniques: Sequence[Technique], use: Callable[[Values, str], None] | None = None
) -> None:
    """Set the sliders to a file that was just given; called before any widget is drawn.

    Not a callback of the field: the browser also reports the file with the timed redraw of a fragment, which the
    page's own redraw then cuts off, and a callback with it. A file counts as taken once all is noted down.

    Args:
        models: Models that the sliders can be set to.
        techniques: All techniques.
        use: What is done with the widgets' values and with what there is to say; by default they are set on this page.
    """
    upload = st.session_state.get(_FILE)
    taken = st.session_state.get(_TAKEN)
    if upload is None or (taken is not None and taken[0] == upload.file_id):
        return
    try:
        recipe = read_recipe(upload.getvalue())
        values = widget_values(recipe, models, techniques)
    except InputError as error:
        st.session_state[_TAKEN] = (upload.file_id, "error", f"{upload.name}: {error}")
        return
    told = f"{upload.name} was put into the sliders."
    if use is None:
        ask(values)
    else:
        use(values, told)
    st.session_state[_TAKEN] = (upload.file_id, "success", told)


def show_import() -> None:
    """A field that takes a recipe or a bundle, and what became of the file in it."""
    upload = st.file_uploader(
        "Import a recipe or bundle", type=["yaml", "yml", "json", "zip"], key=_FILE, max_upload_size=128,
        help="Sets the sliders to a recipe.yaml or to an exported bundle.",
    )
    taken, kind, text = st.session_state.get(_TAKEN, ("", "", ""))
    if upload is not None and taken == upload.file_id:
        (st.error if kind == "error" else st.success)(text)
