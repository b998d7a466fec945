"""The record of a model."""

from dataclasses import dataclass, field

from models.sources.releases import Release
from models.tasks import outputs_of


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without building it.

    Attributes:
        name: Registry key; the factory's name.
        title: Name for people.
        task: "image_classification", "binary_classification" (one logit for two classes), "regression",
            "language_modeling" or "text_classification".
        dataset: Dataset it is scored on by default.
        input_shape: Without the batch dimension.
        input_dtype: "float32" or "int64".
        num_classes: Classes, or size of the vocabulary; 1 for a regression.
        family: "cnn", "transformer" or "mlp".
        description: One sentence.
        source: Where the weights come from.
        license: Licence of the weights.
        mean: Normalisation per channel; empty for text.
        std: Normalisation per channel; empty for text.
        scale: What raw bytes are divided by before normalisation (255, or 1 for networks on raw bytes).
        reference_weights: Name of a weights file the user has (in the data folder), where none is shipped.
        published_accuracy: Accuracy that the source states, fraction.
        release: A public file of other people's weights, downloaded on request.
        resize_size: Of photographs: their shorter side before `input_shape` is cut from the middle, pixels.
        interpolation: How they are resized, "bilinear" or "bicubic".
        parameters: Number of parameters where it is known without building the model.
        channel_order: Order of the colour channels that it takes, "RGB" or "BGR".
        weights: Path of a weights file that a user has named; of a relative one, below the folder of the user's
            Python file.
        architecture: Name of the architecture of a model that a user has described; None of one in code.
        preprocessing_source: Where size, crop, interpolation, mean and std are from, in words; empty where `source` is.
        configuration: Digest of what a network of transformers is built from; empty of others.
        ema: Whether the moving average of a training checkpoint is loaded rather than its plain weights.
    """

    name: str
    title: str
    task: str
    dataset: str
    input_shape: tuple[int, ...]
    num_classes: int
    family: str
    description: str
    source: str = "trained by this project"
    license: str = "MIT"
    input_dtype: str = "float32"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 255.0
    reference_weights: str | None = None
    published_accuracy: float | None = None
    release: Release | None = None
    resize_size: int | None = None
    interpolation: str = "bilinear"
    parameters: int | None = None
    weights: str | None = None
    architecture: str | None = None
    preprocessing_source: str = ""
    ema: bool = False
    channel_order: str = "RGB"
    configuration: str = field(default="", repr=False)

    @property
    def outputs(self) -> int:
        """Numbers that it gives per prediction."""
        return outputs_of(self.task, self.num_classes)
