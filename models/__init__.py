"""Model and dataset registry, architectures and the weights that were trained for this project."""

from models.torchvision_guard import declare_missing_operators

declare_missing_operators()
