"""`cxrssl compare`: two names found, what differs between them, and the paired difference with what it rests on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import compare_published
from cxrssl.evaluate.groups import compare_groups, group_seeds
from cxrssl.recipe.load import load_recipe
from cxrssl.records.eval_settings import CandidateSettings, ProbeSettings
from cxrssl.records.setup import read_setups
from tests.cli.command import run
from tests.records.folders import make_run
from tests.report.test_report import SHAPE, evaluations_of, make_evaluation

RUNS = {"msn-s0": ((), 0), "msn-s1": ((), 1), "msn+sex-s0": (("sex",), 0), "msn+sex-s1": (("sex",), 1)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two setups of two seeds each, an untrained encoder, and the same setup on another cohort."""
    workspace = Workspace(tmp_path / "ws").create()
    for run_id, (features, seed) in RUNS.items():
        recipe = load_recipe("demo", [f"train.seed={seed}"], {"ehr": {"features": list(features)}}).to_dict()
        versions = {"cxrssl": "0.1.0", "torch": "2.0"}
        make_run(workspace, run_id, recipe=recipe, cohort_sha256="c" * 64, images_sha256="i" * 64, versions=versions)
        label = "MSN + sex" if features else "MSN"
        shape = replace(SHAPE, seed=seed)
        make_evaluation(workspace, run_id, "run", features, 2.0 + len(features) + seed / 10, shape, label=label)
    make_evaluation(workspace, "random-s0", "random-init", skill=0.2, label="random vit-tiny, seed 0")
    return workspace


def compare(workspace: Workspace, *names: str) -> dict[str, Any]:
    result = run("compare", *names, "--json", workspace=workspace.root)
    assert (result.returncode, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def by_id(workspace: Workspace, name: str) -> Any:
    return next(each for each in evaluations_of(workspace) if each.settings.candidate_id == name)


def test_two_runs_have_the_published_difference_of_their_evaluations(workspace: Workspace) -> None:
    found = compare(workspace, "msn+sex-s0", "msn-s0")
    wanted = compare_published(workspace, by_id(workspace, "msn+sex-s0"), by_id(workspace, "msn-s0")).differences
    (result,) = found["results"]
    assert result["macro"]["auroc"]["difference"] == wanted.macro_auroc.to_dict()
    assert result["findings"]["Edema"]["auprc"]["difference"] == wanted.findings["Edema"].auprc.to_dict()
    assert (result["num_films"], result["num_subjects"], result["is_paired"]) == (60, 30, True)
    edema = by_id(workspace, "msn-s0").scores.findings["Edema"]
    assert result["findings"]["Edema"]["num_pos_subjects"] == edema.num_pos_subjects
    assert result["findings"]["Edema"]["auroc"]["second"] == edema.auroc.value
    first, second = (result["macro"]["auroc"][side] for side in ("first", "second"))
    assert first - second == pytest.approx(wanted.macro_auroc.value)


def test_the_only_finding_of_a_family_keeps_its_p_value(workspace: Workspace) -> None:
    (result,) = compare(workspace, "msn+sex-s0", "random-s0")["results"]
    numbers = result["findings"]["Edema"]["auroc"]
    assert numbers["p_holm"] == numbers["p"] < 0.05  # the other finding is not defined


def test_what_two_runs_differ_in_is_named_and_what_follows_from_it_has_no_effect(workspace: Workspace) -> None:
    unlike = compare(workspace, "msn+sex-s0", "msn-s0")["unlike"]
    assert {"what": "ehr.features", "first": '["sex"]', "second": "[]"} in unlike["recipe"]
    assert all("no effect" in each["first"] + each["second"] for each in unlike["recipe"][1:])
    assert unlike["data"] == unlike["code"] == []
    assert {"what": "train.seed", "first": "0", "second": "1"} in compare(workspace, "msn-s0", "msn-s1")["unlike"][
        "recipe"
    ]


def test_other_data_code_and_device_are_named(workspace: Workspace) -> None:
    folder = workspace.runs / "msn-s0"
    about = json.loads((folder / "run.json").read_text())
    about |= {
        "cohort_sha256": "d" * 64,
        "num_films": 7,
        "versions": {"cxrssl": "0.1.0", "torch": "2.1"},
        "device": "cuda",
    }
    (folder / "run.json").write_text(json.dumps(about))
    found = compare(workspace, "msn+sex-s0", "msn-s0")
    assert [each["what"] for each in found["unlike"]["data"]] == ["cohort's content", "films"]
    assert found["unlike"]["code"] == [
        {"what": "torch", "first": "2.0", "second": "2.1"},
        {"what": "device", "first": "cpu", "second": "cuda"},
    ]
    assert "pretrained on different data: the difference is not of the recipe alone" in found["warnings"]
    assert "made with different code, libraries or devices" in found["warnings"]


def test_two_setups_are_compared_as_means_over_their_seeds(workspace: Workspace) -> None:
    found = compare(workspace, "MSN + sex", "MSN")
    groups = {each.label: each for each in group_seeds(evaluations_of(workspace), read_setups(workspace))}
    wanted = compare_groups(groups["MSN + sex"], groups["MSN"])
    (result,) = found["results"]
    assert result["macro"]["auroc"]["difference"] == wanted.macro.auroc.interval.to_dict()
    assert result["macro"]["auroc"]["p"] == wanted.macro.auroc.p_value
    assert (found["first"]["seeds"], found["second"]["seeds"]) == ([0, 1], [0, 1])
    assert "one seed: says nothing about the method" not in found["warnings"]
    assert "train.seed" not in [each["what"] for each in found["unlike"]["recipe"]]


def test_one_seed_against_two_is_not_paired_and_says_so(workspace: Workspace) -> None:
    found = compare(workspace, "msn+sex-s0", "MSN")
    assert not found["results"][0]["is_paired"]
    assert "the seeds are not the same, so they are not paired" in found["warnings"]
    assert "one seed: says nothing about the method" in found["warnings"]


def test_a_beginning_of_an_id_is_enough_and_of_several_setups_too_little(workspace: Workspace) -> None:
    assert compare(workspace, "msn+sex", "random")["first"]["seeds"] == [0, 1]
    assert compare(workspace, "msn", "random")["first"]["label"] == "MSN"  # up to a hyphen it is the whole name
    result = run("compare", "ms", "random", workspace=workspace.root)
    assert result.returncode == 2
    assert result.stderr.startswith('cxrssl: error: "ms" is 2 setups\n  hint: name one: msn')


def test_an_evaluation_is_named_by_its_id(workspace: Workspace) -> None:
    found = compare(workspace, "msn-s0-on-mimic", "random-s0-on-mimic")
    assert found["results"][0]["evaluations"] == [["msn-s0-on-mimic"], ["random-s0-on-mimic"]]


def test_a_name_of_nothing_a_run_without_a_probe_and_one_name_twice_are_refused(workspace: Workspace) -> None:
    unknown = run("compare", "msn-s8", "msn-s0", workspace=workspace.root)
    assert (unknown.returncode, "nearest is" in unknown.stderr) == (2, True)
    make_run(workspace, "later-s0")
    later = run("compare", "later", "msn-s0", workspace=workspace.root)
    assert later.returncode == 3
    assert "run later-s0 was not probed yet" in later.stderr
    assert "hint: cxrssl probe later-s0" in later.stderr
    assert run("compare", "msn-s0", "msn-s0", workspace=workspace.root).returncode == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cohort": "nih"}, "cohort mimic and nih"),
        ({"split": "paper"}, "split official and paper"),
        ({"cohort_sha256": "other"}, "cohort mimic was made anew in between"),
        ({"images_sha256": "other"}, "the films of cohort mimic were packed anew in between"),
        ({"protocol_version": 9}, "probed by versions 0 and 9 of the probe"),
        ({"probe": ProbeSettings(num_resamples=100, uncertain="ones")}, "probe's uncertain ignore and ones"),
        ({"probe": ProbeSettings(num_resamples=100, findings=("Edema",))}, "probe's findings none and Edema"),
        ({"probe": ProbeSettings(num_resamples=50)}, "probe's num_resamples 100 and 50"),
    ],
)
def test_unequal_terms_are_refused_in_one_sentence_that_names_them(
    workspace: Workspace, changes: dict[str, Any], words: str
) -> None:
    make_evaluation(workspace, "elsewhere", **changes)
    result = run("compare", "msn-s0", "elsewhere", workspace=workspace.root)
    assert result.returncode == 3
    assert result.stderr.splitlines()[0] == f"cxrssl: error: these were not scored on equal terms: {words}"


def test_each_test_set_that_both_were_scored_on_has_its_table(workspace: Workspace) -> None:
    for name in ("msn-s0", "random-s0"):
        kind = "run" if name.startswith("msn") else "random-init"
        make_evaluation(workspace, f"{name}-on-nih", kind, skill=1.0, candidate_id=name, cohort="nih", dataset="nih")
    results = compare(workspace, "msn-s0", "random-s0")["results"]
    assert [each["cohort"] for each in results] == ["mimic", "nih"]


def test_what_is_wrong_with_a_side_is_a_warning(workspace: Workspace) -> None:
    make_evaluation(workspace, "leaky", leak="it saw 3 test films", is_outcome_used=True)
    make_evaluation(workspace, "theirs", "external", candidate=CandidateSettings(unlisted=("a-net",)))
    warnings = compare(workspace, "leaky", "theirs")["warnings"]
    assert warnings[:3] == [
        "first: not a fair test: it saw 3 test films",
        "first: an outcome was an input of pretraining",
        "second: whether a-net saw the test films is unknown",
    ]


def test_a_wrong_record_is_named(workspace: Workspace) -> None:
    changes = {"ehr": {"features": ["sex"], "control": "shuffled"}}
    make_run(workspace, "wrong-s0", recipe=load_recipe("demo", ["train.seed=0"], changes).to_dict())
    make_evaluation(workspace, "wrong-s0", features=("sex",), label="MSN + sex, shuffled")
    assert "second: its record is wrong: shuffled" in compare(workspace, "msn+sex-s0", "wrong-s0")["warnings"]


def test_the_text_fits_eighty_columns_and_holds_no_escape_code(workspace: Workspace) -> None:
    make_evaluation(workspace, "odd", label="\x1b[31mred" + " word" * 40)
    for names in (("MSN + sex", "MSN"), ("msn+sex-s0", "random-s0"), ("odd", "msn-s0")):
        result = run("compare", *names, workspace=workspace.root)
        assert result.returncode == 0
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert "\x1b" not in result.stdout


def test_the_text_says_films_subjects_means_and_marks(workspace: Workspace) -> None:
    lines = run("compare", "msn+sex-s0", "random-s0", workspace=workspace.root).stdout.splitlines()
    assert lines[0] == "first   MSN + sex"
    assert lines[1] == "        msn+sex-s0"
    assert "recipe  not compared (random vit-tiny: no run)" in lines
    assert any(line.startswith("On cohort mimic, split official: 60 films of 30 subjects;") for line in lines)
    edema = next(line.split() for line in lines if line.startswith("  Edema"))
    assert edema[-1].endswith("]^")
    assert next(line.split() for line in lines if line.startswith("  Hernia"))[1:] == ["0", "-", "-", "not", "defined"]
    assert any("Holm" in line for line in lines)
