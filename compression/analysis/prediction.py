"""Sensitivities from one backward pass: what compressing one layer alone would do, without executing the network.

For a small change of one layer the divergence of the network's predictions is quadratic in the change of the layer's
output. With squared gradients at that output (Fisher information) and the second moments of its inputs, every layer
at every strength costs a solve and a matrix product (HAWQ-V2, arXiv 1911.03852; FIT, arXiv 2210.08502).
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from compression.analysis.probing import Probed, Prober
from compression.artifact.packing import pack_model
from compression.calibration.fisher import output_energy
from compression.calibration.hessian import original_hessians
from compression.context import StepReport
from compression.structure.factorized import effective_weight
from compression.techniques import Technique

PREDICTION_BASIS = "Fisher information, one backward pass over the calibration samples"


def divergence_of_change(change: Tensor, hessian: Tensor, energy: Tensor) -> float:
    """Predicted divergence of a network's outputs for a change of one layer's weight, per sample.

    ``1/2 sum_c E_c (dW_c X X^T dW_c^T / N)``: the energies sum over output positions, the outputs' squared change is
    its mean over them; errors at different positions and channels are taken to be uncorrelated.

    Args:
        change: New weight minus old, (C_out, ...).
        hessian: ``2/N X X^T`` of the layer's inputs, (K, K) or (groups, K, K).
        energy: Squared gradient of the loss at each output channel, summed over positions, (C_out,).

    Returns:
        Nats for cross-entropy; 0 or more.
    """
    rows, h = change.detach().double().flatten(1), hessian.double()
    blocks = zip(rows.chunk(len(h)), h, strict=True) if h.ndim == 3 else [(rows, h)]
    squared = torch.cat([((block @ own) * block).sum(1) for block, own in blocks]) / 2
    return max(0.0, 0.5 * float((energy.double() * squared).sum()))


class Predictor(Prober):
    """Predicts what `Prober` measures, for all layers at once."""

    def predict(
        self, technique: Technique, value: Any, cancelled: Callable[[], bool]
    ) -> Iterator[tuple[str, Probed]]:
        """Predictions of each layer at one value of the technique's main knob.

        Layers that the technique cannot act on, whose shape it changes, or whose inputs have no statistics are left
        out.

        Raises:
            NotApplicableError: if the technique cannot act on the model.
            CancelledError: if `cancelled` became true.
        """
        torch.manual_seed(0)
        layers = self.layers()
        context = replace(
            self._context, include=tuple(layers), overrides={fqn: {technique.main_knob: value} for fqn in layers},
            report=StepReport(), cancelled=cancelled, corrects=False,
        )
        alone = {"scope": "layer"} if "scope" in technique.config_type.__dataclass_fields__ else {}
        config = technique.config_type(**alone, **{technique.main_knob: value})
        model = technique.function(copy.deepcopy(self._original), config, context).eval()
        hessians, energies = original_hessians(self._context), output_energy(self._context)
        sizes = _bytes_by_tensor(model)
        for fqn in layers:
            before, after = effective_weight(self._original, fqn), effective_weight(model, fqn)
            if fqn not in hessians or fqn not in energies or before is None or after is None:
                continue
            if fqn not in context.report.changed or before.shape != after.shape:
                continue
            grown = divergence_of_change(after - before, hessians[fqn], energies[fqn])
            error = self._problem.divergence_of_loss(grown / self._predictions_per_sample, self._predictions)
            size = sum(own for name, own in sizes.items() if name.startswith(f"{fqn}."))
            drop = self._problem.expected_drop(error, self._predictions, self._targets)
            yield fqn, Probed(error, drop, size, self._macs_of(model, fqn))

    @property
    def _predictions_per_sample(self) -> float:
        return len(self._predictions) / sum(map(len, self._inputs))


def _bytes_by_tensor(model: nn.Module) -> dict[str, int]:
    with TemporaryDirectory() as folder:
        return pack_model(model, Path(folder) / "model.packed").bytes_by_tensor
