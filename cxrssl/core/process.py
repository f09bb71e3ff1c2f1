"""Which process is it, and is it still the same one? A process id alone is reused; with its start time it is not.

Also: whether it is one of several that were started together, and which; and the memory it holds.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def describe_process() -> dict[str, Any]:
    """Return what identifies this process: host, boot, PID namespace, process id, start in clock ticks since boot."""
    place = {"host": platform.node(), "boot": boot_mark(), "pid_namespace": pid_namespace()}
    return {**place, "pid": os.getpid(), "pid_started": start_ticks(os.getpid())}


def pid_namespace() -> str:
    """Return the name of the space in which process ids are counted: containers have each their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "unknown"


def start_ticks(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot, or None when there is none or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The command name is in parentheses and may hold spaces; state and start time are fields 3 and 22 of proc(5).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(process: dict[str, Any]) -> bool | None:
    """Return whether the described process runs, or None when it ran on another host or in another container."""
    if process.get("host") != platform.node():
        return None
    if process.get("boot", boot_mark()) != boot_mark():
        return False  # the machine was started again
    if process.get("pid_namespace", pid_namespace()) != pid_namespace():
        return None
    return start_ticks(int(process["pid"])) == process.get("pid_started")


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def bounded_workers(asked: int, usual: int, most: int) -> int:
    """Return how many workers to start: `asked`, `usual` for 0, and no more than `most`, which is then said."""
    if asked > most:
        sys.stderr.write(f"cxrssl: note: {most:,} workers, not {asked:,}: more would only wait for this machine\n")
    return min(asked or usual, most)


@functools.cache
def boot_mark() -> str:
    """Return the beginning of the id that the kernel took when it was started; containers on one machine share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "unknown"


def owner_mark() -> str:
    """Return a part for the name of what this process is building, `<host>~<boot>~<random>`: no other has the same.

    A process id would not do: two containers both have a process 1.
    """
    host = re.sub("[^A-Za-z0-9-]", "", platform.node())[:24]
    return f"{host}~{boot_mark()}~{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that torchrun or a SLURM job has started for one run."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int


def find_launch() -> Launch | None:
    """Return the place of this process, None when it was started alone. Nothing else reads torchrun's environment."""
    if "RANK" not in os.environ:
        return None
    defaults = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    return Launch(*(int(os.environ.get(name, default)) for name, default in defaults.items()))


def is_first() -> bool:
    """Return whether this process speaks for all of its run: it is alone, or number 0."""
    place = find_launch()
    return place is None or place.rank == 0


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for what is allocated next, instead of giving it back to the system.

    A training step frees and allocates the same gigabytes each time; to fetch them again costs it up to a tenth. Other
    C libraries than glibc are left as they are.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of mallopt(3)
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(mmap_threshold, 2**25)  # the largest that it takes
        set_option(trim_threshold, 2**31 - 1)


def peak_rss_bytes() -> int:
    """Return the most resident memory this process has held. getrusage would count that of its parent at the fork."""
    return _status_bytes("VmHWM")


def rss_bytes() -> int:
    """Return the resident memory that this process holds now."""
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
