"""Add a classifier from a folder that transformers has written, as a zip."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from compression.service import InputError
from pages.library.user_job import busy, follow, say

if TYPE_CHECKING:
    from compression.service import Service

KIND = "model"
_OF_TEXT = "SST-2, in the tokenizer of the folder (text)"


def show_huggingface(service: "Service", limit: int) -> None:
    """The form.

    Args:
        service: The service.
        limit: Largest upload, megabytes.
    """
    st.caption(
        "A folder with config.json and weights (safetensors or pytorch_model.bin, also in shards): an image "
        "classifier with preprocessor_config.json, or a BERT-like text classifier with tokenizer.json. Preprocessing "
        "and labels come from the folder; code in it is never run."
    )
    left, right = st.columns(2)
    name = left.text_input(
        "Name", key="own-folder-name", max_chars=48, placeholder="my_vit",
        help="Small letters, digits, - and _; a letter first",
    )
    titles = {info.name: info.title for info in service.datasets() if info.task == "image_classification"}
    dataset = right.selectbox(
        "Scored on", [*titles, ""], format_func=lambda own: titles.get(own, _OF_TEXT), key="own-folder-dataset",
        help="Of as many classes as the model, in the order of its labels",
    )
    upload = st.file_uploader(
        "Zip of the folder", type=["zip"], key="own-folder-zip", max_upload_size=limit,
        help=f"At most {limit} MB; larger ones: python -m compression add-model NAME --huggingface FOLDER",
    )
    if st.button(
        "Check and add", key="add-own-folder", type="primary", icon=":material/check:", disabled=busy(service, KIND)
    ):
        _submit(service, name.strip(), upload, str(dataset))
        st.rerun()


def _submit(service: "Service", name: str, upload: Any, dataset: str) -> None:
    try:
        if upload is None:
            raise InputError("folder", None, "a zip of a Hugging Face folder is needed")
        follow(KIND, service.own.submit_huggingface(name, upload, upload.name, dataset or None))
    except InputError as error:
        say(KIND, error)
