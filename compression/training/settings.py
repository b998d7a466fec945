"""How a training goes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """How to fine-tune.

    Attributes:
        epochs: Passes over the training split; a pass has at most 400 batches of text, all batches of images.
        learning_rate: Peak of AdamW's, after a short warm-up and before a cosine to zero.
        temperature: Of the teacher's predictions.
        alpha: Weight of the teacher; 0 trains without.
        loss: "kd" or "decoupled".
    """

    epochs: int
    learning_rate: float
    temperature: float = 4.0
    alpha: float = 0.9
    loss: str = "kd"
