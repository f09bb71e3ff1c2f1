"""How runs are sorted and grouped, and what is remembered."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.means import mean_over_seeds
from cxrssl.dashboard.memory import keep_view, memory_path, read_keymap, recall_view
from cxrssl.dashboard.smooth import smooth_centred
from cxrssl.dashboard.state import Measure, RunRow
from cxrssl.dashboard.text.runs import groups_sheet, seeds_text
from cxrssl.dashboard.view import View, differing_keys, group_runs, is_sortable, sort_runs


def run(name: str, loss: float = math.nan, **recipe: str) -> RunRow:
    measures = {"loss": Measure(9, loss, loss, loss - 1, loss + 1)}
    keys = {key.replace("_", "."): value for key, value in recipe.items()}
    return RunRow(name, "finished", loss=loss, seed=recipe.get("train_seed", ""), recipe=keys, measures=measures)


def names(runs: tuple[RunRow, ...]) -> str:
    return " ".join(run.run_id for run in runs)


def test_runs_are_sorted_by_any_column_and_those_without_a_value_are_last() -> None:
    runs = (run("a", 2.0, model_dim="9"), run("b", model_dim="10"), run("c", 1.0, model_dim="x"), run("d", 3.0))
    assert names(sort_runs(runs, View(sort="last", is_descending=False))) == "c a d b"
    assert names(sort_runs(runs, View(sort="last"))) == "d a c b"
    assert names(sort_runs(runs, View(sort="best.loss", is_descending=False))) == "c a d b"
    assert names(sort_runs(runs, View(sort="model.dim", is_descending=False))) == "a b c d"
    assert names(sort_runs(runs, View(sort="run"))) == "d c b a"
    assert names(sort_runs(runs, View(sort="no such column"))) == "a b c d"
    assert [is_sortable(name, runs) for name in ("best.loss", "model.dim", "steps", "best.x", "y")] == [1, 1, 1, 0, 0]


def test_runs_that_differ_in_the_seed_alone_are_a_group_with_the_mean_of_their_metric() -> None:
    runs = [run(f"r{seed}", loss, train_seed=str(seed), train_lr="1") for seed, loss in ((2, 1.0), (10, 3.0))]
    other = run("o", 9.0, train_seed="2", train_lr="2")
    first, second = group_runs([runs[0], other, runs[1]], "loss")
    assert (first.run_ids, first.seeds, second.run_ids) == (("r2", "r10"), ("2", "10"), ("o",))
    # t(0.975, 1) is 12.706; the standard deviation is sqrt(2), of the mean 1.
    assert first.last == pytest.approx((2.0, 2.0 - 12.706, 2.0 + 12.706, 2), abs=1e-3)
    assert first.best[0] == 1.0
    assert second.last[0] == 9.0
    assert math.isnan(second.last[1])
    assert math.isnan(mean_over_seeds([math.nan])[0])
    assert differing_keys([*runs, other]) == ("train.seed", "train.lr")


def test_runs_are_united_by_the_value_of_a_recipe_key_with_the_mean_of_each_seed() -> None:
    made = [("a", 1.0, "0", "x"), ("b", 3.0, "0", "y"), ("c", 4.0, "1", "x"), ("d", 9.0, "0", "z")]
    runs = [
        run(name, loss, train_seed=seed, train_lr="2" if name == "d" else "1", model_dim=dim)
        for name, loss, seed, dim in made
    ]
    first, second = group_runs(runs, "loss", "train.lr")
    assert (first.run_ids, first.seeds, second.run_ids) == (("a", "b", "c"), ("0", "1"), ("d",))
    assert (first.last[0], first.last[3]) == (3.0, 2), "of seed 0 the mean of 1 and 3"
    sheet = groups_sheet(runs, View(is_grouped=True, group_key="train.lr"))
    assert [row[0].strip() for row in sheet.texts()[1:]] == ["train.lr = 1", "train.lr = 2"]
    assert "of each seed their mean" in sheet.notes[1]


def test_a_seed_that_was_trained_twice_counts_as_one_seed() -> None:
    runs = [
        run(f"r{at}", loss, train_seed=seed) for at, (seed, loss) in enumerate((("1", 1.0), ("1", 2.0), ("2", 3.5)))
    ]
    (group,) = group_runs(runs, "loss")
    assert (group.last[0], group.last[3]) == (2.5, 2)
    assert seeds_text(group) == "2: 1, 2, 3 runs"


def test_smoothing_has_no_lag_keeps_a_line_and_leaves_gaps() -> None:
    line = np.linspace(0, 1, 101)
    smoothed = smooth_centred(line, np.ones(101), 0.05)
    assert smoothed[20:80] == pytest.approx(line[20:80])
    step = np.where(np.arange(101) < 50, 0.0, 1.0)
    assert smooth_centred(step, np.ones(101), 0.02)[[49, 50]].sum() == pytest.approx(1.0)
    gap = line.copy()
    gap[[3, 70]] = np.nan
    assert list(np.flatnonzero(np.isnan(smooth_centred(gap, np.ones(101), 0.05)))) == [3, 70]
    assert list(smooth_centred(line, np.ones(101), 0.0)) == list(line)


def test_a_view_is_remembered_for_each_workspace_outside_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    one, two = memory_path(Workspace(tmp_path / "one")), memory_path(Workspace(tmp_path / "two"))
    assert one != two
    assert recall_view(one) == View()
    view = View(columns=("run", "left"), sort="best", marked=("a",), smoothing=0.05, queries=("q: SELECT 1",))
    assert keep_view(one, view) == ""
    assert (recall_view(one), recall_view(two)) == (view, View())
    assert not (tmp_path / "one").exists()
    assert one.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"columns": 3, "sort": ["x"], "smoothing": "nan"}', "\x00"])
def test_a_damaged_memory_is_forgotten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "view.json"
    path.write_text(text)
    found = recall_view(path)
    assert (found.columns, found.sort) == (View().columns, View().sort)


def test_what_is_sound_of_a_memory_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "view.json"
    path.write_text(json.dumps({"metric": "lr", "columns": 3, "of a newer version": {}}))
    assert recall_view(path) == View(metric="lr")


def test_a_home_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert keep_view(tmp_path / "file" / "below" / "view.json", View()) != ""


def test_a_user_has_keys_of_their_own_and_an_odd_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    assert read_keymap(path, {"filter"}) == ({}, "")
    path.write_text('filter = "f"\nflter = "g"\nmark = 3\n')
    assert read_keymap(path, {"filter", "mark"}) == ({"filter": "f"}, "keys.toml: flter is no key of the dashboard")
    path.write_text("filter = ")
    keys, fault = read_keymap(path, {"filter"})
    assert keys == {}
    assert fault.startswith("keys.toml cannot be read")
