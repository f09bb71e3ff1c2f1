"""From a dataset folder to a published cohort, in one call that does nothing when nothing changed.

In: a folder of a dataset, which is only read.
Out: cohorts/<name>/ with cohort.duckdb, films.parquet, films.npz, rejects.csv, summary.json.
Never: a film or a row that vanishes without being counted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.csv import frame_csv
from cxrssl.cohort.database import fill_database
from cxrssl.cohort.events.asked import Asked, find_files, read_asked
from cxrssl.cohort.events.fill import Events
from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.files import Layout, SourceFile, check_apart, hash_listing, leave_unwritable, list_films
from cxrssl.cohort.films import collect_films, make_arrays, write_films
from cxrssl.cohort.link import LinkRule
from cxrssl.cohort.losses import check_losses, find_doubtful
from cxrssl.cohort.maps.measures import check_inputs, own_features
from cxrssl.cohort.maps.overlay import find_dataset, name_collection, read_dataset
from cxrssl.cohort.read import KIND
from cxrssl.cohort.release.verified import Verified, count_verified, find_films, find_verified
from cxrssl.cohort.seen import SeenFilms, look_at_films
from cxrssl.cohort.sources import Source, SourceOptions, SourceTables, find_source, recognise
from cxrssl.cohort.split import Shares, split_subjects
from cxrssl.cohort.split_file import read_split_file
from cxrssl.cohort.summary import CohortSummary, account_measures, collect_rejects, describe_unread, summarise
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import hash_settings, sha256_file, write_bytes, write_json
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.filestate import Seen
from cxrssl.core.filmfile import describe_links
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.db import journal_of, open_database

POLARITIES = ("photometric", "shape")
WORKING_MEMORY = "600MB"
"""DuckDB's memory while a cohort is made; the rest spills to the disk."""
RULES_VERSION = 4
"""Raise it when a rule of reading, linking or splitting changes: every cohort is then rebuilt."""


@dataclass(frozen=True)
class IngestOptions(SourceOptions):
    """All options of `cxrssl ingest`."""

    name: str = ""
    """Of the cohort; by default the dataset's."""
    rule: LinkRule | None = None
    """None: the default rule, where the dataset has stays."""
    shares: Shares = field(default_factory=Shares)
    split_path: Path | None = None
    """The user's own split."""
    size_px: int = 320
    """Side of the packed films."""
    num_workers: int = 0
    """Decoding processes; 0 means one per core."""
    may_pack: bool = True
    may_replace: bool = True
    """Whether a cohort of this name that is of another dataset or folder is replaced; the command line asks first."""
    polarity: str = "photometric"
    """DICOM: what decides on polarity where the header contradicts itself, one of POLARITIES."""
    png_bits: int = 0
    """True depth of PNGs of 16 bits; 0: what each film uses."""
    allow_losses: bool = False
    """Go on where a table loses more rows than cohort/losses allows."""
    is_anew: bool = False
    """Read every film again, also those that look like the ones that were read."""


@dataclass(frozen=True)
class _Plan:
    """What will be read, and the key of the resulting cohort."""

    options: IngestOptions
    rule: LinkRule | None
    """None where the dataset has no stays."""
    layout: Layout
    present: dict[str, int]
    hashes: dict[str, str]
    verified: list[Verified]
    key: str
    asked: Asked
    events: dict[str, SourceFile]
    """Table of events -> its file."""
    films: dict[str, Seen]
    """The films whose headers the cohort is made of, as they were before these were read."""

    @property
    def collection(self) -> str:
        """What the films are of; ids are compared, and subjects split by hash, within it."""
        return name_collection(self.options)

    @property
    def features(self) -> list[str]:
        """Names of all features of the cohort."""
        return [*FEATURE_NAMES, *self.asked.names]

    @property
    def tables(self) -> dict[Path, str]:
        """Path -> SHA-256 of the publisher's tables, without a map and its tables."""
        return {file.path: self.hashes[file.shown] for file in _publishers_files(self.layout)}


def build_cohort(workspace: Workspace, options: IngestOptions) -> CohortSummary:
    """Publish `cohorts/<name>` from the dataset, and return its summary.

    If a cohort from the same files is already published, return its summary with `was_current`.

    Raises: UsageError, DataError (LeakageError for a subject in two official splits), SetupError.
    """
    source = find_source(options.dataset)
    name = check_name(options.name or options.dataset, "cohort")
    dest = workspace.cohorts / name
    plan = _make_plan(workspace, source, options, dest)
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


def _make_plan(workspace: Workspace, source: Source, options: IngestOptions, dest: Path) -> _Plan:
    rule = _choose_rule(source, options)
    options.check()
    options = options.locate(options.dataset)
    own = own_features(options.map, dest) if options.map else None
    asked = own or read_asked(options.features, dest)
    layout = _find_layout(source, options)
    events = {} if own else find_files(asked, layout)
    check_apart(workspace.root, {layout.root, *(file.path.parent for file in _publishers_files(layout))})
    present = list_films(layout.root, layout.film_folders, layout.film_suffixes, layout.remarks)
    layout.remarks.extend(leave_unwritable(present))
    of_events = {file.shown: _hash_file(file.path, file.shown) for file in events.values()}
    hashes = {file.shown: _hash_file(file.path, file.shown) for file in layout.files.values()}
    sizes = {file.shown: file.path.stat().st_size for file in layout.files.values()}
    folders = {layout.root, *(file.path.parent for file in layout.files.values())}
    verified = find_verified(workspace, folders, options.links)
    split_path = options.split_path
    measured = [asdict(feature) for feature in asked.chosen.features]
    tables = [asdict(table) for table in asked.chosen.used_tables().values()]
    key = hash_settings(
        {
            **({"measured": measured, "tables": tables, "events": of_events} if measured else {}),
            "dataset": options.dataset,
            "checks": [check.outcome for check in verified],
            "rules_version": RULES_VERSION,
            "files": {shown: [sizes[shown], sha] for shown, sha in hashes.items()},
            "films": hash_listing(present),
            "link": rule and asdict(rule),
            "shares": asdict(options.shares),
            "split_file": split_path and _hash_file(split_path, plain(split_path.name, 120)),
        }
    )
    films = look_at_films(layout.film_folder, present) if layout.has_headers else {}
    return _Plan(options, rule, layout, present, hashes | of_events, verified, key, asked, events, films)


def _choose_rule(source: Source, options: IngestOptions) -> LinkRule | None:
    """Return the rule to link by, or None where the dataset has no stays."""
    if "ehr" in source.OPTIONS:
        return options.rule or LinkRule()
    if options.rule is not None:
        what = f"{options.dataset} has no hospital stays to link with"
        raise UsageError(what, hint="leave --link and --tolerance out")
    return None


def _find_layout(source: Source, options: IngestOptions) -> Layout:
    """Return the layout of the dataset; if the folder holds another dataset, the error names that one."""
    try:
        layout = replace(find_dataset(source, options), links=options.links)
        if layout.missing:
            raise layout.missing[0]
        return layout
    except DataError as error:
        found = list(recognise(options.path))
        if not found or options.dataset in found:
            raise
        hint = f"this looks like {found[0]}: cxrssl ingest {found[0]} PATH"
        raise DataError(error.what, error.where, f"{hint} ({error.hint})") from None


def _publishers_files(layout: Layout) -> list[SourceFile]:
    """Return the files that the publisher ships, without a map and its tables, which are the user's own."""
    return [file for name, file in layout.files.items() if not name.startswith("map")]


def _split(tables: SourceTables, plan: _Plan) -> tuple[pl.DataFrame, list[str]]:
    """Return the splits of all possible schemes, and remarks on the user's own split."""
    subjects = set(tables.image["subject_id"].unique())
    icu = set(tables.hospital.icu_stay["subject_id"].unique()) & subjects if tables.hospital else set()
    path = plan.options.split_path
    own, remarks = read_split_file(path, tables.image) if path else (None, [])
    dataset, shares = plan.collection, plan.options.shares
    doubtful = set(find_doubtful(tables.files))
    return split_subjects(dataset, subjects, tables.official, icu or None, own, shares, doubtful), remarks


def _hash_file(path: Path, shown: str) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror or error}", path) from None


def _find_current(dest: Path, plan: _Plan) -> CohortSummary | None:
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


def _check_owner(dest: Path, plan: _Plan) -> None:
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


def _check_some_films(tables: SourceTables, plan: _Plan) -> None:
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


def _fill_folder(folder: Path, filling: _Filling, tables: SourceTables, plan: _Plan) -> dict[str, Any]:
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


def _file_rows(tables: SourceTables, plan: _Plan) -> pl.DataFrame:
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
