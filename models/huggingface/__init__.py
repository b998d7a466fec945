"""Classifiers from folders that transformers has written: configuration, weights, preprocessing, labels.

It needs the optional packages of ``requirements-text.txt``. Only local files are read; code of a folder is never run.
"""

from models.huggingface.folder import HuggingFaceModel, read_folder
from models.huggingface.networks import build_network

__all__ = ["HuggingFaceModel", "build_network", "read_folder"]
