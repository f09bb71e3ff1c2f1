"""What is read of an encoder: patches, several layers, nearest films, each against a slow plain version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrssl.audit.evaluations import audit_evaluation, audit_reuse, read_evaluated
from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import random_candidate
from cxrssl.evaluate.compare import find_untrained, group_evaluations
from cxrssl.evaluate.external import probe_external
from cxrssl.evaluate.features import extract_features
from cxrssl.evaluate.reading import fit_knn, read_candidate
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.model.external import ExternalChoices
from cxrssl.model.reading import read_films
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, open_evaluation
from cxrssl.records.reading import CLS, Reading, parse_reading
from cxrssl.report.write import write_report
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from cxrssl.train.pooled import open_films
from cxrssl.views.resample import whole_views
from tests.cli import command
from tests.small_runs import MINUTE, two_layers
from tests.world import make_workspace

MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
CPU = torch.device("cpu")
QUICK = ProbeSettings(num_resamples=20)
__all__ = ["two_layers"]
World = tuple[Workspace, str, dict[str, Evaluation]]
WAYS = ("cls", "patches", "last:2", "knn:5")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run, read in every way."""
    workspace = make_workspace(tmp_path_factory.mktemp("reading"), num_patients=30)
    run = pretrain(plan_run(workspace, "nih", load_recipe("demo", MINUTE), Machine("cpu", 1))).run_id
    found = {}
    for way in WAYS:
        choices = ProbeChoices(baselines=way in ("cls", "patches"), reading=parse_reading(way))
        found[way] = probe_run(workspace, run, "", "", QUICK, choices)[0]
    return workspace, run, found


def encoder_of(workspace: Workspace) -> tuple[Encoder, ImageStore, torch.Tensor, torch.Tensor]:
    _, images = open_films(workspace, "nih")
    candidate = random_candidate(workspace, load_recipe("demo", MINUTE), images, CPU)
    assert candidate.encoder is not None
    films = torch.from_numpy(images.read_rows(np.arange(4)))
    return candidate.encoder, images, films, torch.from_numpy(images.box_N4[:4].astype(np.float32))


@torch.no_grad()
def test_patches_and_layers_are_those_of_timm(world: World) -> None:
    encoder, _, films, valid = encoder_of(world[0])
    views = whole_views(films, valid, encoder.recipe.views)
    patches = encoder.module.forward_features(views)[:, 1:]
    mean = torch.stack([film.sum(dim=0) / len(film) for film in patches])
    assert torch.allclose(read_films(encoder, films, valid, parse_reading("patches")), mean, atol=1e-5)
    tokens: Any = encoder.module.forward_intermediates(
        views, indices=2, norm=True, output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
    )
    layers = torch.cat([prefix[:, 0] for _, prefix in tokens], dim=1)
    assert torch.allclose(read_films(encoder, films, valid, parse_reading("last:2")), layers, atol=1e-5)
    cls = read_films(encoder, films, valid, CLS)
    assert torch.allclose(read_films(encoder, films, valid, parse_reading("last:1")), cls, atol=1e-5)
    assert torch.equal(read_films(encoder, films, valid, parse_reading("knn:3")), cls)


def test_features_read_in_another_way_are_cached_apart_and_neighbours_share_the_class_token(world: World) -> None:
    workspace = world[0]
    encoder, images, _, _ = encoder_of(workspace)
    found = {way: extract_features(workspace, encoder, images, CPU, parse_reading(way)) for way in WAYS}
    assert np.array_equal(found["cls"], found["knn:5"])
    assert not np.array_equal(found["cls"], found["patches"])
    assert found["last:2"].shape[1] == 2 * found["cls"].shape[1]
    assert np.array_equal(extract_features(workspace, encoder, images, CPU), found["cls"])


def slow_share(train_x: np.ndarray, train_y: np.ndarray, film: np.ndarray, num: int) -> float:
    """Return the weighted share of the nearest films with the finding, film by film."""
    votes = []
    for x, y in zip(train_x, train_y, strict=True):
        cosine = float(x @ film / np.linalg.norm(x) / np.linalg.norm(film))
        votes.append((cosine, int(y)))
    nearest = sorted(votes, reverse=True)[:num]
    total = sum(np.exp(cosine / 0.07) for cosine, y in nearest if y >= 0)
    return float(sum(np.exp(cosine / 0.07) for cosine, y in nearest if y == 1) / total)


def test_neighbours_vote_by_cosine() -> None:
    rng = np.random.default_rng(0)
    train_x, test_x = rng.normal(size=(40, 6)), rng.normal(size=(9, 6))
    train_y = rng.integers(-1, 2, (40, 2)).astype(np.int8)
    logits = fit_knn(train_x, train_y, 7).predict_logits(test_x)
    for finding in range(2):
        shares = np.array([slow_share(train_x, train_y[:, finding], film, 7) for film in test_x])
        assert logits[:, finding] == pytest.approx(np.log(7 * shares + 0.5) - np.log(7 * (1 - shares) + 0.5), abs=1e-5)


def test_ties_with_the_last_neighbour_vote_too_and_more_neighbours_than_films_are_all() -> None:
    train_x = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [-1.0, 0.0]])
    train_y = np.array([[1], [0], [1], [0]], np.int8)
    weights = np.exp(np.array([1.0, 0.0, 0.0, -1.0]) / 0.07)
    shares = [(weights[0] + weights[2]) / weights[:3].sum(), (weights[0] + weights[2]) / weights.sum()]
    for num, votes, share in ((2, 2, shares[0]), (99, 4, shares[1])):
        (logit,) = fit_knn(train_x, train_y, num).predict_logits(np.array([[3.0, 0.0]]))[0]
        assert logit == pytest.approx(np.log(votes * share + 0.5) - np.log(votes * (1 - share) + 0.5), abs=1e-5)


def test_neighbours_without_a_known_label_leave_the_share_of_train() -> None:
    train_x = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    train_y = np.array([[-1], [1], [0], [0]], np.int8)
    probe = fit_knn(train_x, train_y, 1)
    assert probe.predict_logits(np.array([[1.0, 0.0]]))[0, 0] == pytest.approx(
        np.log(1 / 3 + 0.5) - np.log(2 / 3 + 0.5)
    )
    assert probe.is_fitted_L.tolist() == [True]
    assert fit_knn(train_x, np.ones_like(train_y), 1).is_fitted_L.tolist() == [False]


def test_evaluations_read_in_other_ways_are_of_the_same_run_on_the_same_terms(world: World) -> None:
    workspace, run, found = world
    assert [each.settings.candidate_id for each in found.values()] == [
        run,
        *(f"{x}-{run}" for x in ("patches", "last2", "knn5")),
    ]
    assert {each.settings.run_id for each in found.values()} == {run}
    assert len({each.settings.terms for each in found.values()}) == 1
    assert found["cls"].settings.candidate.to_dict().keys().isdisjoint({"read"})
    assert found["last:2"].settings.label.startswith("class tokens of the last 2 layers of MSN")
    assert open_evaluation(found["knn:5"].path).scores.strengths == {}
    assert found["knn:5"].scores.choice_note == ""
    assert write_report(workspace).markdown.count("## Probe on") == 1


def test_each_is_compared_with_the_untrained_encoder_read_alike(world: World) -> None:
    workspace, _, found = world
    untrained = [each for each in group_evaluations(_all(workspace))[0] if each.settings.kind == "random-init"]
    assert len(untrained) == 2
    for way in ("cls", "patches"):
        beside = find_untrained(found[way], untrained)
        assert beside is not None
        assert beside.settings.candidate.read == found[way].settings.candidate.read
    assert find_untrained(found["knn:5"], untrained) is None


def _all(workspace: Workspace) -> list[Evaluation]:
    return [open_evaluation(workspace.evals / name) for name in workspace.eval_ids()]


def test_the_audit_finds_their_features_and_counts_them_as_reuse_of_the_test_films(world: World) -> None:
    workspace, run, found = world
    cohort, images = open_films(workspace, "nih")
    for each in found.values():
        (fit,) = [
            result
            for result in audit_evaluation(read_evaluated(each), workspace, cohort, images)
            if result.code == "fitted-outside-train"
        ]
        assert (fit.severity, fit.finding) == ("ok", "")
    assert f"{run} under 4 settings" in audit_reuse([read_evaluated(each) for each in found.values()]).finding


def test_neighbours_are_found_in_folds_too(world: World) -> None:
    workspace, run, _ = world
    choices = ProbeChoices(baselines=False, reading=Reading("knn", 5))
    (found,) = probe_run(workspace, run, "", "", ProbeSettings(num_resamples=20, folds=3), choices)
    assert found.scores.num_films == len(open_films(workspace, "nih")[0])
    assert found.scores.strengths == {}


def test_an_external_encoder_is_read_in_other_ways(world: World) -> None:
    workspace = world[0]
    choices = ProbeChoices(baselines=False, reading=Reading("patches"))
    (found,) = probe_external(workspace, ExternalChoices(MODEL), None, "nih", "hash", QUICK, choices)
    assert found.settings.candidate_id.startswith("patches-external-dinov2-")
    assert found.settings.label.startswith("mean of patches of external dinov2")


@pytest.mark.parametrize("text", ["mean", "last", "last:0", "last:x", "knn:", "cls:2", "patches:3", ""])
def test_a_reading_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--read"):
        parse_reading(text)


def test_more_layers_than_there_are_is_refused(world: World) -> None:
    workspace = world[0]
    _, images = open_films(workspace, "nih")
    candidate = random_candidate(workspace, load_recipe("demo", MINUTE), images, CPU)
    with pytest.raises(UsageError, match="more layers than the encoder has") as error:
        read_candidate(workspace, candidate, Reading("last", 3), images, CPU)
    assert error.value.hint == "it has 2 layers"


def test_the_command_says_what_was_read(world: World) -> None:
    workspace, run, _ = world
    done = command.run("probe", run, "--read", "knn:5", "--resamples", "20", "--workspace", str(workspace.root))
    assert done.returncode == 0, done.stderr
    assert "5 nearest films by class token of MSN" in done.stdout


def test_the_record_is_joined_to_what_is_read(world: World) -> None:
    workspace, run, _ = world
    choices = ProbeChoices(baselines=False, reading=Reading("patches"), joined="sex")
    patches, joined = probe_run(workspace, run, "", "", QUICK, choices)
    assert joined.settings.run_id == patches.settings.run_id == run
    assert joined.settings.candidate.read == "patches"
    (fit, alone) = joined.fit(), patches.fit()
    assert fit is not None
    assert alone is not None
    assert np.array_equal(fit.mean_D[: len(alone.mean_D)], alone.mean_D)
    assert len(fit.mean_D) > len(alone.mean_D)


@pytest.mark.parametrize(
    ("words", "what"),
    [(["--with", "ehr"], "no columns to join"), (["--test-on", "other"], 'no cohort "other"')],
)
def test_what_neighbours_cannot_do_is_refused(world: World, words: list[str], what: str) -> None:
    workspace, run, _ = world
    done = command.run("probe", run, "--read", "knn:5", *words, "--workspace", str(workspace.root))
    assert done.returncode == 2
    assert what in done.stderr
