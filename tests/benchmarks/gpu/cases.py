"""What is measured, in the order in which it is worth having."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

GOALS = {("vit-tiny", 256): 10_000, ("vit-small", 256): 3_000}
"""Films/s of one H100."""
PUBLISHED_BACKBONE = "vit-tiny-6h"
SMALL_SETTINGS = (
    "model.patch_px=8", "views.global_px=32", "views.focal_px=16", "views.num_focal=2", "objective.num_prototypes=8",
)  # fmt: skip
"""Of the rehearsal, which shows that every case runs and measures nothing."""


@dataclass(frozen=True)
class Case:
    """What one process measures."""

    kind: str
    """A key of `measure.WORK`."""
    backbone: str = ""
    recipe: str = "strict"
    batch_size: int = 0
    compile: str = "off"
    attention: str = ""
    """`flash` forbids cuDNN's kernels; empty leaves torch's choice."""
    is_deterministic: bool = False
    feed: str = "resident"
    num_steps: int = 100
    device: str = "cuda"
    run_name: str = ""
    """Of a run that another case is made of."""
    meeting: str = ""
    """A folder where as many processes as `num_meeting` wait for each other before the clock starts."""
    num_meeting: int = 1
    checkpoint_every: int = 10**9

    @property
    def is_rehearsal(self) -> bool:
        return self.device == "cpu"

    @property
    def is_timed(self) -> bool:
        """Whether it needs the machine for itself."""
        return not self.is_rehearsal and self.kind in ("run", "pair", "ranks", "published", "loader", "features")

    @property
    def is_compiled(self) -> bool:
        return self.compile != "off"

    @property
    def precision(self) -> str:
        """bf16, which many CPUs only imitate, a hundred times slower."""
        return "fp32" if self.is_rehearsal else "bf16"

    @property
    def needs_s(self) -> float:
        """Seconds below which it is not begun; half of what a GPU is thought to take."""
        if self.is_rehearsal:
            return 5.0
        return 40.0 if self.is_compiled or self.kind in ("band", "repeat") else 15.0

    @property
    def name(self) -> str:
        shape = f"{self.backbone} {self.batch_size}"
        words = [shape] if self.kind == "run" else [NAMES[self.kind], *[shape] * bool(self.backbone)]
        words += [f"{self.recipe} recipe"] * (self.recipe != "strict")
        words += [{"off": "eager", "on": "compiled", "graphs": "graphs"}[self.compile]] * bool(self.backbone)
        words += [f"{self.attention} attention"] * bool(self.attention)
        words += ["deterministic"] * self.is_deterministic + ["read ahead"] * (self.feed == "ahead")
        return ", ".join(words)


NAMES = {
    "warm": "warm",
    "train": "train",
    "band": "bf16 here beside fp32 on the CPU",
    "repeat": "repeated, and resumed after a kill",
    "bytes": "bytes of operations",
    "ranks": "one run by two processes",
    "pair": "two runs at once",
    "features": "features",
    "published": "published step, views ready",
    "loader": "published loader",
}


def list_cases(device: str, backbones: list[str], batches: list[int], num_steps: int) -> list[Case]:
    """Return all cases, the most wanted first; those that need no clock stand together."""
    base = Case("run", device=device, num_steps=num_steps)
    tiny, small = backbones[0], backbones[-1]
    # The rehearsal compiles what is about compiling; that takes most of its time.
    checked = "on" if device == "cuda" else "off"
    published = PUBLISHED_BACKBONE if device == "cuda" else tiny
    low, high = batches[0], batches[-1]

    def run(backbone: str, size: int, compile: str, **more: object) -> Case:
        return replace(base, backbone=backbone, batch_size=size, compile=compile, **more)  # type: ignore[arg-type]

    first = [run(tiny, high, "on"), run(tiny, high, "off")]
    checks = [
        replace(base, kind="band", num_steps=30 if device == "cpu" else 200),
        run(
            tiny, low, checked, kind="repeat", is_deterministic=device != "cpu", num_steps=6 if device == "cpu" else 30
        ),
        run(tiny, high, "off", kind="bytes", num_steps=2),
    ]
    wanted = [
        run(tiny, low, "graphs"),
        run(small, high, "on"),
        run(tiny, high, "graphs"),
        run(tiny, low, "on"),
        run(tiny, high, checked, attention="flash"),
        run(published, high, "off", kind="published"),
        run(published, high, checked, recipe="paper"),
        replace(base, kind="loader", batch_size=64),
        run(tiny, low, "off", kind="ranks"),
        run(tiny, low, checked, kind="pair"),
        run(tiny, high, "off", kind="features"),
        run(small, high, "graphs"),
        run(small, low, "graphs"),
        run(tiny, low, "off"),
        run(small, high, "off"),
        run(small, low, "on"),
        run(tiny, high, checked, feed="ahead"),
        run(tiny, high, "on", is_deterministic=device != "cpu"),
        run(small, low, "off"),
        run(published, low, "off", kind="published"),
        run(published, low, checked, recipe="paper"),
    ]
    return list({case.name: case for case in [*first, *checks, *wanted]}.values())


def warm_cases(cases: list[Case]) -> Iterator[Case]:
    """Yield a case for each that generates code, which only fills the cache of it; several run at once."""
    for case in cases:
        if case.kind == "run" and case.is_compiled and not case.is_rehearsal:
            yield replace(case, kind="warm", num_steps=3, run_name=f"warm{cases.index(case)}")
