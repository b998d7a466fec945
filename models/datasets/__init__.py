"""Datasets by name: a training split for calibration and recovery, a test split for scoring."""

from models.datasets.registry import (
    Dataset,
    DatasetInfo,
    Split,
    code_of,
    data_identity,
    data_paths,
    dataset_download,
    dataset_info,
    has_data,
    has_full_data,
    list_datasets,
    load_dataset,
)

__all__ = [
    "Dataset",
    "DatasetInfo",
    "Split",
    "code_of",
    "data_identity",
    "data_paths",
    "dataset_download",
    "dataset_info",
    "has_data",
    "has_full_data",
    "list_datasets",
    "load_dataset",
]
