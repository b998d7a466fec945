"""Checkpoints of users: read without executing anything in them, brought into the names and types of a network."""

from models.checkpoints.files import SUFFIXES, Checkpoint, check_suffix, read_checkpoint, weight_files, weights_in
from models.checkpoints.fitting import MismatchError, fit, load_checkpoint
from models.checkpoints.refusals import split_script
from models.checkpoints.report import ImportReport

__all__ = [
    "SUFFIXES", "Checkpoint", "ImportReport", "MismatchError", "check_suffix", "fit", "load_checkpoint",
    "read_checkpoint", "split_script", "weight_files", "weights_in",
]
