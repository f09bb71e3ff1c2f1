"""The chain from source tables to a report, whole and damaged in one place: each break is found, and named once."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.artefact import MANIFEST, open_artefact, publish
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import probe_run
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.ablation import (
    AblationTable,
    ArmRow,
    Number,
    open_ablation,
    publish_table,
)
from cxrssl.records.contract import Contract, DataFacts, RunFacts
from cxrssl.records.eval_settings import CandidateSettings, ProbeSettings
from cxrssl.records.evaluation import list_evaluations
from cxrssl.records.run import RunFiles, read_description
from cxrssl.report.choose import Choice
from cxrssl.report.small import SmallCells
from cxrssl.report.verify import verify_workspace
from cxrssl.report.write import write_report
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from tests.cli.command import run
from tests.evaluate.test_groups import make_arm
from tests.report.test_report import make_evaluation
from tests.report.test_verify_cells import hold, list_passed
from tests.scale import scaled
from tests.world import TINY, make_workspace

Damaged = tuple[str, str]
"""Kind of what is named, and words of the sentence."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A cohort, a run, its probe with baselines, an ablation of it, and a report. Not to be written to."""
    workspace = make_workspace(tmp_path_factory.mktemp("chain"), num_patients=24)
    recipe = load_recipe("demo", [*TINY, "train.num_epochs=1"])
    run_id = pretrain(plan_run(workspace, "nih", recipe, Machine("cpu", 1))).run_id
    probe_run(workspace, run_id, "", "", ProbeSettings(num_resamples=20))
    add_ablation(workspace, run_id)
    write_report(workspace)
    return workspace


def add_ablation(workspace: Workspace, run_id: str) -> None:
    """Publish the table of an ablation of one run."""
    about, _ = read_description(RunFiles(workspace.runs / run_id))
    evaluation = next(each for each in list_evaluations(workspace)[0] if each.settings.run_id == run_id)
    assert about is not None
    contract = Contract(
        "one", "", False, {run_id: RunFacts("vanilla", "nih", 0, about.recipe_sha256)},
        {"nih": DataFacts(about.cohort_sha256, about.images_sha256)}, {}, {}, "cpu", 1,
    )  # fmt: skip
    auroc, auprc = (
        Number(each.value, each.lo, each.hi, float("nan"), {"0": each.value}, 20, 20, 5)
        for each in (evaluation.scores.macro_auroc, evaluation.scores.macro_auprc)
    )
    row = ArmRow("vanilla", "nih", 1, auroc, auprc, evaluation.scores.num_films, evaluation.scores.num_subjects)
    folder = workspace.ablations / "one"
    folder.mkdir(parents=True)
    write_json(folder / "contract.json", contract.to_dict())
    publish_table(folder, contract, AblationTable("does it?", "auroc", 0.0, ("0",), {"0000": row}, {}, ()))


@pytest.fixture
def copy(whole: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the workspace, whose source tables lie where they lay."""
    shutil.copytree(whole.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def only(folder: Path, pattern: str = "*") -> Path:
    return sorted(folder.glob(pattern))[0]


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def publish_again(
    folder: Path, kind: str, settings: Mapping[str, Any] | None = None, files: Mapping[str, bytes] | None = None
) -> None:
    """Publish a folder with other settings or files: right hashes around wrong content."""
    artefact = open_artefact(folder, kind)
    kept = {name: (folder / name).read_bytes() for name in artefact.manifest["files"]} | dict(files or {})
    with publish(folder, kind, {**artefact.settings, **(settings or {})}, artefact.inputs) as building:
        for name, data in kept.items():
            (building / name).parent.mkdir(exist_ok=True)
            write_bytes(building / name, data)


def run_of(workspace: Workspace) -> Path:
    return only(workspace.runs)


def eval_of_run(workspace: Workspace) -> Path:
    return workspace.evals / next(each for each in workspace.eval_ids() if each.startswith(run_of(workspace).name))


def cohort_flipped(workspace: Workspace) -> Damaged:
    flip(workspace.cohorts / "nih" / "films.npz")
    return "cohort", "films.npz is damaged"


def cohort_gone(workspace: Workspace) -> Damaged:
    shutil.copytree(workspace.cohorts / "nih", workspace.cohorts / "other")
    shutil.rmtree(workspace.cohorts / "nih")
    return "run", "made from cohort nih, which is gone"


def source_edited(workspace: Workspace) -> Damaged:
    artefact = open_artefact(workspace.cohorts / "nih", "cohort")
    root = workspace.root / "source"
    shutil.copytree(artefact.inputs["root"], root)
    with (root / "Data_Entry_2017.csv").open("a") as file:
        file.write("\n")
    files = {name: (workspace.cohorts / "nih" / name).read_bytes() for name in artefact.manifest["files"]}
    with publish(workspace.cohorts / "nih", "cohort", artefact.settings, {**artefact.inputs, "root": str(root)}) as new:
        for name, data in files.items():
            write_bytes(new / name, data)
    return "cohort", "its source Data_Entry_2017.csv has changed since it was read"


def release_check_gone(workspace: Workspace) -> Damaged:
    path = workspace.cohorts / "nih" / "summary.json"
    summary = json.loads(path.read_text())
    summary["release"] = {"checks": ["0123-4567"]}
    publish_again(path.parent, "cohort", files={path.name: json.dumps(summary).encode()})
    return "cohort", "the check of its release, 0123-4567, is gone"


def shard_flipped(workspace: Workspace) -> Damaged:
    flip(workspace.images / "nih" / "shard-0000.npy")
    return "images", "shard-0000.npy is damaged"


def films_of_another_cohort(workspace: Workspace) -> Damaged:
    publish_again(workspace.images / "nih", "images", {"cohort_sha256": "0" * 64})
    return "images", "was made from cohort nih in another state (000000000000, now "


def recipe_edited(workspace: Workspace) -> Damaged:
    path = run_of(workspace) / "run.json"
    about = json.loads(path.read_text())
    about["recipe"]["train"]["lr"] = 0.5
    path.write_text(json.dumps(about))
    return "run", "run.json holds another recipe than the one whose hash it names"


def weights_flipped(workspace: Workspace) -> Damaged:
    flip(run_of(workspace) / "encoder" / "encoder.safetensors")
    return "run", "encoder: encoder.safetensors is damaged"


def encoder_of_another_recipe(workspace: Workspace) -> Damaged:
    publish_again(run_of(workspace) / "encoder", "encoder", {"recipe_sha256": "0" * 64})
    return "run", "encoder: is not that of its run.json: recipe's hash"


def weights_replaced(workspace: Workspace) -> Damaged:
    folder = run_of(workspace) / "encoder"
    weights = (folder / "anchor.safetensors").read_bytes()
    publish_again(folder, "encoder", files={"encoder.safetensors": weights})
    return "evaluation", "scored other weights than those of run"


def encoder_gone(workspace: Workspace) -> Damaged:
    shutil.rmtree(run_of(workspace) / "encoder")
    return "evaluation", "the encoder of run"


def features_flipped(workspace: Workspace) -> Damaged:
    flip(only(workspace.features) / "features.npy")
    return "features", "features.npy is damaged"


def features_under_another_name(workspace: Workspace) -> Damaged:
    only(workspace.features).rename(workspace.features / ("0" * 16))
    return "features", "lies under the name of other weights or films"


def scores_edited(workspace: Workspace) -> Damaged:
    flip(eval_of_run(workspace) / "scores.json", 40)
    return "evaluation", "scores.json is damaged"


def scores_improved(workspace: Workspace) -> Damaged:
    path = eval_of_run(workspace) / "scores.json"
    scores = json.loads(path.read_text())
    scores["findings"]["Effusion"]["auroc"]["value"] = 0.987
    publish_again(path.parent, "evaluation", files={path.name: json.dumps(scores).encode()})
    return "evaluation", "scores.json says auroc 0.987000 of Effusion, its predictions "


def evaluation_made_again(workspace: Workspace) -> Damaged:
    publish_again(eval_of_run(workspace), "evaluation", files={"note.txt": b"another state"})
    return "comparison", "was made of evaluation"


def comparison_flipped(workspace: Workspace) -> Damaged:
    flip(only(workspace.comparisons) / "differences.json", 40)
    return "comparison", "differences.json is damaged"


def evaluation_gone(workspace: Workspace) -> Damaged:
    shutil.rmtree(eval_of_run(workspace))
    return "report", "which is gone"


def contract_edited(workspace: Workspace) -> Damaged:
    path = workspace.ablations / "one" / "contract.json"
    path.write_text(path.read_text().replace('"cpu"', '"cuda"'))
    return "ablation", "its table was made under another contract than contract.json"


def row_improved(workspace: Workspace) -> Damaged:
    folder = workspace.ablations / "one"
    found = open_ablation(folder)
    found.table.rows["0000"].auroc.by_seed["0"] = 0.987
    publish_table(folder, found.contract, found.table)
    return "ablation", "row 0000 says auroc 0.987000 of seed 0, no evaluation does"


def page_edited(workspace: Workspace) -> Damaged:
    flip(workspace.reports / "latest" / "report.md", 100)
    return "report", "report.md is damaged"


def number_of_report_improved(workspace: Workspace) -> Damaged:
    plant(workspace, "results.csv", "value", "0.987")
    return "report", "results.csv, line 2, says value 0.987, its record 0."


def plant(workspace: Workspace, file: str, column: str, value: str) -> None:
    """Publish the report again with another value in the first row of a file."""
    path = workspace.reports / "latest" / file
    head, first, *others = csv.reader(path.read_text().splitlines())
    first[head.index(column)] = value
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, first, *others])
    publish_again(path.parent, "report", files={path.name: text.getvalue().encode()})


def ablation_gone(workspace: Workspace) -> Damaged:
    shutil.rmtree(workspace.ablations / "one")
    return "report", "shows ablation one, which is gone"


def check_damaged(workspace: Workspace) -> Damaged:
    with publish(workspace.checks / "0123-4567", "check", {}) as building:
        write_bytes(building / "summary.json", b"{}")
    flip(workspace.checks / "0123-4567" / "summary.json")
    return "check", "summary.json is damaged"


DAMAGES: tuple[Callable[[Workspace], Damaged], ...] = (
    check_damaged, cohort_flipped, cohort_gone, source_edited, release_check_gone, shard_flipped,
    films_of_another_cohort, recipe_edited, weights_flipped, encoder_of_another_recipe, weights_replaced, encoder_gone,
    features_flipped, features_under_another_name, scores_edited, scores_improved, evaluation_made_again,
    comparison_flipped, evaluation_gone, contract_edited, row_improved, page_edited, number_of_report_improved,
    ablation_gone,
)  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Setups of several seeds, a learning curve and a report with a pinned baseline. Not to be written to."""
    workspace = Workspace(tmp_path_factory.mktemp("seeds") / "ws").create()
    make_arm(workspace, "vanilla", skill=1.0)
    make_arm(workspace, "right", skill=1.5, features=["sex"])
    curve: dict[str, Any] = {"label": "share", "candidate": CandidateSettings(()), "candidate_id": "share"}
    make_evaluation(workspace, "all", **curve)
    for draw in range(2):
        probe = ProbeSettings(num_resamples=100, fraction=0.1, draw=draw)
        make_evaluation(workspace, f"share-{draw}", skill=0.5 + draw, probe=probe, **curve)
    write_report(workspace, choice=Choice(baseline="vanilla-s0"))
    return workspace


def breaks_of(workspace: Workspace) -> list[str]:
    return [each.sentence for each in verify_workspace(workspace).breaks if each.kind == "report"]


CHANGES = {
    "seeds.csv": ("value", "lo", "hi", "sd_seeds", "se_subjects", "by_seed", "finding"),
    "learning.csv": ("value", "value lo", "least", "by_draw", "finding"),
    "ablations.csv": ("value", "hi", "by_seed", "num_films", "arm"),
    "results.csv": ("value", "lo", "num_scored", "finding"),
    "differences.csv": ("value", "p", "finding"),
}


@pytest.mark.parametrize(("file", "column"), [(file, each) for file, columns in CHANGES.items() for each in columns])
def test_a_number_that_somebody_wrote_into_a_report_is_named(
    whole: Workspace, seeds: Workspace, tmp_path: Path, file: str, column: str
) -> None:
    workspace = Workspace(shutil.copytree((whole if file == "ablations.csv" else seeds).root, tmp_path / "copy"))
    assert breaks_of(workspace) == []
    plant(workspace, file, column, "0.987")
    (named,) = breaks_of(workspace)
    assert f"{file}, line 2, " in named
    assert (f"{column} 0.987" if column in ("finding", "arm") else f"says {column} 0.987, its record ") in named


def rows_of(workspace: Workspace, file: str) -> list[dict[str, str]]:
    return list(csv.DictReader((workspace.reports / "latest" / file).read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("digits", [2, 3, 12])
@pytest.mark.parametrize("file", ["seeds.csv", "learning.csv", "results.csv", "differences.csv"])
def test_a_number_that_somebody_rounded_in_a_report_in_full_is_named(
    seeds: Workspace, tmp_path: Path, file: str, digits: int
) -> None:
    workspace = Workspace(shutil.copytree(seeds.root, tmp_path / "copy"))
    value = rows_of(workspace, file)[0]["value"]
    assert len(value) > 12 + len("0."), "in full"
    plant(workspace, file, "value", str(round(float(value), digits)))
    (named,) = breaks_of(workspace)
    assert f"{file}, line 2, says value {round(float(value), digits)}, its record {value}" in named


def test_a_number_in_other_digits_than_its_report_rounds_to_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "few", num_subjects=12)
    write_report(workspace)
    value = rows_of(workspace, "results.csv")[0]["value"]
    assert len(value) <= len("0.123"), "rounded beside a hidden count"
    plant(workspace, "results.csv", "value", f"{value}01")
    assert [each for each in breaks_of(workspace) if each.endswith(f"says value {value}01, its record {value}")]


def test_a_mark_that_somebody_took_away_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "few", num_subjects=12)
    write_report(workspace)
    assert rows_of(workspace, "results.csv")[0]["mark"] == "few"
    plant(workspace, "results.csv", "mark", "")
    (named,) = breaks_of(workspace)
    assert "results.csv, line 2, says mark nothing, its record few" in named


def test_a_pinned_baseline_has_its_name_in_seeds(seeds: Workspace) -> None:
    against = {row["against"] for row in rows_of(seeds, "seeds.csv")}
    assert [each for each in against if each.startswith("baseline ")] == ["baseline vanilla (vit-tiny, 3 epochs)"]


def test_no_cell_and_no_row_of_a_fitted_probe_is_changed_unseen(whole: Workspace, tmp_path: Path) -> None:
    made = hold(whole)
    assert {"thresholds.csv", "calibration.csv", "reliability.csv"} <= {each.name for each in made[0].glob("*.csv")}
    assert list_passed(made, tmp_path) == []


def test_a_whole_chain_has_no_break(whole: Workspace) -> None:
    walk = verify_workspace(whole)
    assert walk.breaks == []
    assert walk.missing == {}
    assert {"cohort", "images", "encoder", "features", "evaluation", "comparison", "ablation", "report"} <= {
        kind for kind, num in walk.num_held.items() if num
    }
    assert walk.num_held["evaluation"] == len(whole.eval_ids())


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_each_damage_is_found_and_named(copy: Workspace, damage: Callable[[Workspace], Damaged]) -> None:
    kind, words = damage(copy)
    breaks = verify_workspace(copy).breaks
    assert [each for each in breaks if each.kind == kind and words in each.what], breaks
    assert len(set(breaks)) == len(breaks)


@pytest.mark.parametrize("damage", [cohort_flipped, shard_flipped, weights_flipped, page_edited])
def test_a_damaged_file_is_one_break_and_what_rests_on_it_is_not_named_too(
    copy: Workspace, damage: Callable[[Workspace], Damaged]
) -> None:
    damage(copy)
    assert len(verify_workspace(copy).breaks) == 1


def test_one_bit_anywhere_in_what_is_published_is_found(copy: Workspace) -> None:
    seed = int(os.environ.get("CXRSSL_SEED", "0"))
    rng = random.Random(seed)
    folders = [path.parent for path in sorted(copy.root.rglob(MANIFEST)) if "checkpoints" not in path.parts]
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file() and path.stat().st_size]
    for path in (rng.choice(files) for _ in range(scaled(10, 100))):
        kept, at = path.read_bytes(), rng.randrange(path.stat().st_size)
        flip(path, at)
        assert verify_workspace(copy).breaks, f"seed {seed}: byte {at} of {path}"
        path.write_bytes(kept)
    assert verify_workspace(copy).breaks == []


def test_what_may_be_deleted_is_no_break_and_is_counted(copy: Workspace) -> None:
    shutil.rmtree(copy.features)
    shutil.rmtree(copy.reports)
    walk = verify_workspace(copy)
    assert walk.breaks == []
    assert sum(walk.missing.values()) >= 2


def test_results_without_cohorts_stand_for_themselves(copy: Workspace) -> None:
    for folder in (copy.cohorts, copy.images):
        shutil.rmtree(folder)
    walk = verify_workspace(copy)
    assert walk.breaks == []
    assert walk.missing["cohort, of which none is here"]


def test_the_command_names_each_break_in_a_line_and_ends_with_the_code_of_damage(
    whole: Workspace, copy: Workspace
) -> None:
    good = run("report", "--verify", workspace=whole.root)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines()[-1].endswith("; 0 breaks")
    flip(copy.cohorts / "nih" / "films.npz")
    flip(copy.reports / "latest" / "report.md", 100)
    bad = run("report", "--verify", workspace=copy.root)
    assert bad.returncode == 3
    assert bad.stdout.splitlines()[:2] == [
        "cohort nih: films.npz is damaged: its SHA-256 does not match the manifest",
        "report latest: report.md is damaged: its SHA-256 does not match the manifest",
    ]
    assert bad.stderr.startswith("cxrssl: error: 2 breaks in the chain of hashes")
    values = json.loads(run("report", "--verify", "--json", workspace=copy.root).stdout)
    assert [each["kind"] for each in values["breaks"]] == ["cohort", "report"]


def test_it_writes_nothing(copy: Workspace) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in copy.root.rglob("*"))
    run("report", "--verify", workspace=copy.root)
    assert sorted((path, path.stat().st_mtime_ns) for path in copy.root.rglob("*")) == before


@pytest.mark.parametrize("small", ["hide", "show"])
def test_hidden_counts_are_no_break_and_a_count_that_somebody_hid_is(tmp_path: Path, small: SmallCells) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "few", num_subjects=12)
    make_evaluation(workspace, "untrained", kind="random-init", num_subjects=12, skill=0.2)
    write_report(workspace, small=small)
    assert breaks_of(workspace) == []
    plant(workspace, "results.csv", "num_pos_subjects", "under 10 of them")
    (named,) = breaks_of(workspace)
    assert "results.csv, line 2, says num_pos_subjects under 10 of them, its record " in named
