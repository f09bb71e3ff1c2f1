"""A slice of a labevents.csv.gz of true proportions: memory, and an account of every row. Full size: benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from cxrssl.cohort.features import OPTIONAL
from tests.benchmarks.labevents import FILE, NUM_FILMS, draw_films
from tests.labevents_size import NUM_ROWS, NUM_SUBJECTS, write_labevents
from tests.scale import scaled

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "labevents.py"
MAX_MIB = 3 * 1024
CPU_S_OF_ALL = 480
"""Two cores for four minutes; a slice has a start of its own."""
START_S = 30


def test_a_slice_takes_its_share_of_time_and_accounts_for_every_row(tmp_path: Path) -> None:
    share = scaled(1, 20) / 1000
    write_labevents(tmp_path / FILE, round(NUM_ROWS * share), round(NUM_SUBJECTS * share))
    words = [sys.executable, str(BENCHMARK), str(share), "ours", str(tmp_path)]
    result = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    films = draw_films(share)
    labs = [each.measured for each in OPTIONAL if each.group == "labs" and each.measured]
    items = [item for each in labs for item in each.sources[0].items]
    assert films.height == round(NUM_FILMS * share)
    rows = pl.read_csv(tmp_path / FILE, infer_schema=False).filter(
        pl.col("itemid").is_in(items) & pl.col("subject_id").is_in(films["subject_id"].implode())
    )
    assert result["rows"] == rows.height
    assert result["known"] > 0
    assert result["peak_mib"] < MAX_MIB
    assert result["cpu_s"] < START_S + CPU_S_OF_ALL * share
