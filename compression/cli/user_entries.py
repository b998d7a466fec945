"""Commands that add a user's own models and datasets, and remove them."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from compression.cli.doctor import doctor_model, lines_of
from compression.core.errors import InputError
from compression.core.progress_bar import progress_bar
from compression.library import user_entries
from compression.library.doctor import Diagnosis, diagnose_and_keep
from compression.library.user_data_checks import output_words, remarks_on, what_is_in
from compression.library.user_onnx import add_onnx
from compression.reports.text import text_table
from models.preprocessing import preprocessing_text

_PREPROCESSING = ("input_size", "resize_size", "scale", "interpolation", "mean", "std")
_ONNX_PREPROCESSING = (*_PREPROCESSING, "num_classes")
_OF_CHECKPOINTS = ("architecture", "weights")
_Command = Callable[[str, str, Callable[[Namespace], int]], ArgumentParser]


def add_commands(command: _Command) -> None:
    """Add the commands to the parser.

    Args:
        command: Makes the parser of a command of a name, a help text and a function.
    """
    data = command("add-data", "keep a zip or folder of images as a dataset", add_data)
    data.add_argument("name", help="what it will be called")
    data.add_argument("path", type=Path, help="zip file or folder; a folder stays where it is")
    data.add_argument(
        "--labels", choices=list(user_entries.Labels), default=user_entries.Labels.AUTO.value,
        help="what folder names mean: classes counted from 0, or ImageNet's ids, indices and names (default: auto, "
        "classes, but for folders named by WordNet ids)",
    )
    data.add_argument(
        "--order", choices=list(user_entries.Order), default=user_entries.Order.LEXICOGRAPHIC.value,
        help='of class folders: lexicographic as torchvision\'s ImageFolder ("10" before "2"), or numeric',
    )
    data.add_argument(
        "--exif-orientation", action="store_true", help="turn images as their EXIF data says (torchvision does not)"
    )
    data.add_argument("--preview", action="store_true", help="print the table of labels and keep nothing")
    data.add_argument(
        "--task", default="image_classification", choices=("image_classification", "regression"),
        help="image_classification: one folder of images per class (default); regression: images and a table "
        "labels.csv with the columns file,value",
    )
    model = command("add-model", "add a user model: an architecture's name and weights", add_model)
    model.add_argument("name", help="what it will be called")
    model.add_argument(
        "--architecture", help="of this project, torchvision or timm; timm:NAME where both have it"
    )
    onnx_help = "an ONNX file, or a zip of it and its data, in place of an architecture and weights"
    model.add_argument("--onnx", type=Path, help=onnx_help)
    model.add_argument("--weights", type=Path, help="checkpoint, index, or folder (default: those of the architecture)")
    model.add_argument("--huggingface", type=Path, metavar="FOLDER", help="instead: a folder that transformers wrote")
    model.add_argument("--ema", action="store_true", help="take the moving average where the checkpoint holds one")
    model.add_argument(
        "--num-classes", type=int,
        help="outputs: classes, or 1 for a logit on two classes or for values (default: the architecture's)"
    )
    model.add_argument("--dataset", help="dataset to score on (default: the architecture's)")
    model.add_argument("--input-size", type=int, help="side of the input, pixels")
    model.add_argument("--resize-size", type=int, help="shorter side of a photograph before its centre is cut")
    model.add_argument("--mean", type=float, nargs="+", help="normalisation, one number per channel or one for all")
    model.add_argument("--std", type=float, nargs="+", help="normalisation, one number per channel or one for all")
    model.add_argument("--scale", type=float, help="what raw bytes are divided by (default: 255)")
    model.add_argument("--interpolation", help="bilinear or bicubic; defaults: what the architecture's authors state")
    model.add_argument("--channel-order", help="RGB or BGR (default: RGB)")
    model.add_argument("--no-doctor", action="store_true", help="do not try other preprocessing on 200 images")
    doctor = command("doctor-model", "try other preprocessing and orders of labels on 200 images", doctor_model)
    doctor.add_argument("model", help="name of a model, or a recipe file")
    doctor.add_argument("--dataset", help="dataset (default: the model's)")
    doctor.add_argument("--apply", action="store_true", help="use the suggested settings; of a model added before")
    gone = command("remove", "remove a user model or dataset; images that were added in place stay", remove)
    gone.add_argument("name", help="its name")


def add_data(options: Namespace) -> int:
    """``add-data``: survey and keep a dataset."""
    user_entries.check_new_name(options.name)
    if not options.path.exists():
        raise InputError("path", str(options.path), "an existing zip file or folder is needed")
    selected = user_entries.FolderOptions(
        options.labels, options.order, user_entries.ImageReading(options.exif_orientation), options.task
    )
    if options.task == "image_classification":
        table = user_entries.preview_labels(options.path, options.path.name, selected)
        if options.preview or not options.json:
            _show_labels(table, options.json)
    if options.preview:
        return 0
    with progress_bar(options.name) as progress:
        kept = user_entries.add_data(options.name, options.path, options=selected, progress=progress)
    remarks = remarks_on(kept.report)
    if options.json:
        record = {"name": options.name, **asdict(kept.report), "n_train": kept.report.n_train,
                  "n_test": kept.report.n_test, "remarks": [remark.text for remark in remarks]}
        sys.stdout.write(json.dumps(record) + "\n")
        return 0
    report = kept.report
    sys.stdout.write(
        f"{options.name}: {what_is_in(report)}, {report.n_train} images to calibrate and train on, "
        f"{report.n_test} to score, {report.smallest} to {report.largest} pixels\n"
    )
    for remark in remarks:
        sys.stdout.write(f"- {remark.text}\n")
    return 0


def _show_labels(table: user_entries.ClassTable, as_json: bool) -> None:
    """The label of each class folder, before anything is measured with it."""
    if as_json:
        rows = [{"label": label, "folder": folder, "class": name} for label, folder, name in table.rows()]
        sys.stdout.write(json.dumps({"labels": rows, "imagenet": table.imagenet, "warning": table.warning}) + "\n")
        return
    rows = [(str(label), folder, name) for label, folder, name in table.rows()]
    sys.stdout.write(text_table(("label", "folder", "class"), rows) + "\n")
    if table.warning:
        sys.stdout.write(f"- {table.warning} --order changes it\n")


def add_model(options: Namespace) -> int:
    """``add-model``: check and keep a model."""
    user_entries.check_new_name(options.name)
    if options.huggingface is not None:
        kept = _add_huggingface(options)
    else:
        kept = _add_checkpoint(options) if options.onnx is None else _add_onnx(options)
    found = None if options.no_doctor else _examined(kept)
    if options.json:
        imported = {**kept.imported.to_dict(), "lines": kept.imported.lines()}
        sys.stdout.write(json.dumps({"name": options.name, "model": asdict(kept.info), "import": imported,
                                     "doctor": found and asdict(found)}) + "\n")
    else:
        info = kept.info
        sys.stdout.write(
            f"{info.name}: {info.architecture}, {info.parameters:,} parameters, {output_words(info)}, scored on "
            f"{info.dataset}; measure it with a recipe that says model: {info.name}\n"
        )
        for line in kept.imported.lines():
            sys.stdout.write(f"- {line}\n")
        if preprocessing_text(info):
            sys.stdout.write(f"- Preprocessing: {preprocessing_text(info)} (from {info.preprocessing_source})\n")
        for line in [] if found is None else lines_of(found):
            sys.stdout.write(f"{line}\n")
    return 0


def _add_onnx(options: Namespace) -> user_entries.KeptModel:
    """``add-model --onnx``: import a file.

    Raises:
        InputError: if it cannot be, or is named beside an architecture or a checkpoint.
    """
    for field in _OF_CHECKPOINTS:
        value = getattr(options, field)
        if value is not None:
            raise InputError(field, str(value), "an ONNX file holds both the architecture and the weights")
    if options.ema:
        raise InputError("ema", True, "an ONNX file holds one set of weights")
    given = {name: value for name in _ONNX_PREPROCESSING if (value := getattr(options, name)) is not None}
    if options.onnx.is_dir():
        raise InputError("onnx", str(options.onnx), "a file .onnx, or a zip of it and its data, is needed")
    path = user_entries.find_weights(str(options.onnx))
    with progress_bar(options.name) as progress:
        return add_onnx(options.name, given, path, options.dataset, progress=progress)


def _add_huggingface(options: Namespace) -> user_entries.KeptModel:
    if options.architecture or options.weights or options.onnx:
        raise InputError("huggingface", str(options.huggingface), "architecture and weights come from the folder")
    given = {name: getattr(options, name) for name in _PREPROCESSING}
    with progress_bar(options.name) as progress:
        return user_entries.add_huggingface(
            options.name, options.huggingface, given, options.dataset, progress=progress
        )


def _add_checkpoint(options: Namespace) -> user_entries.KeptModel:
    if options.architecture is None:
        raise InputError("architecture", None, "the name of an architecture, or an ONNX file (--onnx), is needed")
    names = ("architecture", "num_classes", "input_size", "resize_size", "scale", "interpolation", "channel_order")
    given = {name: getattr(options, name) for name in names}
    given |= {name: getattr(options, name) for name in ("mean", "std")}
    given["ema"] = options.ema
    weights = None if options.weights is None else user_entries.find_weights(str(options.weights))
    with progress_bar(options.name) as progress:
        return user_entries.add_model(options.name, given, weights, options.dataset, progress=progress)


def _examined(kept: user_entries.KeptModel) -> Diagnosis | None:
    """The import doctor's diagnosis; None where the model takes no images or its data cannot be read."""
    try:
        with progress_bar(f"{kept.info.name}, other preprocessing") as progress:
            return diagnose_and_keep(kept.info.name, progress)
    except InputError:
        return None


def remove(options: Namespace) -> int:
    """``remove``: forget a model or dataset of the user."""
    user_entries.remove(options.name)
    if options.json:
        sys.stdout.write(json.dumps({"removed": options.name}) + "\n")
    else:
        sys.stdout.write(f"{options.name} was removed; results measured with it stay\n")
    return 0
