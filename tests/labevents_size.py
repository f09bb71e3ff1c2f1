"""labevents.csv.gz as large as MIMIC-IV's, drawn: 158 million rows at scale 1, sorted by subject as the published file.

In: a number of rows, the subjects. Out: a csv.gz with the published columns. Never: twice other bytes for one seed.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
from isal import igzip

NUM_ROWS = 158_374_764
"""Of MIMIC-IV 3.1."""
NUM_SUBJECTS = 315_000
"""Of these a fifth has films."""
COLUMNS = (
    "labevent_id", "subject_id", "hadm_id", "specimen_id", "itemid", "order_provider_id", "charttime", "storetime",
    "value", "valuenum", "valueuom", "ref_range_lower", "ref_range_upper", "flag", "priority", "comments",
)  # fmt: skip
ITEMS = (
    ("51301", "K/uL", 9.0), ("51222", "g/dL", 11.0), ("51265", "K/uL", 200.0), ("50983", "mEq/L", 138.0),
    ("50971", "mEq/L", 4.1), ("50882", "mEq/L", 25.0), ("50912", "mg/dL", 1.0), ("51006", "mg/dL", 19.0),
    ("50931", "mg/dL", 120.0), ("50813", "mmol/L", 1.8), ("50889", "mg/L", 17.0), ("50862", "g/dL", 3.6),
    ("50885", "mg/dL", 0.5), ("51237", "", 1.3), ("51003", "ng/mL", 0.05), ("50963", "pg/mL", 3000.0),
    ("50915", "ng/mL", 1100.0), ("50821", "mm Hg", 99.0), ("50818", "mm Hg", 40.0), ("50820", "units", 7.38),
)  # fmt: skip
"""Item, unit, usual value; they have two fifths of all rows, the first nine most of these."""
NUM_OTHER_ITEMS = 700
CHUNK_ROWS = 2_000_000


def subject_ids(num: int) -> np.ndarray:
    """Return the ids of the subjects, ascending."""
    return 10_000_000 + np.arange(num) * (9_000_000 // num)


def write_labevents(path: Path, num_rows: int, num_subjects: int, seed: int = 0) -> None:
    """Write the table."""
    rng = np.random.default_rng(seed)
    shares = rng.gamma(0.4, size=num_subjects)
    owner = np.repeat(np.arange(num_subjects), rng.multinomial(num_rows, shares / shares.sum()))
    with igzip.open(path, "wb", compresslevel=1) as out:
        out.write((",".join(COLUMNS) + "\n").encode())
        for first in range(0, num_rows, CHUNK_ROWS):
            buffer = io.BytesIO()
            _draw(rng, first, owner[first : first + CHUNK_ROWS], num_subjects).write_csv(buffer, include_header=False)
            out.write(buffer.getbuffer())


def _draw(rng: np.random.Generator, first: int, owner: np.ndarray, num_subjects: int) -> pl.DataFrame:
    num = len(owner)
    of_ours = np.array([8.0] * 9 + [1.0] * 11)
    item = np.where(
        rng.random(num) < 0.4,
        rng.choice(len(ITEMS), num, p=of_ours / of_ours.sum()),
        len(ITEMS) + rng.integers(0, NUM_OTHER_ITEMS, num),
    )
    ids = [name for name, *_ in ITEMS] + [str(52_700 + k) for k in range(NUM_OTHER_ITEMS)]
    units = [unit for _, unit, _ in ITEMS] + ["%"] * NUM_OTHER_ITEMS
    usual = np.array([value for *_, value in ITEMS] + [10.0] * NUM_OTHER_ITEMS)
    minute = 60_000_000
    drawn = np.datetime64("2150-01-01", "us").astype(np.int64) + rng.integers(0, 5 * 525_600, num) * minute
    stored = drawn + rng.integers(20, 300, num) * minute
    value = np.round(usual[item] * rng.lognormal(0, 0.3, num), 2)
    frame = pl.DataFrame(
        {
            "labevent_id": first + np.arange(num),
            "subject_id": subject_ids(num_subjects)[owner],
            "hadm_id": 20_000_000 + owner,
            "specimen_id": rng.integers(0, 100_000_000, num),
            "itemid": pl.Series(ids).gather(pl.Series(item)),
            "order_provider_id": pl.repeat(None, num, dtype=pl.String, eager=True),
            "charttime": pl.Series(drawn).cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S"),
            "storetime": pl.Series(stored).cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S"),
            "value": pl.Series(value).cast(pl.String),
            "valuenum": value,
            "valueuom": pl.Series(units).gather(pl.Series(item)),
            "ref_range_lower": pl.repeat(3.5, num, eager=True),
            "ref_range_upper": pl.repeat(10.5, num, eager=True),
            "flag": pl.Series(["abnormal", None]).gather(pl.Series(rng.integers(0, 2, num))),
            "priority": pl.repeat("ROUTINE", num, eager=True),
            "comments": pl.Series([None, None, None, '___, by calculation.  "see" note']).gather(
                pl.Series(rng.integers(0, 4, num))
            ),
        }
    )
    return frame.select(COLUMNS)
