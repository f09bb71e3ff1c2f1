"""One peer of the store's benchmark, in an environment of its own: log, size, one metric of all runs.

    uv run --no-project --with PACKAGE python tests/benchmarks/store_peer.py PEER FOLDER RUNS STEPS

Prints JSON: log_us (median and 99th percentile of a step of six metrics), bytes, read_s. Imports nothing of cxrssl.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("loss", "cross_entropy", "target_entropy", "feature_std", "lr", "films_per_s")
Step = dict[str, float]


def log_runs(num_runs: int, num_steps: int, start: Callable[[int], tuple[Callable[[int, Step], None], Any]]) -> Any:
    """Log as many steps of as many runs; return the microseconds that each took."""
    rng, taken = random.Random(0), []
    for run in range(num_runs):
        log, end = start(run)
        for step in range(num_steps):
            values = {name: rng.gauss(0.0, 1.0) for name in NAMES}
            began = time.perf_counter()
            log(step, values)
            taken.append(1e6 * (time.perf_counter() - began))
        end()
    return taken


def tensorboard(folder: Path, num_runs: int, num_steps: int) -> tuple[list[float], Callable[[], int]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboardX import SummaryWriter

    def start(run: int) -> Any:
        writer = SummaryWriter(str(folder / f"run{run}"))

        def log(step: int, values: Step) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        return log, writer.close

    def read() -> int:
        found = 0
        for path in sorted(folder.iterdir()):
            events = EventAccumulator(str(path), size_guidance={"scalars": 0})
            events.Reload()
            found += len(events.Scalars("loss"))
        return found

    return log_runs(num_runs, num_steps, start), read


def mlflow(folder: Path, num_runs: int, num_steps: int) -> tuple[list[float], Callable[[], int]]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    folder.mkdir()
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("bench", artifact_location=str(folder / "artefacts"))
    ids = []

    def start(run: int) -> Any:
        run_id = client.create_run(experiment).info.run_id
        ids.append(run_id)

        def log(step: int, values: Step) -> None:
            client.log_batch(run_id, [Metric(name, value, 1, step) for name, value in values.items()])

        return log, lambda: None

    taken = log_runs(num_runs, num_steps, start)
    return taken, lambda: sum(len(client.get_metric_history(run_id, "loss")) for run_id in ids)


def trackio(folder: Path, num_runs: int, num_steps: int) -> tuple[list[float], Callable[[], int]]:
    os.environ |= {"TRACKIO_DIR": str(folder), "TRACKIO_TELEMETRY": "0", "HF_HUB_OFFLINE": "1"}
    from trackio.sqlite_storage import SQLiteStorage

    folder.mkdir()

    def start(run: int) -> Any:
        def log(step: int, values: Step) -> None:
            SQLiteStorage.log("bench", f"run{run}", values, step=step)

        return log, lambda: None

    taken = log_runs(num_runs, num_steps, start)
    return taken, lambda: sum(len(SQLiteStorage.get_logs("bench", f"run{run}")) for run in range(num_runs))


def main() -> None:
    """Measure one peer."""
    peer, folder, num_runs, num_steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    taken, read = {"tensorboard": tensorboard, "mlflow": mlflow, "trackio": trackio}[peer](folder, num_runs, num_steps)
    began = time.perf_counter()
    found = read()
    read_s = time.perf_counter() - began
    if found != num_runs * num_steps:
        raise SystemExit(f"{peer} gave back {found} of {num_runs * num_steps} values")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    parts = statistics.quantiles(taken, n=100)
    print(json.dumps({"log_us": [parts[49], parts[98]], "bytes": size, "read_s": read_s}))


if __name__ == "__main__":
    main()
