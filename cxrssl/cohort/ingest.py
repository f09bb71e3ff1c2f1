"""From a dataset folder to a published cohort, in one call that does nothing when nothing changed.

In: a folder of a dataset, which is only read.
Out: cohorts/<name>/ with cohort.duckdb, films.parquet, films.npz, rejects.csv, summary.json.
Never: a film or a row that vanished without a count.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.database import fill_database
from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.files import Layout, check_apart, check_folder, hash_listing, leave_unwritable, list_films
from cxrssl.cohort.films import collect_films, make_arrays, write_films
from cxrssl.cohort.link import LinkRule
from cxrssl.cohort.read import KIND
from cxrssl.cohort.release.verified import Verified, count_verified, find_verified
from cxrssl.cohort.sources import Source, SourceOptions, SourceTables, find_source, recognise
from cxrssl.cohort.split import Shares, read_split_file, split_subjects
from cxrssl.cohort.summary import CohortSummary, collect_rejects, summarise
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import hash_settings, sha256_file, write_bytes, write_json
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.db import open_database

WORKING_MEMORY = "600MB"
"""Of DuckDB while a cohort is made; what does not fit waits on the disk."""
RULES_VERSION = 3
"""Raise it when a rule of reading, linking or splitting changes: every cohort is then made anew."""


@dataclass(frozen=True)
class _Plan:
    """What will be read, and the key of the outcome."""

    layout: Layout
    present: dict[str, int]
    hashes: dict[str, str]
    verified: list[Verified]
    rule: LinkRule | None
    """None where the dataset has no stays."""
    shares: Shares
    split_path: Path | None
    key: str

    @property
    def tables(self) -> dict[Path, str]:
        """Tables of the publisher, which the user's own map is not, with the SHA-256 of what was read."""
        files = self.layout.files.items()
        return {file.path: self.hashes[file.shown] for name, file in files if not name.startswith("map")}


def build_cohort(
    workspace: Workspace,
    dataset: str,
    path: Path,
    *,
    ehr_path: Path | None = None,
    films_path: Path | None = None,
    map_path: Path | None = None,
    labels: str = "",
    name: str = "",
    rule: LinkRule | None = None,
    shares: Shares | None = None,
    split_path: Path | None = None,
) -> CohortSummary:
    """Publish `cohorts/<name>` (default: the dataset's name) from the dataset in `path`, and return its summary.

    `rule`, `shares` and `split_path` change what is linked and how it is split; left out, they take their defaults.
    A cohort that is already published from the same files is returned as it is, with `was_current`.

    Raises: UsageError, DataError (LeakageError for a subject in two official splits), SetupError.
    """
    source = find_source(dataset)
    name = check_name(name or dataset, "cohort")
    has_stays = "ehr" in source.OPTIONS
    if rule is not None and not has_stays:
        raise UsageError(f"{dataset} has no hospital stays to link with", hint="leave --link and --tolerance out")
    options = SourceOptions(path, ehr_path, films_path, map_path, labels)
    plan = _make_plan(
        workspace, source, dataset, options, (rule or LinkRule()) if has_stays else None, shares or Shares(), split_path
    )
    dest = workspace.cohorts / name
    current = _find_current(dest, plan)
    if current is not None:
        return current
    tables = source.read(plan.layout, plan.present)
    _check_some_films(tables, plan)
    splits, remarks = _split(dataset, tables, plan)
    default_split = next(scheme for scheme in ("file", "official", "hash") if scheme in splits["scheme"])
    release = count_verified(plan.verified, plan.tables, plan.layout.root, tables.image["path"])
    settings = {
        "dataset": dataset,
        "release": release["state"],
        "name": name,
        "default_split": default_split,
        "link": plan.rule.describe() if plan.rule else "",
        "shares": list(astuple(plan.shares)),
        "key": plan.key,
        "rules_version": RULES_VERSION,
        "features": list(FEATURE_NAMES),
        "findings": list(tables.findings),
    }
    # `inputs` describe where things lay; they are no part of the content and none of the key.
    inputs = {"root": str(plan.layout.root), **plan.hashes}
    with publish(dest, KIND, settings, inputs) as folder:
        summary = _fill_folder(folder, settings, tables, splits, plan, remarks) | {"release": release}
        write_json(folder / "summary.json", summary)
    return CohortSummary(dest, False, summary)


def _make_plan(
    workspace: Workspace,
    source: Source,
    dataset: str,
    options: SourceOptions,
    rule: LinkRule | None,
    shares: Shares,
    split_path: Path | None,
) -> _Plan:
    options.check(dataset)
    path = check_folder(options.path, dataset)
    ehr = check_folder(options.ehr, "--ehr") if options.ehr else None
    films = check_folder(options.films, "--films") if options.films else None
    try:
        layout = source.find(replace(options, path=path, ehr=ehr, films=films))
        if layout.missing:
            raise layout.missing[0]
    except DataError as error:
        found = recognise(path)
        others = [other for other in found if other != dataset]
        if others and dataset not in found:
            hint = f"this looks like {others[0]}: cxrssl ingest {others[0]} PATH"
            raise DataError(error.what, error.where, f"{hint} ({error.hint})") from None
        raise
    tables = [file for name, file in layout.files.items() if not name.startswith("map")]  # these are the user's own
    check_apart(workspace.root, {layout.root, *(file.path.parent for file in tables)})
    present = list_films(layout.root, layout.film_folders, layout.film_suffixes)
    layout.remarks.extend(leave_unwritable(present))
    hashes = {file.shown: _hash_file(file.path, file.shown) for file in layout.files.values()}
    sizes = {file.shown: file.path.stat().st_size for file in layout.files.values()}
    verified = find_verified(workspace, {layout.root, *(file.path.parent for file in layout.files.values())})
    key = hash_settings(
        {
            "dataset": dataset,
            "checks": [check.content_sha256 for check in verified],
            "rules_version": RULES_VERSION,
            "files": {shown: [sizes[shown], sha] for shown, sha in hashes.items()},
            "films": hash_listing(present),
            "link": rule and asdict(rule),
            "shares": asdict(shares),
            "split_file": split_path and _hash_file(split_path, plain(split_path.name, 120)),
        }
    )
    return _Plan(layout, present, hashes, verified, rule, shares, split_path, key)


def _split(dataset: str, tables: SourceTables, plan: _Plan) -> tuple[pl.DataFrame, list[str]]:
    """Return the splits of all schemes that can be made, and remarks on the user's own."""
    subjects = set(tables.image["subject_id"].unique())
    icu = set(tables.hospital.icu_stay["subject_id"].unique()) & subjects if tables.hospital else set()
    own, remarks = read_split_file(plan.split_path, subjects) if plan.split_path else (None, [])
    return split_subjects(dataset, subjects, tables.official, icu or None, own, plan.shares), remarks


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
        folders = ", ".join(f"{name or '.'}/" for name in plan.layout.film_folders) or "no folder of films"
        hint = f"looked for films in {folders} of {plan.layout.root}, where {len(plan.present):,} lie"
        raise DataError(f"no film of {tables.films.file} can be used: {counts}", plan.layout.root, hint)


def _fill_folder(
    folder: Path,
    settings: dict[str, Any],
    tables: SourceTables,
    splits: pl.DataFrame,
    plan: _Plan,
    remarks: list[str],
) -> dict[str, Any]:
    database_path = folder / "cohort.duckdb"
    rejects = collect_rejects(tables)
    with contextlib.closing(open_database(database_path, memory=WORKING_MEMORY)) as database:
        fill_database(database, tables, splits, plan.rule or LinkRule())
        database.insert("reject", rejects)
        database.insert("source_file", _file_rows(tables, plan))
        films = collect_films(database, tables.findings)
        summary = summarise(database, settings, tables, plan.layout.remarks + remarks)
    arrays = make_arrays(films, tables.findings)
    write_films(folder, films, arrays)
    write_bytes(folder / "rejects.csv", rejects.write_csv().encode())
    return summary


def _file_rows(tables: SourceTables, plan: _Plan) -> pl.DataFrame:
    """Return the account of each file read; a listing of films stands for the bytes and the names of the films."""
    sizes = {file.shown: file.path.stat().st_size for file in plan.layout.files.values()}
    rows = [
        {
            "file": table.file,
            "sha256": plan.hashes.get(table.file) or hash_listing(plan.present),
            "bytes": sizes.get(table.file, sum(plan.present.values())),
            "rows": table.rows,
            "accepted": table.frame.height,
            "rejected": table.rejects.height,
        }
        for table in tables.files
    ]
    return pl.DataFrame(rows)
