"""From a dataset folder to a published cohort, in one call that does nothing when nothing changed.

In: a folder of a dataset, which is only read.
Out: cohorts/<name>/ with cohort.duckdb, films.parquet, films.npz, rejects.csv, summary.json.
Never: a film or a row that vanished without a count.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.files import Layout, check_folder, hash_listing, list_films
from cxrssl.cohort.films import collect_films, make_arrays, write_films
from cxrssl.cohort.link import fill_ehr, link_films
from cxrssl.cohort.read import KIND
from cxrssl.cohort.sources import DATASETS, Source, SourceTables, find_source
from cxrssl.cohort.split import split_subjects
from cxrssl.cohort.summary import CohortSummary, collect_rejects, summarise
from cxrssl.core.artefact import hash_settings, open_artefact, publish, sha256_file, write_bytes, write_json
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.db import Database, apply_schema, open_database

RULES_VERSION = 2
"""Raise it when a rule of reading, linking or splitting changes: every cohort is then made anew."""


@dataclass(frozen=True)
class _Plan:
    """What will be read, and the key of the outcome."""

    layout: Layout
    present: dict[str, int]
    hashes: dict[str, str]
    key: str


def build_cohort(
    workspace: Workspace,
    dataset: str,
    path: Path,
    *,
    ehr_path: Path | None = None,
    name: str = "",
) -> CohortSummary:
    """Publish `cohorts/<name>` (default: the dataset's name) from the dataset in `path`, and return its summary.

    A cohort that is already published from the same files is returned as it is, with `was_current`.

    Raises: UsageError, DataError (LeakageError for a subject in two official splits), SetupError.
    """
    source = find_source(dataset)
    name = check_name(name or dataset, "cohort")
    plan = _make_plan(workspace, source, dataset, path, ehr_path)
    dest = workspace.cohorts / name
    current = _find_current(dest, plan)
    if current is not None:
        return current
    tables = source.read(plan.layout, plan.present)
    _check_some_films(tables, plan)
    splits = split_subjects(dataset, tables.image["subject_id"], tables.official)
    default_split = "official" if "official" in splits["scheme"] else "hash"
    settings = {
        "dataset": dataset,
        "name": name,
        "default_split": default_split,
        "key": plan.key,
        "rules_version": RULES_VERSION,
        "features": list(FEATURE_NAMES),
        "findings": list(source.FINDINGS),
    }
    # `inputs` describe where things lay; they are no part of the content and none of the key.
    inputs = {"root": str(plan.layout.root), **plan.hashes}
    with publish(dest, KIND, settings, inputs) as folder:
        summary = _fill_folder(folder, settings, source, tables, splits, plan)
    return CohortSummary(dest, False, summary)


def _make_plan(workspace: Workspace, source: Source, dataset: str, path: Path, ehr_path: Path | None) -> _Plan:
    path = check_folder(path, dataset)
    ehr_path = check_folder(ehr_path, "--ehr") if ehr_path else None
    try:
        layout = source.find(path, ehr_path)
    except DataError as error:
        others = [other for other in DATASETS if other != dataset and find_source(other).is_here(path)]
        if others and not source.is_here(path):
            hint = f"this looks like {others[0]}: cxrssl ingest {others[0]} PATH"
            raise DataError(error.what, error.where, f"{hint} ({error.hint})") from None
        raise
    _check_apart(workspace, layout)
    present = list_films(layout.root, layout.film_folders)
    hashes = {file.shown: _hash_file(file.path, file.shown) for file in layout.files.values()}
    sizes = {file.shown: file.path.stat().st_size for file in layout.files.values()}
    key = hash_settings(
        {
            "dataset": dataset,
            "rules_version": RULES_VERSION,
            "files": {shown: [sizes[shown], sha] for shown, sha in hashes.items()},
            "films": hash_listing(present),
        }
    )
    return _Plan(layout, present, hashes, key)


def _check_apart(workspace: Workspace, layout: Layout) -> None:
    """Raise UsageError if the workspace lies in a folder of the dataset, which is never written to."""
    folders = {layout.root, *(file.path.parent for file in layout.files.values())}
    for folder in folders:
        if workspace.root.resolve().is_relative_to(folder.resolve()):
            hint = "name another folder with --workspace"
            raise UsageError("the workspace lies inside the dataset folder", workspace.root, hint)


def _hash_file(path: Path, shown: str) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror or error}", path) from None


def _find_current(dest: Path, plan: _Plan) -> CohortSummary | None:
    """Return the summary of the published cohort if it has this key and its films still lie where it says."""
    try:
        artefact = open_artefact(dest, KIND, verify=False)
        is_same = artefact.settings.get("key") == plan.key and artefact.manifest["inputs"]["root"] == str(
            plan.layout.root
        )
        return CohortSummary(dest, True, json.loads((dest / "summary.json").read_text())) if is_same else None
    except (IntegrityError, KeyError, OSError, ValueError):
        return None


def _check_some_films(tables: SourceTables, plan: _Plan) -> None:
    if tables.image.is_empty():
        counts = ", ".join(f"{rule} {num:,}" for rule, num in tables.films.reject_counts().items())
        folders = ", ".join(f"{name}/" for name in plan.layout.film_folders) or "no folder of films"
        hint = f"looked for films in {folders} of {plan.layout.root}, where {len(plan.present):,} lie"
        raise DataError(f"no film of {tables.films.file} can be used: {counts}", plan.layout.root, hint)


def _fill_folder(
    folder: Path,
    settings: dict[str, Any],
    source: Source,
    tables: SourceTables,
    splits: pl.DataFrame,
    plan: _Plan,
) -> dict[str, Any]:
    database_path = folder / "cohort.duckdb"
    rejects = collect_rejects(tables)
    with contextlib.closing(open_database(database_path)) as database:
        fill_database(database, tables, splits)
        database.insert("reject", rejects)
        database.insert("source_file", _file_rows(tables, plan))
        films = collect_films(database, source.FINDINGS)
        summary = summarise(database, settings, tables, plan.layout.remarks)
    arrays = make_arrays(films, source.FINDINGS)
    write_films(folder, films, arrays)
    write_bytes(folder / "rejects.csv", rejects.write_csv().encode())
    write_json(folder / "summary.json", summary)
    return summary


def fill_database(database: Database, tables: SourceTables, splits: pl.DataFrame) -> None:
    """Fill an empty database with the source tables and with all that follows from them."""
    apply_schema(database, "1_source.sql")
    apply_schema(database, "2_cohort.sql")
    database.insert("image", tables.image.sort("image_id"))
    database.insert("given_feature", tables.given.sort("image_id"))
    studies = tables.image.select("study_id").unique()
    labels = tables.labels.join(studies, "study_id", "semi").unpivot(
        index="study_id", variable_name="finding", value_name="value"
    )
    database.insert("label", labels.drop_nulls("value").sort("study_id", "finding"))
    if tables.hospital is not None:
        database.insert("patient", tables.hospital.patient.sort("subject_id"))
        database.insert("admission", tables.hospital.admission.sort("hadm_id"))
        database.insert("icu_stay", tables.hospital.icu_stay.sort("stay_id"))
        if tables.hospital.ed_stay is not None:
            database.insert("ed_stay", tables.hospital.ed_stay.sort("ed_stay_id"))
        link_films(database)
    fill_ehr(database)
    database.insert("split", splits)
    steps = [(step, what, films) for step, (what, films) in enumerate(tables.films.flow())]
    database.insert("flow", pl.DataFrame(steps, ("step", "what", "films"), orient="row"))


def _file_rows(tables: SourceTables, plan: _Plan) -> pl.DataFrame:
    sizes = {file.shown: file.path.stat().st_size for file in plan.layout.files.values()}
    rows = [
        {
            "file": table.file,
            "sha256": plan.hashes[table.file],
            "bytes": sizes[table.file],
            "rows": table.rows,
            "accepted": table.frame.height,
            "rejected": table.rejects.height,
        }
        for table in (tables.films, *tables.others)
    ]
    return pl.DataFrame(rows)
