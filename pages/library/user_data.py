"""Add a user dataset: a zip or folder of class folders; every image is looked at before it is kept."""

import io
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import streamlit as st

from compression.service import InputError, format_bytes
from pages.library.user_job import busy, follow, say, show_job, show_removal

if TYPE_CHECKING:
    from compression.library.user_entries import DataReport, FolderOptions, KeptData
    from compression.service import Service

KIND = "data"
LARGEST_MEGABYTES = 1000
_ZIP, _FOLDER = "Zip file", "Folder"
_CLASSES, _VALUES = "Image classification", "Regression"
_IMAGES = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp", "gif"]
_MOST_NAMES = 20


def zip_of(files: Sequence[Any]) -> BinaryIO:
    """The files of an uploaded folder as one archive, so that both ways of adding are checked alike."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as held:
        for file in files:
            held.writestr(file.name, file.getbuffer())
    return archive


def show_own_data(service: "Service") -> None:
    """The form, how far the check of an upload is, and the datasets that were added before."""
    with st.expander("Add a dataset", icon=":material/upload:", key="own-data-form"):
        st.caption(
            "One folder of images per class; folders train, val and test around them are the splits. Files that "
            "cannot be read are listed and left out. Folders named by WordNet ids get ImageNet's labels; all others "
            "count as classes from 0, in the order below."
        )
        name = st.text_input(
            "Name of the dataset", key="own-data-name", max_chars=48, placeholder="my_photos",
            help="Small letters, digits, - and _; a letter first",
        )
        values = st.segmented_control(
            "Task", [_CLASSES, _VALUES], default=_CLASSES, required=True, key="own-data-task",
            help="Regression: images with a table labels.csv whose columns are file and value",
        ) == _VALUES
        upload, shown = _upload(values)
        options = _options(values)
        if not values:
            _show_preview(upload, shown, options)
        if st.button(
            "Check and add", key="add-own-data", type="primary", icon=":material/check:", disabled=busy(service, KIND)
        ):
            _submit(service, name.strip(), upload, shown, options)
            st.rerun()
    show_job(service, KIND, lambda added: _tell(service, added))
    mine = service.own.datasets()
    if mine:
        st.dataframe(data_rows(mine), hide_index=True, placeholder="-", alt=f"{len(mine)} user datasets")
    for own, kept in mine.items():
        with st.expander(f"User dataset {own}", key=f"own-data-set-{own}"):
            show_report(service, own, kept.report)
            show_removal(service, KIND, own)


def _upload(values: bool) -> tuple[Any | None, str]:
    how = st.segmented_control("As", [_ZIP, _FOLDER], default=_ZIP, required=True, key="own-data-how")
    if how == _FOLDER:
        files = st.file_uploader(
            "Folder with labels.csv" if values else "Folder of class folders",
            type=[*_IMAGES, *(["csv"] if values else [])], accept_multiple_files="directory", key="own-data-folder",
            help="For many images a zip is faster; a folder on this machine can be added in place with "
            "python -m compression add-data NAME PATH",
        )
        return (files or None), "the folder"
    upload = st.file_uploader(
        "Zip with labels.csv" if values else "Zip of class folders", type=["zip"], key="own-data-zip",
        max_upload_size=LARGEST_MEGABYTES,
        help=f"At most {LARGEST_MEGABYTES} MB; larger ones: python -m compression add-data NAME PATH",
    )
    return upload, "" if upload is None else upload.name


def _options(values: bool) -> "FolderOptions":
    """Labels, their order and EXIF orientation, as selected."""
    from compression.library.user_entries import FolderOptions, ImageReading, Labels, Order

    if values:
        return FolderOptions(task="regression")
    titles = {Labels.AUTO: "Automatic", Labels.FOLDERS: "Folders as classes", Labels.IMAGENET: "ImageNet"}
    with st.container(horizontal=True, vertical_alignment="bottom", key="own-data-options"):
        labels = st.selectbox(
            "Labels", list(titles), format_func=titles.__getitem__, key="own-data-labels", width=220,
            help="Automatic: folders are classes, but for WordNet ids. ImageNet: names are its ids, indices or classes",
        )
        order = st.segmented_control(
            "Order of labels", list(Order), default=Order.LEXICOGRAPHIC, required=True, key="own-data-order",
            format_func=lambda order: order.capitalize(),
            help='Lexicographic as torchvision\'s ImageFolder has it ("10" before "2"), or numeric ("2" before "10")',
        )
        turned = st.toggle(
            "Apply EXIF orientation", key="own-data-exif", help="torchvision's loader ignores it, and so did a model "
            "that was trained with it",
        )
    return FolderOptions(labels, order, ImageReading(apply_exif=turned))


def _show_preview(upload: Any, shown: str, options: "FolderOptions") -> None:
    """The label of each class folder of an upload, before anything is measured with it."""
    from compression.library.user_entries import preview_labels

    if upload is None:
        return
    try:
        source = [file.name for file in upload] if isinstance(upload, list) else upload
        table = preview_labels(source, shown, options)
    except InputError as error:
        st.error(_plain(str(error)))
        return
    if table.warning:
        st.warning(_plain(table.warning), icon=":material/swap_vert:")
    st.caption(f"Labels of the {len(table.folders)} class folders, as the model's outputs must have them")
    st.dataframe(label_rows(table.rows()), hide_index=True, height=220, alt="Labels of the class folders")


def label_rows(rows: Sequence[tuple[int, str, str]]) -> list[dict[str, Any]]:
    """One row per class folder."""
    return [{"label": label, "folder": folder, "class": name} for label, folder, name in rows]


def _submit(service: "Service", name: str, upload: Any, shown: str, options: "FolderOptions") -> None:
    try:
        if upload is None:
            raise InputError("images", None, "a zip or a folder of class folders is needed")
        if isinstance(upload, list):
            total = sum(file.size for file in upload)
            if total > LARGEST_MEGABYTES * 1_000_000:
                raise InputError("folder", format_bytes(total), f"at most {LARGEST_MEGABYTES} MB are taken this way")
            upload, shown = zip_of(upload), "folder.zip"
        follow(KIND, service.own.submit_data(name, upload, shown, options))
    except InputError as error:
        say(KIND, error)


def _tell(service: "Service", name: str) -> None:
    kept = service.own.datasets().get(name)
    if kept is None:
        st.info(f"{name} was added, and has been removed since.")
        return
    from compression.library.user_data_checks import what_is_in

    report = kept.report
    st.success(
        f"{name} was added: {what_is_in(report)}, {report.n_train:,} images to calibrate and train on, "
        f"{report.n_test:,} to score.", icon=":material/check:",
    )


def show_report(service: "Service", name: str, report: "DataReport") -> None:
    """What was found in a dataset: remarks, sample images, images per class and fitting models."""
    from compression.library.user_data_checks import remarks_on, what_is_in

    for remark in remarks_on(report):
        (st.warning if remark.serious else st.caption)(_plain(remark.text))
    pictures = service.own.samples(name)
    if pictures:
        st.image([str(path) for _, path in pictures], caption=[label for label, _ in pictures], width=96)
    means, stds = (", ".join(f"{value:.3f}" for value in values) for values in (report.mean, report.std))
    st.caption(
        f"Sides of {report.smallest} to {report.largest} pixels. Mean of the channels {means}; deviation {stds}."
    )
    if report.values:
        st.caption(_plain(what_is_in(report).capitalize() + "."))
    else:
        st.dataframe(class_rows(report), hide_index=True, height=220, alt="Images per class")
    fitting = [model.name for model in service.models() if _fits(report, model)]
    shown = ", ".join(fitting[:_MOST_NAMES]) + (" and others" if len(fitting) > _MOST_NAMES else "")
    st.caption(_plain(f"Models that fit: {shown}" if fitting else "No model here fits yet."))
    if report.n_skipped:
        with st.expander(f"{report.n_skipped} files that cannot be read", key=f"skipped-{name}"):
            reasons = report.reasons or ("",) * len(report.skipped)
            lines = [f"{name}: {why}" if why else name for name, why in zip(report.skipped, reasons, strict=True)]
            st.code("\n".join(lines), None)


def _fits(report: "DataReport", model: Any) -> bool:
    from compression.library.user_data_checks import remarks_on_pair

    return not any(remark.serious for remark in remarks_on_pair(report, model))


def _plain(text: str) -> str:
    for sign in "\\`*_[]$<>#":
        text = text.replace(sign, "\\" + sign)
    return text


def class_rows(report: "DataReport") -> list[dict[str, Any]]:
    """One row per class."""
    counts = zip(report.train_images, report.test_images, strict=True)
    earlier = [{"class": name} for name in report.class_names]  # of a dataset that an earlier version added
    labels = label_rows(report.label_rows()) if report.folders else earlier
    return [
        {**label, "calibrate and train": train, "score": test}
        for label, (train, test) in zip(labels, counts, strict=True)
    ]


def data_rows(mine: "dict[str, KeptData]") -> list[dict[str, Any]]:
    """One row per dataset of the user."""
    return [
        {
            "name": name, "classes": len(kept.report.class_names) or None, "train": kept.report.n_train,
            "score": kept.report.n_test, "skipped": kept.report.n_skipped,
            "kept": format_bytes(kept.size_bytes) if kept.report.copied else "in its folder",
            "added": kept.report.created[:16].replace("T", " "),
        }
        for name, kept in mine.items()
    ]
