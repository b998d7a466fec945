"""The worked example of CONTRIBUTING.md is a technique that runs."""

import re
from pathlib import Path

import pytest
import torch

from compression.techniques import registry
from compression.techniques.registry import get_technique
from tests.techniques.networks import subject

GUIDE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def test_the_example_of_a_technique_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TECHNIQUES", dict(registry._TECHNIQUES))
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    exec(compile(code.group(1), "example.py", "exec"), {"__name__": "example"})
    technique, made = get_technique("shrinking"), subject("residual")
    before = {name: value.clone() for name, value in made.model.named_parameters()}
    changed = technique.function(made.model, technique.config_type(amount=0.5), made.context)
    shrunk = [n for n, v in changed.named_parameters() if not torch.equal(v, before[n])]
    assert shrunk and all(torch.equal(changed.get_parameter(n), 0.5 * before[n]) for n in shrunk)
