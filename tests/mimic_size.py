"""Tables of MIMIC's true size and layout, drawn at random: MIMIC-IV 2.2's hosp/ and icu/, MIMIC-CXR-JPG 2.0.0's three.

In: a folder, a size, a seed. Out: six csv.gz files and the listing of the films that belong to them.
Never: a row of a real patient. Two calls with one seed write the same bytes.

`python tests/mimic_size.py FOLDER [SEED]` writes them at full size, films as hard links of a few one-pixel JPEGs.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
RACES = ("WHITE", "BLACK/AFRICAN AMERICAN", "HISPANIC/LATINO - PUERTO RICAN", "ASIAN", "UNKNOWN", "OTHER")
UNITS = (
    "Medical Intensive Care Unit (MICU)", "Surgical Intensive Care Unit (SICU)", "Trauma SICU (TSICU)",
    "Medical/Surgical Intensive Care Unit (MICU/SICU)", "Coronary Care Unit (CCU)",
)  # fmt: skip
PROCEDURES = ("CHEST (PORTABLE AP)", "CHEST (PA AND LAT)", "CHEST (SINGLE VIEW)", None) * 4 + (
    "CHEST (PA, LAT AND OBLIQUES)",  # quoted in the file
)
MAX_LINKS = 60_000
"""Hard links to one file: ext4 allows 65,000."""


@dataclass(frozen=True)
class Size:
    """Rows of each kind; the defaults are those of MIMIC-IV 2.2 and MIMIC-CXR-JPG."""

    patients: int = 299_712
    admissions: int = 431_231
    icu_stays: int = 73_181
    film_subjects: int = 65_379
    studies: int = 227_835
    films: int = 377_110

    def scaled(self, frac: float) -> Size:
        """Return a size of the same proportions."""
        return Size(*(max(10, round(num * frac)) for num in vars(self).values()))


@dataclass(frozen=True)
class Drawn:
    """The frames of text and numbers that become files, by name under the root."""

    frames: dict[str, pl.DataFrame]
    listing: dict[str, int]
    """Path of a film that is there -> bytes. One film in 5,000 is not there."""


def write_mimic(root: Path, size: Size | None = None, seed: int = 0) -> dict[str, int]:
    """Write the six tables under `root`, and return the listing of films for which a caller may write files."""
    drawn = draw_mimic(size or Size(), seed)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda item: _write_gz(root / item[0], item[1]), drawn.frames.items()))
    return drawn.listing


def link_films(root: Path, listing: dict[str, int]) -> None:
    """Write the films of a listing in the true layout, as hard links of as few files as the file system allows."""
    folder, name = "", ""
    for number, path in enumerate(listing):
        if number % MAX_LINKS == 0:
            name = str(root / f"film-{number // MAX_LINKS}.jpg")
            Path(name).write_bytes(JPEG)
        if os.path.dirname(path) != folder:
            folder = os.path.dirname(path)
            os.makedirs(root / folder, exist_ok=True)
        os.link(name, root / path)


def draw_mimic(size: Size, seed: int) -> Drawn:
    """Return the six tables."""
    rng = np.random.default_rng(seed)
    patients, subject_ids, births = _draw_patients(rng, size)
    admissions, owners, starts, lengths = _draw_admissions(rng, size, subject_ids, births)
    icu = _draw_icu(rng, size, admissions, starts, lengths)
    films = _draw_films(rng, size, subject_ids, births, owners, starts, lengths)
    metadata = films.drop("split")
    chexpert = _draw_labels(rng, films)
    frames = {
        "hosp/patients.csv.gz": patients,
        "hosp/admissions.csv.gz": admissions,
        "icu/icustays.csv.gz": icu,
        "mimic-cxr-2.0.0-metadata.csv.gz": metadata,
        "mimic-cxr-2.0.0-chexpert.csv.gz": chexpert,
        "mimic-cxr-2.0.0-split.csv.gz": films.select("dicom_id", "study_id", "subject_id", "split"),
    }
    path = pl.format(
        "files/p{}/p{}/s{}/{}.jpg", pl.col("subject_id") // 1_000_000, "subject_id", "study_id", "dicom_id"
    )
    paths = films.select(path.alias("path"))["path"].gather(np.flatnonzero(rng.random(films.height) > 1 / 5000))
    return Drawn(frames, dict.fromkeys(paths.to_list(), len(JPEG)))


def _draw_patients(rng: np.random.Generator, size: Size) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Return the table, the subject ids in order, and the hour since 1970 at which each one's record begins."""
    subject_ids = 10_000_000 + np.sort(rng.choice(10_000_000, size.patients, replace=False))
    years = rng.integers(2110, 2201, size.patients)
    births = (years - 1970) * 8766 + rng.integers(0, 8766, size.patients)
    ages = np.where(rng.random(size.patients) < 0.03, 91, rng.integers(18, 90, size.patients))
    died = _times(births + rng.exponential(20_000, size.patients), rng.random(size.patients) < 0.1)
    table = pl.DataFrame(
        {
            "subject_id": subject_ids,
            "gender": _choose(rng, ("F", "M"), size.patients),
            "anchor_age": ages,
            "anchor_year": years,
            "anchor_year_group": _choose(rng, ("2008 - 2010", "2011 - 2013", "2014 - 2016"), size.patients),
            "dod": died.str.slice(0, 10),
        }
    )
    return table, subject_ids, births


def _draw_admissions(
    rng: np.random.Generator, size: Size, subject_ids: np.ndarray, births: np.ndarray
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Return the table and, per admission in table order, the index of its subject, its begin and its length in hours.

    Six in ten subjects have one or more; one in fifty begins before the last has ended, one in a thousand ends before
    it begins, of which MIMIC has a few.
    """
    num = size.admissions
    with_any = np.sort(rng.choice(size.patients, min(num, int(size.patients * 0.6)), replace=False))
    more = with_any[(rng.random(num - len(with_any)) ** 3 * len(with_any)).astype(int)]
    owners = np.sort(np.concatenate([with_any, more]))
    lengths = np.maximum(1, rng.exponential(110, num)).round(1)
    gaps = np.where(rng.random(num) < 0.02, -lengths / 2, rng.exponential(2000, num))
    steps = np.cumsum(gaps + lengths)
    is_first = np.r_[True, owners[1:] != owners[:-1]]
    since_first = steps - steps[np.maximum.accumulate(np.where(is_first, np.arange(num), 0))]
    starts = births[owners] + since_first
    died = rng.random(num) < 0.02
    had_ed = rng.random(num) < 0.69
    ends = np.where(rng.random(num) < 1e-3, starts - 1, starts + lengths)
    table = pl.DataFrame(
        {
            "subject_id": subject_ids[owners],
            "hadm_id": 20_000_000 + rng.choice(10_000_000, num, replace=False),
            "admittime": _times(starts),
            "dischtime": _times(ends),
            "deathtime": _times(ends, died),
            "admission_type": _choose(rng, ("EW EMER.", "EU OBSERVATION", "URGENT", "ELECTIVE", "DIRECT EMER."), num),
            "admit_provider_id": pl.Series(rng.integers(0, 2_000, num))
            .cast(pl.String)
            .str.zfill(4)
            .str.pad_start(5, "P"),
            "admission_location": _choose(rng, ("EMERGENCY ROOM", "PHYSICIAN REFERRAL", "TRANSFER FROM HOSPITAL"), num),
            "discharge_location": _choose(rng, ("HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", None), num),
            "insurance": _choose(rng, ("Other", "Medicare", "Medicaid"), num),
            "language": _choose(rng, ("ENGLISH", "?"), num),
            "marital_status": _choose(rng, ("MARRIED", "SINGLE", "WIDOWED", "DIVORCED", None), num),
            "race": _choose(rng, RACES, num),
            "edregtime": _times(starts - rng.exponential(6, num), had_ed),
            "edouttime": _times(starts + rng.exponential(1, num), had_ed),
            "hospital_expire_flag": died.astype(np.int64),
        }
    )
    return table, owners, starts, lengths


def _draw_icu(
    rng: np.random.Generator, size: Size, admissions: pl.DataFrame, starts: np.ndarray, lengths: np.ndarray
) -> pl.DataFrame:
    """Return ICU stays of random admissions; some share one, some end after it."""
    of = np.sort(rng.integers(0, size.admissions, size.icu_stays))
    begins = starts[of] + rng.random(size.icu_stays) * 0.5 * lengths[of]
    los_h = rng.exponential(60, size.icu_stays)
    return pl.DataFrame(
        {
            "subject_id": admissions["subject_id"].gather(of),
            "hadm_id": admissions["hadm_id"].gather(of),
            "stay_id": 30_000_000 + rng.choice(10_000_000, size.icu_stays, replace=False),
            "first_careunit": _choose(rng, UNITS, size.icu_stays),
            "last_careunit": _choose(rng, UNITS, size.icu_stays),
            "intime": _times(begins),
            "outtime": _times(begins + los_h),
            "los": los_h / 24,
        }
    )


def _draw_films(
    rng: np.random.Generator,
    size: Size,
    subject_ids: np.ndarray,
    births: np.ndarray,
    owners: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
) -> pl.DataFrame:
    """Return the metadata with a column `split`: studies in, near and far from an admission of their subject.

    One subject in 200 is not in `patients`, as where MIMIC-IV holds subjects out.
    """
    with_any = np.unique(owners)
    num_admitted = min(round(size.film_subjects * 0.8), len(with_any))
    without = np.setdiff1d(np.arange(size.patients), with_any)
    subjects = np.r_[
        rng.choice(with_any, num_admitted, replace=False),
        rng.choice(without, size.film_subjects - num_admitted, replace=False),
    ]
    of_study = np.sort(
        np.r_[np.arange(size.film_subjects), rng.integers(0, size.film_subjects, size.studies - size.film_subjects)]
    )
    of_film = np.sort(np.r_[np.arange(size.studies), rng.integers(0, size.studies, size.films - size.studies)])
    subject = subjects[of_study]
    # An admission of the subject at random, where there is one.
    first, num_own = np.searchsorted(owners, subject), np.searchsorted(owners, subject, "right")
    num_own = num_own - first
    chosen = np.minimum(first + (rng.random(size.studies) * num_own).astype(int), len(owners) - 1)
    near = starts[chosen] + rng.uniform(-0.2, 1.4, size.studies) * lengths[chosen]
    taken_h = np.where(num_own > 0, near, births[subject] + rng.exponential(5_000, size.studies))
    is_far = rng.random(size.studies) < 0.2
    taken_h = np.where(is_far, births[subject] + rng.exponential(20_000, size.studies), taken_h)
    taken_ms = ((taken_h[of_film] + rng.random(size.films) * 0.2) * 3.6e6).astype(np.int64)
    taken = pl.from_epoch(pl.Series(taken_ms), "ms")
    hhmmss = taken.dt.hour().cast(pl.Float64) * 10_000 + taken.dt.minute().cast(pl.Float64) * 100 + taken.dt.second()
    known_subjects = np.where(rng.random(size.film_subjects) < 0.005, 0, subject_ids[subjects])
    unknown = np.setdiff1d(10_000_000 + np.arange(2 * size.film_subjects), subject_ids)[: size.film_subjects]
    film_subjects = np.where(known_subjects == 0, unknown, known_subjects)
    parts = np.array(["train", "validate", "test"])[np.searchsorted([0.988, 0.996], rng.random(size.patients))]
    hex_digits = rng.bytes(20 * size.films).hex()
    views = ("AP", "AP", "AP", "PA", "PA", "LATERAL", "LATERAL", "LL", "XTABLE LATERAL")
    procedures = _choose(rng, PROCEDURES, size.films)
    return pl.DataFrame(
        {
            "dicom_id": [
                "-".join([hex_digits[i + j : i + j + 8] for j in range(0, 40, 8)])
                for i in range(0, len(hex_digits), 40)
            ],
            "subject_id": film_subjects[of_study][of_film],
            "study_id": 50_000_000 + rng.choice(10_000_000, size.studies, replace=False)[of_film],
            "PerformedProcedureStepDescription": procedures,
            "ViewPosition": _blank(rng, _choose(rng, views, size.films), 15_757 / 377_110),
            "Rows": rng.integers(1_500, 3_100, size.films),
            "Columns": rng.integers(1_500, 3_100, size.films),
            "StudyDate": taken.dt.to_string("%Y%m%d"),
            "StudyTime": hhmmss + (taken_ms % 1000) / 1000,
            "ProcedureCodeSequence_CodeMeaning": procedures,
            "ViewCodeSequence_CodeMeaning": _choose(
                rng, ("antero-posterior", "postero-anterior", "lateral"), size.films
            ),
            "PatientOrientationCodeSequence_CodeMeaning": _blank(
                rng, _choose(rng, ("Erect", "Erect", "Recumbent"), size.films), 41_100 / 377_110
            ),
            "split": parts[subject][of_film],
        }
    )


def _draw_labels(rng: np.random.Generator, films: pl.DataFrame) -> pl.DataFrame:
    """Return a row a study, all but one in 30,000, with most cells blank."""
    studies = films.select("subject_id", "study_id").unique(maintain_order=True)
    studies = studies.filter(pl.Series(rng.random(studies.height) > 1 / 30_000))
    words = (None,) * 15 + (1.0,) * 3 + (0.0, -1.0)
    return studies.with_columns(
        pl.Series(name, words, dtype=pl.Float64).gather(rng.integers(0, len(words), studies.height))
        for name in FINDINGS
    )


def _choose(rng: np.random.Generator, values: tuple[str | None, ...], num: int) -> pl.Series:
    return pl.Series(values, dtype=pl.String).gather(rng.integers(0, len(values), num))


def _blank(rng: np.random.Generator, series: pl.Series, frac: float) -> pl.Series:
    return series.zip_with(pl.Series(rng.random(len(series)) >= frac), pl.Series([None], dtype=pl.String))


def _times(hours: np.ndarray, is_known: np.ndarray | None = None) -> pl.Series:
    """Return hours since 1970 as MIMIC writes times, to the second."""
    text = pl.from_epoch(pl.Series((hours * 3600).astype(np.int64)), "s").dt.to_string("%Y-%m-%d %H:%M:%S")
    return text if is_known is None else text.zip_with(pl.Series(is_known), pl.Series([None], dtype=pl.String))


def _write_gz(path: Path, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_csv(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(buffer.getbuffer(), 6, mtime=0))


def _one_pixel() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = _one_pixel()

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    link_films(folder, write_mimic(folder, seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0))
