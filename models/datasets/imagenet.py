"""Datasets labelled with ImageNet's indices: a small sample of photographs, and Imagenette."""

import csv
from dataclasses import replace

from models.datasets.decoded import ImageListing
from models.datasets.image_folder import load_image_folder
from models.datasets.imagenet_classes import COUNT, class_names
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import Dataset, DatasetInfo, missing, register_dataset
from models.datasets.views import ImageView
from models.errors import ModelError
from models.sources.downloads import Download, RemoteFile
from models.sources.locations import download_folder, find_data
from models.sources.unpacking import unpack_tar

_CALIBRATION = 200
_IMAGENETTE_URL = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz"  # as in torchvision.datasets
_IMAGENETTE_MD5 = "3df6f0d01a2c9592104656642f5e78a3"
_IMAGENETTE_SIZE = 341_663_724
_IMAGENETTE_FOLDER = "imagenette2-320"

SAMPLE_INFO = DatasetInfo(
    name="imagenet_sample", title="1,000 photographs of ImageNet's classes", task="image_classification",
    num_classes=COUNT, input_shape=(3, 224, 224), n_train=_CALIBRATION, n_test=800, license="CC-BY 2.0, authors listed",
    source="development set of the NIPS 2017 adversarial challenge; easier than ImageNet, so figures run above its",
    needs=("imagenet_sample/labels.csv",), resized=True,
)
IMAGENETTE_INFO = DatasetInfo(
    name="imagenette", title="Imagenette, ten easy classes of ImageNet", task="image_classification",
    num_classes=COUNT, input_shape=(3, 224, 224), n_train=9_469, n_test=3_925, license="as ImageNet: research use",
    source="fast.ai; images of ImageNet, ten of its 1,000 classes occur", resized=True,
    needs=(_IMAGENETTE_FOLDER, "imagenette2"),
)


@register_dataset(SAMPLE_INFO)
def imagenet_sample(view: ImageView) -> Dataset:
    """The first 200 rows of its table for calibration, the others for scoring."""
    table = find_data(SAMPLE_INFO.needs[0])
    if table is None:
        raise missing(SAMPLE_INFO)
    with table.open(encoding="utf-8", newline="") as file:
        try:
            rows = [(row["file"], int(row["imagenet_index_0based"])) for row in csv.DictReader(file)]
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{table.name} of 'imagenet_sample' is damaged ({error})") from None
    names, targets = tuple(name for name, _ in rows), tuple(target for _, target in rows)
    first, rest = slice(_CALIBRATION), slice(_CALIBRATION, None)
    listings = [ImageListing(table.parent / "images", names[part], targets[part]) for part in (first, rest)]
    info = replace(SAMPLE_INFO, class_names=class_names())
    return PhotographDataset(info, listings[0], listings[1], view)


def _imagenette_download() -> Download:
    archive = download_folder() / _IMAGENETTE_URL.rpartition("/")[2]
    file = RemoteFile(_IMAGENETTE_URL, archive, f"md5:{_IMAGENETTE_MD5}", _IMAGENETTE_SIZE)
    return Download(
        "imagenette", (file,), IMAGENETTE_INFO.source, IMAGENETTE_INFO.license,
        lambda: unpack_tar(archive, _IMAGENETTE_FOLDER),
        lambda: any(find_data(name) is not None for name in IMAGENETTE_INFO.needs),
        (archive.with_name(_IMAGENETTE_FOLDER),),
    )


@register_dataset(IMAGENETTE_INFO, _imagenette_download)
def imagenette(view: ImageView) -> Dataset:
    """The layout that torchvision's class reads too: folders train and val of folders named by WordNet ids."""
    found = next(filter(None, (find_data(name) for name in IMAGENETTE_INFO.needs)), None)
    if found is None:
        raise missing(IMAGENETTE_INFO)
    return load_image_folder(found, view, IMAGENETTE_INFO)
