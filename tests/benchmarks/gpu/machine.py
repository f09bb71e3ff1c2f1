"""What a result was measured on."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from typing import Any

from cxrssl.core.code import hash_code

CLOCKS = ("clocks.sm", "clocks.max.sm", "clocks.mem", "power.draw", "power.limit", "temperature.gpu")


def describe_machine(device: str) -> dict[str, Any]:
    """Return device, driver, versions and the hash of the program's code. Raises: SystemExit without such a device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device that torch can use; --device cpu rehearses every case")
    about: dict[str, Any] = {"device": "cpu", "cpu": platform.machine()}
    if device == "cuda":
        found = torch.cuda.get_device_properties(0)
        about = {"device": found.name, "memory_bytes": found.total_memory, "compute": f"{found.major}.{found.minor}"}
        about |= {"driver": _ask_driver("driver_version").get("driver_version"), "clocks": read_clocks()}
        about |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return about | {
        "num_cores": len(os.sched_getaffinity(0)),
        **{name: metadata.version(name) for name in ("torch", "timm", "numpy")},
        "python": sys.version.split()[0],
        "date": datetime.date.today().isoformat(),
        "code": hashlib.sha256(json.dumps(hash_code()).encode()).hexdigest()[:16],
    }


def read_clocks() -> dict[str, str]:
    """Return clocks, power and temperature of the GPU as its driver tells them; nothing where it tells none."""
    return _ask_driver(*CLOCKS)


def _ask_driver(*names: str) -> dict[str, str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    words = [tool, f"--query-gpu={','.join(names)}", "--format=csv,noheader", f"--id={device}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(names, values, strict=False)) if done.returncode == 0 else {}
