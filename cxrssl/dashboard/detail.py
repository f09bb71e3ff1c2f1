"""One run in full, as its screen shows it. Values alone.

In: RunReport of a run, what was logged last, its console. Out: RunDetail.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrssl.core.text import count_noun, plain, shell_word
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.state import Measure, ProbeRow, RunRow
from cxrssl.records.ablation import LOGS
from cxrssl.records.file import open_plain
from cxrssl.results.show import RunReport

CONSOLE_BYTES, CONSOLE_LINES = 32 << 10, 40


@dataclass(frozen=True)
class Setting:
    """A recipe key with its value, and that of the recipe it is compared with."""

    key: str
    value: str
    other: str = ""
    is_other: bool = False


@dataclass(frozen=True)
class RunDetail:
    """A run."""

    run: RunRow | None = None
    against: str = ""
    """What its recipe is compared with: a run, or the default."""
    settings: tuple[Setting, ...] = ()
    command: tuple[str, ...] = ()
    """Lines for a shell."""
    events: tuple[Mapping[str, Any], ...] = ()
    checkpoints: tuple[tuple[str, int], ...] = ()
    """Name and bytes."""
    disk: tuple[tuple[str, int], ...] = ()
    disk_bytes: tuple[int, int] | None = None
    """Free on the disk with the run's folder, and its size."""
    needs: str = ""
    """What was made of it, in words."""
    audit: tuple[str, ...] = ()
    """What the evaluations say of leaks."""
    probes: tuple[ProbeRow, ...] = ()
    latest: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    console: tuple[str, ...] = ()
    console_path: str = ""
    num_steps_per_epoch: int = 0
    versions: str = ""
    is_reading: bool = False


def list_settings(run: RunRow, different: Mapping[str, str], others: Mapping[str, str]) -> list[Setting]:
    """Return all settings of a run in the order of its recipe.

    `different` has those of the default that are other; `others` all of another run, which is compared in its place.
    """
    found = []
    for key, value in run.recipe.items():
        if others:
            is_other = others.get(key) != value
            found.append(Setting(key, value, others.get(key, "(none)") if is_other else "", is_other))
        else:
            found.append(Setting(key, value, different.get(key, ""), key in different))
    return found


def describe_audit(probes: Sequence[ProbeRow], leaks: Sequence[str], run: RunRow) -> tuple[str, ...]:
    """Return what is known of leaks: what evaluations state, and the command that looks for all of them."""
    said = [f"stated by an evaluation: {plain(leak, 200)}" for leak in dict.fromkeys(leaks) if leak]
    said += [] if said or not probes else [f"no leak is stated by its {count_noun(len(probes), 'evaluation')}"]
    cohort = "" if run.members else f"{shell_word(run.cohort)} "
    return (*said, f"to look for all: cxrssl cohort audit {cohort}--against {shell_word(run.run_id)}")


def find_console(workspace: Workspace, run_id: str, ablations: Sequence[str]) -> Path | None:
    """Return the log of a run that an ablation or SLURM started; one that was started by hand has none."""
    places = [workspace.ablations / name / LOGS / f"{run_id}.log" for name in ablations]
    jobs = workspace.jobs / run_id
    if jobs.is_dir():
        places += sorted(jobs.glob("*.out")) + sorted(jobs.glob("*.err"))
    return next((path for path in reversed(places) if path.is_file() and not path.is_symlink()), None)


def measure_disk(folder: Path) -> tuple[int, int] | None:
    """Return what is free on the disk that has a folder, and its size; None where the system does not say."""
    try:
        found = shutil.disk_usage(folder)
    except OSError:
        return None
    return found.free, found.total


def read_console(path: Path | None) -> tuple[str, ...]:
    """Return the last lines of a log; of a line that was written over, as progress bars do, what was written last."""
    if path is None:
        return ()
    try:
        with open_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(max(size - CONSOLE_BYTES, 0))
            text = file.read(CONSOLE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return tuple(deque((plain(line, 400) for line in lines if line.strip()), CONSOLE_LINES))


def make_detail(run: RunRow, report: RunReport, **known: Any) -> RunDetail:
    """Return a run in full."""
    about = report.record.description
    return RunDetail(
        run=run,
        command=report.command,
        events=report.events,
        checkpoints=tuple((piece.name, piece.num_bytes) for piece in report.checkpoints),
        disk=tuple((piece.name, piece.num_bytes) for piece in report.disk),
        needs=report.needs.sentence,
        num_steps_per_epoch=about.steps_per_epoch,
        versions=", ".join(f"{name} {each}" for name, each in about.code_facts.items()),
        measures=run.measures,
        **known,
    )
