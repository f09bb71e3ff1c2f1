"""What a step launches and moves on an H100, by torch's own dispatch and the real inductor, without a GPU.

    python -m tests.gpu.fake.table --write      prints the table and keeps it in tests/bench/launches.json

Eager: each operation that is not a view, and the tensors that it reads and writes. Compiled: the calls in the code that
inductor writes for sm_90, and its own count of what they read and write; a call of a library is one launch. What no
graph holds is counted as in eager. Counts, never times; a minute or two of one core for each table. With
STEP_CODE=FOLDER inductor's code is kept there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.gpu.fake.test_step import run_cases

KEPT = Path(__file__).parents[2] / "bench" / "launches.json"
RECORD: dict[str, Any] = {"columns": 8, "changes": {"ehr": {"features": ["sex", "age", "view", "position"]}}}
NO_STEP = ("features", "health", "numbers")
"""Parts that are watched and are not of every step."""
Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit-tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--ways", nargs="+", choices=("eager", "compiled"), default=["eager", "compiled"])
    parser.add_argument("--write", action="store_true", help="keep the table; read the difference before committing it")
    parser.add_argument("--set", action="append", default=[], help="further settings of the recipe")
    options = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for size in options.batches:
        for way in options.ways:
            case = describe_case(options.backbone, size, way == "compiled", options.set)
            with tempfile.TemporaryDirectory() as folder:
                found = run_cases(Path(folder), {"step": case})["step"]
            assert not found["error"], found["error"]
            rows = list_rows(found)
            print_table(f"{options.backbone}, {size} films, {way}", rows)
            kept[f"{options.backbone}, {size} films, {way}"] = rows
    if options.write:
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def describe_case(backbone: str, size: int, is_compiled: bool, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Return a case of `tests.gpu.fake.steps`: a step of real films in bf16, with the health record."""
    sizes = [f"model.backbone={backbone}", f"train.batch_size={size}", "train.precision=bf16"]
    return {"set": [*sizes, *changes], "film_px": 320, "compiled": is_compiled, **RECORD}


def list_rows(found: dict[str, Any]) -> dict[str, Row]:
    """Return launches and gigabytes by part of the step, and their sums."""
    rows: dict[str, Row] = {}
    for name, part in found["parts"].items():
        if name not in NO_STEP:
            rows[name] = {"launches": part["num_launches"], "gigabytes": part["num_bytes"] / 1e9}
    for graph in found["graphs"]:
        name = graph["name"] + ", backward" * graph["is_backward"]
        externs = sum(graph["externs"].values())
        rows[name] = {
            "launches": graph["num_generated"] + externs,
            "of libraries": externs,
            "gigabytes": graph["num_bytes"] / 1e9,
            "gigabytes kept": graph["kept_bytes"] / 1e9,
        }
    together = {key: sum(row.get(key, 0) for row in rows.values()) for key in ("launches", "gigabytes")}
    rows["together"] = together
    return {name: {key: round(value, 3) for key, value in row.items()} for name, row in rows.items()}


def print_table(title: str, rows: dict[str, Row]) -> None:
    sys.stdout.write(f"{title:<34} {'launches':>9} {'GB':>8}\n")
    for name, row in rows.items():
        sys.stdout.write(f"  {name:<32} {row['launches']:>9,} {row['gigabytes']:>8.2f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
