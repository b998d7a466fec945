"""Trains the embedded models: ``python -m models.train NAME``. Seeded, on the CPU, with a progress bar.

Writes ``weights/NAME.safetensors`` and a card beside it, ``NAME.json``.
"""

import argparse
import hashlib
import json
import math
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from models.datasets import Dataset, load_dataset
from models.errors import ModelError
from models.preprocessing import prepare_inputs
from models.registry import WEIGHTS_DIR, ModelInfo, build_model, load_model, model_info


@dataclass(frozen=True)
class Schedule:
    """How one model is trained: AdamW, linear warm-up, cosine decay to zero.

    Attributes:
        steps: Optimizer steps.
        batch_size: Images or windows per step.
        learning_rate: Peak.
        weight_decay: Of matrices and filters; biases and norms have none.
        label_smoothing: Of the cross-entropy.
        channels_last: Memory layout of images; faster for larger convolutions.
        augmented: Whether the dataset's augmentation is used.
        teacher: A trained model of the same dataset whose softened predictions are learned, too (Hinton et al. 2015).
        finish: Further steps, in a second cosine cycle from a quarter of the rate, on samples that are not augmented:
            the model ends on such as it will meet (Touvron et al. 2019).
        averaging: Decay per step of the running average of the weights that is kept; 0 keeps the last ones.
        consistency: Weight of the divergence between two passes with different dropout (R-Drop, Liang et al. 2021).
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float = 0.0
    channels_last: bool = False
    augmented: bool = True
    teacher: str = ""
    finish: int = 0
    averaging: float = 0.0
    consistency: float = 0.0


SCHEDULES = {
    "digits_resnet": Schedule(700, 64, 4e-3, 0.05, 0.05),
    "digits_mobilenet": Schedule(900, 64, 4e-3, 0.05, 0.05),
    "digits_vit": Schedule(2000, 64, 1.5e-3, 0.05, 0.05),
    "python_gpt": Schedule(5200, 32, 3e-3, 0.05),
    "fashion_resnet20": Schedule(9400, 128, 4e-3, 0.05, 0.05, channels_last=True),
    "fashion_mlp": Schedule(9400, 128, 1e-3, 0.1, 0.05, augmented=False),
    "fashion_mobilenetv2": Schedule(5640, 128, 5e-3, 0.05, channels_last=True, teacher="fashion_resnet20"),
    "sst2_encoder": Schedule(900, 128, 1.5e-3, 0.1, 0.05, averaging=0.995, consistency=3.0),
    "fashion_vit": Schedule(4690, 128, 2e-3, 0.05, 0.05, channels_last=True, finish=1876),
}


_CHECKPOINT_EVERY = 500
_FINISH_RATE = 0.25
_TEMPERATURE, _OWN_SHARE = 2.0, 0.3  # of what a teacher softens, and of the labels beside it


def train(name: str, seed: int = 0, steps: int | None = None) -> tuple[nn.Module, dict[str, float]]:
    """Train one embedded model.

    Args:
        name: A model of `SCHEDULES`.
        seed: Of weights, order and augmentation.
        steps: Fewer (or more) optimizer steps than the schedule's.

    Returns:
        The model in eval mode and its test scores. An interrupted run goes on from its last checkpoint.

    Raises:
        ModelError: if the model is not one that this project trains.
    """
    if name not in SCHEDULES:
        raise ModelError(f"{name!r} is not trained here; allowed: " + ", ".join(SCHEDULES))
    schedule, info = SCHEDULES[name], model_info(name)
    torch.manual_seed(seed)
    model, data = build_model(name), load_dataset(info.dataset)
    if schedule.channels_last:
        model = model.to(memory_format=torch.channels_last)
    kept = _cycle(model, info, data, replace(schedule, steps=steps or schedule.steps), seed, f"{name}.{seed}")
    if schedule.finish:
        rate = schedule.learning_rate * _FINISH_RATE
        last = replace(schedule, steps=schedule.finish, learning_rate=rate, augmented=False)
        kept = _cycle(model, info, data, last, seed + 1, f"{name}.{seed}.finish")
    for checkpoint in WEIGHTS_DIR.glob(f"{name}.{seed}.*checkpoint"):
        checkpoint.unlink()
    return kept.eval(), evaluate(kept, info, data)


def _cycle(model: nn.Module, info: ModelInfo, data: Dataset, schedule: Schedule, seed: int, title: str) -> nn.Module:
    """Train over one warm-up and decay, from the last checkpoint where there is one; the average if one is kept."""
    teacher = load_model(schedule.teacher) if schedule.teacher else None
    optimizer = torch.optim.AdamW(_groups(model, schedule.weight_decay), lr=schedule.learning_rate, betas=(0.9, 0.98))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, schedule.steps))
    average = AveragedModel(model, multi_avg_fn=_averaged(schedule.averaging)) if schedule.averaging else None
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    parts |= {} if average is None else {"average": average}
    checkpoint = WEIGHTS_DIR / f"{title}.{schedule.steps}.checkpoint"
    done = _resume(checkpoint, parts)
    model.train()
    with tqdm(total=schedule.steps, desc=title, file=sys.stderr, mininterval=1.0, initial=done) as bar:
        for step, (inputs, targets) in enumerate(_batches(info, data, schedule, schedule.steps, seed)):
            if step < done:
                continue
            loss = _step(model, teacher, inputs, targets, schedule, optimizer)
            scheduler.step()
            if average is not None:
                average.update_parameters(model)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == schedule.steps:
                torch.save({"step": step + 1, **{k: part.state_dict() for k, part in parts.items()}}, checkpoint)
    return model if average is None else average.module


def _averaged(decay: float) -> Callable[..., None]:
    """An exponential average that follows the weights closely at first, when there is little to average."""

    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], count: Tensor | int) -> None:
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (float(count) + 1) / (float(count) + 10)))

    return update


def _resume(checkpoint: Path, parts: dict[str, Any]) -> int:
    """Load a checkpoint of the same run, if there is one; returns the steps it has behind it."""
    if not checkpoint.is_file():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _step(
    model: nn.Module, teacher: nn.Module | None, inputs: Tensor, targets: Tensor, schedule: Schedule,
    optimizer: torch.optim.Optimizer,
) -> float:
    if schedule.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    with _products():
        logits = model(inputs).float()
    loss = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), label_smoothing=schedule.label_smoothing)
    if schedule.consistency:
        with _products():
            again = model(inputs).float()
        other = F.cross_entropy(again.flatten(0, -2), targets.flatten(), label_smoothing=schedule.label_smoothing)
        loss = (loss + other + schedule.consistency * _divergence(logits, again)) / 2
    if teacher is not None:
        loss = _OWN_SHARE * loss + (1 - _OWN_SHARE) * _teaching(logits, teacher, inputs)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    """Sum of the two Kullback-Leibler divergences between predictions, mean over samples."""
    one, two = (logits.flatten(0, -2).log_softmax(-1) for logits in (first, second))
    ways = ((one, two), (two, one))
    return sum((F.kl_div(a, b, log_target=True, reduction="batchmean") for a, b in ways), torch.zeros(()))


def _products() -> torch.autocast:
    """Products in bfloat16 where the processor has instructions for them: two to three times as fast there, and many
    times slower elsewhere."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _teaching(logits: Tensor, teacher: nn.Module, inputs: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's softened predictions, times the squared temperature."""
    with torch.no_grad(), _products():
        known = F.log_softmax(teacher(inputs).float() / _TEMPERATURE, -1)
    own = F.log_softmax(logits / _TEMPERATURE, -1)
    return F.kl_div(own, known, reduction="batchmean", log_target=True) * _TEMPERATURE**2


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _rate(step: int, steps: int) -> float:
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _batches(
    info: ModelInfo, data: Dataset, schedule: Schedule, steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end of an epoch; `steps` of them."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    by_length = info.task == "text_classification"
    for _ in range(steps):
        while len(order) < schedule.batch_size:
            epoch = torch.randperm(len(data.train), generator=generator)
            if by_length:
                epoch = _of_like_length(epoch, data.train.inputs, schedule.batch_size, generator)
            order = torch.cat([order, epoch])
        rows, order = order[: schedule.batch_size], order[schedule.batch_size :]
        raw = data.train.inputs[rows]
        if schedule.augmented:
            raw = data.augment(raw, generator)
        inputs = prepare_inputs(info, raw)
        yield _trimmed(inputs) if info.task == "text_classification" else inputs, data.train.targets[rows]


def _of_like_length(epoch: Tensor, ids: Tensor, batch_size: int, generator: torch.Generator) -> Tensor:
    """An epoch's order in which the phrases of a batch are about equally long, so that little padding is computed.

    Phrases are sorted by length within random pools of 50 batches, and the batches come in random order.
    """
    lengths = (ids != 0).sum(1)
    pools = epoch.split(50 * batch_size)
    batches = [b for pool in pools for b in pool[lengths[pool].argsort(stable=True)].split(batch_size)]
    whole = [batch for batch in batches if len(batch) == batch_size]
    return torch.cat([whole[i] for i in torch.randperm(len(whole), generator=generator)])


def _trimmed(ids: Tensor) -> Tensor:
    """Token ids (N, T) without the columns that are nothing but padding; short phrases train in less time."""
    return ids[:, : max(1, int((ids != 0).any(0).sum()))]


@torch.inference_mode()
def evaluate(model: nn.Module, info: ModelInfo, data: Dataset) -> dict[str, float]:
    """Top-1 or next-character accuracy on the test split, and bits per character of a language model."""
    correct, bits, count = 0, 0.0, 0
    for start in range(0, len(data.test), 60):
        targets = data.test.targets[start : start + 60].flatten()
        logits = model(prepare_inputs(info, data.test.inputs[start : start + 60])).flatten(0, -2)
        correct += int((logits.argmax(-1) == targets).sum())
        bits += float(F.cross_entropy(logits, targets, reduction="sum")) / math.log(2)
        count += len(targets)
    scores = {"accuracy": correct / count}
    if info.task == "language_modeling":
        scores["bits_per_character"] = bits / count
    return scores


def save(name: str, model: nn.Module, scores: dict[str, float], seed: int) -> dict[str, Any]:
    """Write weights and card; returns the card."""
    WEIGHTS_DIR.mkdir(exist_ok=True)
    path = WEIGHTS_DIR / f"{name}.safetensors"
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(tensors, path)
    info = model_info(name)
    card = {
        "name": name, "task": info.task, "dataset": info.dataset, **scores,
        "parameters": sum(p.numel() for p in model.parameters()),
        "command": f"python -m models.train {name}" + (f" --seed {seed}" if seed else ""),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(), "torch": torch.__version__,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    (WEIGHTS_DIR / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong input."""
    parser = argparse.ArgumentParser(prog="python -m models.train", description="Train an embedded model.")
    parser.add_argument("name", choices=sorted(SCHEDULES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="other than the schedule's")
    options = parser.parse_args(arguments)
    model, scores = train(options.name, options.seed, options.steps)
    sys.stdout.write(json.dumps(save(options.name, model, scores, options.seed), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
