"""scikit-learn's handwritten digits: 1,797 real scans of 8x8 pixels, enlarged to 32x32."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from models.datasets.augmentation import small_affine
from models.datasets.registry import Dataset, DatasetInfo, Split, register_dataset

_TEST_SHARE = 0.4

INFO = DatasetInfo(
    name="digits", title="Handwritten digits", task="image_classification", num_classes=10, input_shape=(1, 32, 32),
    n_train=1078, n_test=719, source="UCI ML hand-written digits, as shipped with scikit-learn", license="CC BY 4.0",
    class_names=tuple(str(i) for i in range(10)),
)


@register_dataset(INFO)
def digits() -> Dataset:
    """Load and split the digits: a fixed, stratified 40 % for the test."""
    data = load_digits()
    small = torch.from_numpy(data.images).float().unsqueeze(1) * (255 / 16)
    images = F.interpolate(small, size=(32, 32), mode="bilinear").round().clamp(0, 255).to(torch.uint8)
    labels = torch.from_numpy(data.target).long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    for digit in range(10):
        members = order[labels[order] == digit]
        test[members[: round(_TEST_SHARE * len(members))]] = True
    return Dataset(INFO, Split(images[~test], labels[~test]), Split(images[test], labels[test]), small_affine)
