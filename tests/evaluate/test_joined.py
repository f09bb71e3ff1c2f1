"""The record joined to an encoder: what either knows is used, and what is known only after the film is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cxrssl.audit.evaluations import audit_evaluation, read_evaluated
from cxrssl.cli.lines import Table
from cxrssl.cli.probed import describe_differences
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import group_evaluations, list_pairs, publish_comparisons
from cxrssl.evaluate.fitted import _name_inputs
from cxrssl.evaluate.joined import cross_fit_joined, fit_joined_probe
from cxrssl.evaluate.probe import LinearProbe, fit_linear_probe
from cxrssl.evaluate.record import choose_record
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.fitted import open_fitted
from cxrssl.report.probe_tables import macro_table
from cxrssl.stats.metrics import Floats, auroc
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from cxrssl.train.pooled import open_films
from tests.world import TINY, make_workspace

World = tuple[Workspace, str, list[Evaluation]]
SETTINGS = ProbeSettings(num_resamples=50)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A workspace with a run, probed with sex and age joined to it."""
    workspace = make_workspace(tmp_path_factory.mktemp("joined"), num_patients=60)
    run = pretrain(plan_run(workspace, "nih", load_recipe("demo", TINY), Machine("cpu", 1))).run_id
    return workspace, run, probe_run(workspace, run, "", "", SETTINGS, ProbeChoices(joined="sex,age"))


class Draw:
    """Films of one finding: 40 features of an encoder, each shows a little; a column of a record and two of noise."""

    def __init__(self, num: int, seed: int, of_film: float = 1.0, of_record: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        film, record = rng.normal(size=(2, num))
        logits = of_film * film + of_record * record
        self.labels = (rng.random(num) < 1 / (1 + np.exp(-logits))).astype(np.int8)[:, None]
        self.features = np.concatenate(
            [film[:, None] + 2 * rng.normal(size=(num, 40)), record[:, None], rng.normal(size=(num, 2))], axis=1
        )
        self.subjects = np.arange(num)

    def score(self, logits_N1: Floats) -> float:
        return auroc(logits_N1[:, 0], self.labels[:, 0])


def fit_joined(train: Draw, val: Draw) -> tuple[LinearProbe, float]:
    return fit_joined_probe((train.features, train.labels), (val.features, val.labels), val.subjects, 3)


def test_joined_is_better_than_either_alone_where_both_know_something() -> None:
    train, val, test = Draw(400, 0), Draw(200, 1), Draw(3000, 2)
    probe, _ = fit_joined(train, val)
    film = fit_linear_probe(train.features[:, :40], train.labels, val.features[:, :40], val.labels)
    record = fit_linear_probe(train.features[:, 40:], train.labels, val.features[:, 40:], val.labels)
    both = test.score(probe.predict_logits(test.features))
    assert both > test.score(film.predict_logits(test.features[:, :40])) + 0.03
    assert both > test.score(record.predict_logits(test.features[:, 40:])) + 0.03


def test_a_block_that_knows_nothing_costs_little_and_the_other_has_the_greater_strength() -> None:
    for blocks in ({"of_film": 0.0}, {"of_record": 0.0}):
        train, val, test = (Draw(num, seed, **blocks) for num, seed in ((400, 0), (200, 1), (3000, 2)))
        probe, of_record = fit_joined(train, val)
        known = slice(40, 41) if "of_film" in blocks else slice(0, 40)
        alone = fit_linear_probe(train.features[:, known], train.labels, val.features[:, known], val.labels)
        cost = test.score(alone.predict_logits(test.features[:, known])) - test.score(
            probe.predict_logits(test.features)
        )
        assert cost < 0.02
        assert (of_record > probe.strength) == ("of_film" in blocks)


def test_folds_give_each_film_both_blocks_and_each_fold_both_strengths() -> None:
    films = Draw(300, 0)
    fold = np.arange(300) % 3
    fitted, of_record = cross_fit_joined(films.features, films.labels, fold, films.subjects, 3)
    assert np.mean([auroc(fitted.logits_NL[fold == k, 0], films.labels[fold == k, 0]) for k in range(3)]) > 0.7
    assert of_record.shape == fitted.strength_K.shape == (3,)
    assert fitted.is_judged_L.all()


def test_the_joined_probe_stands_beside_encoder_and_record_and_is_compared_with_both(world: World) -> None:
    workspace, run, made = world
    kinds = [each.settings.kind for each in made]
    assert kinds == ["run", "joined", "random-init", "ehr-only", "view-only", "pixels", "ehr-only"]
    joined = made[1].settings
    assert (joined.candidate_id, joined.run_id) == (f"{run}-with-demo", run)
    assert joined.label == "MSN, joined with the record: demo"
    assert joined.features == made[-1].settings.features == ("sex", "age")
    assert list(made[1].scores.strengths) == ["film", "record"]
    assert not made[1].scores.decodings, "the record is an input"
    assert open_fitted(made[1]).about.reads == "class token, record"
    candidate = dataclasses.replace(made[1].settings.candidate, read="last:4")
    read = dataclasses.replace(made[1].settings, candidate=candidate)
    assert _name_inputs(read) == "class tokens of the last 4 layers, record"
    (group,) = group_evaluations(made)
    pairs = {(a.settings.kind, b.eval_id) for a, b in list_pairs(group)}
    assert {("joined", made[0].eval_id), ("joined", made[-1].eval_id)} <= pairs
    shown = macro_table(group, publish_comparisons(workspace, list_pairs(group)))
    assert list(shown.columns[-3:]) == ["AUROC - pixels", "AUROC - encoder alone", "AUROC - record alone"]
    lines = describe_differences(workspace, made)
    at = lines.index("Macro AUROC of MSN, joined with the record: demo minus that of:")
    table = lines[at + 1]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows[:2]] == ["encoder alone", "record alone"]


def test_an_audit_finds_nothing_in_a_joined_evaluation_or_in_one_of_pixels(world: World) -> None:
    workspace, _, made = world
    cohort, images = open_films(workspace, "nih")
    for each in (made[1], made[5]):
        results = audit_evaluation(read_evaluated(each), workspace, cohort, images)
        assert not [result for result in results if result.finding]


def test_what_is_known_after_the_film_or_not_at_all_is_refused(world: World) -> None:
    workspace, run, _ = world
    cohort, _ = open_films(workspace, "nih")
    assert choose_record(cohort, "ehr") == ("sex", "age", "view", "prior")
    with pytest.raises(UsageError, match="mortality is known only after the film, and cannot be joined"):
        probe_run(workspace, run, "", "", SETTINGS, ProbeChoices(joined="stay"))
    with pytest.raises(DataError, match="no film of cohort nih has race, insurance"):
        choose_record(cohort, "social")
    with pytest.raises(UsageError, match="--with names no feature"):
        choose_record(cohort, "none")
    with pytest.raises(UsageError, match='no feature or group "sexx"'):
        choose_record(cohort, "sexx")


def test_folds_of_a_run_join_the_record_too(world: World) -> None:
    workspace, run, _ = world
    settings = ProbeSettings(num_resamples=20, folds=3)
    choices = ProbeChoices(joined="ehr", baselines=False)
    alone, joined = probe_run(workspace, run, "", "", settings, choices)
    assert joined.settings.label == "MSN, joined with the record: demo, view, prior, transductive"
    assert len(joined.scores.strengths) == 6
    assert joined.predictions().image_id.tolist() == alone.predictions().image_id.tolist()
