"""The settings of the place where a run is computed: `--machine key=value`.

Never: part of a run's id. On the CPU none of them changes a number as long as `num_threads` and `compile` stay; a run
does not resume on another device or with another `compile`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cxrssl.core.config import setting


@dataclass(frozen=True)
class Machine:
    device: str = setting("auto", options=("auto", "cpu", "cuda"))
    """Where the run is computed; `auto` takes a GPU if there is one."""
    num_threads: int = setting(0, low=0, high=4096)
    """CPU threads of torch; 0 leaves torch's choice."""
    micro_batch: int = setting(0, low=0, high=65536)
    """Films encoded at a time, to save memory at the price of encoding the anchors twice; 0 takes the batch at once.
    The numbers stay those of the batch."""
    compile: str = setting("auto", options=("auto", "on", "graphs", "off"))
    """Whether encoders and loss run as compiled graphs: `auto` compiles on a GPU. Without a compiler nothing does.
    `graphs` also records the launches of a step and replays them, for batches that are encoded at once."""
    log_every: int = setting(1, low=1, high=1_000_000)
    """Steps between records of the journal."""
    deterministic: bool = setting(False, needs="device != cpu")
    """Let a GPU use only bit-reproducible kernels; a CPU always does."""
    checkpoint_every: int | None = setting(None, low=1, high=1_000_000_000)
    """Steps between checkpoints; left out: 100, or more where saving would take over 1 % of the time."""
    keep_checkpoints: int = setting(2, low=1, high=1000)
    """Checkpoints that are kept; older ones are removed."""
    on_alarm: str = setting("warn", options=("warn", "stop"))
    """What a collapse or a jump of the loss leads to: `warn`, or `stop` with exit code 5."""
    health_every: int = setting(50, low=1, high=1_000_000)
    """Steps between measurements of the features' rank."""
    probe_every: int | None = setting(None, low=0, high=1_000_000)
    """Steps between probes of the target encoder on a small panel; 0 makes none; left out: 200, or more where probing
    would take over 1 % of the time."""
    feed: str = setting("", options=("", "resident", "ahead"))
    """Where films wait for their step: `resident` on the device or read `ahead`; empty lets a GPU hold them if they fit
    beside what its first steps took."""
    stall_s: float = setting(60.0, low=0.01, high=86_400.0)
    """Seconds that a step waits for its films before the run ends with an error."""
