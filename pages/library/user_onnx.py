"""Add an ONNX file as a model: the file holds architecture and weights; only the preprocessing is asked."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from compression.service import InputError
from pages.library.user_job import busy, follow, say
from pages.library.user_model import KIND, LARGEST_MEGABYTES, numbers_of

if TYPE_CHECKING:
    from compression.service import Service

_AUTOMATIC, _SET = "Automatic", "Set values"
_FILTERS = ("bilinear", "bicubic")


def show_onnx_form(service: "Service") -> None:
    """The form; how far the import is shows where checks of other models do."""
    with st.expander("Add an ONNX file", icon=":material/upload_file:", key="onnx-form"):
        st.caption(
            "A float model of image or token input, opset 11 or later. Input shape, type and number of classes are "
            "read from the file; its layers keep their names, and its results are compared with ONNX Runtime before it "
            "is added. Quantized files, control flow and custom operators are not supported."
        )
        left, right = st.columns(2)
        name = left.text_input(
            "Name", key="onnx-name", max_chars=48, placeholder="my_model",
            help="Small letters, digits, - and _; a letter first",
        )
        titles = {info.name: info.title for info in service.datasets()}
        dataset = right.selectbox("Scored on", list(titles), format_func=titles.__getitem__, key="onnx-dataset")
        upload = st.file_uploader(
            "File", type=["onnx", "zip"], key="onnx-file", max_upload_size=LARGEST_MEGABYTES,
            help=f"Model.onnx, or a zip of it and its external data; at most {LARGEST_MEGABYTES} MB. Larger ones: "
            "python -m compression add-model --onnx",
        )
        try:
            given = _preprocessing()
        except InputError as error:
            st.error(str(error))
            return
        if st.button("Check and add", key="add-onnx", type="primary", icon=":material/check:",
                     disabled=busy(service, KIND)):
            _submit(service, name.strip(), given, upload, str(dataset))
            st.rerun()


def _preprocessing() -> dict[str, Any]:
    """What the user sets; nothing where it is left to the file and the dataset."""
    chosen = st.segmented_control(
        "Preprocessing", [_AUTOMATIC, _SET], default=_AUTOMATIC, required=True, key="onnx-preprocessing",
        help="Automatic: none where the file normalises its input, else that of the dataset's bundled models, else "
        "ImageNet's; the import report says which",
    )
    if chosen == _AUTOMATIC:
        return {}
    size, scale, filtered = st.columns(3)
    side = size.number_input(
        "Input size", 0, 1024, 0, key="onnx-size", help="Side, pixels, where the file leaves it open; 0: the dataset's"
    )
    divisor = scale.number_input(
        "Divide by", 0.0, 65_535.0, 255.0, key="onnx-scale",
        help="255 turns bytes into values from 0 to 1; 1 keeps values from 0 to 255",
    )
    interpolation = filtered.selectbox("Interpolation", _FILTERS, key="onnx-interpolation")
    left, right = st.columns(2)
    hint = "Of the divided values, one per channel or one for all; empty for none"
    mean = numbers_of("mean", left.text_input("Mean", key="onnx-mean", help=hint))
    std = numbers_of("std", right.text_input("Std", key="onnx-std", help=hint))
    given: dict[str, Any] = {"scale": divisor, "interpolation": interpolation, "mean": mean, "std": std}
    return given | ({"input_size": int(side)} if side else {})


def _submit(service: "Service", name: str, given: dict[str, Any], upload: Any, dataset: str) -> None:
    try:
        if upload is None:
            raise InputError("onnx", None, "a file .onnx, or a zip of it and its data, is needed")
        follow(KIND, service.own.submit_onnx(name, given, upload, upload.name, dataset))
    except InputError as error:
        say(KIND, error)
