"""The machine that a measurement belongs to. Nothing personal: no host name, user or path."""

import hashlib
import json
import os
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")
_WHOLE_BITS = 8
PAIR_LIMIT = 64  # two products of a number so large, in size, and 255 fit 16 bits

def _cpu_info() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _field(text: str, names: tuple[str, ...]) -> str:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


@lru_cache(maxsize=1)
def environment_record() -> dict[str, Any]:
    """CPU, its instruction sets, operating system and library versions."""
    text = _cpu_info()
    flags = set(_field(text, ("flags", "Features")).split())
    return {
        "cpu": _field(text, ("model name",)) or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        "instructions": " ".join(flag for flag in _FLAGS if flag in flags),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "onnxruntime": version("onnxruntime"),
    }


@lru_cache(maxsize=1)
def int8_weight_bits() -> int:
    """Bits per weight that this CPU's integer kernels multiply exactly by 8-bit activations: 8, or 7.

    Without VNNI, x86 adds pairs of products of unsigned and signed bytes in 16 bits, which overflow with 8-bit
    weights. Other architectures, and x86 processors of which nothing is known, are taken to have no such limit.
    """
    flags = set(environment_record()["instructions"].split())
    overflows = "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni", "amx_int8"}
    return 7 if overflows else 8


def int8_symbol_limit() -> int:
    """Largest whole number, in size, as which such a weight may be written."""
    return 127 if int8_weight_bits() == _WHOLE_BITS else PAIR_LIMIT


@lru_cache(maxsize=1)
def machine_key() -> str:
    """Identity of what a latency depends on beside the graph; 12 hexadecimal digits."""
    record = environment_record()
    parts = {name: record[name] for name in ("cpu", "architecture", "cores", "instructions", "onnxruntime")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
