"""README: short, its commands those of the parser, its test command what CI runs."""

from __future__ import annotations

import re
from dataclasses import replace

from cxrssl.dashboard.state import Measure, RunRow
from cxrssl.dashboard.text.runs import runs_sheet
from cxrssl.dashboard.view import View
from tests.pages import COMMANDS, README, ROOT, command_lines


def test_readme_is_read_in_five_minutes() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 120


def test_readme_shows_the_way_from_data_to_a_report() -> None:
    named = {words[0] for words in command_lines(README)}
    assert {"demo", "ingest", "pretrain", "probe", "report", "help"} <= named
    assert named <= {name.split()[0] for name in COMMANDS}


def test_readmes_test_command_is_what_ci_runs() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "pip install uv && uv run just check" in README
    assert re.search(r"pip install --quiet uv\nuv run just check\n", script)


def test_readmes_screen_calls_the_runs_of_the_demo_as_the_dashboard_does() -> None:
    row = RunRow("", "finished", 528, 528, loss=2.7, seed="0")
    row = replace(row, trend=(2.0,) * 12, measures={"loss": Measure(528, 2.7, 2.7, 2.5, 9)})
    setups = {"+demo+view+shuffled": (0.727, 95.07), "+demo+view": (0.724, 73.05), "": (0.742, 129.4)}
    rows = [
        replace(
            row,
            run_id=f"demo-msn{setup}-vit-micro-s0-{at:08x}",
            started_at=-float(at),
            macro_auroc=auroc,
            films_per_s=films_per_s,
            ehr=("sex", "age", "view") if setup else (),
        )
        for at, (setup, (auroc, films_per_s)) in enumerate(setups.items())
    ]
    shown = [row[0].text.strip() for row in runs_sheet(rows, View(), 120).rows.values()]
    assert re.findall(r"^     (\S+) +finished ", README, re.M) == shown
