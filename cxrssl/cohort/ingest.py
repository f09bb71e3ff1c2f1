"""From a dataset folder to a published cohort, in one call that does nothing when nothing changed.

In: a folder of a dataset, which is only read.
Out: cohorts/<name>/ with cohort.duckdb, films.parquet, films.npz, rejects.csv, summary.json.
Never: a film or a row that vanishes without being counted.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.csv import frame_csv
from cxrssl.cohort.database import fill_database
from cxrssl.cohort.events.fill import Events
from cxrssl.cohort.files import hash_listing
from cxrssl.cohort.films import collect_films, make_arrays, write_films
from cxrssl.cohort.link import LinkRule
from cxrssl.cohort.losses import check_losses, find_doubtful
from cxrssl.cohort.maps.measures import check_inputs
from cxrssl.cohort.maps.overlay import read_dataset
from cxrssl.cohort.plan import RULES_VERSION, Plan, make_plan
from cxrssl.cohort.plan import IngestOptions as IngestOptions
from cxrssl.cohort.read import KIND
from cxrssl.cohort.release.verified import count_verified, find_films
from cxrssl.cohort.seen import SeenFilms
from cxrssl.cohort.sources import SourceTables, find_source
from cxrssl.cohort.split import split_subjects
from cxrssl.cohort.split_file import read_split_file
from cxrssl.cohort.summary import CohortSummary, account_measures, collect_rejects, describe_unread, summarise
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.filmfile import describe_links
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.db import journal_of, open_database

WORKING_MEMORY = "600MB"
"""DuckDB's memory while a cohort is made; the rest spills to the disk."""


def build_cohort(workspace: Workspace, options: IngestOptions) -> CohortSummary:
    """Publish `cohorts/<name>` from the dataset, and return its summary.

    If a cohort from the same files is already published, return its summary with `was_current`.

    Raises: UsageError, DataError (LeakageError for a subject in two official splits), SetupError.
    """
    source = find_source(options.dataset)
    name = check_name(options.name or options.dataset, "cohort")
    dest = workspace.cohorts / name
    plan = make_plan(workspace, source, options, dest)
    current = _find_current(dest, plan)
    if current is not None:
        return current
    _check_owner(dest, plan)
    tables = read_dataset(source, plan.layout, plan.present)
    losses = check_losses([*(tables.film_parts or []), *tables.others], options.allow_losses)
    if tables.own_events is not None:
        check_inputs(plan.asked.chosen.features, tables.own_events)
    links = describe_links(plan.layout.root, plan.layout.unread)
    plan.layout.remarks.extend([links] if links else [])
    _check_some_films(tables, plan)
    splits, remarks = _split(tables, plan)
    remarks += losses
    release = count_verified(plan.verified, plan.tables, plan.layout.root, tables.image["path"])
    settings = {
        "dataset": plan.collection,
        "release": release["state"],
        "name": name,
        "default_split": next(scheme for scheme in ("file", "official", "hash") if scheme in splits["scheme"]),
        "link": plan.rule.describe() if plan.rule else "",
        "shares": list(astuple(options.shares)),
        "key": plan.key,
        "rules_version": RULES_VERSION,
        "features": plan.features,
        "findings": list(tables.findings),
    }
    if plan.collection != options.dataset:
        settings["source"] = options.dataset
    if plan.asked.declared:
        settings["declared"] = plan.asked.declared
    # `inputs` record where the files were; they belong neither to the content nor to the key.
    inputs = {"root": str(plan.layout.root), **plan.hashes}
    with publish(dest, KIND, settings, inputs) as folder:
        filling = _Filling(workspace, settings, splits, remarks)
        summary = _fill_folder(folder, filling, tables, plan) | {"release": release}
        write_json(folder / "summary.json", summary)
    if plan.films:
        content_sha256 = open_artefact(dest, KIND, verify=False).content_sha256
        SeenFilms(dest).keep(plan.films, plan.layout.unread, content_sha256)
    return CohortSummary(dest, False, summary, find_films(plan.verified, plan.layout.root))


def _split(tables: SourceTables, plan: Plan) -> tuple[pl.DataFrame, list[str]]:
    """Return the splits of all possible schemes, and remarks on the user's own split."""
    subjects = set(tables.image["subject_id"].unique())
    icu = set(tables.hospital.icu_stay["subject_id"].unique()) & subjects if tables.hospital else set()
    path = plan.options.split_path
    own, remarks = read_split_file(path, tables.image) if path else (None, [])
    dataset, shares = plan.collection, plan.options.shares
    doubtful = set(find_doubtful(tables.files))
    return split_subjects(dataset, subjects, tables.official, icu or None, own, shares, doubtful), remarks


def _find_current(dest: Path, plan: Plan) -> CohortSummary | None:
    """Return the summary of the published cohort if it is whole and nothing that it was made from has changed.

    Its key, the root of its films and its features must be those of this plan, and files whose headers were read must
    be the ones that lie there now.
    """
    try:
        artefact = open_artefact(dest, KIND)
        made_from = (artefact.settings["key"], artefact.settings["features"], artefact.manifest["inputs"]["root"])
        if made_from != (plan.key, plan.features, str(plan.layout.root)):
            return None
        if plan.films and not SeenFilms(dest).are_same(plan.layout.film_folder, plan.films, artefact.content_sha256):
            return None
        if journal_of(dest / "cohort.duckdb").exists():
            return None
        values = json.loads((dest / "summary.json").read_text(encoding="utf-8"))
        return CohortSummary(dest, True, values, find_films(plan.verified, plan.layout.root))
    except (IntegrityError, KeyError, OSError, ValueError):
        return None


def _check_owner(dest: Path, plan: Plan) -> None:
    """Raise UsageError if the name belongs to another dataset, or to one in another folder with other content."""
    owner = find_owner(dest)
    dataset, root = plan.collection, str(plan.layout.root)
    if plan.options.may_replace or owner in (None, (dataset, root)):
        return
    if owner[0] == dataset and open_artefact(dest, KIND, verify=False).settings.get("key") == plan.key:
        return  # the same files at another place
    what = (
        f"cohort {dest.name} is of dataset {plain(owner[0], 40)} in {plain(owner[1], 200)}, not of {dataset} in {root}"
    )
    raise UsageError(what, dest, "choose another name with --cohort NAME, or replace it with --replace")


def find_owner(dest: Path) -> tuple[str, str] | None:
    """Return the dataset that a published cohort was made of and its folder, None if there is none that can be read."""
    try:
        artefact = open_artefact(dest, KIND, verify=False)
        return str(artefact.settings["dataset"]), str(artefact.manifest["inputs"]["root"])
    except (IntegrityError, KeyError):
        return None


def _check_some_films(tables: SourceTables, plan: Plan) -> None:
    if tables.image.is_empty():
        counts = ", ".join(f"{rule} {num:,}" for rule, num in tables.films.reject_counts().items())
        folders = ", ".join(f"{name or '.'}/" for name in plan.layout.film_folders) or "no folder of films"
        hint = f"looked for films in {folders} of {plan.layout.root} and found {len(plan.present):,}"
        if "Modality: not CR or DX" in counts:
            hint += '; for films without tags, write ids = "file" into a --map'
        links = describe_links(plan.layout.root, plan.layout.unread)
        raise DataError(f"no film of {tables.films.file} can be used: {counts}", plan.layout.root, links or hint)


@dataclass(frozen=True)
class _Filling:
    """What was decided before the folder of a cohort is filled."""

    workspace: Workspace
    settings: dict[str, Any]
    splits: pl.DataFrame
    remarks: list[str]


def _fill_folder(folder: Path, filling: _Filling, tables: SourceTables, plan: Plan) -> dict[str, Any]:
    measured = plan.asked.chosen.features
    stages = filling.workspace.stages
    events = Events(plan.asked.chosen, plan.events, plan.hashes, stages, tables.own_events) if measured else None
    database_path = folder / "cohort.duckdb"
    rejects = collect_rejects(tables)
    with open_database(database_path, memory=WORKING_MEMORY) as database:
        measures = fill_database(database, tables, filling.splits, plan.rule or LinkRule(), events)
        database.insert("reject", rejects)
        database.insert("source_file", _file_rows(tables, plan))
        films = collect_films(database, tables.findings)
        remarks = plan.layout.remarks + filling.remarks + describe_unread(measures)
        summary = summarise(database, filling.settings, tables, remarks) | account_measures(measures)
    arrays = make_arrays(films, tables.findings, measured)
    write_films(folder, films, arrays)
    write_bytes(folder / "rejects.csv", frame_csv(rejects))
    return summary


def _file_rows(tables: SourceTables, plan: Plan) -> pl.DataFrame:
    """Return the account of each file read; where rows are films, the hash is that of their names and sizes."""
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
