"""Export: a published cohort handed on as Parquet, CSV or MEDS, with a codebook and a notice.

In: the folder of a cohort. Out: a folder with its own manifest, which names the cohort's content hash.
Never: an image, a folder of another kind replaced, or a file that anyone but its owner can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort import meds
from cxrssl.cohort.again import naming_ingest
from cxrssl.cohort.csv import frame_csv
from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import RECORDED
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.cohort.release.verified import describe_release
from cxrssl.core.artefact import is_published, publish, unreplaced
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import UsageError
from cxrssl.core.place import check_free, check_place
from cxrssl.core.text import nearest_hint, plain
from cxrssl.core.workspace import Workspace
from cxrssl.db import Database, open_database, write_parquet

KIND = "cohort-export"
VERSION = 2
"""Raise it when the export of the same cohort changes in rows, columns or codes."""
FORMATS = ("parquet", "csv", "meds")
UNITS = {"_y": "years", "_h": "hours", "_d": "days", "_s": "seconds", "_px": "pixels", "_at": "date and time"}
NOTICE = """\
These rows derive from the dataset "{dataset}" (cohort "{cohort}", {num_films} films of {num_subjects} subjects).

They are subject to the terms of that dataset. Where these restrict access, as the PhysioNet Credentialed Health Data
Use Agreement does for MIMIC, they restrict it for this folder and for whatever is made from it:
- only people who signed the agreement themselves may see it;
- it may not be sent to a service of somebody else, hosted models included;
- nobody may try to find out who a person is;
- it must be kept as safe as the dataset, and deleted when the agreement says so.
MIMIC's dates are shifted: they order the events of one person and compare with nothing else.

Paths of films are relative to the root of the dataset; the images are not included.
In CSV, text that a spreadsheet would run as a formula has ' before it, and control characters are replaced; Parquet
has every text as it is.
Source files: {release}.
"""


@dataclass(frozen=True)
class Export:
    """What `export_cohort` returns."""

    path: Path
    was_current: bool
    """An export of this cohort in this format was already there."""
    values: dict[str, Any]
    """Rows written, by file or kind."""


def export_cohort(
    workspace: Workspace, name: str, to: str, out: Path | None = None, may_replace: bool = False
) -> Export:
    """Write a cohort to the folder `out` (default: exports/<cohort>-<to> in the workspace) as one of FORMATS.

    An existing folder is replaced only if it is an export, and only if `may_replace`.

    Raises: UsageError for a wrong format or place, or for a folder that must not be replaced; IntegrityError for a
    damaged cohort.
    """
    if to not in FORMATS:
        raise UsageError(f'there is no format "{plain(to, 40)}"', hint=nearest_hint(to, FORMATS))
    cohort = open_cohort(workspace.find_cohort(name))
    dest = (out or workspace.exports / f"{cohort.name}-{to}").absolute()
    settings = {
        "format": to,
        "version": VERSION,
        "cohort": cohort.name,
        "dataset": cohort.dataset,
        "cohort_sha256": cohort.content_sha256,
        "cohort_key": cohort.artefact.settings["key"],
        "split": cohort.default_split,
    }
    check_place(workspace, dest, cohort.root)
    if is_published(dest, KIND, settings) and not may_replace:
        return Export(dest, True, _count_rows(dest))
    check_free(dest, KIND, may_replace)
    with (
        publish(dest, KIND, settings, {"cohort": cohort.artefact.content_sha256}) as folder,
        unreplaced(cohort.artefact),
    ):
        with naming_ingest(cohort.folder), open_database(cohort.folder / "cohort.duckdb", read_only=True) as database:
            if to == "meds":
                _write_meds(folder, cohort, database)
            else:
                _write_films(folder, cohort, database, to)
        write_bytes(folder / "NOTICE.txt", _notice(cohort).encode())
    return Export(dest, False, _count_rows(dest))


def make_codebook(
    database: Database, films: pl.DataFrame, findings: tuple[str, ...], measured: Sequence[Feature] = ()
) -> pl.DataFrame:
    """Return one row a column of `films`: column, type, meaning, unit, role, known, categories."""
    comments = dict(
        database.rows("SELECT column_name, coalesce(comment, '') FROM duckdb_columns() WHERE table_name = 'film'")
    )
    link = set(database.columns("link"))
    features = {feature.column: feature for feature in (*RECORDED, *measured)}
    ages = {feature.age_column: feature for feature in measured if feature.has_age}
    rows = []
    for name, kind in films.schema.items():
        feature = features.get(name) or ages.get(name)
        unit = feature.measured.unit if feature and feature.measured and name not in ages else ""
        is_finding = name in findings
        rows.append(
            {
                "column": name,
                "type": str(kind).partition("(")[0].lower(),
                "meaning": "finding of the study" if is_finding else comments.get(name, ""),
                "unit": unit or next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), ""),
                "role": "label" if is_finding else _role(name, feature, link),
                "known": "after" if is_finding else feature.known if feature else "",
                "categories": "1 present | 0 absent | -1 uncertain | empty: not mentioned"
                if is_finding
                else " | ".join(feature.categories if feature and name not in ages else ()),
            }
        )
    return pl.DataFrame(rows)


def _role(name: str, feature: Feature | None, link: set[str]) -> str:
    if feature is not None:
        return feature.role
    if name.startswith("split_"):
        return "split"
    if name in ("image_id", "study_id", "subject_id", "path"):
        return "id"
    return "link" if name in link else ""


def _write_films(folder: Path, cohort: Cohort, database: Database, to: str) -> None:
    """Write films.parquet or films.csv as published, one row a film, and codebook.csv."""
    films = pl.read_parquet(cohort.folder / "films.parquet")
    codebook = make_codebook(database, films, tuple(cohort.finding_names.tolist()), cohort.measured)
    if to == "csv":
        write_bytes(folder / "films.csv", frame_csv(films))
    else:
        write_bytes(folder / "films.parquet", (cohort.folder / "films.parquet").read_bytes())
    write_bytes(folder / "codebook.csv", frame_csv(codebook))


def _write_meds(folder: Path, cohort: Cohort, database: Database) -> None:
    """Write data/<split>/<shard>.parquet and metadata/, and beside them what MEDS has no place for."""
    numbers = meds.number_subjects(cohort.dataset, pl.Series(cohort.subject_id.tolist()))
    split = pl.DataFrame({"subject_id": cohort.subject_id.tolist(), "split": cohort.split_of().tolist()}).unique()
    subjects = numbers.join(split, "subject_id").with_columns(
        pl.col("split").replace_strict(meds.SPLITS, default=meds.UNASSIGNED)
    )
    (folder / "metadata").mkdir()
    named = subjects.filter(pl.col("split") != meds.UNASSIGNED).sort("number")
    write_parquet(
        named.select(pl.col("number").alias("subject_id"), "split"), folder / "metadata" / "subject_splits.parquet"
    )
    write_json(folder / "metadata" / "dataset.json", meds.describe_dataset(cohort.summary))
    if (numbers["number"].cast(pl.String) != numbers["subject_id"]).any():
        mapping = numbers.select(pl.col("number").alias("subject_id"), pl.col("subject_id").alias("source_subject_id"))
        write_bytes(folder / "subject_ids.csv", frame_csv(mapping))
    codes: set[str] = set()
    measured = cohort.measured
    for (part,), group in subjects.group_by("split"):
        codes |= _write_shards(folder / "data" / str(part), database, group, measured)
    write_parquet(meds.describe_codes(codes, measured), folder / "metadata" / "codes.parquet")
    untimed = _renumber(meds.collect_untimed(database), numbers)
    if untimed.height:
        write_parquet(untimed, folder / "findings.parquet")


def _write_shards(folder: Path, database: Database, subjects: pl.DataFrame, measured: Sequence[Feature]) -> set[str]:
    """Write the events of `subjects`, each subject in one shard, sorted by number and time, and return their codes."""
    folder.mkdir(parents=True)
    ordered, codes = subjects.sort("number"), set[str]()
    for shard, start in enumerate(range(0, ordered.height, meds.MAX_SHARD_SUBJECTS)):
        part = ordered.slice(start, meds.MAX_SHARD_SUBJECTS)
        events = meds.collect_events(database, part["subject_id"], measured)
        codes.update(events["code"].unique())
        write_parquet(_renumber(events, part).select(list(meds.SCHEMA)), folder / f"{shard}.parquet")
    return codes


def _renumber(rows: pl.DataFrame, subjects: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `subjects` with numbers for ids, sorted by number and otherwise in their old order."""
    numbered = rows.join(subjects.select("subject_id", "number"), "subject_id", maintain_order="left")
    return numbered.with_columns(subject_id="number").drop("number").sort("subject_id", maintain_order=True)


def _notice(cohort: Cohort) -> str:
    return NOTICE.format(
        dataset=plain(cohort.dataset),
        cohort=plain(cohort.name),
        num_films=f"{len(cohort):,}",
        num_subjects=f"{len(set(cohort.subject_id.tolist())):,}",
        release=describe_release(plain(cohort.name), cohort.summary.get("release")),
    )


def _count_rows(folder: Path) -> dict[str, int]:
    """Return the rows of each table in the folder."""
    files = sorted([*folder.rglob("*.parquet"), *folder.rglob("films.csv")])
    scans = {
        path: pl.scan_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.scan_parquet(path)
        for path in files
    }
    return {path.relative_to(folder).as_posix(): scan.select(pl.len()).collect().item() for path, scan in scans.items()}
