"""Encoders fine-tuned by protocols of others: the epoch that is kept, what is said of it, the run that remains."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrssl.audit.evaluations import audit_evaluation, read_evaluated
from cxrssl.core.errors import ConfigError, IntegrityError, Preempted, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate import tuned
from cxrssl.evaluate.candidate import open_run, random_candidate, run_candidate
from cxrssl.evaluate.epochs import scored_epochs
from cxrssl.evaluate.external import probe_external
from cxrssl.evaluate.plan import plan_evaluation
from cxrssl.evaluate.protocol import Fit, Protocol, Show, Tune, _check, load_protocol, read_protocol
from cxrssl.evaluate.run import ProbeChoices, evaluate_candidates, probe_run
from cxrssl.evaluate.tuned import EPOCHS, TunedFilms, find_weights, make_recipe, tuned_candidates
from cxrssl.model.encoder import open_encoder, pack_weights
from cxrssl.model.external import ExternalChoices
from cxrssl.model.finding_head import open_head
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.objectives import FinetuneSettings
from cxrssl.records.encoder import open_record
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, list_evaluations, open_evaluation
from cxrssl.records.fitted import find_thresholds
from cxrssl.records.run import RunFiles
from cxrssl.report.write import write_report
from cxrssl.stats.metrics import auroc
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from cxrssl.train.pooled import open_films
from tests.cli.command import run as command
from tests.small_runs import CPU, MINUTE, two_layers, watched
from tests.world import make_workspace

__all__ = ["two_layers"]
MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
QUICK = ProbeSettings(num_resamples=20)
TUNE = Tune(
    epochs=(5,), batch_films=16, rate=3e-3, rate_final=1e-4, warmup_epochs=1.0, layer_decay=0.7, drop_path=0.2,
    score_every=2,
)  # fmt: skip
SMALL = Protocol(
    name="small", read=("patches",), selected_on="test", show=Show(crop_scale=(0.5, 1.0), flip_prob=0.5), tune=TUNE
)
World = tuple[Workspace, str, Evaluation]


def choices_of(protocol: Protocol) -> ProbeChoices:
    return ProbeChoices(baselines=False, protocol=protocol, device="cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run that was fine-tuned, and its evaluation by the epoch that is best on test."""
    workspace = make_workspace(tmp_path_factory.mktemp("tuned"), num_patients=60)
    recipe = load_recipe("demo", [*MINUTE, "train.split=hash"])
    run = pretrain(plan_run(workspace, "nih", recipe, CPU)).run_id
    (made,) = probe_run(workspace, run, "", "", QUICK, choices_of(SMALL))
    return workspace, run, made


def tuned_run(workspace: Workspace, name: str) -> str:
    (found,) = [each for each in workspace.run_ids() if each.startswith(f"nih-{name}-")]
    return found


def test_films_are_scored_after_the_first_epoch_each_so_many_and_the_last() -> None:
    assert scored_epochs(45, 5) == [1, 6, 11, 16, 21, 26, 31, 36, 41, 45]
    assert scored_epochs(46, 5)[-2:] == [41, 46]
    assert scored_epochs(3, 10) == [1, 3]


def test_the_epoch_of_the_highest_macro_auroc_on_test_is_kept_and_named(world: World) -> None:
    workspace, _, made = world
    head = made.scores.head
    assert head is not None
    assert (head.selected_on, made.scores.selected_on, head.read) == ("test", "test", "fine-tuned, patches")
    rows = [line.split(",") for line in (made.path / EPOCHS).read_text().splitlines()]
    assert rows[0] == ["epoch", "macro_auroc_test", "is_kept", "run_id"]
    assert [int(row[0]) for row in rows[1:]] == [1, 3, 5]
    assert {row[3] for row in rows[1:]} == {tuned_run(workspace, "small")}
    values = [float(row[1]) for row in rows[1:]]
    (kept,) = [int(row[0]) for row in rows[1:] if row[2] == "1"]
    assert (head.epoch, head.num_epochs) == (kept, 5)
    best = max(values)
    assert kept == max(epoch for epoch, value in zip((1, 3, 5), values, strict=True) if value == best)
    films = made.predictions()
    column = films.finding_names.tolist().index("Effusion")
    assert auroc(films.logits[:, column], films.labels[:, column]) == pytest.approx(best, abs=1e-6)
    assert made.scores.macro_auroc.value == pytest.approx(best, abs=1e-6)


def test_what_was_selected_on_test_is_said_first_and_in_every_row(world: World) -> None:
    workspace, _, made = world
    assert made.settings.label.endswith(", selected on test")
    assert made.settings.probe.protocol_sha256 == SMALL.sha256
    assert find_thresholds(made) is not None
    text = write_report(workspace).markdown
    assert "selected on: test" in text.splitlines()[0] + text.splitlines()[2]
    assert not list_evaluations(workspace)[1]


def test_the_run_with_its_last_weights_stays_and_is_refused_nothing_and_given_nothing(world: World) -> None:
    workspace, run, made = world
    record = open_record(RunFiles(workspace.runs / tuned_run(workspace, "small")).encoder)
    assert record.learnt_labels
    assert record.origin.step == 5 * (len(made.fit().fitted_on) // 16)  # type: ignore[union-attr]
    assert record.recipe["model"]["init"].startswith(f"{run}@")
    assert (record.recipe["objective"]["pool"], record.recipe["objective"]["drop_path"]) == ("patches", 0.2)
    assert not record.head_sha256  # it reads the mean of the patches, and --head the class token
    cohort, images = open_films(workspace, "nih")
    results = {each.code: each.severity for each in audit_evaluation(read_evaluated(made), workspace, cohort, images)}
    assert set(results.values()) <= {"ok", "skipped"}


def test_the_same_evaluation_is_made_once(world: World) -> None:
    workspace, run, made = world
    before = (made.path / "manifest.json").stat().st_mtime_ns
    (again,) = probe_run(workspace, run, "", "", QUICK, choices_of(SMALL))
    assert again.eval_id == made.eval_id
    assert (made.path / "manifest.json").stat().st_mtime_ns == before


def test_scores_are_those_of_the_encoder_and_its_head(world: World) -> None:
    """Of one epoch the weights that scored are those that the run publishes."""
    workspace, run, _ = world
    tune = dataclasses.replace(TUNE, epochs=(1,), drop_path=0.0)
    protocol = dataclasses.replace(SMALL, name="once", read=("cls",), selected_on="val", tune=tune)
    (made,) = probe_run(workspace, run, "", "", QUICK, choices_of(protocol))
    assert not made.settings.label.endswith("selected on test")
    folder = RunFiles(workspace.runs / tuned_run(workspace, "once")).encoder
    encoder, head = open_encoder(folder), open_head(folder, "")
    films, (_, images) = made.predictions(), open_films(workspace, "nih")
    rows = np.array([images.image_id.tolist().index(each) for each in films.image_id.tolist()])
    valid = torch.from_numpy(images.box_N4[rows].astype(np.float32))
    features = encoder.encode_films(torch.from_numpy(images.read_rows(rows)), valid).double().numpy()
    column = head.finding_names.index("Effusion")
    wanted = features @ head.weight_LD[column] + head.bias_L[column]
    found = films.logits[:, films.finding_names.tolist().index("Effusion")]
    assert found == pytest.approx(wanted, abs=1e-4)


def test_a_run_that_was_interrupted_ends_with_the_same_scores(world: World, tmp_path: Path) -> None:
    workspace, run, made = world
    again = dataclasses.replace(SMALL, name="again")  # another name: another run, of the same numbers
    with pytest.MonkeyPatch.context() as patch, watched(patch) as watch:
        watch.at[8] = lambda: os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(Preempted):
            probe_run(workspace, run, "", "", QUICK, choices_of(again))
    (resumed,) = probe_run(workspace, run, "", "", QUICK, choices_of(again))
    assert resumed.predictions().logits.tolist() == made.predictions().logits.tolist()


def test_a_large_batch_is_encoded_in_parts_with_the_same_numbers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, run, made = world
    monkeypatch.setattr(tuned, "PART_FILMS", 5)
    (parts,) = probe_run(workspace, run, "", "", QUICK, choices_of(dataclasses.replace(SMALL, name="parts")))
    assert parts.predictions().logits == pytest.approx(made.predictions().logits, abs=1e-3)


def test_scores_of_an_epoch_that_are_gone_are_named(world: World) -> None:
    workspace, run, _ = world
    gone = dataclasses.replace(SMALL, name="gone", tune=dataclasses.replace(TUNE, epochs=(2,)))
    (made,) = probe_run(workspace, run, "", "", QUICK, choices_of(gone))
    folder = workspace.runs / tuned_run(workspace, "gone")
    (folder / "scored" / "epoch-0001.npz").write_bytes(b"")
    settings = dataclasses.replace(QUICK, num_resamples=21)  # other resamples of the same fine-tuning
    with pytest.raises(IntegrityError, match=r"after epoch 1 is gone or damaged") as caught:
        probe_run(workspace, run, "", "", settings, choices_of(gone))
    assert caught.value.hint == "remove the folder of that run, and give the same command again"
    assert open_evaluation(made.path).eval_id == made.eval_id


def test_the_untrained_encoder_and_files_are_fine_tuned_from_their_own_weights(world: World) -> None:
    workspace, _, _ = world
    cohort, images = open_films(workspace, "nih")
    still = dataclasses.replace(TUNE, epochs=(1,), rate=1e-9, rate_final=0.0)
    once = dataclasses.replace(SMALL, name="scratch", tune=still)
    candidate = random_candidate(workspace, load_recipe("demo", MINUTE), images, torch.device("cpu"))
    assert candidate.encoder is not None
    made = evaluate_candidates(workspace, [candidate], cohort, images, "hash", QUICK, choices_of(once))
    assert made[0].settings.label.endswith(", selected on test")
    folder = RunFiles(workspace.runs / tuned_run(workspace, "scratch")).encoder
    assert open_record(folder).recipe["model"]["init"].startswith(f"{candidate.candidate_id}@")
    weights, own = open_encoder(folder).module.state_dict(), candidate.encoder.module.state_dict()
    assert all(torch.allclose(weights[name], own[name], atol=1e-6) for name in own)  # at a rate that moves nothing
    files, file = dataclasses.replace(once, name="files"), workspace.root / "outside.safetensors"
    file.write_bytes(pack_weights(candidate.encoder.module))
    outside_files = ExternalChoices(file, "vit-micro", 16, (0.5,), (0.25,))
    (outside,) = probe_external(workspace, outside_files, None, "nih", "hash", QUICK, choices_of(files))
    assert "saw the test films: unknown" in outside.settings.label
    assert outside.scores.head is not None
    record = open_record(RunFiles(workspace.runs / tuned_run(workspace, "files")).encoder)
    assert [each.name for each in record.ancestors] == [outside.settings.candidate_id]
    with pytest.raises(UsageError, match="no run can have the architecture of these files"):
        probe_external(workspace, ExternalChoices(MODEL), None, "nih", "hash", QUICK, choices_of(files))
    bare = dataclasses.replace(candidate, kind="pixels", encoder=None)
    assert tuned_candidates(workspace, [bare], SMALL, images, "cpu") == [bare]


def test_evax_and_medmae_are_what_their_sources_say(world: World) -> None:
    with pytest.raises(UsageError, match="keeps what is best on the test films"):
        load_protocol("evax")
    evax, medmae = load_protocol("evax:test"), load_protocol("medmae:test")
    assert [evax.tune.epochs_of(width) for width in (96, 192, 384, 768)] == [45, 45, 30, 10]
    assert (evax.tune.batch_films, evax.tune.rate, evax.tune.rate_final) == (1024, 1e-3, 1e-5)
    assert (evax.tune.layer_decay, evax.tune.weight_decay, evax.tune.drop_path) == (0.55, 0.05, 0.2)
    assert (evax.tune.warmup_epochs, evax.tune.score_every, evax.read) == (5, 5, ("patches",))
    assert (medmae.tune.epochs_of(384), medmae.tune.rate) == (75, 2.5e-4)
    for each in (evax, medmae):
        assert each.selected_on == "test"
        assert "RandAugment" in each.ours


def test_a_recipe_is_made_of_a_protocol(world: World) -> None:
    workspace, run, made = world
    evax = load_protocol("evax:test")
    cohort, images = open_films(workspace, "nih")
    run_id, encoder = open_run(workspace, run)
    own = run_candidate(workspace, run_id, encoder, images, torch.device("cpu"))
    films = TunedFilms(workspace, encoder, find_weights(workspace, own), images, evax, "cpu")
    plan = plan_evaluation(workspace, own, cohort, images, "hash", QUICK)
    recipe = make_recipe(films, plan)
    assert isinstance(recipe.objective, FinetuneSettings)
    assert (recipe.objective.layer_decay, recipe.objective.pool, recipe.objective.drop_path) == (0.55, "patches", 0.2)
    train = recipe.train
    assert (train.num_epochs, train.lr, train.clip_norm) == (45, 1e-3, 0.0)
    assert train.batch_size == len(plan.rows["train"])  # fewer than 1,024
    assert (train.lr * train.lr_final_frac, train.warmup_frac * train.num_epochs) == pytest.approx((1e-5, 5))
    assert (train.weight_decay_start, train.weight_decay_final) == (0.05, 0.05)
    assert recipe.views.global_px == encoder.recipe.views.global_px
    assert made.settings.split == train.split == "hash"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"read": ("last:2",)}, 'reads "cls" or "patches"'),
        ({"show": Show(zoom=(0.9, 1.1))}, 'no "show.zoom"'),
        ({"fit": Fit(epochs=3)}, '"fit" says nothing'),
        ({"tune": dataclasses.replace(TUNE, epochs=(1, 2))}, "one positive number, or three"),
        ({"tune": dataclasses.replace(TUNE, rate_final=1.0)}, 'above "tune.rate"'),
        ({"drops_last": True}, 'leave "drops_last" out'),
    ],
)
def test_a_protocol_that_cannot_fine_tune_is_refused(changes: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        _check(dataclasses.replace(SMALL, **changes))  # type: ignore[arg-type]


def test_protocols_from_before_have_the_hash_that_they_had() -> None:
    assert "tune" not in read_protocol("paper").sources
    assert read_protocol("paper").sha256[:12] == "a834e08961c9"


def test_the_command_says_what_it_costs_and_begins_with_what_it_selected_on(world: World, tmp_path: Path) -> None:
    workspace, run, made = world
    file = tmp_path / "mine.toml"
    file.write_text(
        'read = ["patches"]\nselected_on = "test"\n[show]\ncrop_scale = [0.5, 1.0]\n'
        "[tune]\nepochs = [2]\nbatch_films = 16\nrate = 1e-3\nscore_every = 1\n"
    )
    words = (run, "--no-baselines", "--resamples", 20, "--device", "cpu", "--protocol")
    refused = command("probe", *words, file, workspace=workspace.root)
    assert refused.returncode == 2
    assert "keeps what is best on the test films" in refused.stderr
    shown = command("probe", *words, f"{file}:test", workspace=workspace.root)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("selected on: test (protocol mine)")
    text = " ".join(shown.stdout.split())
    assert "Kept of 2 scored epochs: number " in text
    assert f"; the last, whose weights run {tuned_run(workspace, 'mine')} has, " in text
    assert "1 encoder fine-tuned for 2 epochs of " in " ".join(shown.stderr.split())
    carried = command("probe", *words, f"{file}:test", "--test-on", "nih", workspace=workspace.root)
    assert carried.returncode == 2
    assert "no probe that could be carried" in carried.stderr
    assert made.settings.run_id == run
