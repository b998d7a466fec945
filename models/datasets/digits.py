"""scikit-learn's handwritten digits: 1,797 real scans of 8x8 pixels, enlarged to 32x32."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from models.datasets.augmentation import small_affine
from models.datasets.registry import Dataset, DatasetInfo, Split, register_dataset
from models.errors import ModelError

_TEST_SHARE = 0.4

INFO = DatasetInfo(
    name="digits", title="Handwritten digits", task="image_classification", num_classes=10, input_shape=(1, 32, 32),
    n_train=1078, n_test=719, source="UCI ML hand-written digits, as shipped with scikit-learn", license="CC BY 4.0",
    class_names=tuple(str(i) for i in range(10)),
)


@register_dataset(INFO)
def digits() -> Dataset:
    """Load and split the digits: a fixed, stratified 40 % for the test."""
    table = torch.from_numpy(_table())
    small = table[:, :64].reshape(-1, 1, 8, 8) * (255 / 16)
    images = F.interpolate(small, size=(32, 32), mode="bilinear").round().clamp(0, 255).to(torch.uint8)
    labels = table[:, 64].long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    for digit in range(10):
        members = order[labels[order] == digit]
        test[members[: round(_TEST_SHARE * len(members))]] = True
    return Dataset(INFO, Split(images[~test], labels[~test]), Split(images[test], labels[test]), small_affine)


def _table() -> np.ndarray:
    """scikit-learn's file of 64 pixels (0 to 16) and a label per row, float32; importing the library takes a second."""
    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ModelError("the dataset 'digits' comes with scikit-learn, which is not installed")
    file = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(file, delimiter=",", dtype=np.float32)
