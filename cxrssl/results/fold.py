"""The fold: what a workspace holds, put into an open store, of which only what changed since is made anew.

In: an open database of the store's schema, empty or a copy of the store before. Out: the rows that a rebuild would
make. Never: rows of a run whose journals are not those that were read, with more at their end at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cxrssl.core.text import valid
from cxrssl.core.workspace import Workspace
from cxrssl.records.notes import NOTES, RunNotes, read_notes
from cxrssl.records.published import Published, Source, read_published
from cxrssl.records.reader import RunReader, RunRecord
from cxrssl.records.run import DESCRIPTION, ENCODER, RunFiles
from cxrssl.records.run import KIND as RUN
from cxrssl.records.setup import read_setups
from cxrssl.results.frames import make_frame, make_rows
from cxrssl.results.journals import JournalState, is_continued, iter_new, read_whole
from cxrssl.results.run_rows import RUN_TABLES, Rows, damage_rows, run_rows
from cxrssl.results.tables import PUBLISHED_TABLES, published_rows

if TYPE_CHECKING:
    from cxrssl.db import Database
    from cxrssl.records.steps import Column

LOGGED, SUMMARY, JOURNAL, SOURCE = "metric", "summary", "journal", "source"
STORE = "store"
"""Kind of a row of SOURCE that says something of the store itself."""
NAMED = ("artefact", "imported", "damage")
"""Tables that have rows of runs by kind and name, and rows of what is published."""
SETTLED = frozenset({"stopped", "failed", "finished"})
"""States of a run that its files alone decide; of the others its process and the time have a say."""
FEW = 20
"""Runs that are looked for one by one, rather than all in one pass over the largest table."""
SUMMARISE = f"""INSERT INTO {SUMMARY} SELECT run_id, key, count(*), min(step), max(step), arg_max(value, step),
min(value) FILTER (isfinite(value)), max(value) FILTER (isfinite(value)) FROM {LOGGED} WHERE """
COMMIT_ROWS = 2_000_000
"""Are inserted in one transaction, which holds a part of them in memory until it ends."""
NUMBERED = "SELECT ?, (?)[key + 1], step, epoch, ts, value FROM incoming"
T = TypeVar("T")
States = Mapping[str, JournalState]


@dataclass(frozen=True)
class Before:
    """What the store says of itself before the fold."""

    sources: tuple[Source, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    """Of runs."""
    journals: Mapping[str, States] = field(default_factory=dict)
    """By run, then by file: how far each was read."""


@dataclass(frozen=True)
class Folded:
    """What the store must hold after the fold."""

    counts: Mapping[str, int]
    """Rows by table."""
    num_kept: int
    """Rows of LOGGED that are as they were."""


@dataclass
class _Run:
    """A run that is read again."""

    name: str
    folder: Path
    record: RunRecord | None
    notes: RunNotes
    reader: RunReader
    states: dict[str, JournalState]
    """How far its files were read; filled while they are read."""
    is_continued: bool


def fold(
    database: Database, workspace: Workspace, before: Before, now: Sequence[Source], published: Published | None = None
) -> Folded:
    """Bring a store up to what the workspace holds.

    `now` are its folders as they lay before this was called; `published` is what was read of them, None reads it.
    """
    then, lie = _by_run(before.sources), _by_run(now)
    gone = set(then) - set(lie)
    changed = {name for name, lay in lie.items() if not all(lay) or then.get(name) != lay or len(lay) > 1}
    runs = list(_open_runs(workspace, changed, before))
    kept = {run.name for run in runs if run.is_continued}
    stale = (gone | changed) & set(then)
    _forget_runs(database, stale, stale - kept)
    num_kept = _count(database, LOGGED)
    _insert_runs(database, runs)
    num_logged, touched = _insert_logged(database, runs)
    _summarise(database, touched, stale & (touched | (stale - kept)))
    _renew_states(database, workspace, before, set(then) - gone - changed)
    others = [each for each in now if each.kind != RUN]
    is_other = others != [each for each in before.sources if each.kind != RUN] or not all(e.identity for e in others)
    if is_other or gone or any(_is_described_anew(run, before) for run in runs):
        _renew_published(database, workspace, published or read_published(workspace))
    database.execute(f"DELETE FROM {SOURCE}")
    insert_rows(database, SOURCE, (each._asdict() for each in now))
    tables = [name for (name,) in database.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal")]
    counts = {table: _count(database, table) for table in tables} | {LOGGED: num_kept + num_logged}
    return Folded(counts, num_kept)


def read_before(database: Database) -> Before:
    """Return what an open store says of itself."""
    journals: dict[str, dict[str, JournalState]] = {}
    for run_id, *state in database.rows(f"SELECT * FROM {JOURNAL} ORDER BY run_id, name"):
        journals.setdefault(run_id, {})[state[0]] = JournalState(*state)
    rows = database.rows(f"SELECT kind, name, identity FROM {SOURCE} WHERE kind <> ?", [STORE])
    sources = tuple(sorted(Source(*row) for row in rows))
    return Before(sources, dict(database.rows("SELECT run_id, state FROM run")), journals)


def insert_rows(database: Database, table: str, rows: Rows) -> None:
    """Append rows to a table, many at a time."""
    for frame in make_rows(rows, database.query(f"SELECT * FROM {table} LIMIT 0").schema):
        database.insert(table, frame)


def run_folders(workspace: Workspace) -> dict[str, list[Path]]:
    """Return the folders of runs by their names as the store can hold them: odd ones may be equal then."""
    folders: dict[str, list[Path]] = {}
    for run_id in workspace.run_ids():
        folders.setdefault(valid(run_id), []).append(workspace.runs / run_id)
    return folders


def _by_run(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Return how the folders of each run lay."""
    runs: dict[str, list[str]] = {}
    for each in sources:
        if each.kind == RUN:
            runs.setdefault(each.name, []).append(each.identity)
    return runs


def _open_runs(workspace: Workspace, changed: Collection[str], before: Before) -> Iterator[_Run]:
    for name, folders in run_folders(workspace).items():
        for folder in folders if name in changed else ():
            reader = RunReader(folder)
            # The journals are looked at before the record is read, so that it is not older than its steps.
            states = dict(before.journals.get(name, {})) if len(folders) == 1 else {}
            record, notes = reader.poll(), read_notes(folder)
            own = {file: read_whole(folder / file) for file in (DESCRIPTION, NOTES)}
            logged = {file: state for file, state in states.items() if file not in own}
            is_like_before = (
                record is not None
                and bool(states)
                and states.get(NOTES) == own[NOTES]
                and is_continued(RunFiles(folder).journals(), logged, may_grow=not notes.added)
            )
            kept = own | (logged if is_like_before else {})
            yield _Run(name, folder, record, notes, reader, kept if len(folders) == 1 else {}, is_like_before)


def _is_described_anew(run: _Run, before: Before) -> bool:
    return DESCRIPTION not in run.states or run.states[DESCRIPTION] != before.journals.get(run.name, {}).get(
        DESCRIPTION
    )


def _forget_runs(database: Database, stale: Collection[str], unlogged: Collection[str]) -> None:
    """Delete the rows of runs that are read again or gone; what was logged only of those `unlogged`."""
    if stale:
        names = sorted(stale)
        for table in (*RUN_TABLES, JOURNAL):
            database.execute(f"DELETE FROM {table} WHERE run_id IN (SELECT unnest(?))", [names])
        for table in NAMED:
            kinds = [RUN, ENCODER]
            sql = f"DELETE FROM {table} WHERE kind IN (SELECT unnest(?)) AND name IN (SELECT unnest(?))"
            database.execute(sql, [kinds, names])
    _each_or_all(database, f"DELETE FROM {LOGGED} WHERE ", "", unlogged)


def _each_or_all(database: Database, sql: str, end: str, names: Collection[str]) -> None:
    """Run a statement about runs: one by one, which skips the blocks of the others, or about many at once."""
    if len(names) > FEW:
        database.execute(f"{sql} run_id IN (SELECT unnest(?)) {end}", [sorted(names)])
        return
    for name in sorted(names):
        database.execute(f"{sql} run_id = ? {end}", [name])


def _insert_runs(database: Database, runs: Sequence[_Run]) -> None:
    made = [run_rows(run.record, run.notes) for run in runs if run.record is not None]
    for table in (*RUN_TABLES, "artefact", "imported"):
        insert_rows(database, table, itertools.chain.from_iterable(rows[table] for rows in made))
    insert_rows(database, "damage", (row for run in runs for row in damage_rows(run.reader.damage)))


def _insert_logged(database: Database, runs: Sequence[_Run]) -> tuple[int, set[str]]:
    """Insert what runs logged since they were read last; return how many rows, and of which runs."""
    num_rows, touched = 0, set[str]()
    logged = _ahead(_iter_logged(runs))
    while True:
        begun_at = num_rows
        with database.transaction():
            for run, columns in logged:
                frame = make_frame(columns)
                keys = [valid(column.metric) for column in columns]
                database.insert_query(LOGGED, NUMBERED, frame, [run.name, keys])
                num_rows, touched = num_rows + frame.height, touched | {run.name}
                if num_rows - begun_at >= COMMIT_ROWS:
                    break
            else:
                break
    for run in runs:
        if run.notes.added and run.record is not None and not run.is_continued:
            num_rows, touched = num_rows + _insert_added(database, run), touched | {run.name}
    states = ({"run_id": run.name, **vars(state)} for run in runs for state in run.states.values())
    insert_rows(database, JOURNAL, ({**row, "name": valid(row["name"])} for row in states))
    return num_rows, touched


def _insert_added(database: Database, run: _Run) -> int:
    """Insert what was added later under names that the run itself did not log."""
    logged = {key for (key,) in database.rows(f"SELECT DISTINCT key FROM {LOGGED} WHERE run_id = ?", [run.name])}
    rows = [
        {"run_id": run.name, "key": valid(each.key), "step": each.step, "ts": each.ts, "value": each.value}
        for each in run.notes.added
        if valid(each.key) not in logged
    ]
    insert_rows(database, LOGGED, rows)
    return len(rows)


def _iter_logged(runs: Iterable[_Run]) -> Iterator[tuple[_Run, list[Column]]]:
    for run in runs:
        if run.record is None:
            continue
        own = {name: state for name, state in run.states.items() if name not in (DESCRIPTION, NOTES)}
        read: list[JournalState] = []
        for columns in iter_new(RunFiles(run.folder).journals(), own, read.append):
            yield run, columns
        if run.states:  # none of runs that share a name: they are read anew each time
            run.states |= {state.name: state for state in read}


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items; the next one is made by another thread while one is used."""
    with ThreadPoolExecutor(1) as pool:
        end = object()
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def _summarise(database: Database, touched: Collection[str], stale: Collection[str]) -> None:
    _each_or_all(database, f"DELETE FROM {SUMMARY} WHERE ", "", stale)
    _each_or_all(database, SUMMARISE, "GROUP BY run_id, key", touched)


def _renew_states(database: Database, workspace: Workspace, before: Before, names: Collection[str]) -> None:
    """Write the states of runs whose files are as they were, where another process or the time has changed them."""
    for name, folders in run_folders(workspace).items():
        if name not in names or before.states.get(name, "finished") in SETTLED:
            continue
        for folder in folders:
            record = RunReader(folder).poll()
            if record is not None and record.state != before.states[name]:
                database.execute("UPDATE run SET state = ? WHERE run_id = ?", [record.state, name])


def _renew_published(database: Database, workspace: Workspace, published: Published) -> None:
    for table in PUBLISHED_TABLES:
        database.execute(f"DELETE FROM {table}")
    for table in NAMED:
        database.execute(f"DELETE FROM {table} WHERE kind NOT IN (SELECT unnest(?))", [[RUN, ENCODER]])
    for table, rows in published_rows(workspace, published, read_setups(workspace)).items():
        insert_rows(database, table, rows)


def _count(database: Database, table: str) -> int:
    ((count,),) = database.rows(f"SELECT count(*) FROM {table}")
    return int(count)
