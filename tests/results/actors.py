"""Who works on one workspace at a time: trainers, folders of the store, dashboards, a user; a process each.

They are forked from this process, which has loaded what they need.
In: lines of JSON on stdin: who, and what it works on. Out: the process id on a line, and what each has seen in a file.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

import cxrssl.dashboard.once
import cxrssl.db
import cxrssl.results.fold
from cxrssl.core.errors import CxrsslError, UsageError
from cxrssl.core.journal import Journal, append_record
from cxrssl.core.process import describe_process
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.app import DashboardApp
from cxrssl.dashboard.once import read_once
from cxrssl.dashboard.screens.common import CommonScreen
from cxrssl.dashboard.view import View
from cxrssl.db import open_database
from cxrssl.records.run import RunFiles
from cxrssl.results.check import check_store, content_sha256, hash_tables
from cxrssl.results.store import fold_store, rebuild_store
from tests.cli.command import run
from tests.dashboard.screen import settle, text_of

LOADED = (pl, cxrssl.dashboard.once, cxrssl.db, cxrssl.results.fold)
"""Once, before any process is forked."""
WHOLE = "SELECT run_id, count(*), count(DISTINCT step), max(step) FROM metric WHERE key = 'loss' GROUP BY run_id"
PAUSE_S = 0.05


def train(folder: Path, first: int, start: int, said: Path) -> None:
    """Log steps as a trainer does, faster; note each one that was logged."""
    files = RunFiles(folder)
    append_record(files.events, {"event": "start", "step": first, **describe_process()})
    journal = Journal(files.next_journal())
    with said.open("ab", buffering=0) as note:
        for step in range(first, first + 100_000):
            journal.log({"step": step, "epoch": step / 100, "loss": start + step / 1e6, "lr": 0.5, "films_per_s": 9.0})
            note.write(b"%d\n" % step)
            if step % 20 == 0:
                time.sleep(0.002)


def keep_folding(workspace: Workspace, said: Path) -> None:
    while True:
        say(said, lambda: str(fold_store(workspace)))
        time.sleep(PAUSE_S)


def watch(workspace: Workspace, said: Path) -> None:
    """Look at a screen again and again, as a dashboard does."""
    while True:
        for screen in ("runs", "curves"):
            say(said, lambda screen=screen: len(read_once(workspace, screen, View()).text(80)))
            time.sleep(4 * PAUSE_S)


def sit_before(workspace: Workspace, said: Path) -> None:
    """Sit before the dashboard itself and go from screen to screen; note what cannot be read as it says it."""

    async def sit() -> None:
        app = DashboardApp(workspace)
        async with app.run_test(size=(120, 40)) as pilot:
            while True:
                for key in ("1", "2", "4"):
                    await pilot.press(key)
                    screen = app.screen
                    assert isinstance(screen, CommonScreen)
                    await settle(pilot, screen)
                    say(said, partial(refuse_failures, text_of(pilot)))

    try:
        asyncio.run(sit())
    except BaseException:
        with said.open("a") as file:
            file.write(json.dumps({"failed": traceback.format_exc()}) + "\n")
        raise


def refuse_failures(text: str) -> int:
    """Return how many characters are on a screen. Raises: UsageError with the line that says what failed."""
    for line in text.splitlines():
        if "cannot be read" in line or "Traceback" in line:
            raise UsageError(line.strip())
    return len(text)


def ask(workspace: Workspace, said: Path) -> None:
    """Ask as a user does who opens the store with a program of their own."""
    while True:
        if workspace.store.exists():
            say(said, lambda: look(workspace))
        time.sleep(4 * PAUSE_S)


def look(workspace: Workspace) -> list[Any]:
    with open_database(workspace.store, read_only=True) as database:
        return database.rows(WHOLE)


def say(said: Path, do: Any) -> None:
    """Note what something gave, or the error it ended in."""
    try:
        line = {"gave": do()}
    except CxrsslError as error:
        line = {"refused": f"{type(error).__name__}: {error}", "hint": error.hint}
    except Exception:
        line = {"failed": traceback.format_exc()}
    with said.open("a") as file:
        file.write(json.dumps(line) + "\n")


def check(workspace: Workspace, damaged: Path, said: Path) -> None:
    """Use a store that a disk has damaged unseen; note what a query, the check and a rebuild give."""

    def damage() -> None:
        lay = workspace.store.stat()
        workspace.store.write_bytes(damaged.read_bytes())
        os.utime(workspace.store, ns=(lay.st_atime_ns, lay.st_mtime_ns))

    damage()
    asked = run("sql", WHOLE, "--results", "--json", workspace=workspace.root)
    say(said, lambda: vars(asked))
    damage()
    say(said, lambda: check_store(workspace).content_sha256)
    damage()
    say(said, lambda: content_sha256(hash_tables(rebuild_store(workspace))))


def act(order: dict[str, Any]) -> None:
    workspace, said = Workspace(Path(order["workspace"])), Path(order["said"])
    if order["who"] == "trainer":
        train(Path(order["folder"]), order["first"], order["start"], said)
    elif order["who"] == "checker":
        check(workspace, Path(order["damaged"]), said)
    else:
        {"folder": keep_folding, "dashboard": watch, "pilot": sit_before, "user": ask}[order["who"]](workspace, said)


if __name__ == "__main__":
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 0
            try:
                act(json.loads(line))
            except BaseException:
                traceback.print_exc()
                code = 1
            os._exit(code)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        if json.loads(line).get("wait"):
            sys.stdout.write(f"{os.waitpid(child, 0)[1]}\n")
            sys.stdout.flush()
