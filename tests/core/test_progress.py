"""Progress without a terminal: a line soon, then now and then, none for what takes a moment."""

from __future__ import annotations

import ast
import io
import re
import sys
import time
from pathlib import Path

import pytest

from cxrssl.core import version
from cxrssl.core.columns import cell_width
from cxrssl.core.progress import describe_progress, fit_between, track


def test_the_first_line_comes_soon_and_the_others_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, err = [100.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", err)
    with track("train", 50, "films") as bar:
        for _ in range(50):
            now[0] += 1.0
            bar.advance()
        assert re.findall(r"train: (\d+) of 50 films", err.getvalue()) == ["2", "17", "32", "47"]
    assert err.getvalue().splitlines()[-1].startswith("train: 50 of 50 films")


def test_the_last_line_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    now, err = [100.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", err)
    with track("train", 1, "films") as bar:
        now[0] += 5.0
        bar.advance()
    assert len(err.getvalue().splitlines()) == 1


def test_what_takes_a_moment_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(sys, "stderr", err)
    with track("read", 1, "table") as bar:
        bar.advance()
    assert err.getvalue() == ""


LONGEST = "mimic-cxr-and-chexpert-msn+sex+age+view+position+icu+mortality-vit-small-s12345-94ded743"


def read_tracks() -> list[tuple[str, str]]:
    """Return what every command of the program calls its progress, and its unit; names in it are long ones."""
    found = []
    for path in sorted(Path(version.__file__).parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "track":
                what, _, unit = (_text_of(argument) for argument in node.args)
                found.append((what, unit))
    return found


def _text_of(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else LONGEST for each in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else LONGEST


def test_the_progress_of_every_command_is_one_line_of_80_places() -> None:
    tracks = read_tracks()
    assert len(tracks) > 12
    notes = ("", "loss 2.345, step 305,200 of 305,200", "\x1b[2Jloss nan\n")
    for what, unit in tracks:
        for note in notes:
            for done, total in ((7, 12), (377_110_000, 377_110_000_000)):
                line = describe_progress(what, (done, total), unit, 123_456.7, "99 h 59 min left", note, 80, "━" * 12)
                assert cell_width(line) <= 80
                assert f"{done:,} of {total:,} {unit}" in line
                assert "99 h 59 min left" in line
                assert line.isprintable()


def test_what_matters_least_is_left_out_first() -> None:
    def line(width: int) -> str:
        note, bar = "loss 2.345, step 390 of 440", "━" * 12
        return describe_progress(
            f"pretrain {LONGEST}", (97_600, 305_200), "films", 120.4, "12 min left", note, width, bar
        )

    full = line(200)
    for width in range(200, 30, -1):
        assert cell_width(line(width)) <= width
    kept = [
        ["━" in text, "step" in text, "films/s" in text, "loss" in text, "left" in text]
        for text in map(line, range(200, 30, -1))
    ]
    assert kept[0] == [True] * 5
    assert kept == sorted(kept, reverse=True), "none comes back in a narrower line"
    orders = [sum(each) for each in kept]
    assert orders == sorted(orders, reverse=True)
    assert all(each == [False] * (5 - sum(each)) + [True] * sum(each) for each in kept), "in this order"
    assert "…" in line(140), "the middle of a name goes before any part"
    assert full.startswith(f"pretrain {LONGEST}: ━")


def test_a_name_between_gives_way_first() -> None:
    end = ", trained already, about 1 h 20 min left"
    for width in range(200, 45, -1):
        line = fit_between("13/24 vanilla, seed 3", LONGEST, end, width)
        assert cell_width(line) <= width
        assert line.endswith(end)
    assert fit_between("13/24 vanilla", "run", "", 80) == "13/24 vanilla: run"


def test_a_terminal_gets_one_line_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    for name, value in {"COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with track(f"pretrain {LONGEST}", 305_200, "films") as bar:
        bar.advance(97_600, "loss 2.345, step 390 of 440")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err.getvalue())
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert "97,600 of 305,200 films" in lines[-1]
    assert max(map(cell_width, lines)) < 80
    assert all(line.startswith("pretrain ") for line in lines)
