"""`cxrssl db`: the store of experiments made again, checked, and handed to other programs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    WorkspacePath,
    open_workspace,
    print_damage,
    print_summary,
)
from cxrssl.core.errors import IntegrityError, SetupError, UsageError
from cxrssl.core.text import count_noun, format_bytes, shell_word

CHECK_S = 86_400.0
"""Never reached by a check that makes progress."""

app = typer.Typer(
    help="Make the store of experiments again, check it, hand it on.\n\nExample: cxrssl db check",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def rebuild(workspace: WorkspacePath = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Make experiments.duckdb again from the journals of runs and all that is published, whatever lies there now.

    Example: cxrssl db rebuild
    """
    from cxrssl.results.check import content_sha256, hash_tables
    from cxrssl.results.store import rebuild_store

    began = time.monotonic()
    store = rebuild_store(open_workspace(workspace))
    hashes = hash_tables(store)
    num_rows = {name: num for name, (num, _) in hashes.items()}
    summary = {"file": str(store), "content_sha256": content_sha256(hashes), "rows": num_rows}
    lines = [
        f"{store}: {count_noun(sum(num_rows.values()), 'row')}, {format_bytes(store.stat().st_size)}, "
        f"in {time.monotonic() - began:.1f} s",
        f"content {summary['content_sha256']}",
    ]
    print_summary(summary, as_json, lines)


@app.command()
def check(context: typer.Context, workspace: WorkspacePath = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Compare experiments.duckdb with one made from nothing: every table must hold the same rows.

    What of runs and evaluations could not be used is named.

    Example: cxrssl db check
    """
    from cxrssl.results import bounded
    from cxrssl.results.check import check_store
    from cxrssl.results.store import REBUILD

    opened = open_workspace(workspace)
    if context.obj and not bounded.is_bounded():  # a damaged file may end the process that reads it
        try:
            raise typer.Exit(bounded.run_bounded(context.obj, CHECK_S))
        except SetupError:
            raise IntegrityError("the store is damaged: reading it ends the process", opened.store, REBUILD) from None
    found = check_store(opened)
    summary = {
        "content_sha256": found.content_sha256,
        "rows": dict(found.num_rows),
        "damage": [each._asdict() if hasattr(each, "_asdict") else vars(each) for each in found.damage],
    }
    total = count_noun(sum(found.num_rows.values()), "row")
    lines = [f"the store holds what a rebuild makes: {total}", f"content {found.content_sha256}"]
    print_summary(summary, as_json, lines)
    print_damage(found.damage)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder to write, or file with --compat.", metavar="PATH")],
    compat: Annotated[
        bool, typer.Option("--compat", help="Write one DuckDB file that version 1.2 and later read.")
    ] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write all tables of the store as Parquet with their schema, or as a file for an older DuckDB.

    Example: cxrssl db export --compat --out experiments-v1.duckdb
    """
    from cxrssl.results.check import export_store

    if out.exists() or out.is_symlink():
        raise UsageError("there is something at this place", out, "use another --out")
    if compat != (out.suffix == ".duckdb"):
        hint = f"--out {shell_word(out.with_suffix('.duckdb'))}" if compat else "name a folder, or add --compat"
        raise UsageError("--out is no name of a DuckDB file" if compat else "--out names a file", out, hint)
    made = export_store(open_workspace(workspace), out.absolute(), compat)
    what = "for DuckDB 1.2 and later" if compat else "tables as Parquet; schema.sql and load.sql bring them in"
    print_summary({"path": str(made)}, as_json, [f"{made}: {what}"])
