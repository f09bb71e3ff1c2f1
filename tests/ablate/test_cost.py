"""What `--dry-run` says before anything is trained: films, steps, time and memory of each arm, what can be seen."""

from __future__ import annotations

import json
from dataclasses import replace

from cxrssl.ablate.contract import plan_jobs
from cxrssl.ablate.cost import shape_of, smallest_differences
from cxrssl.ablate.grid import load_grid
from cxrssl.records.eval_settings import ProbeSettings
from tests.ablate.conftest import GRID, Place, Server


def test_a_dry_run_writes_nothing_and_tells_what_each_arm_takes(server: Server, place: Place) -> None:
    # Two arms of one shape: a few steps are measured once.
    place.grid.write_text(GRID.replace('["sex", "view"]', "[]\ntrain.lr = 1e-4"))
    code, text = server.run(*place.words("--dry-run", "--json"))
    assert code == 0, text
    values = json.loads(text[text.index("{") :])
    assert set(values["costs"]) == {"vanilla", "record"}
    for cost in values["costs"].values():
        assert (cost["num_films"], cost["num_steps"]) == (88, 22)
        assert cost["memory_bytes"] > 2**20
        assert cost["run_s"] > 0
    assert len(values["runs"]) == 4
    assert not any(run["done"] for run in values["runs"].values())
    assert 0 < values["smallest_difference"]["nih"] < 1
    assert "80% power" in values["assumptions"]
    assert not place.folder.exists()
    assert place.workspace.run_ids() == []


def test_runs_that_differ_in_seed_or_control_alone_are_measured_once(place: Place) -> None:
    jobs = plan_jobs(place.workspace, load_grid(str(place.grid), controls=True), "study")
    shapes = {job.row.arm: shape_of(job) for job in jobs}
    assert shapes["record"] == shapes["record, shuffled"] == shapes["record, zeros"] != shapes["vanilla"]
    assert len({shape_of(job) for job in jobs}) == 2


def test_more_seeds_or_more_films_show_a_smaller_difference(place: Place) -> None:
    jobs = plan_jobs(place.workspace, load_grid(str(place.grid)), "study")
    (two,) = smallest_differences(jobs, ProbeSettings()).values()
    more = [*jobs, *(replace(jobs[0], seed=seed) for seed in range(2, 9))]
    (folds,) = smallest_differences(jobs, ProbeSettings(folds=5)).values()
    assert folds < two
    (nine,) = smallest_differences(more, ProbeSettings()).values()
    assert nine < two
