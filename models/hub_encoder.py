"""Brings a DistilBERT classifier from the Hugging Face hub, or from a folder, into this project's names.

It needs the optional packages of ``requirements-text.txt``. ``python -m models.hub_encoder`` fetches the checkpoint
that is fine-tuned on SST-2; with a folder's path it reads that. Nothing in a checkpoint is executed: its weights are
safetensors, and code that a repository brings is never run.
"""

import argparse
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from models.architectures.distilbert import DistilBert
from models.checkpoints import Checkpoint, load_checkpoint
from models.datasets.wordpieces import TOKENIZER
from models.errors import ModelError
from models.sources.locations import download_folder

HUB_NAME = "distilbert-base-uncased-finetuned-sst-2-english"
_RENAMED = (
    ("distilbert.embeddings.word_embeddings.", "embedding."),
    ("distilbert.embeddings.position_embeddings.", "position."), ("distilbert.embeddings.LayerNorm.", "norm."),
    ("distilbert.transformer.layer.", "blocks."), (".attention.q_lin.", ".attention.query."),
    (".attention.k_lin.", ".attention.key."), (".attention.v_lin.", ".attention.value."),
    (".attention.out_lin.", ".attention.output."), (".sa_layer_norm.", ".norm1."), (".ffn.lin1.", ".mlp.fc1."),
    (".ffn.lin2.", ".mlp.fc2."), (".output_layer_norm.", ".norm2."),
)


def load_hub_encoder(source: str | Path = HUB_NAME) -> nn.Module:
    """A checkpoint as this project's network, in eval mode: token ids (N, T) to logits.

    Args:
        source: Name on the hub, or a folder with ``config.json`` and ``model.safetensors``.

    Raises:
        ModelError: if transformers is not installed, the checkpoint cannot be had, or is no DistilBERT classifier.
    """
    _require()
    from transformers import AutoConfig, AutoModelForSequenceClassification

    local = Path(source).is_dir()
    try:
        config: Any = AutoConfig.from_pretrained(str(source), local_files_only=local)
        if config.model_type != "distilbert":
            raise ModelError(f"{source}: a DistilBERT classifier is needed, not {config.model_type!r}")
        theirs = AutoModelForSequenceClassification.from_pretrained(
            str(source), local_files_only=local, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError) as error:
        raise _told(source, error) from None
    if config.activation != "gelu" or config.pad_token_id != 0:
        raise ModelError(f"{source}: activation 'gelu' and padding with 0 are needed")
    own = DistilBert(
        config.vocab_size, config.max_position_embeddings, config.dim, config.n_layers, config.n_heads,
        config.hidden_dim, config.num_labels,
    )
    load_checkpoint(own, Checkpoint(in_our_names(theirs.state_dict())), str(source))
    return own.eval()


def _require() -> None:
    if find_spec("transformers") is None:
        raise ModelError("encoders of the hub need transformers: pip install -r requirements-text.txt")


def _told(source: str | Path, error: Exception) -> ModelError:
    if isinstance(error, ModelError):
        return error
    return ModelError(f"{source} cannot be loaded: {' '.join(str(error).split())[:200]}")


def in_our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a DistilBERT classifier under the names of `DistilBert`."""
    found = {}
    for name, tensor in state.items():
        for theirs, ours in _RENAMED:
            name = name.replace(theirs, ours)
        found[name] = tensor
    return found


def bring(source: str | Path = HUB_NAME) -> Path:
    """Put a checkpoint's weights and tokenizer where the registry looks for them; returns the weights' file.

    Raises:
        ModelError: as `load_hub_encoder` does.
    """
    model = load_hub_encoder(source)
    from transformers import AutoTokenizer

    weights = download_folder() / "weights" / "distilbert_sst2.safetensors"
    tokenizer = download_folder() / TOKENIZER
    try:
        with tempfile.TemporaryDirectory() as scratch:
            AutoTokenizer.from_pretrained(str(source), use_fast=True).save_pretrained(scratch)
            for target in (weights, tokenizer):
                target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(scratch) / "tokenizer.json", tokenizer)
    except (OSError, ValueError, ImportError) as error:
        raise _told(source, error) from None
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"source": f"Hugging Face, {source}", "license": "see the checkpoint's card"}
    save_file(state, weights.with_suffix(".part"), metadata)
    weights.with_suffix(".part").replace(weights)
    return weights


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", nargs="?", default=HUB_NAME, help="name on the hub, or a folder")
    try:
        sys.stdout.write(f"{bring(parser.parse_args().source)}\n")
    except ModelError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
