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
def machine_key() -> str:
    """Identity of what a latency depends on beside the graph; 12 hexadecimal digits."""
    record = environment_record()
    parts = {name: record[name] for name in ("cpu", "architecture", "cores", "instructions", "onnxruntime")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
