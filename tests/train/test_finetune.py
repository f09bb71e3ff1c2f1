"""Fine-tuning: rates by layer, and whose labels are used."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxrssl.audit.checks import make_audit
from cxrssl.audit.evaluations import audit_evaluation, read_evaluated
from cxrssl.cohort.labelled import draw_subjects
from cxrssl.core.errors import ConfigError, DataError, IntegrityError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.head import read_head
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.model.encoder import open_encoder
from cxrssl.model.finding_head import open_head
from cxrssl.model.record import RecordColumns
from cxrssl.model.vit import build_encoder, embed_patches, encode_dropping, encode_tokens
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.objectives import FinetuneSettings
from cxrssl.recipe.settings import BACKBONES, ViewSettings
from cxrssl.records.encoder import open_record
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.fitted import find_thresholds
from cxrssl.records.steps import iter_metrics
from cxrssl.report.write import write_report
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.pooled import open_films
from cxrssl.train.record import load_labels, load_record
from cxrssl.train.state import init_state
from cxrssl.views.draw import View, make_views
from cxrssl.views.plan import ViewKind, ViewPlan
from tests.small_runs import CPU, two_layers
from tests.world import make_workspace

__all__ = ["two_layers"]
SMALL = ["model.backbone=vit-micro", "model.patch_px=8", "views.global_px=16", "train.batch_size=8"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=60)


@pytest.fixture(scope="module")
def source(workspace: Workspace) -> str:
    changes = [*SMALL, "train.split=hash", "train.num_epochs=1"]
    recipe = load_recipe("strict", changes, {"objective": {"name": "simclr"}})
    return pretrain(plan_run(workspace, "nih", recipe, CPU)).run_id


def plan_of(workspace: Workspace, source: str, *overrides: str) -> RunPlan:
    start = [f"model.init={source}"] if source else []
    return plan_run(workspace, "nih", load_recipe("finetune", [*SMALL, *start, "train.split=hash", *overrides]), CPU)


def test_the_rate_falls_by_layer_from_the_head_to_the_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "vit-micro", (24, 12, 2))
    recipe = load_recipe("finetune", [*SMALL, "objective.layer_decay=0.5"])
    state = init_state(recipe, _no_record(), torch.device("cpu"))
    rates = {id(p): group["lr_mult"] for group in state.optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(value)] for name, value in state.model.trained_parameters()}
    assert len(found) == len(rates)
    for name, rate in found.items():
        part = name.removeprefix("encoder.").split(".")
        wanted = 0.5 ** (12 - int(part[1])) if part[0] == "blocks" else 0.5**13
        assert rate == (1.0 if part[0] in ("head", "norm") else wanted), name
    assert (found["encoder.blocks.11.attn.qkv.weight"], found["encoder.blocks.1.attn.qkv.weight"]) == (0.5, 0.5**11)
    assert {found[f"encoder.{name}"] for name in ("cls_token", "pos_embed", "patch_embed.proj.bias")} == {0.5**13}


def _no_record() -> Any:
    from cxrssl.model.record import NO_RECORD

    return NO_RECORD


def test_the_preset_says_what_the_paper_does() -> None:
    """He et al. 2022, table 9: base rate 1e-3 for 256 images, decay 0.75 and 0.05, 5 of 100 epochs of warm-up."""
    recipe = load_recipe("finetune")
    assert isinstance(recipe.objective, FinetuneSettings)
    assert recipe.objective.layer_decay == 0.75
    train = recipe.train
    assert train.lr == 1e-3 * train.batch_size / 256
    assert (train.weight_decay_start, train.weight_decay_final, train.warmup_frac * train.num_epochs) == (0.05, 0.05, 5)


def test_it_learns_from_the_weights_that_it_starts_from(workspace: Workspace, source: str) -> None:
    plan = plan_of(workspace, source, "train.num_epochs=20", "train.lr=1e-3")
    pretrain(plan)
    losses = [step["label_loss"] for step in iter_metrics(plan.folder)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert open_record(plan.files.encoder).learnt_labels


def test_without_weights_to_start_from_it_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match='objective "finetune" has no weights to start from') as caught:
        plan_of(workspace, "")
    assert "--init" in caught.value.hint


def test_a_share_of_the_subjects_is_used_and_a_larger_share_holds_it(workspace: Workspace, source: str) -> None:
    plans = {
        share: plan_of(workspace, source, "train.batch_size=2", f"objective.label_frac={share}")
        for share in (0.1, 0.5, 1.0)
    }
    subjects = {share: set(plan.cohort.subject_id[plan.rows].tolist()) for share, plan in plans.items()}
    num = len(subjects[1.0])
    assert (len(subjects[0.1]), len(subjects[0.5])) == (round(0.1 * num), round(0.5 * num))
    assert subjects[0.1] < subjects[0.5] < subjects[1.0]
    half = plans[0.5]
    is_theirs = np.isin(half.cohort.subject_id[plans[1.0].rows], list(subjects[0.5]))
    assert half.rows.tolist() == plans[1.0].rows[is_theirs].tolist()
    labels = load_labels(half)
    assert labels is not None
    others = np.setdiff1d(np.arange(len(half.cohort)), half.rows)
    assert (labels[others] == -1).all()
    other = plan_of(workspace, source, "train.batch_size=2", "objective.label_frac=0.5", "objective.label_draw=1")
    assert set(other.cohort.subject_id[other.rows].tolist()) != subjects[0.5]
    assert len({plan.run_id for plan in (*plans.values(), other)}) == 4
    assert load_record(half).columns.num_findings == len(half.cohort.finding_names)


def test_a_draw_takes_whole_subjects_and_never_none() -> None:
    subjects = np.array(["a", "b", "a", "c", "d"])
    taken = draw_subjects(subjects, 0.001, 0, 0)
    assert len(set(subjects[taken].tolist())) == 1
    assert draw_subjects(subjects, 1.0, 0, 0).all()
    half = draw_subjects(subjects, 0.5, 0, 0)
    assert (half >= taken).all()
    assert draw_subjects(subjects[::-1], 0.5, 0, 0).tolist() == half[::-1].tolist()


def test_a_share_too_small_for_a_batch_is_refused(workspace: Workspace, source: str) -> None:
    with pytest.raises(UsageError, match="fewer than one batch of 8"):
        plan_of(workspace, source, "objective.label_frac=0.02")


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("train.rows=all", 'objective "finetune" would learn the labels of the films that it is tested on'),
        ("ehr.features=[\"sex\"]", 'objective "finetune" cannot join the record to a film'),
        ("objective.label_draw=2", '"objective.label_draw" has no effect: "objective.label_frac" is 1.0'),
    ],
)  # fmt: skip
def test_what_makes_no_sense_when_fine_tuning_is_refused(override: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("finetune", [override])
    assert what in caught.value.what


# ---- the run's own head


@pytest.fixture(scope="module")
def finetuned(workspace: Workspace, source: str) -> str:
    return pretrain(plan_of(workspace, source, "train.num_epochs=12", "train.lr=3e-3", "train.seed=4")).run_id


def test_the_head_scores_test_films_as_the_loss_does_and_nothing_is_fitted(
    workspace: Workspace, finetuned: str
) -> None:
    head = read_head(workspace, finetuned)
    assert head.finding_names == ("Effusion",)  # the only one that is both there and not
    settings, choices = ProbeSettings(num_resamples=20), ProbeChoices(baselines=False, head=True)
    probed, scored = probe_run(workspace, finetuned, "", "", settings, choices)
    assert (probed.settings.kind, scored.settings.kind) == ("run", "head")
    assert scored.settings.label == f"{probed.settings.label}, its own head"
    assert (scored.settings.run_id, scored.fit()) == (finetuned, None)
    assert not scored.scores.strengths
    assert not scored.scores.strength_text
    assert "Effusion" not in scored.scores.not_fitted
    assert set(scored.scores.not_fitted) == set(scored.scores.findings) - {"Effusion"}
    films = scored.predictions()
    encoder = open_encoder(workspace.runs / finetuned / "encoder")
    cohort, images = open_films(workspace, "nih")
    rows = np.flatnonzero(np.isin(cohort.image_id, films.image_id))
    boxes = torch.from_numpy(images.box_N4[rows].astype(np.float32))
    features = encoder.encode_films(torch.from_numpy(images.read_rows(rows)), boxes).double().numpy()
    wanted = features @ head.weight_LD[0] + head.bias_L[0]
    column = films.finding_names.tolist().index("Effusion")
    np.testing.assert_allclose(films.logits[:, column], wanted, rtol=1e-5, atol=1e-5)
    assert scored.scores.findings["Effusion"].auroc.value == pytest.approx(
        roc_auc_score(films.labels[:, column], wanted), abs=1e-12
    )
    assert scored.scores.findings["Effusion"].auroc.value > 0.9
    assert len(films.image_id) == len(probed.predictions().image_id)
    assert probe_run(workspace, finetuned, "", "", settings, choices)[1].content_sha256 == scored.content_sha256
    assert find_thresholds(scored) is not None
    audited = make_audit("", audit_evaluation(read_evaluated(scored), workspace, cohort, images))
    assert not audited.findings
    markdown = write_report(workspace).markdown
    assert f"{probed.settings.label}, its own head" in markdown


def test_a_run_without_labels_has_no_head(workspace: Workspace, source: str) -> None:
    with pytest.raises(DataError, match="has no head of its own: its objective learns no labels"):
        probe_run(workspace, source, "", "", ProbeSettings(num_resamples=20), ProbeChoices(head=True))


def test_folds_fit_what_a_head_does_not(workspace: Workspace, finetuned: str) -> None:
    with pytest.raises(UsageError, match="--folds fits a probe for each fold"):
        probe_run(workspace, finetuned, "", "", ProbeSettings(folds=3), ProbeChoices(head=True))


def test_a_head_that_is_damaged_is_named(workspace: Workspace, finetuned: str, tmp_path: Path) -> None:
    data = (workspace.runs / finetuned / "encoder" / "head.safetensors").read_bytes()
    (tmp_path / "head.safetensors").write_bytes(data[:-4])
    with pytest.raises(IntegrityError, match="cannot be read"):
        open_head(tmp_path, "")


def test_a_recipe_that_pools_and_drops_nothing_is_what_it_was_before() -> None:
    recipe = load_recipe("finetune")
    assert {"pool", "drop_path"}.isdisjoint(recipe.to_dict()["objective"])
    changed = load_recipe("finetune", ["objective.pool=patches", "objective.drop_path=0.1"])
    assert changed.to_dict()["objective"]["pool"] == "patches"
    assert changed.sha256 != recipe.sha256


def test_the_mean_of_the_patches_is_read_and_no_head_is_published(workspace: Workspace, source: str) -> None:
    recipe = load_recipe("finetune", [*SMALL, "objective.pool=patches"])
    model = init_state(recipe, RecordColumns(0, (), 1), torch.device("cpu")).model
    pixels = torch.randn(3, 1, 1, 16, 16)
    (read,) = model.encode({"crop": View(pixels, None)})
    tokens = model.published.forward_features(pixels[:, 0])
    assert torch.allclose(read[:, 0], tokens[:, 1:].mean(dim=1), atol=1e-5)
    plan = plan_of(workspace, source, "objective.pool=patches", "train.num_epochs=1")
    pretrain(plan)
    assert not open_record(plan.files.encoder).head_sha256
    with pytest.raises(DataError, match="its layer for findings reads the mean of the patches"):
        read_head(workspace, plan.run_id)


def test_films_go_past_branches_at_a_rate_that_rises_with_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build_encoder("vit-micro", 8, 16)
    pixels, blocks = torch.randn(2, 1, 16, 16), list(cast(Any, encoder.blocks))
    last = 2 * len(blocks)
    kept = torch.full((2, last), 0.999)
    assert torch.allclose(encode_dropping(encoder, pixels, kept, 0.0), encode_tokens(encoder, pixels), atol=1e-5)
    dropped = kept.clone()
    dropped[0, :2] = 0.0  # of the first block, whose rate is 0
    dropped[1, -2:] = 0.3
    found = encode_dropping(encoder, pixels, dropped, 0.4)
    tokens = encoder.norm_pre(embed_patches(encoder, pixels, None))
    for place, block in enumerate(blocks):
        rate = 0.4 * place / (len(blocks) - 1)
        is_past = torch.tensor([False, place == len(blocks) - 1])[:, None, None]
        for norm, branch in ((block.norm1, block.attn), (block.norm2, block.mlp)):
            tokens = torch.where(is_past, tokens, tokens + branch(norm(tokens)) / (1 - rate))
    assert torch.allclose(found, encoder.norm(tokens), atol=1e-4)


def test_what_is_dropped_does_not_hang_on_how_a_batch_is_shared_out(workspace: Workspace, source: str) -> None:
    losses = []
    for micro_batch in (0, 3):
        machine = dataclasses.replace(CPU, micro_batch=micro_batch)
        changes = [*SMALL, f"model.init={source}", "train.split=hash", "objective.drop_path=0.5", "train.num_epochs=1"]
        plan = plan_run(workspace, "nih", load_recipe("finetune", changes), machine, f"micro{micro_batch}")
        pretrain(plan)
        losses.append([step["label_loss"] for step in iter_metrics(plan.folder)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    kind = ViewKind("crop", 1, 16, (0.5, 1.0), num_draws=4)
    plans = ViewPlan((kind,), ViewSettings(), 8)
    films, valid = torch.zeros(6, 48, 48, dtype=torch.uint8), torch.tensor([[0.0, 0.0, 48.0, 48.0]] * 6)
    whole = make_views(films, valid, plans, 0, 1)["crop"].drawn_BN
    part = make_views(films[2:4], valid, plans, 0, 1, slice(2, 4))["crop"].drawn_BN
    assert whole is not None
    assert part is not None
    assert torch.equal(whole[2:4], part)
    assert whole.unique().numel() == 24
