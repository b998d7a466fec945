"""Add a user model: an architecture's name, weights, classes and preprocessing; checked before it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from compression.service import InputError, format_bytes
from pages.library.doctor_view import show_doctor
from pages.library.user_huggingface import show_huggingface
from pages.library.user_job import busy, follow, plain, say, show_job, show_removal

if TYPE_CHECKING:
    from compression.library.user_entries import KeptModel
    from compression.library.user_service import Architecture
    from compression.service import Service

KIND = "model"
LARGEST_MEGABYTES = 1000
_FIRST = "cifar_resnet20"
_CHECKED = "own-weights-checked"
_FILTERS = ("bilinear", "bicubic")
_TYPES = ["safetensors", "pt", "pth", "ckpt", "bin", "tar", "json", "zip"]
_PLAIN, _AVERAGE = "Plain weights", "Moving average"
_CHECKPOINT, _FOLDER = "Architecture and checkpoint", "Hugging Face folder"


@dataclass(frozen=True)
class Wanted:
    """What the form holds.

    Attributes:
        name: What the model will be called.
        given: Its description.
        dataset: Dataset to score on; None where there is none that fits.
    """

    name: str
    given: dict[str, Any]
    dataset: str | None


def numbers_of(field: str, text: str) -> list[float]:
    """Numbers from a text field, separated by commas or blanks.

    Raises:
        InputError: if one is none.
    """
    try:
        return [float(part) for part in text.replace(",", " ").replace(";", " ").split()]
    except ValueError:
        raise InputError(field, text, "numbers are needed, one per channel or one for all") from None


def numbers_text(values: tuple[float, ...]) -> str:
    """Inverse of `numbers_of`."""
    return ", ".join(f"{value:.9g}" for value in values)


def show_own_model(service: "Service") -> None:
    """The form, how far the check of an upload is, and the models that were added before."""
    with st.expander("Add a model", icon=":material/upload:", key="own-model-form"):
        source = st.segmented_control(
            "Source", [_CHECKPOINT, _FOLDER], default=_CHECKPOINT, required=True, key="own-model-source"
        )
        if source == _FOLDER:
            show_huggingface(service, LARGEST_MEGABYTES)
        else:
            _show_checkpoint(service)
    show_job(service, KIND, lambda name: _tell(service, name))
    _show_mine(service)


def _show_checkpoint(service: "Service") -> None:
    """The form for an architecture and a checkpoint."""
    st.caption(
        "An architecture of this project, torchvision or timm, with a checkpoint. The file is read without executing "
        "anything in it; where names or shapes differ, the error names them and nothing is kept."
    )
    wanted = _form(service)
    uploads = st.file_uploader(
        "Weights", type=_TYPES, key="own-weights", max_upload_size=LARGEST_MEGABYTES, accept_multiple_files=True,
        help=f"A checkpoint, or all shards of one with their index, or a zip of these; at most {LARGEST_MEGABYTES} "
        "MB each. Larger ones: python -m compression add-model",
    )
    taken = replacing(uploads)
    average = st.segmented_control(
        "If the checkpoint holds a moving average (EMA) as well, load", [_PLAIN, _AVERAGE], default=_PLAIN,
        required=True, key="own-ema",
    )
    pressed = st.button(
        "Check and add", key="add-own-model", type="primary", icon=":material/check:",
        disabled=busy(service, KIND) or wanted is None or wanted.dataset is None,
    )
    if pressed and wanted is not None:
        _submit(service, replace(wanted, given={**wanted.given, "ema": average == _AVERAGE}), taken)
        st.rerun()


def replacing(uploads: Sequence[Any]) -> Sequence[Any]:
    """The files to check: the browser adds a new choice to files that were refused, which it replaces."""
    checked: set[str] = st.session_state.get(_CHECKED, set())
    new = [file for file in uploads if file.file_id not in checked]
    if not new or len(new) == len(uploads):
        return uploads
    names = [", ".join(file.name for file in files) for files in (new, [f for f in uploads if f not in new])]
    st.caption(f"{plain(names[0])} will be checked, without {plain(names[1])} of before.")
    return new


def _form(service: "Service") -> Wanted | None:
    left, right = st.columns(2)
    name = left.text_input(
        "Name", key="own-model-name", max_chars=48, placeholder="my_resnet",
        help="Small letters, digits, - and _; a letter first",
    )
    names = service.own.architectures()
    chosen = right.selectbox(
        "Architecture", names, index=names.index(_FIRST), key="own-architecture", accept_new_options=True,
        help="Type to search. timm:NAME picks an architecture of timm, where that package is installed",
    )
    try:
        kind = service.own.architecture(str(chosen))
    except InputError as error:
        st.error(str(error))
        return None
    classes = left.number_input(
        "Number of outputs", 1, 10_000, kind.outputs, key=f"own-classes-{kind.name}",
        help="Classes; or 1: a logit for two classes, or a value (regression)",
    )
    dataset = _pick_dataset(service, right, kind, int(classes))
    given: dict[str, Any] = {"architecture": kind.name, "num_classes": int(classes)}
    if kind.input_dtype != "int64":
        try:
            given |= _preprocessing(service, kind)
        except InputError as error:
            st.error(str(error))
            return None
    return Wanted(name.strip(), given, dataset)


def _pick_dataset(service: "Service", place: Any, kind: "Architecture", classes: int) -> str | None:
    fitting = [info for info in service.datasets() if service.own.takes(kind, classes, info)]
    if not fitting:
        what = f"has {classes} classes" if classes > 1 else "has two classes or values"
        place.warning(f"No dataset here {what}. Add one below first.")
        return None
    titles = {info.name: info.title for info in fitting}
    names = list(titles)
    first = names.index(kind.dataset) if kind.dataset in names else 0
    return str(place.selectbox(
        "Scored on", names, index=first, format_func=titles.__getitem__, key=f"own-dataset-{kind.name}-{classes}",
    ))


def _preprocessing(service: "Service", kind: "Architecture") -> dict[str, Any]:
    """Fields of the preprocessing with what the architecture's authors state, and where each value comes from."""
    st.markdown("**Preprocessing**: must match the training of the weights, or accuracy is lost")
    size, resize, filtered, scale = st.columns(4)
    side = size.number_input(
        "Input size", 8, 1024, kind.input_shape[-1], key=f"own-size-{kind.name}", help="Side, pixels"
    )
    usual = service.own.usual_preprocessing(kind, int(side))
    resized = resize.number_input(
        "Resize to", 8, 2048, max(int(side), int(usual["resize_size"])), key=f"own-resize-{kind.name}-{side}",
        help="Shorter side of a photograph before the centre crop, pixels; images of a fixed size are not resized",
    )
    interpolation = filtered.selectbox(
        "Interpolation", _FILTERS, index=_FILTERS.index(usual["interpolation"]), key=f"own-interpolation-{kind.name}"
    )
    divisor = scale.number_input(
        "Divide by", 0.0, 65_535.0, float(usual["scale"]), key=f"own-scale-{kind.name}",
        help="255 turns bytes into values from 0 to 1; 1 keeps values from 0 to 255",
    )
    left, right = st.columns(2)
    hint = "Of the divided values, one per channel or one for all; empty for none"
    mean_text = left.text_input("Mean", numbers_text(usual["mean"]), key=f"own-mean-{kind.name}", help=hint)
    std_text = right.text_input("Std", numbers_text(usual["std"]), key=f"own-std-{kind.name}", help=hint)
    given = {
        "input_size": int(side), "resize_size": int(resized), "interpolation": str(interpolation),
        "scale": float(divisor), "mean": numbers_of("mean", mean_text), "std": numbers_of("std", std_text),
    }
    used = {**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])}
    source = service.own.preprocessing_source(kind, used)
    st.caption(f"From {source}. Weights that were trained otherwise need the values of their training.")
    return given


def _submit(service: "Service", wanted: Wanted, uploads: Sequence[Any]) -> None:
    try:
        if not uploads:
            raise InputError("weights", None, "a checkpoint is needed: " + ", ".join(f".{name}" for name in _TYPES))
        st.session_state[_CHECKED] = {file.file_id for file in uploads}
        files = [(file.name, file) for file in uploads]
        follow(KIND, service.own.submit_model(wanted.name, wanted.given, files, str(wanted.dataset)))
    except InputError as error:
        say(KIND, error)


def _tell(service: "Service", name: str) -> None:
    kept = service.own.models().get(name)
    if kept is None:
        st.info(f"{name} was added, and has been removed since.")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="own-model-done"):
        st.success(f"{name} fits and was added: {kept.info.parameters:,} parameters.", icon=":material/check:")
        st.page_link("explore/explore.py", label="Open it in Explore", icon=":material/explore:",
                     query_params={"model": name, "data": kept.info.dataset})
    show_doctor(kept)
    show_import(kept)


def show_import(kept: "KeptModel") -> None:
    """What was stripped, dropped, baked and cast, and how inputs are prepared."""
    from compression.library.user_entries import preprocessing_text

    lines = list(kept.imported.lines())
    if preprocessing_text(kept.info):
        lines.append(f"Preprocessing: {preprocessing_text(kept.info)} (from {kept.info.preprocessing_source}).")
    st.markdown(f"**Import report** of {plain(kept.imported.file)}")
    st.markdown("\n".join(f"- {plain(line)}" for line in lines))


def model_rows(models: "dict[str, KeptModel]") -> list[dict[str, Any]]:
    """One row per model of the user."""
    return [
        {
            "name": name, "architecture": kept.info.architecture,
            "classes": None if kept.info.task == "regression" else kept.info.num_classes,
            "dataset": kept.info.dataset, "input": kept.info.input_shape[-1], "parameters": kept.info.parameters,
            "size": format_bytes(kept.size_bytes), "added": kept.created[:16].replace("T", " "),
        }
        for name, kept in models.items()
    ]


def _show_mine(service: "Service") -> None:
    models = service.own.models()
    if models:
        st.dataframe(model_rows(models), hide_index=True, placeholder="-", alt=f"{len(models)} user models")
        for name, kept in models.items():
            with st.expander(f"User model {name}", key=f"own-model-{name}"):
                show_doctor(kept)
                show_import(kept)
        with st.container(horizontal=True, key="own-model-removals"):
            for name in models:
                show_removal(service, KIND, name)
