"""What is asked of a probe: findings, labels that are uncertain, films that meet a condition."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cxrssl.audit.evaluations import audit_evaluation, read_evaluated
from cxrssl.cohort.read import Cohort
from cxrssl.cohort.where import find_films
from cxrssl.core.errors import CxrsslError, DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.asked import Asked, read_policies, settle
from cxrssl.evaluate.candidate import table_candidate
from cxrssl.evaluate.run import ProbeChoices, evaluate_candidates
from cxrssl.images.store import ImageStore
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, open_evaluation
from cxrssl.report.write import write_report
from cxrssl.train.pooled import open_films
from tests.cli import command
from tests.world import make_workspace

MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
QUICK = ProbeSettings(num_resamples=20)
World = tuple[Workspace, Cohort, ImageStore]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    workspace = make_workspace(tmp_path_factory.mktemp("asked"))
    return workspace, *open_films(workspace, "nih")


def probe(world: World, settings: ProbeSettings = QUICK, **words: str) -> Evaluation:
    """Return the evaluation of the view alone, under words of the command line."""
    workspace, cohort, images = world
    asked = Asked(**words, find_films=find_films)
    choices = ProbeChoices(asked=asked)
    candidates = [table_candidate(cohort, ("view",), "view-only")]
    (evaluation,) = evaluate_candidates(workspace, candidates, cohort, images, "hash", settings, choices)
    return evaluation


def test_only_the_findings_that_are_asked_are_scored_under_terms_of_their_own(world: World) -> None:
    usual, chosen = probe(world), probe(world, findings="Pleural Effusion,Hernia")
    assert list(chosen.scores.findings) == ["Effusion", "Hernia"]
    assert chosen.settings.probe.findings == ("Effusion", "Hernia")
    assert chosen.scores.findings["Effusion"].auroc == usual.scores.findings["Effusion"].auroc
    assert chosen.settings.terms != usual.settings.terms
    assert probe(world, findings="nih14").eval_id == usual.eval_id


def test_settings_that_ask_for_everything_are_written_as_before(world: World) -> None:
    written = probe(world).settings.to_dict()["probe"]
    assert written == {"uncertain": "ignore", "blank": "zeros", "num_resamples": 20, "seed": 0, "folds": 0}
    assert "num_left_out" not in probe(world).scores.to_dict()


def test_a_finding_may_count_uncertain_labels_in_its_own_way(world: World) -> None:
    _, cohort, _ = world
    values = np.array([[-1, -1, 1], [0, -1, -2]], np.int8)
    names = np.array(["Atelectasis", "Edema", "Mass"])
    few = dataclasses.replace(cohort, label_values=values, finding_names=names)
    assert few.labels(names.tolist(), "zeros", "ignore", ["Edema=ones"]).tolist() == [[0, 1, 1], [0, 1, -1]]
    assert few.labels(["Edema"], "zeros", "ignore", ["Edema=ones", "Atelectasis=ignore"]).tolist() == [[1], [1]]
    settings, _ = settle(QUICK, few, Asked(uncertain="zeros, Edema=ones, Mass=zeros"))
    assert (settings.uncertain, settings.uncertain_by) == ("zeros", ("Edema=ones",))
    assert settings.uncertain_text == "zeros, but Edema=ones"
    assert settle(QUICK, few, Asked(uncertain="ones"))[0] == dataclasses.replace(QUICK, uncertain="ones")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sometimes", 'cannot be "sometimes"'),
        ("zeros,ones", "beside another policy"),
        ("Efusion=ones", 'no finding "Efusion"'),
        ("Effusion=ones,Pleural Effusion=zeros", '"Effusion" is named twice'),
        ("zeros,Mass=ones", '"Mass" is not among --findings'),
        ("=ones", "beside another policy"),
    ],
)
def test_policies_that_cannot_be_are_refused_in_one_sentence(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_policies(text, ["Effusion", "Mass"], ["Effusion"])


def test_a_condition_keeps_films_of_all_splits_and_says_how_many_it_left_out(world: World) -> None:
    _, cohort, _ = world
    found = probe(world, where="view IN ('PA')")
    is_pa, split = cohort.view == "PA", cohort.split_of("hash")
    assert np.array_equal(found.predictions().image_id, cohort.image_id[is_pa & (split == "test")])
    fit = found.fit()
    assert fit is not None
    assert np.array_equal(fit.fitted_on, np.flatnonzero(is_pa & (split == "train")))
    assert found.scores.num_left_out == {
        name: int((~is_pa & (split == name)).sum()) for name in ("train", "val", "test")
    }
    assert open_evaluation(found.path).scores.num_left_out == found.scores.num_left_out
    assert found.settings.probe.where == "view IN ('PA')"
    assert found.scores.num_not_packed == 0


def test_a_condition_holds_for_folds_too(world: World) -> None:
    _, cohort, _ = world
    found = probe(world, ProbeSettings(num_resamples=20, folds=3), where="view = 'PA' -- upright")
    assert found.scores.num_films == int((cohort.view == "PA").sum())
    assert found.scores.num_left_out == {"test": int((cohort.view != "PA").sum())}


def test_an_evaluation_under_a_condition_passes_the_audit_and_stands_in_a_table_of_its_own(world: World) -> None:
    workspace, cohort, images = world
    found = probe(world, where="age_y < 50")
    results = audit_evaluation(read_evaluated(found), workspace, cohort, images)
    assert not [result for result in results if result.finding]
    markdown = write_report(workspace).markdown
    (title,) = [line for line in markdown.splitlines() if line.startswith("### Probe on") and "where age" in line]
    assert "50" in title
    assert "Films that do not meet the condition: " in markdown


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("vieww = 'PA'", "vieww"),
        ("view", "no condition, but a value of each film"),
        ("image_id::INT = 5", "cannot be computed of each film"),
        ("image_id IN (DELETE FROM film RETURNING image_id)", "cannot run"),
        ("true); DROP VIEW film; SELECT (1", "one query at a time"),
        ("true) FROM film UNION ALL SELECT image_id, (true", "not one condition on each film"),
        ("image_id IN (SELECT content FROM read_text('/etc/hosts'))", "--where"),
    ],
)
def test_a_condition_that_is_none_or_that_writes_is_refused_in_one_sentence(
    world: World, where: str, what: str
) -> None:
    _, cohort, _ = world
    before = (cohort.folder / "cohort.duckdb").read_bytes()
    with pytest.raises(CxrsslError, match="--where") as error:
        find_films(cohort, where)
    assert what in error.value.what
    assert cohort.image_id[0] not in str(error.value)
    assert "\n" not in error.value.what
    assert (cohort.folder / "cohort.duckdb").read_bytes() == before


def test_a_condition_that_no_film_meets_is_refused(world: World) -> None:
    with pytest.raises(DataError, match="no film of cohort nih meets --where 'age_y > 89 AND age_y < 3'"):
        probe(world, where="age_y > 89 AND age_y < 3")
    with pytest.raises(DataError, match="no film of cohort nih meets --where 'image_id = …'"):
        probe(world, where="image_id = 'smith'")
    _, cohort, _ = world
    test = cohort.image_id[cohort.rows_of("test", "hash")].tolist()
    with pytest.raises(DataError, match="no train film of cohort nih meets"):
        probe(world, where=f"image_id IN {tuple(test)}")


def test_the_command_says_what_was_asked_and_refuses_before_it_reads_films(world: World) -> None:
    workspace, cohort, _ = world
    words = ["probe", "--external", str(MODEL), "--cohort", "nih", "--resamples", "20", "--no-baselines"]
    words += ["--workspace", str(workspace.root)]
    done = command.run(*words, "--findings", "Effusion", "--uncertain", "zeros,Effusion=ones", "--where", "view='PA'")
    assert done.returncode == 0, done.stderr
    assert "Asked: Effusion." in done.stdout
    assert "Uncertain labels count as zeros, but Effusion=ones." in done.stdout
    num_test = int(((cohort.view != "PA") & (cohort.split_of("hash") == "test")).sum())
    assert "Only films where view='PA'; left out: " in done.stdout
    assert f"{num_test} test films" in done.stdout
    refused = command.run(*words, "--findings", "mimic14")
    assert refused.returncode == 2
    assert "no finding that agrees with" in refused.stderr
