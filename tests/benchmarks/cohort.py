"""A cohort from tables of MIMIC's true size: our stages, and what others need for the join alone, in the same run.

python tests/benchmarks/cohort.py [--films]     with --films the 377,110 films are written (hard links, 1.2 GB of
                                                folders), and listing them is timed too

Each contender is a process of its own, so that its peak memory is its own. The table files are in the page cache.
"""

import functools
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.mimic_size import link_films, write_mimic

NUM_LOOPED = 300
CXR = "mimic-cxr-2.0.0"
Result = dict[str, Any]
"""What a contender found and spent."""


def run_ours(root: Path) -> Result:
    """Build the cohort; every call of the named functions is timed."""
    import cxrssl.cohort.database as database
    import cxrssl.cohort.ingest as ingest
    import cxrssl.cohort.plan as plan
    from cxrssl.cohort.sources import mimic
    from cxrssl.core import artefact
    from cxrssl.core.workspace import Workspace

    spent: dict[str, float] = defaultdict(float)
    cpu: dict[str, float] = defaultdict(float)

    def time_calls(owner: Any, name: str, stage: str) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started, cpu_started = time.perf_counter(), time.process_time()
            try:
                return inner(*args, **kwargs)
            finally:
                spent[stage] += time.perf_counter() - started
                cpu[stage] += time.process_time() - cpu_started

        setattr(owner, name, timed)

    listing = root / "listing.json"
    if listing.is_file():
        films = json.loads(listing.read_text())
        vars(plan)["list_films"] = lambda *args, **kwargs: films
    time_calls(plan, "list_films", "list films")
    time_calls(plan, "sha256_file", "hash files")
    time_calls(plan, "hash_listing", "hash files")
    time_calls(mimic, "read", "load: read and check")
    time_calls(ingest, "fill_database", "load into DuckDB, link")
    time_calls(database, "link_films", "  of it: link")
    time_calls(database, "fill_ehr", "features of the record")
    time_calls(ingest, "_split", "select")
    time_calls(ingest, "collect_films", "publish: one row a film")
    time_calls(ingest, "summarise", "publish: count")
    time_calls(ingest, "make_arrays", "publish: arrays")
    time_calls(ingest, "write_films", "publish: write")
    time_calls(artefact, "_seal", "publish: hash")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cohort = ingest.build_cohort(Workspace(Path(folder)), ingest.IngestOptions("mimic", root))
    total_s = time.perf_counter() - started
    for times in (spent, cpu):
        times["load into DuckDB, link"] -= times["features of the record"]
    spent["all else"] = total_s - sum(num for stage, num in spent.items() if not stage.startswith(" "))
    inside = sum(num for status, num in cohort.values["link"].items() if status in ("in_icu", "in_stay"))
    return {"stages": spent, "cpu": cpu, "total_s": total_s, "inside": inside}


def run_duckdb(root: Path) -> Result:
    """DuckDB's own reader, which guesses types, and its interval join: no checks, no rejects, no files."""
    import duckdb

    sql = f"""
        WITH film AS (
            SELECT subject_id, dicom_id,
                strptime(StudyDate || printf('%06d', floor(StudyTime)::INT), '%Y%m%d%H%M%S') AS taken
            FROM read_csv('{root}/{CXR}-metadata.csv.gz')
        )
        SELECT count(DISTINCT dicom_id) FROM film JOIN read_csv('{root}/hosp/admissions.csv.gz') USING (subject_id)
        WHERE taken BETWEEN admittime AND dischtime
    """
    return {"inside": duckdb.execute(sql).fetchall()[0][0]}


def run_polars(root: Path) -> Result:
    """Polars' own reader, which guesses types, and join_where: no checks, no rejects, no files."""
    import polars as pl

    whole = pl.col("StudyTime").cast(pl.Int64).cast(pl.String).str.zfill(6)
    film = pl.read_csv(root / f"{CXR}-metadata.csv.gz").select(
        "subject_id", "dicom_id", taken=(pl.col("StudyDate").cast(pl.String) + whole).str.to_datetime("%Y%m%d%H%M%S")
    )
    stay = pl.read_csv(root / "hosp" / "admissions.csv.gz", try_parse_dates=True).select(
        "admittime", "dischtime", owner="subject_id"
    )
    rules = (pl.col("subject_id") == pl.col("owner"), pl.col("taken").is_between("admittime", "dischtime"))
    return {"inside": film.join_where(stay, *rules)["dicom_id"].n_unique()}


def run_loops(root: Path) -> Result:
    """The way of the published notebook, for a few films: a filter of the whole table a film, a loop over its rows."""
    import csv

    import numpy as np

    with gzip.open(root / "hosp" / "admissions.csv.gz", "rt") as file:
        stays = list(csv.DictReader(file))
    subjects = np.array([int(stay["subject_id"]) for stay in stays])
    days = [tuple(int(stay[name][:10].replace("-", "")) for name in ("admittime", "dischtime")) for stay in stays]
    with gzip.open(root / f"{CXR}-metadata.csv.gz", "rt") as file:
        films = list(csv.DictReader(file))
    started, inside = time.perf_counter(), 0
    for film in films[:: len(films) // NUM_LOOPED]:
        day, died = int(film["StudyDate"]), None
        for row in np.flatnonzero(subjects == int(film["subject_id"])):
            if days[row][0] <= day <= days[row][1]:
                died = stays[row]["hospital_expire_flag"]
        inside += died is not None
    loop_s = (time.perf_counter() - started) * len(films) / NUM_LOOPED
    return {"total_s": loop_s, "inside": round(inside * len(films) / NUM_LOOPED)}


CONTENDERS = {"ours": run_ours, "duckdb": run_duckdb, "polars": run_polars, "loops": run_loops}


def run_contender(name: str, root: Path) -> None:
    started = time.perf_counter()
    result = CONTENDERS[name](root)
    result.setdefault("total_s", time.perf_counter() - started)
    # Not ru_maxrss: a child begins with that of its parent.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    result["peak_mib"] = int(status["VmHWM"].split()[0]) // 1024
    print(json.dumps(result))


def report(root: Path) -> None:
    found = {}
    for name in CONTENDERS:
        words = [sys.executable, __file__, name, str(root)]
        found[name] = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    ours = found["ours"]
    for stage, spent_s in ours["stages"].items():
        print(f"  {stage:<26}{spent_s:8.2f} s  {ours['cpu'].get(stage, 0):8.2f} s of CPU")
    part_s = sum(spent_s for stage, spent_s in ours["stages"].items() if stage.startswith(("load", "link", "select")))
    with_record_s = part_s + ours["stages"]["features of the record"]
    print(f"load + link + select {part_s:.1f} s, with 19 features {with_record_s:.1f} s, ", end="")
    print(f"whole cohort {ours['total_s']:.1f} s, peak {ours['peak_mib']:,} MiB")
    load = f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"of CPU {sum(ours['cpu'].values()):.1f} s; {load}")
    whats = {
        "duckdb": "DuckDB read_csv and join alone",
        "polars": "Polars read_csv and join_where alone",
        "loops": f"loops of the notebook, extrapolated from {NUM_LOOPED} films",
    }
    for name, what in whats.items():
        print(f"{what}: {found[name]['total_s']:.1f} s, peak {found[name]['peak_mib']:,} MiB")
    print("films in a stay:", ", ".join(f"{name} {result['inside']:,}" for name, result in found.items()))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_contender(sys.argv[1], Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            tables = Path(folder)
            listing = write_mimic(tables)
            if "--films" in sys.argv:
                link_films(tables, listing)
            else:
                (tables / "listing.json").write_text(json.dumps(listing))
            report(tables)
