"""The store against what a rebuild makes of the same files, and its tables in the formats of others.

In: a workspace. Out: StoreCheck; files. Never: a change of the store that is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrssl.core.durable import hash_settings, renamed_os_errors
from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, SetupError
from cxrssl.core.workspace import Workspace
from cxrssl.records.damage import Damage
from cxrssl.results.fold import SOURCE
from cxrssl.results.seal import is_sealed
from cxrssl.results.sql import list_damage
from cxrssl.results.store import MEMORY, REBUILD, build, building_folder, refresh_store

Hashes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class StoreCheck:
    """What was found."""

    content_sha256: str
    """Over the rows of all tables, in any order."""
    num_rows: Mapping[str, int]
    """By table."""
    damage: tuple[Damage, ...]
    """Of runs and what is published: files that could not be used, or not in full."""


def check_store(workspace: Workspace) -> StoreCheck:
    """Compare the store, brought up to date, with one that is made from nothing.

    Raises: IntegrityError when it was damaged, or when it holds other rows; DataError when there is none.
    """
    if not workspace.store.is_file():
        raise DataError("there is no store of experiments", workspace.store, REBUILD)
    if not is_sealed(workspace.store):
        what = "the store is damaged, or another program wrote to it"
        raise IntegrityError(what, workspace.store, REBUILD)
    with renamed_os_errors(workspace.store), building_folder(workspace.store) as folder:
        rebuilt = folder / "rebuilt.duckdb"
        build(rebuilt, workspace, None)
        wanted = hash_tables(rebuilt)
        found = _hash_store(workspace)
        damage = _damage_of(rebuilt)
    different = sorted(name for name in wanted if found.get(name) != wanted[name])
    if different:
        what = f"the store holds other rows than its sources in {', '.join(different)}"
        raise IntegrityError(what, workspace.store, REBUILD)
    return StoreCheck(content_sha256(wanted), {name: num for name, (num, _) in wanted.items()}, damage)


def hash_tables(store: Path) -> Hashes:
    """Return rows and a hash of every table of a store but the one that says how files lay, whatever their order."""
    from cxrssl.db import open_database

    with open_database(store, read_only=True, memory=MEMORY) as database:
        names = [name for (name,) in database.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal")]
        found = {}
        for name in sorted(set(names) - {SOURCE}):
            ((num, total),) = database.rows(f"SELECT count(*), coalesce(sum(hash({name})), 0) FROM {name}")
            found[name] = (int(num), int(total))
    return found


def content_sha256(hashes: Hashes) -> str:
    """Return one hash of all tables."""
    return hash_settings({name: [num, str(total)] for name, (num, total) in hashes.items()})


def export_store(workspace: Workspace, dest: Path, is_compatible: bool) -> Path:
    """Write the store for others: its tables as Parquet, or one file that DuckDB 1.2 and later reads.

    Raises: SetupError when it cannot be written.
    """
    from cxrssl.db import export_compatible, export_parquet

    store = refresh_store(workspace)
    with renamed_os_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        with building_folder(dest) as folder:
            made = folder / dest.name
            (export_compatible if is_compatible else export_parquet)(store, made)
            if not is_compatible:  # it names the folder that the tables are in now
                load = made / "load.sql"
                load.write_text(load.read_text().replace(f"{made}/", ""))
            made.rename(dest)
    return dest


def _hash_store(workspace: Workspace) -> Hashes:
    try:
        return hash_tables(refresh_store(workspace))
    except SetupError:
        raise
    except CxrsslError as error:
        raise IntegrityError(f"the store is damaged: {error.what}", workspace.store, REBUILD) from None


def _damage_of(store: Path) -> tuple[Damage, ...]:
    from cxrssl.db import open_database

    with open_database(store, read_only=True) as database:
        return tuple(list_damage(database))
