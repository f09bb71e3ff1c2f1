"""Values as the short texts that tables and lines show. Pure; everything that comes from data passes `plain`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from cxrssl.core.text import plain
from cxrssl.dashboard.state import FindingRow, ProbeRow, RunRow
from cxrssl.stats.resample import Interval

NOTHING = "–"
NUMBER_WIDTH = 20
"""Of "0.734 [0.702, 0.765]" with a place to spare; a mark needs more."""
PROBE_COLUMNS = ("candidate", "AUROC", "AUPRC", "films")
FINDING_COLUMNS = ("finding", "pos/scored", "AUROC", "AUPRC")


def run_cells(run: RunRow) -> dict[str, str]:
    """Return the texts of a run's row by column."""
    return {
        "run": plain(run.run_id),
        "state": plain(run.state, 20) + (" !" if run.alarm else ""),
        "steps": steps_text(run),
        "left": short_seconds(run.left_s),
        "loss": NOTHING if run.loss is None else short_number(run.loss),
        "AUROC": NOTHING if math.isnan(run.macro_auroc) else f"{run.macro_auroc:.3f}{'*' if run.macro_mark else ''}",
        "films/s": NOTHING if math.isnan(run.films_per_s) else short_number(run.films_per_s),
        "EHR": plain(", ".join(run.ehr) or "none", 80),
        "seed": plain(run.seed, 12) or NOTHING,
    }


def probe_cells(
    probe: ProbeRow, run: RunRow | None = None, id_chars: int = 500, is_comparable: bool = True
) -> list[str]:
    """Return the texts of a candidate's row; the focused run is marked."""
    mark = "▸ " if run and probe.candidate_id == run.run_id else "  "
    name = mark + ("" if is_comparable else "≠ ") + ("[outcome] " if probe.is_outcome_used else "") + plain(probe.label)
    end = f" ({plain(probe.candidate_id).rpartition('-')[2][-8:]})" if probe.kind == "run" else ""
    if len(name) + len(end) > id_chars:
        name = name[: max(id_chars - len(end) - 1, 0)] + "…"
    return [name + end, probe.auroc.to_text(), probe.auprc.to_text(), f"{probe.num_films:,}"]


def finding_cells(finding: FindingRow) -> list[str]:
    """Return the texts of a finding's row."""
    counts = f"{finding.num_pos:,}/{finding.num_scored:,}"
    return [plain(finding.finding, 40), counts, finding.auroc.to_text(), finding.auprc.to_text()]


def widest(intervals: Iterable[Interval]) -> int:
    """Return the width of a column of numbers with intervals and marks."""
    return max([NUMBER_WIDTH, *(len(each.to_text()) for each in intervals)])


def steps_text(run: RunRow) -> str:
    """Return such as "1,204/4,000  30%"; 100% only when the last step is done."""
    if not run.num_steps:
        return f"{run.step:,}"
    return f"{run.step:,}/{run.num_steps:,} {math.floor(100 * run.frac):3d}%"


def short_number(value: float) -> str:
    """Return a number in about four significant digits."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-3:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}" if size < 1 else f"{value:#.4g}".rstrip(".")


def short_seconds(seconds: float) -> str:
    """Return a duration in at most seven characters, such as "3m05s" or "2d04h"."""
    if not math.isfinite(seconds):
        return NOTHING
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def clock_text(ts: float | None) -> str:
    """Return a local date and time."""
    if ts is None:
        return "unknown"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(ts))
    except (OverflowError, ValueError, OSError):
        return "unknown"
