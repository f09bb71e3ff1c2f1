"""Evaluations: baselines of the right encoder, every test film, films and cohort row for row, no leak hidden."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrssl.cli.curves import mark_few
from cxrssl.cli.probed import table_of_decodings, table_of_findings
from cxrssl.cohort.features import FEATURES
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.artefact import publish
from cxrssl.core.errors import DataError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import (
    baseline_candidates,
    open_run,
    random_candidate,
    record_candidates,
    run_candidate,
)
from cxrssl.evaluate.compare import group_evaluations, list_pairs, publish_comparisons
from cxrssl.evaluate.decode import decode_record, explain_features
from cxrssl.evaluate.folds import assign_folds
from cxrssl.evaluate.plan import EvalPlan, plan_evaluation
from cxrssl.evaluate.probe import STRENGTHS
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.ingest import ingest_dataset
from cxrssl.model.encoder import open_encoder, publish_encoder
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.comparison import list_comparisons
from cxrssl.records.encoder import EhrInput, read_films
from cxrssl.records.eval_settings import ProbeSettings, objective_of
from cxrssl.records.evaluation import (
    Evaluation,
    describe_strengths,
    list_evaluations,
    open_evaluation,
    publish_evaluation,
)
from cxrssl.records.imported import Imported
from cxrssl.records.run import RunFiles
from cxrssl.report.formats.markdown import line_text
from cxrssl.report.probe_tables import macro_table, outcome_sentence
from cxrssl.results.rows import decoding_rows
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from cxrssl.train.pooled import open_films
from tests.world import TINY, make_workspace

CPU = torch.device("cpu")
World = tuple[Workspace, list[str], list[list[Evaluation]]]
"""A workspace, its runs, and the evaluations of each."""
SETTINGS = ProbeSettings(num_resamples=50)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A workspace with a vanilla run and one with sex and view, both probed."""
    workspace = make_workspace(tmp_path_factory.mktemp("world"), num_patients=60)
    runs = []
    for features in ([], ["sex", "view"]):
        recipe = load_recipe("demo", TINY, {"ehr": {"features": features}})
        runs.append(pretrain(plan_run(workspace, "nih", recipe, Machine("cpu", 1))).run_id)
    return workspace, runs, [probe_run(workspace, run, "", "", SETTINGS) for run in runs]


def test_every_test_film_is_scored_by_every_candidate(world: World) -> None:
    workspace, _, evaluations = world
    cohort, _ = open_films(workspace, "nih")
    test_films = cohort.image_id[cohort.rows_of("test")]
    for evaluation in evaluations[0]:
        assert np.array_equal(evaluation.predictions().image_id, test_films)
        assert evaluation.scores.findings["Effusion"].num_scored == len(test_films)
        assert evaluation.scores.num_not_packed == 0


def test_a_finding_that_train_never_shows_has_no_probe_and_no_score(world: World) -> None:
    _, _, (vanilla, _) = world
    hernia = vanilla[0].scores.findings["Hernia"]
    assert "Hernia" in vanilla[0].scores.not_fitted
    assert (hernia.is_defined, hernia.num_scored, str(hernia.auroc.value)) == (False, 0, "nan")
    assert vanilla[0].scores.macro_auroc.value == vanilla[0].scores.findings["Effusion"].auroc.value


def test_an_evaluation_says_its_one_strength_and_stands_apart_from_those_of_an_older_protocol(world: World) -> None:
    _, _, (vanilla, _) = world
    (strength,) = vanilla[0].scores.strengths.values()
    assert strength in STRENGTHS
    assert vanilla[0].scores.strength_text == f"{strength:g}"
    assert describe_strengths(vanilla[:1]).endswith(f"by mean val AUROC: {strength:g}.")
    older = dataclasses.replace(vanilla[0].settings, protocol_version=6)
    assert vanilla[0].settings.protocol_version == 7
    assert older.terms != vanilla[0].settings.terms


def test_runs_of_one_seed_share_their_baselines_and_are_compared_with_each_other(world: World) -> None:
    workspace, _, (vanilla, fused) = world
    own = "record alone, as in the run: sex, view"
    assert [e.eval_id for e in vanilla[1:]] == [e.eval_id for e in fused[1:] if e.settings.label != own]
    assert [e.settings.label for e in fused[2:4]] == ["record alone: demo, view, prior", own]
    assert [e.settings.kind for e in vanilla] == ["run", "random-init", "ehr-only", "view-only", "pixels"]
    (group,) = group_evaluations(list_evaluations(workspace)[0])
    differences = publish_comparisons(workspace, list_pairs(group))
    rows = {row[0].split(" (")[0]: row for row in macro_table(group, differences).texts()}
    assert rows["MSN + sex, view"][3:] != ["", ""]


def test_a_plan_names_the_evaluation_before_it_is_made(world: World) -> None:
    workspace, _, (vanilla, _) = world
    cohort, images = open_films(workspace, "nih")
    candidate = baseline_candidates(workspace, load_recipe("demo", TINY), cohort, images, CPU)[-1]
    plan = plan_evaluation(workspace, candidate, cohort, images, "hash", SETTINGS)
    assert plan.eval_id in {evaluation.eval_id for evaluation in vanilla}
    assert plan.settings == next(e.settings for e in vanilla if e.eval_id == plan.eval_id)
    assert sorted(np.concatenate(list(plan.rows.values()))) == list(range(len(cohort)))
    shard = np.where(np.arange(len(cohort)) == plan.rows["test"][0], -1, images.index.shard).astype(np.int32)
    unpacked = dataclasses.replace(images, index=images.index._replace(shard=shard))
    shorter = plan_evaluation(workspace, candidate, cohort, unpacked, "hash", SETTINGS)
    assert shorter.num_not_packed == 1
    assert np.array_equal(shorter.rows["test"], plan.rows["test"][1:])


def test_probing_publishes_the_comparisons_that_a_report_shows(world: World) -> None:
    workspace, _, (vanilla, fused) = world
    records, damage = list_comparisons(workspace)
    assert not damage
    pairs = {(vanilla[0].eval_id, vanilla[1].eval_id), (fused[0].eval_id, fused[1].eval_id)}
    pairs |= {(fused[0].eval_id, vanilla[0].eval_id)}
    assert {(each.settings.eval_id, each.settings.against_id) for each in records} >= pairs


def test_a_probe_finds_what_is_drawn_on_the_films(world: World) -> None:
    """Effusion is a bright lower half; a probe on an encoder sees it, the record does not."""
    _, _, (vanilla, _) = world
    auroc = {e.settings.kind: e.scores.findings["Effusion"].auroc.value for e in vanilla}
    assert auroc["run"] > 0.9
    assert auroc["pixels"] > 0.9
    assert auroc["view-only"] < 0.8


def test_equal_weights_with_another_head_count_or_normalisation_have_features_of_their_own(world: World) -> None:
    workspace, _, _ = world
    _, images = open_films(workspace, "nih")
    recipe = load_recipe("demo", [*TINY, "model.backbone=vit-tiny"])
    heads = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, backbone="vit-tiny-6h"))
    grey = dataclasses.replace(recipe, views=dataclasses.replace(recipe.views, pixel_mean=0.2))
    candidates = [random_candidate(workspace, r, images, CPU) for r in (recipe, heads, grey)]
    assert len({candidate.settings.weights_sha256 for candidate in candidates}) == 1
    assert len({candidate.candidate_id for candidate in candidates}) == 3
    features = [candidate.features() for candidate in candidates]
    assert not np.array_equal(features[0], features[1])
    assert not np.array_equal(features[0], features[2])


def test_the_record_baseline_knows_nothing_that_is_known_after_the_film_only(world: World) -> None:
    workspace, _, _ = world
    cohort, images = open_films(workspace, "nih")
    known = dataclasses.replace(cohort, ehr_known=np.ones_like(cohort.ehr_known))
    baselines = {b.kind: b for b in baseline_candidates(workspace, load_recipe("demo", TINY), known, images, CPU)}
    assert list(baselines["ehr-only"].settings.features or ()) == [
        feature.name for feature in FEATURES if feature.known != "after" and not feature.form_of
    ]
    assert {"mortality", "los", "age5"}.isdisjoint(baselines["ehr-only"].settings.features or ())
    assert not baselines["ehr-only"].is_outcome_used


def test_the_record_alone_stands_there_also_with_what_the_run_was_given_or_predicts(world: World) -> None:
    workspace, _, (vanilla, fused) = world
    cohort, images = open_films(workspace, "nih")
    labels = [each.label for each in record_candidates(cohort, ("mortality", "age10", "sex"))]
    assert labels == [
        "record alone: demo, view, prior",
        "record alone, as in the run: sex, age10 (without mortality, known later)",
        "view alone",
    ]
    assert len(record_candidates(cohort, ("sex", "age", "view", "prior"))) == 2, "the same as all that is known"
    recipe = load_recipe("demo", TINY, {"ehr": {"features": ["sex"], "predict": ["view"]}})
    own = baseline_candidates(workspace, recipe, cohort, images, CPU)[2]
    assert own.settings.features == ("sex", "view")
    assert [each.settings.candidate.chosen_by for each in fused] == [None, None, *["folds of train"] * 2, None, None]
    assert not vanilla[2].scores.choice_note, "val has no part in it"


def test_test_subjects_that_were_pretrained_on_are_refused_or_said(world: World) -> None:
    workspace, _, _ = world
    recipe = load_recipe("demo", [*TINY, "train.rows=all"])
    run = pretrain(plan_run(workspace, "nih", recipe, Machine("cpu", 1))).run_id
    with pytest.raises(LeakageError, match="took part in pretraining") as caught:
        probe_run(workspace, run, "", "", SETTINGS)
    ways = "; or score all films by folds, which reports call transductive: --folds 5; or --allow-overlap"
    assert caught.value.hint.endswith(ways), "it saw no label"
    leaky = probe_run(workspace, run, "", "", SETTINGS, ProbeChoices(baselines=False, may_overlap=True))
    assert "took part in pretraining" in leaky[0].settings.leak


def test_films_packed_for_an_older_cohort_are_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=12)
    (tmp_path / "nih/images/00000003_001.png").unlink()
    ingest_dataset(workspace, IngestOptions("nih", tmp_path / "nih", size_px=48, num_workers=1, may_pack=False))
    with pytest.raises(DataError, match="of an older cohort") as error:
        open_films(workspace, "nih")
    assert "cxrssl ingest nih" in error.value.hint


def test_anchors_stand_beside_targets_and_are_compared_with_anchors(world: World) -> None:
    workspace, runs, (targets, _) = world
    anchors = [probe_run(workspace, run, "", "", SETTINGS, ProbeChoices("anchor"))[0] for run in runs]
    assert [each.settings.candidate_id for each in anchors] == [f"anchor-{run}" for run in runs]
    assert [each.settings.run_id for each in anchors] == runs
    assert [each.settings.label for each in anchors] == ["MSN anchor", "MSN anchor + sex, view"]
    assert not np.array_equal(anchors[0].predictions().logits, targets[0].predictions().logits)
    (group,) = group_evaluations(list_evaluations(workspace)[0])
    pairs = {(a.settings.candidate_id, b.settings.candidate_id) for a, b in list_pairs(group)}
    vanilla, fused = runs
    assert {(fused, vanilla), (f"anchor-{fused}", f"anchor-{vanilla}")} <= pairs
    assert {(f"anchor-{fused}", vanilla), (fused, f"anchor-{vanilla}")}.isdisjoint(pairs)
    titles = [row[0] for row in macro_table(group, publish_comparisons(workspace, list_pairs(group))).texts()]
    assert sum(title.startswith("MSN anchor") for title in titles) == 2


def test_a_run_that_an_older_version_published_has_no_anchor(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=12)
    run = pretrain(plan_run(workspace, "nih", load_recipe("demo", [*TINY, "train.num_epochs=1"]), Machine("cpu", 1)))
    folder = RunFiles(workspace.runs / run.run_id).encoder
    encoder, films = open_encoder(folder), read_films(folder / "films.csv")
    shutil.rmtree(folder)
    publish_encoder(folder, encoder.module, encoder.recipe, encoder.origin, films)
    with pytest.raises(DataError, match="no anchor encoder: it was published by an older version") as error:
        probe_run(workspace, run.run_id, "", "", SETTINGS, ProbeChoices("anchor"))
    assert error.value.hint == "pretrain again, or probe with --encoder target"


def test_folds_score_every_film_once_and_a_run_that_saw_them_is_called_transductive(world: World) -> None:
    workspace, runs, _ = world
    cohort, _ = open_films(workspace, "nih")
    settings = dataclasses.replace(SETTINGS, folds=4)
    made = run, untrained, *others = probe_run(workspace, runs[1], "", "", settings)
    assert [each.settings.kind for each in others] == ["ehr-only", "ehr-only", "view-only", "pixels"]
    for each in made:
        predictions, folds = each.predictions(), each.folds()
        assert np.array_equal(predictions.image_id, cohort.image_id)
        assert folds is not None
        assert {len(set(folds.fold_N[predictions.subject_id == p])) for p in set(predictions.subject_id)} == {1}
        assert len(each.scores.strengths) == 4
        assert each.fit() is None
        assert each.settings.split == "4-folds"
    num = len(cohort.rows_of("train"))
    assert f"{num} test films" in run.settings.transductive
    assert run.settings.label == "MSN + sex, view, transductive"
    assert objective_of(run.settings) == "MSN"
    assert not run.settings.leak
    assert (untrained.settings.transductive, untrained.settings.label) == ("", "random vit-micro, seed 0")
    assert run.scores.findings["Effusion"].auroc.value > 0.9
    groups = [{each.eval_id for each in group} for group in group_evaluations(list_evaluations(workspace)[0])]
    assert {each.eval_id for each in made} in groups
    assert f"`{runs[1]}` is transductive: {num} films (" in line_text(outcome_sentence([run]))


def test_folds_that_cannot_be_are_refused(world: World) -> None:
    workspace, runs, _ = world
    for folds in (1, 2):
        with pytest.raises(UsageError, match=f"--folds is {folds}: one fold is scored"):
            probe_run(workspace, runs[0], "", "", dataclasses.replace(SETTINGS, folds=folds))
    with pytest.raises(UsageError, match="--split has no effect"):
        probe_run(workspace, runs[0], "", "hash", dataclasses.replace(SETTINGS, folds=4))


def test_what_was_an_input_of_pretraining_is_refused_with_folds_too(world: World) -> None:
    workspace, runs, _ = world
    cohort, images = open_films(workspace, "nih")
    _, encoder = open_run(workspace, runs[0])
    candidate = run_candidate(workspace, runs[0], encoder, images, CPU)
    assert candidate.pretraining is not None
    taught = dataclasses.replace(candidate.pretraining, ehr=EhrInput(("Effusion",)))
    told = dataclasses.replace(candidate, pretraining=taught)
    settings = dataclasses.replace(SETTINGS, folds=4)
    with pytest.raises(LeakageError, match="Effusion was a pretraining input"):
        plan_evaluation(workspace, told, cohort, images, "", settings)
    taught_labels = dataclasses.replace(candidate.pretraining, may_know_labels=True)
    others = dataclasses.replace(candidate, pretraining=taught_labels)
    with pytest.raises(LeakageError, match="took part in pretraining"):
        plan_evaluation(workspace, others, cohort, images, "", settings)
    allowed = plan_evaluation(workspace, others, cohort, images, "", settings, may_overlap=True).settings
    assert "took part in pretraining" in allowed.leak
    assert not allowed.transductive


# ---- what the features show of the record


def plan_of(world: World, folds: int = 0) -> EvalPlan:
    workspace, _, _ = world
    cohort, images = open_films(workspace, "nih")
    candidate = random_candidate(workspace, load_recipe("demo", TINY), images, CPU)
    return plan_evaluation(workspace, candidate, cohort, images, "hash", dataclasses.replace(SETTINGS, folds=folds))


@pytest.mark.parametrize("folds", [0, 4])
def test_what_stands_in_the_features_is_decoded_and_what_does_not_is_not(world: World, folds: int) -> None:
    plan = plan_of(world, folds)
    record = plan.cohort.features(("sex", "age", "view"), "zero")
    noise = np.random.default_rng(0).normal(size=(len(record), 3)).astype(np.float32)
    fold_R = None
    if plan.group_N is not None:
        fold_R = assign_folds(plan.labels(), plan.group_N, folds, 0)
    told, not_told = (decode_record(plan, features, fold_R) for features in (record, noise))
    assert list(told) == list(not_told) == ["sex", "age", "view"], "NIH knows no icu and no race"
    assert [each.metric for each in told.values()] == ["AUROC", "R2", "macro AUROC"]
    assert told["sex"].score.value == told["view"].score.value == 1
    assert told["age"].score.value > 0.99
    assert abs(not_told["sex"].score.value - 0.5) < 0.25
    assert not_told["age"].score.value < 0.2
    assert {each.num_films for each in told.values()} == {len(plan.rows["test"])}
    whole, none = (explain_features(plan, features, fold_R) for features in (record, noise))
    assert whole is not None
    assert none is not None
    assert whole.score.value > 0.99
    assert none.score.value < 0.1


def test_every_encoder_and_no_record_says_what_it_shows_of_the_record(world: World) -> None:
    _, _, (vanilla, _) = world
    run, untrained, record, view, _ = vanilla
    for each in (run, untrained):
        assert list(each.scores.decodings) == ["age", "sex", "view", "features on record"]
        assert each.scores.to_dict()["decoded"]["sex"]["score"]["value"] == each.scores.decoded["sex"].score.value
        assert each.scores.is_decoded
    assert not record.scores.decodings
    assert not view.scores.decodings
    table = table_of_decodings(vanilla)
    assert table is not None
    assert list(table.head) == ["", "MSN", "random vit-micro, seed 0", "films", "subjects"]
    assert [row[0] for row in table.rows] == [
        "age (R2)",
        "sex (AUROC)",
        "view (macro AUROC)",
        "features on record (R2)",
    ]
    (age, sex, *_) = decoding_rows(run)
    assert age.ci_method.startswith("95% centred percentile bootstrap over subjects, ")
    assert age.mark == "few", "of fewer than 30 subjects"
    assert (sex.feature, sex.metric, sex.value) == ("sex", "AUROC", run.scores.decoded["sex"].score.value)


def test_an_evaluation_that_was_not_asked_what_it_shows_is_made_again(world: World) -> None:
    workspace, runs, (vanilla, _) = world
    run = vanilla[0]
    older = dataclasses.replace(run.scores, is_decoded=False, decoded={}, record_r2=None)
    publish_evaluation(run.path, run.settings, older, run.predictions(), run.fit())
    assert not open_evaluation(run.path).scores.decodings
    (again,) = probe_run(workspace, runs[0], "", "", SETTINGS, ProbeChoices(baselines=False))
    assert again.scores.to_dict() == run.scores.to_dict()


def test_an_imported_evaluation_is_made_again_with_what_was_predicted(world: World) -> None:
    """It came without predictions and without a fitted probe: nothing could be compared with it, or predicted."""
    workspace, runs, (vanilla, _) = world
    run = vanilla[0]
    scores = (run.path / "scores.json").read_bytes()
    with publish(run.path, "evaluation", run.settings.to_dict(), Imported("a" * 64).to_inputs()) as folder:
        (folder / "scores.json").write_bytes(scores)
    assert open_evaluation(run.path).imported
    (again,) = probe_run(workspace, runs[0], "", "", SETTINGS, ProbeChoices(baselines=False))
    assert not again.imported
    assert again.predictions().image_id.tolist() == vanilla[1].predictions().image_id.tolist()
    assert again.scores.to_dict() == run.scores.to_dict()


def test_the_subjects_with_each_finding_are_counted_and_few_are_marked(world: World) -> None:
    workspace, _, (vanilla, _) = world
    cohort, _ = open_films(workspace, "nih")
    test = cohort.rows_of("test")
    has_it = cohort.labels(["Effusion"])[test, 0] == 1
    num = len(set(cohort.subject_id[test][has_it]))
    scored = vanilla[0].scores.findings["Effusion"]
    table = table_of_findings(vanilla[0], is_matched=False)
    assert list(table.head) == ["", "films", "with it", "subjects", "AUROC"]
    rows = {row[0]: row for row in table.rows}
    assert rows["Effusion"][1:4] == [f"{len(test)}", f"{has_it.sum()}", f"{num}"]
    assert rows["Effusion"][4] == scored.auroc.to_text()
    assert rows["Hernia"][1:] == ["0", "0", "0", "no probe"]
    matched = table_of_findings(vanilla[0], is_matched=True)
    assert list(matched.head[:5]) == list(table.head)
    assert mark_few(9) == "9 few"
    assert mark_few(10) == "10"
    assert mark_few(1234) == "1,234"
    assert mark_few(0) == "0"
