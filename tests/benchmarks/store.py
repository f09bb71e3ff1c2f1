"""The store at the size of a long project, beside what others keep runs in: log, fold, rebuild, read.

    uv run python -m tests.benchmarks.store              # 200 runs x 20,000 steps x 6 metrics, 1.2 GB of disk
    uv run python -m tests.benchmarks.store --runs 20 --peer-steps 500

Four writers log at once; their journals then stand for all runs. Peers log fewer steps, each in an environment that uv
makes for it; their sizes and times are also given for all the rows, as if they grew with them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.core.journal import Journal
from cxrssl.core.process import peak_rss_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.results.store import fold_store, rebuild_store, refresh_store
from tests.benchmarks.store_peer import NAMES
from tests.records.folders import make_run

PEERS = {"tensorboard": ["tensorboard", "tensorboardX", "setuptools<81"], "mlflow": ["mlflow"], "trackio": ["trackio"]}
NEW_ROWS = 10_000
WRITERS = 4


def write(path: Path, num_steps: int, first: int = 0) -> list[float]:
    """Log steps as a trainer does; return the microseconds that each took."""
    rng, journal, taken = random.Random(str(path)), Journal(path), []
    for step in range(first, first + num_steps):
        record = {"step": step, "epoch": step / 100, **{name: rng.gauss(0.0, 1.0) for name in NAMES}}
        began = time.perf_counter()
        journal.log(record)
        taken.append(1e6 * (time.perf_counter() - began))
    journal.close()
    return taken


def timed(do: Callable[[], Any]) -> dict[str, float]:
    """Return how long a call takes, on the clock and of all cores."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    do()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return {"wall_s": wall, "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def make_workspace(root: Path, num_runs: int, num_steps: int) -> tuple[Workspace, list[float]]:
    """Return a workspace of runs whose journals four processes wrote, and how long each record took."""
    workspace = Workspace(root).create()
    workspace.mark()
    journals = [make_run(workspace, f"run-{n:03d}", end="finish") / "metrics-0001.jsonl" for n in range(num_runs)]
    words = [sys.executable, "-m", "tests.benchmarks.store", "--writer"]
    writers = [
        subprocess.Popen([*words, str(path), str(num_steps)], stdout=subprocess.PIPE) for path in journals[:WRITERS]
    ]
    taken = [value for each in writers for value in json.loads(each.communicate()[0])]
    for number, path in enumerate(journals[WRITERS:]):
        os.link(journals[number % WRITERS], path)
    return workspace, taken


def measure(workspace: Workspace, num_steps: int) -> dict[str, Any]:
    """Return what fold, rebuild and reading take."""
    found: dict[str, Any] = {"rebuild": timed(lambda: rebuild_store(workspace))}
    live = make_run(workspace, "live", num_steps=num_steps) / "metrics-0001.jsonl"
    shutil.copy(workspace.runs / "run-000/metrics-0001.jsonl", live)
    fold_store(workspace)
    write(live, NEW_ROWS // len(NAMES), num_steps)
    found["fold"] = timed(lambda: fold_store(workspace))
    found["peak_bytes"] = peak_rss_bytes()
    time.sleep(2.5)  # files that were just written are looked at again
    fold_store(workspace)
    found["refresh"] = timed(lambda: refresh_store(workspace))
    found["read"] = timed(lambda: read_metric(workspace))
    return {**found, "store_bytes": workspace.store.stat().st_size}


def read_metric(workspace: Workspace) -> int:
    """Read one metric of all runs."""
    with open_database(workspace.store, read_only=True) as database:
        return database.query("SELECT run_id, step, value FROM metric WHERE key = 'loss'").height


def measure_peer(peer: str, num_runs: int, num_steps: int, folder: Path) -> dict[str, Any] | str:
    """Return what a peer takes, or why it could not be measured."""
    packages = [word for package in PEERS[peer] for word in ("--with", package)]
    script = Path(__file__).with_name("store_peer.py")
    words = ["uv", "run", "--no-project", "--python", "3.11", *packages, "python", str(script), peer]
    done = subprocess.run(
        [*words, str(folder / peer), str(num_runs), str(num_steps)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no reason given"])[-1][:160]
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def show(name: str, log_us: Any, num_bytes: float, read_s: float, note: str = "") -> None:
    print(f"{name:<22}{log_us[0]:>10,.0f}{log_us[1]:>10,.0f}{num_bytes / 1e6:>12,.0f}{read_s:>10.2f}  {note}")


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--peer-runs", type=int, default=4)
    parser.add_argument("--peer-steps", type=int, default=2000)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--writer", nargs=2)
    asked = parser.parse_args()
    if asked.writer:
        print(json.dumps(write(Path(asked.writer[0]), int(asked.writer[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="store-bench-") as name:
        folder, rows = Path(name), asked.runs * asked.steps * len(NAMES)
        workspace, taken = make_workspace(folder / "ws", asked.runs, asked.steps)
        own = measure(workspace, asked.steps)
        print(f"{asked.runs} runs x {asked.steps:,} steps x {len(NAMES)} metrics: {rows:,} rows, {WRITERS} writers")
        for what in ("rebuild", "fold", "refresh"):
            about = f" of {NEW_ROWS:,} new rows" if what == "fold" else ""
            print(f"  {what}{about}: {own[what]['wall_s']:.2f} s, {own[what]['cpu_s']:.2f} s of CPU")
        print(f"  peak memory of rebuild and folds {own['peak_bytes'] / 2**20:,.0f} MiB\n")
        print(f"{'':<22}{'log p50':>10}{'p99, us':>10}{'size, MB':>12}{'read, s':>10}")
        journal = (workspace.runs / "run-000/metrics-0001.jsonl").stat().st_size * asked.runs
        both = journal + own["store_bytes"]
        show("cxrssl", np.percentile(taken, [50, 99]), both, own["read"]["wall_s"], "journals and store")
        scale = asked.runs * asked.steps / (asked.peer_runs * asked.peer_steps)
        for peer in filter(None, asked.peers.split(",")):
            found = measure_peer(peer, asked.peer_runs, asked.peer_steps, folder)
            if isinstance(found, str):
                print(f"{peer:<22}not measured: {found}")
                continue
            note = f"for all rows; {asked.peer_runs} runs x {asked.peer_steps:,} steps were measured"
            show(peer, found["log_us"], found["bytes"] * scale, found["read_s"] * scale, note)


if __name__ == "__main__":
    main()
