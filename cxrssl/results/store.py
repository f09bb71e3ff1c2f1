"""The DuckDB store, folded from runs, evaluations and comparisons as they are on disk.

In: what is published, and the journals of runs. Out: experiments.duckdb, built beside and renamed. What a run logged is
kept from the store before where its folder lies as it lay then; everything else is made anew.
Never: a write into a run's folder, or a store under its name that does not hold every row that was written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxrssl.core.building import Building
from cxrssl.core.durable import (
    fsync_path,
    hash_settings,
    kill_point,
    renamed_os_errors,
    sha256_file,
    write_bytes,
)
from cxrssl.core.errors import DataError, SetupError, UsageError
from cxrssl.core.process import start_ticks
from cxrssl.core.text import valid
from cxrssl.core.version import __version__
from cxrssl.core.workspace import Workspace
from cxrssl.records.published import Published, Source, look_at_sources, read_published
from cxrssl.records.reader import read_run
from cxrssl.records.run import KIND as RUN
from cxrssl.results.tables import LOGGED, fill_tables

if TYPE_CHECKING:
    from cxrssl.db import Database

SCHEMA = "3_results.sql"
ROWS_VERSION = 2
"""Raise it when the same journals make other rows: nothing is then kept from the store before."""
STORE, MADE_BY, MADE_NS = "store", "made by", "made at, Unix ns"
"""What the store says of itself among its sources."""
SETTLED = frozenset({"stopped", "failed", "finished"})
"""States of a run that its files alone decide; of the others its process and the time have a say."""
MEMORY = "512MB"
"""Of DuckDB, whatever the number of runs."""


def rebuild_store(workspace: Workspace, published: Published | None = None) -> Path:
    """Build experiments.duckdb beside the old one, rename it into place, return its path.

    `published` is what was just read of the workspace, None reads it.

    Raises: SetupError when it cannot be written.
    """
    published = published or read_published(workspace)
    with renamed_os_errors(workspace.store), _building_folder(workspace.store) as folder:
        building = folder / workspace.store.name
        kept = _list_kept(workspace, published)
        try:
            _build(building, workspace.store, published, kept)
        except DataError:  # the store before is damaged in what was to be kept of it
            if not kept:
                raise
            building.unlink()
            _build(building, workspace.store, published, frozenset())
        _put_in_place(building, workspace.store)
    return workspace.store


def refresh_store(workspace: Workspace) -> Path:
    """Return the path of experiments.duckdb, rebuilt if anything that it is made from has changed since.

    Raises: SetupError when it cannot be written.
    """
    return workspace.store if is_store_current(workspace) else rebuild_store(workspace)


def is_store_current(workspace: Workspace) -> bool:
    """Return whether experiments.duckdb is of this version, is as it was made, and says what its sources say now."""
    before = _read_previous(workspace.store)
    if (
        before is None
        or before.sources != look_at_sources(workspace)
        or not all(each.identity for each in before.sources)
    ):
        return False
    folders = {valid(run_id): workspace.runs / run_id for run_id in workspace.run_ids()}
    for run_id, state in before.states.items():
        record = None if state in SETTLED else read_run(folders[run_id])
        if record is not None and record.state != state:
            return False
    return True


@dataclass(frozen=True)
class _Previous:
    """What the store before was made from."""

    sources: tuple[Source, ...]
    states: Mapping[str, str]
    """Of runs."""


def _read_previous(store: Path) -> _Previous | None:
    """Return what a store says of itself, None where there is none that is whole, of this version and as it was made.

    Raises: SetupError when another process writes to it.
    """
    from cxrssl.db import open_database

    if not _is_as_written(store):
        return None
    try:
        with open_database(store, read_only=True) as database:
            found = sorted(Source(*row) for row in database.rows("SELECT kind, name, identity FROM source"))
            states = dict(database.rows("SELECT run_id, state FROM run"))
    except (DataError, UsageError):
        return None
    said = {each.name: each.identity for each in found if each.kind == STORE}
    if said.get(MADE_BY) != _made_by() or said.get(MADE_NS) != str(store.stat().st_mtime_ns):
        return None
    return _Previous(tuple(each for each in found if each.kind != STORE), states)


def _is_as_written(store: Path) -> bool:
    """Return whether every byte is the one that was written: DuckDB need not notice that a block is not its own."""
    try:
        return sha256_file(store) == _digest_of(store).read_text(errors="replace")
    except OSError:
        return False


def _digest_of(store: Path) -> Path:
    return store.with_suffix(".sha256")


def _made_by() -> str:
    from cxrssl.db import read_schema

    return f"cxrssl {__version__}, rows {ROWS_VERSION}, schema {hash_settings(read_schema(SCHEMA))[:16]}"


def _list_kept(workspace: Workspace, published: Published) -> frozenset[str]:
    """Return the runs whose folders lie as they lay when the store before was made."""
    try:
        before = _read_previous(workspace.store)
    except SetupError:
        return frozenset()
    if before is None:
        return frozenset()
    then, now = _by_run(before.sources), _by_run(published.sources)
    return frozenset(name for name, lay in now.items() if all(lay) and then.get(name) == lay)


def _by_run(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Return how the folders of each run lay: odd names may be equal once they are valid text."""
    runs: dict[str, list[str]] = {}
    for each in sources:
        if each.kind == RUN:
            runs.setdefault(each.name, []).append(each.identity)
    return runs


def _build(building: Path, before: Path, published: Published, kept: frozenset[str]) -> None:
    """Write a store beside the one before, whose rows of the runs in `kept` it takes over.

    Raises: SetupError when not every row is in it; DataError when the store before is damaged.
    """
    from cxrssl.db import apply_schema, open_database

    made_ns = int(time.time()) // 2 * 2 * 10**9  # as every file system can hold it
    own = Source(STORE, MADE_BY, _made_by()), Source(STORE, MADE_NS, str(made_ns))
    if kept:
        shutil.copyfile(before, building)
    with open_database(building, memory=MEMORY) as database:
        if kept:
            _forget(database, kept)
        else:
            apply_schema(database, SCHEMA)
        counts = fill_tables(database, replace(published, sources=(*published.sources, *own)), kept)
    kill_point("store-before-check")
    _check_rows(building, counts)
    os.utime(building, ns=(made_ns, made_ns))


def _forget(database: Database, kept: frozenset[str]) -> None:
    """Delete all rows but what the runs in `kept` logged."""
    for (table,) in database.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal"):
        if table == LOGGED:
            database.execute(f"DELETE FROM {table} WHERE run_id NOT IN (SELECT unnest(?))", [sorted(kept)])
        else:
            database.execute(f"DELETE FROM {table}")


def _check_rows(building: Path, counts: Mapping[str, int]) -> None:
    """Open the store as a reader will, and read every row: DuckDB knows a damaged block when it reads it."""
    from cxrssl.db import WRITE_HINT, open_database

    with open_database(building, read_only=True) as database:
        for table, num_rows in counts.items():
            ((found, _),) = database.rows(f"SELECT count(*), bit_xor(hash({table})) FROM {table}")
            if found != num_rows:
                what = f"cannot write the database: table {table} has {found:,} of {num_rows:,} rows"
                raise SetupError(what, building, WRITE_HINT)


def _put_in_place(building: Path, store: Path) -> None:
    from cxrssl.db import journal_of

    fsync_path(building)
    digest = sha256_file(building)
    kill_point("store-before-rename")
    journal_of(store).unlink(missing_ok=True)  # of someone who wrote to the store before: not of this one
    os.replace(building, store)
    kill_point("store-after-rename")
    write_bytes(_digest_of(store), digest.encode())


@contextlib.contextmanager
def _building_folder(store: Path) -> Iterator[Path]:
    """Yield a folder beside the store that is removed in the end; those of killed processes are removed now."""
    for left in store.parent.glob(f".{store.name}.*"):  # as older versions called what they built
        pid = left.name.removeprefix(f".{store.name}.").partition(".")[0]
        if not pid.isdecimal() or start_ticks(int(pid)) is None:
            left.unlink(missing_ok=True)
    building = Building(store)
    try:
        yield building.path
    finally:
        building.close()
