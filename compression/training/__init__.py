"""The one fine-tuning loop: recovery, quantization-aware training and distillation."""

from compression.problems.losses import distillation_loss
from compression.training.loop import fine_tune
from compression.training.settings import TrainingSettings

__all__ = ["TrainingSettings", "distillation_loss", "fine_tune"]
