"""Hessians of layers' inputs against loops over positions, their cache, damping and remembered factors."""

import copy
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from compression.calibration import hessian as module
from compression.calibration.hessian import collect_hessians, damped, fitting_hessian, input_rows, original_hessians
from compression.core.errors import CancelledError
from compression.solvers import factors
from compression.solvers.factors import ordered_factor, remembered, upper_factor
from tests.solvers.problems import layer
from tests.techniques.networks import subject

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {}, "stride": {"stride": 2}, "padding": {"padding": (1, 2)}, "dilation": {"dilation": 2, "padding": 1},
    "same": {"padding": "same"}, "valid": {"padding": "valid"}, "grouped": {"groups": 2, "padding": 1},
    "depthwise": {"groups": 4, "stride": 2, "padding": 1}, "reflect": {"padding": 1, "padding_mode": "reflect"},
    "circular": {"padding": "same", "padding_mode": "circular"},
    "replicate": {"padding": 1, "padding_mode": "replicate"},
}


def patches(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Inputs of each output position, (G, positions, K), by explicit loops."""
    if isinstance(conv.padding, str):
        vertical = [d * (k - 1) // 2 if conv.padding == "same" else 0
                    for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    else:
        vertical = list(conv.padding)
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(x, (vertical[1], vertical[1], vertical[0], vertical[0]), mode=mode)
    reach = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    per_group, rows = conv.in_channels // conv.groups, []
    for group in range(conv.groups):
        own = padded[:, group * per_group : (group + 1) * per_group]
        rows.append([
            image[:, top : top + reach[0] : conv.dilation[0], left : left + reach[1] : conv.dilation[1]].flatten()
            for image in own
            for top in range(0, own.shape[2] - reach[0] + 1, conv.stride[0])
            for left in range(0, own.shape[3] - reach[1] + 1, conv.stride[1])
        ])
    return torch.stack([torch.stack(group) for group in rows])


@pytest.mark.parametrize("settings", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_convolutions_equal_loops_over_positions(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 8, 3, bias=False, **settings), torch.randn(40, 4, 7, 6)
    seen = patches(conv, x)
    output = torch.einsum("grk,gpk->grp", conv.weight.flatten(1).unflatten(0, (conv.groups, -1)), seen)
    torch.testing.assert_close(output.flatten(0, 1).sum(1), conv(x).sum((0, 2, 3)), rtol=1e-3, atol=1e-3)
    found = collect_hessians(nn.Sequential(conv), x, subject("residual").context)["0"]
    wanted = 2 / seen.shape[1] * seen.transpose(1, 2) @ seen
    torch.testing.assert_close(found, wanted if conv.groups > 1 else wanted[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 5), (40, 3, 5)])
def test_linear_layers_equal_a_loop_over_tokens(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    found = collect_hessians(nn.Sequential(nn.Linear(5, 2)), x, subject("residual").context)["0"]
    tokens = x.reshape(-1, 5)
    wanted = 2 / len(tokens) * sum(torch.outer(t, t) for t in tokens)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_rows_are_a_bounded_sample_of_columns() -> None:
    conv, x = nn.Conv2d(2, 3, 3), torch.randn(6, 2, 10, 10)
    every = input_rows(conv, x, 10**6)
    sample = input_rows(conv, x, 50)
    assert every.shape == (18, 6 * 64)
    assert 25 <= sample.shape[1] <= 50
    assert all((every == column[:, None]).all(0).any() for column in sample.t())


def test_only_the_asked_layers_are_observed_and_hooks_are_removed() -> None:
    made = subject("residual")
    found = collect_hessians(made.model, made.context.calibration_inputs, made.context, frozenset({"classifier"}))
    assert list(found) == ["classifier"]
    assert not any(m._forward_pre_hooks for m in made.model.modules())


def test_disk_cache_is_written_once_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = subject("depthwise", cache_dir=tmp_path, model_key="on disk").context
    first = original_hessians(context)
    assert original_hessians(context) is first
    assert sorted(p.suffix for p in (tmp_path / "hessians").iterdir()) == [".lock", ".safetensors"]
    monkeypatch.setattr(module, "_cache", type(module._cache)())
    monkeypatch.setattr(module, "collect_hessians", None)  # a second pass over the data would fail
    again = original_hessians(context)
    assert again.keys() == first.keys()
    assert all(torch.equal(again[fqn], first[fqn]) for fqn in first)
    with pytest.raises(TypeError):
        original_hessians(subject("depthwise", cache_dir=tmp_path, model_key="another").context)


def test_one_process_collects_and_the_others_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = original_hessians(subject("depthwise", cache_dir=tmp_path, model_key="waited for").context)
    kept = next((tmp_path / "hessians").glob("*.safetensors"))
    aside = kept.rename(tmp_path / "aside")
    monkeypatch.setattr(module, "_cache", type(module._cache)())
    monkeypatch.setattr(module, "collect_hessians", None)  # a second pass over the data would fail
    looks: list[bool] = []

    def look() -> bool:  # after the first look the other process is done
        if not looks:
            aside.rename(kept)
            other.release()
        looks.append(True)
        return False

    other = FileLock(kept.with_suffix(".lock"))
    other.acquire()
    context = subject("depthwise", cache_dir=tmp_path, model_key="waited for", cancelled=look).context
    again = original_hessians(context)
    assert looks
    assert all(torch.equal(again[fqn], first[fqn]) for fqn in first)


def test_a_cancel_ends_the_wait_for_another_process(tmp_path: Path) -> None:
    context = subject("depthwise", cache_dir=tmp_path, model_key="cancelled", cancelled=lambda: True).context
    path = module._path(context)
    assert path is not None
    path.parent.mkdir()
    with FileLock(path.with_suffix(".lock")), pytest.raises(CancelledError):
        original_hessians(context)


def test_hessian_fits_only_an_unchanged_shape() -> None:
    made = subject("depthwise")
    model, fqn = copy.deepcopy(made.model), "blocks.0.depthwise.0"
    assert fitting_hessian(fqn, model, made.context).shape == (32, 9, 9)
    model.set_submodule(fqn, nn.Conv2d(16, 16, 3, groups=16))
    model.classifier = nn.Linear(12, 5)
    model.unknown = nn.Linear(16, 5)
    assert all(fitting_hessian(name, model, made.context) is None for name in (fqn, "classifier", "unknown"))


def test_damping_and_dead_inputs() -> None:
    plain = torch.tensor([[2.0, 0.5, 0.0], [0.5, 4.0, 0.0], [0.0, 0.0, 0.0]])
    hessian = torch.stack([plain, 10 * torch.eye(3)])
    wanted = torch.tensor([[2.02, 0.5, 0.0], [0.5, 4.02, 0.0], [0.0, 0.0, 1.02]], dtype=torch.float64)
    torch.testing.assert_close(damped(plain), wanted)
    torch.testing.assert_close(damped(hessian), torch.stack([wanted, 10.1 * torch.eye(3, dtype=torch.float64)]))
    assert torch.equal(plain.diagonal(), torch.tensor([2.0, 4.0, 0.0]))
    assert damped(plain) is damped(plain)


def test_remembered_gives_the_same_object_until_the_tensor_is_gone() -> None:
    hessian = torch.eye(4)
    first = remembered(hessian, "copy", torch.clone)
    released = weakref.ref(first)
    assert remembered(hessian, "copy", torch.clone) is first
    assert remembered(hessian, "other", torch.clone) is not first
    assert remembered(torch.eye(4), "copy", torch.clone) is not first
    assert remembered(hessian[None], "copy", torch.clone) is remembered(hessian[None], "copy", torch.clone)
    assert remembered(hessian[None], "copy", torch.clone).shape == (1, 4, 4)
    del first, hessian
    gc.collect()
    assert released() is None


def test_what_is_remembered_stays_within_the_memory_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "_MOST_BYTES", factors._bytes(factors._known) + 4 * 100 * 100)
    first, second = torch.zeros(100, 100), torch.zeros(100, 100)
    assert remembered(first, "copy", torch.clone) is remembered(first, "copy", torch.clone)
    assert remembered(second, "copy", torch.clone) is not remembered(second, "copy", torch.clone)
    del first
    assert remembered(second, "copy", torch.clone) is remembered(second, "copy", torch.clone)


def test_factors_are_those_of_the_inverse() -> None:
    hessian = layer(0, 2)[1]
    inverse = torch.linalg.inv(hessian)
    upper = upper_factor(hessian)
    torch.testing.assert_close(upper.transpose(1, 2) @ upper, inverse)
    torch.testing.assert_close(upper.triu(), upper)
    order, ordered = ordered_factor(hessian)
    for group in range(2):
        columns = order[group]
        assert (hessian[group].diagonal()[columns].diff() <= 0).all()
        torch.testing.assert_close(ordered[group].t() @ ordered[group], inverse[group][columns][:, columns])
