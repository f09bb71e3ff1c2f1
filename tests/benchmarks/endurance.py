"""A working day at 50 times its speed: a dashboard that stays open while runs start, log and end.

    uv run python -m tests.benchmarks.endurance                          # 20 minutes, 50 runs, 1,000,000 records
    uv run python -m tests.benchmarks.endurance --minutes 1 --records 20000

Ten runs at a time are written by another process. It ends with 1 when a record is missed, when memory grows, or when
the dashboard takes more than 5 % of a core once nothing happens any more.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from textual.pilot import Pilot

from cxrssl.core.journal import Journal, append_record
from cxrssl.core.process import rss_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.app import DashboardApp
from cxrssl.dashboard.screens.common import CommonScreen
from cxrssl.dashboard.state import DashboardState
from tests.dashboard.screen import settle
from tests.records.folders import make_run, metric

AT_ONCE = 10
IDLE_S, SAMPLE_S = 60.0, 5.0
MOST_IDLE_SHARE, MOST_GROWTH = 0.05, 0.10
"""Of a core; of the memory, from the second quarter of the time to the last."""
TOUR = ("2", "3", "4", "1", "down", "y", "5", "6", "escape", "7", "1", "space", "s", "x")
"""Keys that a person presses in between, one each sample."""


@dataclass
class Seen:
    """What was measured of the dashboard."""

    rss: list[int] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Share of a core, by sample."""
    idle_share: float = math.nan
    missed: list[str] = field(default_factory=list)


def write_runs(workspace: Workspace, num_runs: int, num_records: int, minutes: float) -> None:
    """Let runs start, log and end, evenly over the time."""
    turns, each = -(-num_runs // AT_ONCE), num_records // num_runs
    per_s, began = num_runs * each / (60 * minutes), time.monotonic()
    written = 0
    for turn in range(turns):
        run_ids = [f"run-{n:03d}" for n in range(turn * AT_ONCE, min((turn + 1) * AT_ONCE, num_runs))]
        folders = [make_run(workspace, run_id, num_steps=each, started_at=time.time()) for run_id in run_ids]
        journals = [Journal(folder / "metrics-0001.jsonl") for folder in folders]
        for step in range(each):
            for journal in journals:
                journal.log(metric(step))
            written += len(journals)
            time.sleep(max(began + written / per_s - time.monotonic(), 0.0))
        for folder, journal in zip(folders, journals, strict=True):
            journal.close()
            append_record(folder / "events.jsonl", {"event": "finish", "step": each})


async def watch(workspace: Workspace, writer: subprocess.Popen[bytes], num_runs: int, each: int) -> Seen:
    """Keep a dashboard open until the writer has ended, and for a while after that."""
    seen, app = Seen(), DashboardApp(workspace)
    async with app.run_test(size=(160, 50)) as pilot:
        number = 0
        while writer.poll() is None:
            await _sample(pilot, seen)
            await pilot.press(TOUR[number % len(TOUR)])
            number += 1
        await pilot.press("escape", "1")
        screen = app.screen
        assert isinstance(screen, CommonScreen), "no dialog is open"
        await settle(pilot, screen)
        seen.missed = find_missed(screen.state, num_runs, each)
        seen.rss.append(rss_bytes())
        began, before = time.monotonic(), time.process_time()
        while time.monotonic() < began + IDLE_S:
            await asyncio.sleep(1.0)
        seen.idle_share = (time.process_time() - before) / (time.monotonic() - began)
    return seen


async def _sample(pilot: Pilot[None], seen: Seen) -> None:
    began, before = time.monotonic(), time.process_time()
    await asyncio.sleep(SAMPLE_S)
    seen.cpu.append((time.process_time() - before) / (time.monotonic() - began))
    seen.rss.append(rss_bytes())


def find_missed(state: DashboardState, num_runs: int, each: int) -> list[str]:
    """Return the runs that the dashboard does not show with their last record and their end."""
    shown = {run.run_id: run for run in state.runs}
    known = {run_id: (run.state, run.step, run.measures["loss"].step) for run_id, run in shown.items() if run.measures}
    wanted = ("finished", each, each - 1)
    return [run_id for n in range(num_runs) if known.get(run_id := f"run-{n:03d}") != wanted]


def count_records(workspace: Workspace, read: Callable[[Path], int]) -> int:
    """Return how many records all journals hold."""
    return sum(read(path) for path in workspace.runs.glob("*/metrics-*.jsonl"))


def main() -> None:
    """Run it, print what was seen, and end with 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--writer", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.writer:
        write_runs(Workspace(asked.writer), asked.runs, asked.records, asked.minutes)
        return
    each = asked.records // asked.runs
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace").create()
        lengths = ["--minutes", str(asked.minutes), "--runs", str(asked.runs), "--records", str(asked.records)]
        words = [sys.executable, "-m", "tests.benchmarks.endurance", *lengths, "--writer", str(workspace.root)]
        began = time.monotonic()
        with subprocess.Popen(words) as writer:
            seen = asyncio.run(watch(workspace, writer, asked.runs, each))
        records = count_records(workspace, lambda path: path.read_bytes().count(b"\n"))
    quarter = max(len(seen.rss) // 4, 1)
    early, late = max(seen.rss[quarter : 2 * quarter] or seen.rss), max(seen.rss[-quarter:])
    growth = late / early - 1
    print(f"{asked.runs} runs and {records:,} records in {(time.monotonic() - began) / 60:.1f} minutes")
    print(
        f"memory      {early / 2**20:.0f} MiB in the second quarter, {late / 2**20:.0f} MiB in the last: {growth:+.1%}"
    )
    print(f"busy        {sum(seen.cpu) / max(len(seen.cpu), 1):.1%} of a core; idle {seen.idle_share:.1%}")
    print(f"missed      {len(seen.missed)} runs: {', '.join(seen.missed[:5]) or 'none'}")
    is_short = records != each * asked.runs
    sys.exit(bool(seen.missed or is_short or growth > MOST_GROWTH or seen.idle_share > MOST_IDLE_SHARE))


if __name__ == "__main__":
    main()
