"""The dashboard as golden files: its text, every key of its JSON, and its screens at 80x24, 120x40 and 200x60.

Of each screen there are two: its characters, and the style of each of them. A picture in SVG says the same in fifty
times as many bytes, and nobody can read its difference; a test holds it to these two, and keeps it where they differ.

As a script, `python -m tests.golden.dashboard` or `just dashboard-texts`, it writes them anew: do that where a change
was meant, and read the difference. With a folder, `just dashboard-texts FOLDER`, it writes the pictures there as well.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch
from xml.etree import ElementTree

from rich.segment import Segment
from rich.style import Style
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.screens.save import make_picture
from cxrssl.records.eval_settings import ProbeSettings
from tests.cli.command import run
from tests.dashboard.screen import drive, press, text_of, until
from tests.records.ablations import make_ablation
from tests.records.folders import DEAD, ELSEWHERE, age_files, make_evaluation, make_run, metric, write_lines
from tests.world import make_workspace as make_world

FOLDER = Path(__file__).parent / "dashboard"
PROCESS = r"process \d+ on \S+ *"
DISK = SimpleNamespace(total=250 * 2**30, used=150 * 2**30, free=100 * 2**30)
SIZES = ((80, 24), (120, 40))
WIDE = (200, 60)
SHOWN_WIDE = ("runs", "curves", "ablation", "run", "cohort", "sql", "films")
"""Of the widest size the screens alone, not what lies over them."""
SCREENS: dict[str, tuple[str, ...]] = {
    "runs": (),
    "probes": ("tab", "tab"),
    "findings": ("tab", "tab", "enter"),
    "metric": ("m", "y", "x"),
    "filter": ("slash", *"s1"),
    "alarm": ("down", "down", "down"),
    "help": ("question_mark",),
    "grouped": ("u", "less_than_sign"),
    "columns": ("c", "down"),
    "ablation": ("3",),
    "run": ("enter",),
    "curves": ("space", "space", "2", "m", "down", "space", "enter", "right"),
    "cohort": ("5",),
    "sql": ("6", "escape", "d", "slash", *"SELECT finding, present FROM label_count ORDER BY 1", "enter"),
    "films": ("7", "right"),
}
"""Name of a screen and the keys that lead to it."""
WITH_FILMS = ("cohort", "sql", "films")
"""Screens of a cohort that the program itself ingested."""
MOST_STYLES = 40
"""Of a line; of one with more, as in a film, the golden file has a hash."""


@contextlib.contextmanager
def make_workspace() -> Iterator[Workspace]:
    """Give a workspace with runs in every state, in a time zone and a current folder that look the same everywhere."""
    zone = {"TZ": "UTC", "COLUMNS": "80"}
    with TemporaryDirectory() as place, contextlib.chdir(place), patch.dict(os.environ, zone):
        time.tzset()
        made = Workspace(Path("workspace"))
        _make_runs(made)
        _make_evaluations(made)
        make_ablation(made, "study")
        yield made
    time.tzset()


@functools.cache
def ingest_cohort() -> TemporaryDirectory[str]:
    """Return a folder with a workspace whose cohort the program ingested."""
    place = TemporaryDirectory()
    make_world(Path(place.name), num_patients=12)
    return place


def _make_runs(made: Workspace) -> None:
    make_run(made, "mimic-msn-vit-tiny-s0-aaaa", range(300), end="finish", num_steps=300, started_at=1.3e9)
    make_run(made, "mimic-msn+sex+age-s1-bbbb", range(200), process=DEAD, ehr=("sex", "age"), started_at=1.2e9)
    outcome, steps = "mimic-msn+mortality-s2-cccc", range(100)
    make_run(made, outcome, steps, end="finish", num_steps=100, ehr=("mortality",), started_at=1.15e9)
    collapsing = make_run(made, "collapsing", range(300), end="stop", started_at=1.1e9)
    measured = {"probe_auroc": 0.77, "feature_rank": 3.2, "memory_mb": 2048.0, "data_frac": 0.03}
    write_lines(collapsing / "metrics-0001.jsonl", [metric(300, 1.1e9, **measured)])
    alarm = {"ts": 1.0, "event": "alarm", "step": 30, "what": "collapse: [/x]"}
    write_lines(collapsing / "events.jsonl", [alarm])
    age_files(make_run(made, "silent", range(30), process=ELSEWHERE, started_at=1.05e9), 500)
    make_run(made, "failed", range(30), process=DEAD, end="fail", started_at=1.04e9)
    make_run(made, "begun", range(30), started_at=1.0e9)
    broken = made.runs / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")


def _make_evaluations(made: Workspace) -> None:
    make_evaluation(made, "mimic-msn-vit-tiny-s0-aaaa", "run", 0.71)
    make_evaluation(made, "mimic-msn+mortality-s2-cccc", "run", 0.81, is_outcome_used=True, probe=ProbeSettings(seed=3))
    make_evaluation(made, "random-init-x", "random-init", 0.61)
    make_evaluation(made, "mimic-msn-vit-tiny-s0-aaaa", "run", 0.69, cohort="chexpert")


def read_once(columns: int) -> str:
    """Return what `cxrssl dashboard --once` prints into so many columns."""
    with make_workspace() as made, patch.dict(os.environ, {"COLUMNS": str(columns)}):
        found, place = run("dashboard", "--once", workspace=made.root), str(made.root.resolve())
    assert found.returncode == 0, found.stderr
    return found.stdout.replace(place, "WORKSPACE")


def read_keys() -> str:
    """Return every key that `cxrssl dashboard --json` prints, as a path a line."""
    with make_workspace() as made:
        found = run("dashboard", "--json", workspace=made.root)
    assert found.returncode == 0, found.stderr
    return "".join(f"{path}\n" for path in sorted(set(_walk(json.loads(found.stdout), ""))))


def _walk(values: Any, path: str) -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _walk(value, f"{path}.{key}".strip("."))
    elif isinstance(values, list):
        for value in values:
            yield from _walk(value, f"{path}[]")
    else:
        yield path


class Shown(NamedTuple):
    """A screen."""

    characters: str
    styles: str
    lines: tuple[str, ...]
    """The characters with what is of this process and the time of this test."""
    picture: str
    """In SVG, as the dashboard saves it."""


@functools.cache
def read_screen(name: str, size: tuple[int, int]) -> Shown:
    """Return what a screen shows."""
    texts: list[str] = []
    styles: list[str] = []
    pictures: list[str] = []

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        for key in SCREENS[name]:
            await press(pilot, screen, key)
        for field in pilot.app.screen.query(Input):
            field.cursor_blink = False
        await until(pilot, lambda: text_of(pilot).splitlines()[-1].strip() != "")  # the footer is mounted last
        texts.extend(text_of(pilot).splitlines())
        pictures.append(make_picture(pilot.app, name))
        styles.extend(describe_styles(pilot.app.screen._compositor.render_strips()))
        for place, line in enumerate(text_of(pilot).splitlines()):
            if re.search(PROCESS, line):  # as long as its number and the name of this machine
                styles[place] = "a process"

    with make_workspace() as made, patch("shutil.disk_usage", return_value=DISK):
        if name in WITH_FILMS:
            for part in ("cohorts", "images"):
                shutil.copytree(Path(ingest_cohort().name) / "workspace" / part, made.root / part, dirs_exist_ok=True)
        drive(made, steps, size)
    characters = "".join(f"{_scrub(line).rstrip()}\n" for line in texts)
    return Shown(characters, "".join(f"{line}\n" for line in styles), tuple(texts), pictures[0])


def _read_part(name: str, size: tuple[int, int], part: str) -> str:
    shown = read_screen(name, size)
    return shown.styles if part else shown.characters


def read_picture(svg: str) -> list[str]:
    """Return the lines of a picture, without their blanks: it has those with a colour alone."""
    lines: dict[int, dict[float, str]] = {}
    for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        row = re.search(r"-line-(\d+)\)", each.get("clip-path", ""))
        if row:
            lines.setdefault(int(row[1]), {})[float(each.get("x", "0"))] = each.text or ""
    return ["".join("".join(parts[x] for x in sorted(parts)).split()) for _, parts in sorted(lines.items())]


def list_screens() -> list[tuple[str, tuple[int, int]]]:
    """Return every screen in every size that it is kept in."""
    return [(name, size) for name in SCREENS for size in (*SIZES, WIDE) if size != WIDE or name in SHOWN_WIDE]


def describe_styles(strips: Sequence[Strip]) -> list[str]:
    """Return a line for each of the screen, how many places have which style, and what each style is."""
    numbers: dict[str, int] = {}
    lines = []
    for strip in strips:
        runs = [(sum(each.cell_length for each in same), style) for style, same in groupby(strip, _style_of)]
        words = [f"{length}:{numbers.setdefault(style, len(numbers))}" for length, style in runs[:MOST_STYLES]]
        lines.append(" ".join(words) if len(runs) <= MOST_STYLES else f"hash {zlib.crc32(repr(runs).encode()):08x}")
    return [*lines, "", *(f"{number}: {style}" for style, number in numbers.items())]


def _style_of(segment: Segment) -> str:
    style = segment.style or Style()
    return str(Style(color=style.color, bgcolor=style.bgcolor) + Style.parse(_words_of(style)))


def _words_of(style: Style) -> str:
    words = ("bold", "dim", "italic", "underline", "reverse", "strike")
    return " ".join(word for word in words if getattr(style, word)) or "none"


def _scrub(line: str) -> str:
    """Return a line without the process and the time of this test."""
    line = re.sub(PROCESS, "process P on HOST", line)
    line = re.sub(r"20[2-9]\d-\d\d-\d\d \d\d:\d\d", "TODAY, NOW", line)
    return re.sub(r"(rows?), \d+\.\d\d s", r"\1, N s", line)


def all_texts() -> dict[str, Callable[[], str]]:
    """Return what makes the text of each golden file."""
    found: dict[str, Callable[[], str]] = {"once": partial(read_once, 80), "keys": read_keys}
    for name, size in list_screens():
        place = f"{name}-{size[0]}x{size[1]}"
        found |= {f"{place}{end}": partial(_read_part, name, size, end) for end in ("", ".styles")}
    return found


def path_of(name: str) -> Path:
    """Return a golden file."""
    return FOLDER / f"{name}.txt"


def write(pictures: Path | None = None) -> None:
    """Write all golden files, and remove those of screens that are gone; write the pictures into a folder if asked."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name, make in all_texts().items():
        path_of(name).write_text(make())
    if pictures:
        for name, size in list_screens():
            (pictures / f"{name}-{size[0]}x{size[1]}.svg").write_text(read_screen(name, size).picture)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
