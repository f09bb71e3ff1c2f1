"""What a run takes of its machine: cores, memory, reads from the disk, the GPU; measured every few seconds.

In: the device. Out: numbers for the journal. Never: a wait for the device, or a number that the system does not give.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import torch

from cxrssl.core.process import rss_bytes

EVERY_S = 5.0
MIB = 2**20


class Usage:
    """Knows when it last measured."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._has_gauge = device.type == "cuda"
        """Whether the driver can be asked how busy the GPU is."""
        self._since, self._cpu_s, self._read_bytes = time.perf_counter(), time.process_time(), _read_bytes()

    def measure(self) -> dict[str, float]:
        """Return what the run takes now, on average since the last time; nothing if that was a moment ago."""
        now = time.perf_counter()
        if now - self._since < EVERY_S:
            return {}
        cpu_s, read, wall_s = time.process_time(), _read_bytes(), now - self._since
        found = {"cpu_cores": (cpu_s - self._cpu_s) / wall_s, "rss_mb": rss_bytes() / MIB}
        if read is not None and self._read_bytes is not None:
            found["disk_read_mb_per_s"] = (read - self._read_bytes) / MIB / wall_s
        self._since, self._cpu_s, self._read_bytes = now, cpu_s, read
        return found | self._measure_gpu()

    def _measure_gpu(self) -> dict[str, float]:
        if self._device.type != "cuda":
            return {}
        found = {"gpu_reserved_mb": torch.cuda.memory_reserved(self._device) / MIB}
        if self._has_gauge:
            self._has_gauge = False
            # Asks the driver, not the device; it needs NVIDIA's Python package, which may be absent.
            with contextlib.suppress(ImportError, RuntimeError, OSError):
                found["gpu_busy_frac"] = torch.cuda.utilization(self._device) / 100
                self._has_gauge = True
        return found


def _read_bytes() -> int | None:
    """Return the bytes that this process has had the disk read; None where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
