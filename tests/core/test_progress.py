"""Progress without a terminal: a line soon, then now and then, none for what takes a moment."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from cxrssl.core.progress import track


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
