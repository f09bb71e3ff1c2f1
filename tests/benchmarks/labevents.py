"""20 laboratory values of 377,110 films from a labevents.csv.gz of 158 million rows: ours, and Polars in the same run.

python tests/benchmarks/labevents.py [SHARE]     SHARE of the true size, 0.01 when left out; 1 needs 6 GB of disk

Each contender is a process of its own, so that its peak memory is its own. Ours converts units, rejects what is not
plausible, keeps to the times of storing and accounts for every row; Polars joins each film with the last row drawn.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.labevents_size import ITEMS, NUM_ROWS, NUM_SUBJECTS, subject_ids, write_labevents

NUM_FILMS, NUM_FILM_SUBJECTS = 377_110, 65_379
FILE = "labevents.csv.gz"
Result = dict[str, Any]


def draw_films(share: float) -> pl.DataFrame:
    """Return films of a fifth of the subjects, at times of the table's."""
    rng = np.random.default_rng(1)
    people = rng.permutation(subject_ids(round(NUM_SUBJECTS * share)))[: round(NUM_FILM_SUBJECTS * share)]
    num = round(NUM_FILMS * share)
    minutes = rng.integers(0, 5 * 525_600, num)
    taken = np.datetime64("2150-01-01", "us").astype(np.int64) + minutes * 60_000_000
    return pl.DataFrame(
        {
            "image_id": [f"f{k:08}" for k in range(num)],
            "subject_id": pl.Series(rng.choice(people, num)).cast(pl.String),
            "taken_at": pl.Series(taken).cast(pl.Datetime("us")),
        }
    )


def run_ours(root: Path, share: float) -> Result:
    """Stage and choose; a second call finds the stage."""
    from cxrssl.cohort.events.fill import Chosen, Events, measure_films
    from cxrssl.cohort.features import OPTIONAL, TABLES
    from cxrssl.cohort.files import SourceFile
    from cxrssl.cohort.schema import create_tables
    from cxrssl.db import open_database

    labs = tuple(feature for feature in OPTIONAL if feature.group == "labs")
    films = draw_films(share).with_columns(study_id="image_id", path="image_id")
    events = Events(
        Chosen(labs, TABLES), {"labevents": SourceFile(root / FILE, FILE)}, {FILE: "0" * 64}, root / "stages"
    )
    with open_database(None, memory="600MB") as database:
        create_tables(database)
        database.insert("image", films)
        started, cpu = time.perf_counter(), time.process_time()
        measures = measure_films(database, events)
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        again = time.perf_counter()
        measure_films(database, events)
        again_s = time.perf_counter() - again
    known = sum(account.films for account in measures.accounts.values())
    rows = sum(account.rows for account in measures.accounts.values())
    return {"wall_s": wall_s, "cpu_s": cpu_s, "again_s": again_s, "known": known, "rows": rows}


def run_polars(root: Path, share: float) -> Result:
    """Polars' reader and join_asof: the last row drawn of each item in seven days."""
    films = draw_films(share).sort("taken_at")
    started, cpu = time.perf_counter(), time.process_time()
    rows = (
        pl.scan_csv(root / FILE, infer_schema=False)
        .filter(pl.col("itemid").is_in([item for item, *_ in ITEMS]))
        .filter(pl.col("subject_id").is_in(films["subject_id"].unique().implode()))
        .select(
            "subject_id",
            "itemid",
            pl.col("charttime").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us"),
            pl.col("valuenum").cast(pl.Float64),
        )
        .collect(engine="streaming")
        .sort("charttime")
    )
    known = 0
    for item, *_ in ITEMS:
        joined = films.join_asof(
            rows.filter(pl.col("itemid") == item), left_on="taken_at", right_on="charttime", by="subject_id",
            tolerance="168h",
        )  # fmt: skip
        known += joined["valuenum"].drop_nulls().len()
    return {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "known": known}


CONTENDERS = {"ours": run_ours, "polars": run_polars}


def measure_apart(name: str, root: Path, share: float) -> Result:
    """Return what a contender spent in a process of its own; `peak_mib` is its largest resident memory."""
    words = [sys.executable, __file__, str(share), name, str(root)]
    done = subprocess.run(words, capture_output=True, check=True, text=True)
    result: Result = json.loads(done.stdout)
    return result


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 0.01
    if len(sys.argv) > 2:
        result = CONTENDERS[sys.argv[2]](Path(sys.argv[3]), share)
        sys.stdout.write(json.dumps(result | {"peak_mib": peak_mib()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = round(NUM_ROWS * share)
        write_labevents(Path(folder) / FILE, rows, round(NUM_SUBJECTS * share))
        for name in CONTENDERS:
            result = measure_apart(name, Path(folder), share)
            again = f", again {result['again_s']:.1f} s" if "again_s" in result else ""
            sys.stdout.write(
                f"{name:7} {rows:,} rows: {result['wall_s']:.1f} s, {result['cpu_s']:.1f} s of processors{again}, "
                f"{result['peak_mib']:,.0f} MiB; {result['known']:,} values\n"
            )


if __name__ == "__main__":
    main()
