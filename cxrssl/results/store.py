"""The DuckDB store, folded from runs, evaluations and comparisons as they are on disk.

In: what is published, and the journals of runs. Out: experiments.duckdb: a copy of the one before, brought up to date
beside it, and renamed. Never: a write into a run's folder, two folds at once, or a store under its name that does not
hold every row that was written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cxrssl.core.building import Building
from cxrssl.core.durable import fsync_path, hash_settings, kill_point, renamed_os_errors
from cxrssl.core.errors import DataError, SetupError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.process import start_ticks
from cxrssl.core.version import __version__
from cxrssl.core.workspace import Workspace
from cxrssl.records.published import Published, Source, look_at_sources
from cxrssl.records.reader import read_run
from cxrssl.results.fold import (
    LOGGED,
    SETTLED,
    SOURCE,
    STORE,
    Before,
    Folded,
    fold,
    insert_rows,
    read_before,
    run_folders,
)
from cxrssl.results.seal import announce, checksum_of, is_sealed, seal

SCHEMA = "3_results.sql"
ROWS_VERSION = 6
"""Raise it when the same journals make other rows: nothing is then kept from the store before."""
MADE_BY = "made by"
"""What the store says of itself among its sources."""
MEMORY = "512MB"
"""Of DuckDB, whatever the number of runs. It writes with one thread: another one reads journals meanwhile, and what is
inserted at once is too little to be shared."""
REBUILD = "make it again: cxrssl db rebuild"
WAIT_S = 60.0
"""For another process that folds the same store."""


class Busy(UsageError):
    """Another process makes the store."""


def rebuild_store(workspace: Workspace) -> Path:
    """Build experiments.duckdb from nothing but what is published, and return its path.

    Raises: SetupError when it cannot be written; Busy, at once, when another process makes it.
    """
    with _folding(workspace):
        _make(workspace, None, None)
    return workspace.store


def fold_store(workspace: Workspace, published: Published | None = None, wait_s: float = WAIT_S) -> Path:
    """Bring experiments.duckdb up to what is published now, and return its path.

    `published` is what was just read of the workspace, None reads what has changed.

    Raises: SetupError when it cannot be written, or another program writes to it; Busy when another process makes it
    for longer than `wait_s`.
    """
    ends_at = time.monotonic() + wait_s
    while True:
        try:
            with _folding(workspace):
                try:
                    _make(workspace, read_previous(workspace), published)
                except DataError:  # the store before is damaged in what was to be kept of it
                    _make(workspace, None, published)
                return workspace.store
        except Busy:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)


def refresh_store(workspace: Workspace) -> Path:
    """Return the path of experiments.duckdb, folded if anything that it is made from has changed since.

    Raises: as `fold_store`.
    """
    return workspace.store if is_store_current(workspace) else fold_store(workspace)


def is_store_current(workspace: Workspace) -> bool:
    """Return whether experiments.duckdb is of this version, is as it was made, and says what its sources say now."""
    before = read_previous(workspace)
    if (
        before is None
        or before.sources != look_at_sources(workspace)
        or not all(each.identity for each in before.sources)
    ):
        return False
    folders = run_folders(workspace)
    for run_id, state in before.states.items():
        for folder in () if state in SETTLED else folders[run_id]:
            record = read_run(folder)
            if record is not None and record.state != state:
                return False
    return True


def read_previous(workspace: Workspace) -> Before | None:
    """Return what the store says of itself, None where there is none that is whole, of this version and as it was made.

    Raises: SetupError when another process writes to it.
    """
    from cxrssl.db import open_database

    if not is_sealed(workspace.store):
        return None
    try:
        with open_database(workspace.store, read_only=True) as database:
            said = dict(database.rows(f"SELECT name, identity FROM {SOURCE} WHERE kind = ?", [STORE]))
            return read_before(database) if said.get(MADE_BY) == _made_by() else None
    except (DataError, UsageError):
        return None


def build(building: Path, workspace: Workspace, before: Before | None, published: Published | None = None) -> None:
    """Write the store of a workspace to `building`, where a copy of the store lies if `before` is what that says.

    Raises: SetupError when not every row is in it; DataError when the copy is damaged.
    """
    _check_rows(building, _write(building, workspace, before, published))


def _write(building: Path, workspace: Workspace, before: Before | None, published: Published | None) -> Folded:
    """Write the store as `build` does, and return what it must hold."""
    from cxrssl.db import apply_schema, open_database

    now = published.sources if published else look_at_sources(workspace)
    with open_database(building, memory=MEMORY, threads=1) as database:
        if before is None:
            apply_schema(database, SCHEMA)
        folded = fold(database, workspace, before or Before(), now, published)
        insert_rows(database, SOURCE, [Source(STORE, MADE_BY, _made_by())._asdict()])
    return folded


def _made_by() -> str:
    from cxrssl.db import read_schema

    return f"cxrssl {__version__}, rows {ROWS_VERSION}, schema {hash_settings(read_schema(SCHEMA))[:16]}"


@contextlib.contextmanager
def _folding(workspace: Workspace) -> Iterator[None]:
    what = "experiments.duckdb is being made by another process"
    busy = Busy(what, workspace.store, "wait for it to end, then run the same command again")
    with hold_lock(workspace.root / ".experiments.lock", busy):
        yield


def _make(workspace: Workspace, before: Before | None, published: Published | None) -> None:
    store = workspace.store
    with renamed_os_errors(store), building_folder(store) as folder:
        building = folder / store.name
        with ThreadPoolExecutor(1) as beside:
            if before is not None:
                _copy(store, building)
                synced = beside.submit(fsync_path, building)  # DuckDB waits for the disk in the end, and for less then
            folded = _write(building, workspace, before, published)
            kill_point("store-before-check")
            checksum = beside.submit(checksum_of, building)
            _check_rows(building, folded)
        if before is None:
            fsync_path(building)  # a fold that a power cut undoes is found by its checksum, and made again
        else:
            synced.result()
        _put_in_place(building, store, checksum.result())


def _copy(store: Path, building: Path) -> None:
    """Copy the store while no other program can write to it.

    Another process copies it: a process that opens and closes the file itself would lose DuckDB's lock on it.
    """
    from cxrssl.db import open_database

    with open_database(store, read_only=True):
        try:
            subprocess.run(["cp", "--reflink=auto", "--", store, building], check=True, stderr=subprocess.DEVNULL)
        except (FileNotFoundError, subprocess.CalledProcessError):
            shutil.copyfile(store, building)


def _check_rows(building: Path, folded: Folded) -> None:
    """Open the store as a reader will, and read every new row: DuckDB knows a damaged block when it reads it.

    Raises: SetupError when not every row is in it.
    """
    from cxrssl.db import WRITE_HINT, open_database

    counts = {**folded.counts, SOURCE: folded.counts[SOURCE] + 1}
    with open_database(building, read_only=True) as database:
        for table, num_rows in counts.items():
            ((found,),) = database.rows(f"SELECT count(*) FROM {table}")
            if found != num_rows:
                what = f"cannot write the database: table {table} has {found:,} of {num_rows:,} rows"
                raise SetupError(what, building, WRITE_HINT)
            since = folded.num_kept if table == LOGGED else 0
            database.rows(f"SELECT bit_xor(hash({table})) FROM {table} WHERE rowid >= ?", [since])


def _put_in_place(building: Path, store: Path, checksum: int) -> None:
    from cxrssl.db import journal_of

    announce(store, checksum)
    kill_point("store-before-rename")
    journal_of(store).unlink(missing_ok=True)  # of someone who wrote to the store before: not of this one
    os.replace(building, store)
    kill_point("store-after-rename")
    seal(store, checksum)
    store.with_suffix(".sha256").unlink(missing_ok=True)  # of an older version


@contextlib.contextmanager
def building_folder(store: Path) -> Iterator[Path]:
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
