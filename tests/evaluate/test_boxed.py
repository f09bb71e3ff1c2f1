"""Where probes of patches look: planted probes, boxes on views, shares by hand, intervals over subjects."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxrssl.cohort.boxes import FILM_PX, read_boxes
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.errors import DataError
from cxrssl.evaluate.boxed import cover_patches, look, place_on_view, score_boxes, score_patches
from cxrssl.evaluate.candidate import random_candidate
from cxrssl.evaluate.external import probe_external
from cxrssl.evaluate.patches import PatchProbe, Tokens
from cxrssl.evaluate.plan import EvalPlan, plan_evaluation
from cxrssl.evaluate.run import ProbeChoices
from cxrssl.evaluate.taken import take_probe
from cxrssl.model.external import ExternalChoices
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import ViewSettings
from cxrssl.records.boxes import BoxScore, find_box_scores
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.reading import Pooling, Reading
from cxrssl.stats.resample import draw_subject_counts
from cxrssl.train.pooled import open_films
from cxrssl.views.resample import whole_views
from tests.cli.command import run
from tests.small_runs import MINUTE
from tests.world import make_workspace

MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
SETTINGS = ProbeSettings(num_resamples=50)
SIDE = 4
Grid = NDArray[np.float64]
each_pooling = pytest.mark.parametrize("pooling", ["attention", "max"])


def write_boxes(root: Path, lines: list[str], packed: bool = False) -> None:
    data = "\n".join([HEADER, *lines]).encode() + b"\n"
    name = "BBox_List_2017.csv"
    (root / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> EvalPlan:
    """Return the plan of a probe of patches; films with an effusion have a box in the middle of their lower half."""
    workspace = make_workspace(tmp_path_factory.mktemp("boxed"), num_patients=24)
    cohort, images = open_films(workspace, "nih")
    has_N = cohort.labels(["Effusion"])[:, 0] == 1
    write_boxes(cohort.root, [f"{name},Effusion,256.0,512.0,512.0,512.0" for name in cohort.image_id[has_N]])
    candidate = random_candidate(workspace, load_recipe("demo", MINUTE), images, torch.device("cpu"))
    settings = dataclasses.replace(candidate.settings, read="max")
    read = dataclasses.replace(candidate, settings=settings)
    return plan_evaluation(workspace, read, cohort, images, "hash", SETTINGS)


def probe_of(plan: EvalPlan, weight: float, pooling: Pooling, query: float = 0.0) -> PatchProbe:
    """Return a probe whose score of a patch is a multiple of its only feature."""
    num = len(plan.findings)
    ones, is_fitted = torch.ones(num, 1), np.ones(num, np.bool_)
    parts = query * ones, weight * ones, torch.zeros(num), np.zeros(1), np.ones(1)
    return PatchProbe(pooling, *parts, 1.0, is_fitted, is_fitted)


def tokens_of(plan: EvalPlan, values_GG: Grid) -> Tokens:
    films = np.repeat(values_GG.reshape(1, -1, 1), len(plan.cohort), axis=0)
    return Tokens(films.astype(np.float16), np.arange(len(plan.cohort)))


def score(plan: EvalPlan, probe: PatchProbe, tokens: Tokens) -> BoxScore:
    boxes = read_boxes(plan.cohort)
    assert boxes is not None
    scores = score_boxes(plan, probe, tokens, boxes).scores
    assert [each.finding for each in scores] == ["", "Effusion"]
    assert dataclasses.replace(scores[1], finding="").to_dict() == scores[0].to_dict()
    return scores[0]


@each_pooling
def test_a_probe_that_looks_exactly_in_the_box_has_share_1_and_one_that_looks_elsewhere_0(
    plan: EvalPlan, pooling: Pooling
) -> None:
    inside = np.zeros((SIDE, SIDE))
    inside[2:, 1:3] = 1
    probe = probe_of(plan, 1.0, pooling)
    planted = score(plan, probe, tokens_of(plan, inside))
    assert (planted.share.value, planted.pointing.value, planted.area) == (1.0, 1.0, 0.25)
    assert planted.share_minus_area.value == planted.pointing_minus_area.value == 0.75
    assert planted.share.mark == "no interval"  # every film has the same share
    elsewhere = score(plan, probe, tokens_of(plan, 1 - inside))
    assert (elsewhere.share.value, elsewhere.pointing.value) == (0.0, 0.0)
    assert score(plan, probe, tokens_of(plan, -inside)).share.value == 0.0


@each_pooling
def test_a_probe_that_looks_everywhere_alike_has_the_share_of_chance(plan: EvalPlan, pooling: Pooling) -> None:
    alike = score(plan, probe_of(plan, 2.0, pooling, query=3.0), tokens_of(plan, np.ones((SIDE, SIDE))))
    assert alike.share.value == pytest.approx(alike.area)
    assert alike.share_minus_area.value == pytest.approx(0, abs=1e-9)


def test_only_test_films_count_and_the_subjects_are_theirs(plan: EvalPlan) -> None:
    found = score(plan, probe_of(plan, 1.0, "max"), tokens_of(plan, np.ones((SIDE, SIDE))))
    test = plan.rows["test"]
    has = plan.cohort.labels(["Effusion"])[:, 0] == 1
    assert 0 < found.num_films == has[test].sum() < has.sum()
    assert found.num_subjects == len(np.unique(plan.cohort.subject_id[test[has[test]]]))


def test_intervals_are_those_of_a_plain_loop_over_subjects(plan: EvalPlan) -> None:
    rng = np.random.default_rng(0)
    tokens = Tokens(rng.normal(size=(len(plan.cohort), SIDE**2, 1)).astype(np.float16), np.arange(len(plan.cohort)))
    found = score(plan, probe_of(plan, 1.0, "max"), tokens)
    test = plan.rows["test"]
    rows = test[plan.cohort.labels(["Effusion"])[test, 0] == 1]
    shares = []
    for row in rows:
        values = np.maximum(tokens.values_NPD[row].astype(float).reshape(SIDE, SIDE), 0)
        shares.append(values[2:, 1:3].sum() / values.sum())
    means = []
    for counts in draw_subject_counts(plan.cohort.subject_id[rows], 50, 0):
        drawn = [share for share, count in zip(shares, counts, strict=True) for _ in range(count)]
        means.append(sum(drawn) / len(drawn))
    assert found.share.value == pytest.approx(np.mean(shares), abs=1e-6)
    assert (found.share.lo, found.share.hi) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-6)


def test_patches_of_attention_add_up_to_the_log_odds() -> None:
    rng = np.random.default_rng(1)
    tokens = Tokens(rng.normal(size=(1, 9, 3)).astype(np.float16), np.arange(1))
    query, weight = (torch.from_numpy(rng.normal(size=(2, 3))).float() for _ in range(2))
    fitted, bias = np.ones(2, np.bool_), torch.tensor([0.3, -0.2])
    probe = PatchProbe("attention", query, weight, bias, rng.normal(size=3), np.ones(3), 1.0, fitted, fitted)
    sums = [float(score_patches(probe, tokens, finding).sum()) for finding in range(2)]
    assert np.array(sums) + bias.numpy() == pytest.approx(probe.predict_logits(tokens)[0], abs=1e-5)


def test_patches_are_covered_as_on_a_fine_grid_however_boxes_overlap() -> None:
    rng = np.random.default_rng(2)
    corners = rng.uniform(0, SIDE, (3, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    fine = (np.arange(SIDE * 400) + 0.5) / 400
    inside = np.zeros((len(fine), len(fine)), np.bool_)
    for left, top, right, bottom in boxes:
        inside |= ((fine >= top) & (fine <= bottom))[:, None] & ((fine >= left) & (fine <= right))
    slow = inside.reshape(SIDE, 400, SIDE, 400).mean(axis=(1, 3))
    assert cover_patches(boxes, SIDE) == pytest.approx(slow, abs=2e-2)
    assert cover_patches(np.array([[0.5, 1.0, 2.0, 1.25]]), 2).tolist() == [[0.0, 0.0], [0.125, 0.25]]


@pytest.mark.parametrize("valid", [(0, 0, 48, 48), (8, 0, 32, 48), (0, 12, 48, 24)])
def test_a_box_lies_on_the_view_where_the_encoder_sees_it(valid: tuple[int, int, int, int]) -> None:
    """A bright box in a film is the bright box of its view, whatever the shape of the film."""
    top, left, height, width = valid
    x, y = left + round(0.25 * width), top + round(0.5 * height)
    film = torch.zeros(1, 48, 48, dtype=torch.uint8)
    film[0, y : y + round(0.25 * height), x : x + round(0.5 * width)] = 255
    views = ViewSettings(global_px=96, pixel_mean=0.0, pixel_std=1.0)
    seen = whole_views(film, torch.tensor([valid]).float(), views)[0, 0].double().numpy()
    patches = seen.reshape(12, 8, 12, 8).mean(axis=(1, 3))
    placed = place_on_view(np.array([[0.25, 0.5, 0.5, 0.25]]), np.array(valid), 12)
    assert cover_patches(placed, 12) == pytest.approx(patches, abs=0.07)
    share, is_hit = look(patches, placed)
    assert share > 0.8  # its edges are blurred
    assert is_hit


def test_an_encoder_is_probed_and_its_boxes_are_told(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=30)
    before = open_cohort(workspace.cohorts / "nih")
    choices = ProbeChoices(baselines=False, reading=Reading("max"))
    (bare,) = probe_external(workspace, ExternalChoices(MODEL), None, "nih", "hash", SETTINGS, choices)
    assert find_box_scores(bare.path) is None
    has_N = before.labels(["Effusion"])[:, 0] == 1
    write_boxes(before.root, [f"{name},Effusion,0,512,1024,512" for name in before.image_id[has_N]], packed=True)
    assert open_cohort(workspace.cohorts / "nih").content_sha256 == before.content_sha256
    (found,) = probe_external(workspace, ExternalChoices(MODEL), None, "nih", "hash", SETTINGS, choices)
    scores = find_box_scores(found.path)
    assert scores is not None
    assert (found.eval_id, found.scores.findings) == (bare.eval_id, bare.scores.findings)
    assert scores.scores[1].area == 0.5
    assert scores.scores[1].share.value > 0.6  # films with an effusion are bright below
    words = ("--external", MODEL, "--cohort", "nih", "--split", "hash", "--read", "max", "--no-baselines")
    shown = run("probe", *words, "--resamples", 50, workspace=workspace.root)
    assert shown.returncode == 0, shown.stderr
    text = " ".join(shown.stdout.split())
    assert "looks, on test films with boxes of BBox_List_2017.csv.gz: films subjects share area" in text
    assert "share: of the positive patch scores, in the box" in text
    told = run("probe", *words, "--resamples", 50, "--json", workspace=workspace.root)
    (summary,) = json.loads(told.stdout).values()
    assert summary["boxes"]["scores"][0]["share"]["value"] == scores.scores[0].share.value


def test_a_recorded_probe_of_patches_is_taken_as_it_was_fitted(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=24)
    choices = ProbeChoices(baselines=False, reading=Reading("attention"))
    (found,) = probe_external(workspace, ExternalChoices(MODEL), None, "nih", "hash", SETTINGS, choices)

    def make_none(*_: Any) -> Any:
        raise AssertionError("no features are needed")

    probe = take_probe(workspace, found, make_none)
    assert isinstance(probe, PatchProbe)
    assert probe.pooling == "attention"
    assert probe.strength == next(iter(found.scores.strengths.values()))
    (found.path / "patches.npz").unlink()
    with pytest.raises(DataError, match="did not keep the fitted probe"):
        take_probe(workspace, found, make_none)


def cohort_with(plan: EvalPlan, root: Path, lines: list[str]) -> Cohort:
    write_boxes(root, lines)
    return dataclasses.replace(plan.cohort, root=root)


def test_lines_without_a_box_are_counted_and_others_are_fractions_of_the_film(plan: EvalPlan, tmp_path: Path) -> None:
    first = str(plan.cohort.image_id[0])
    lines = [
        f"{first},Infiltrate,102.4,204.8,512,256,,,",
        "99999999_000.png,Mass,1,2,3,4",
        f"{first},Lesion,1,2,3,4",
        f"{first},Mass,1,2,-3,4",
        f"{first},Mass,1000,2,300,4",
        f"{first},Mass,nan,2,3,4",
        f"{first},Mass,1",
    ]
    found = read_boxes(cohort_with(plan, tmp_path, lines))
    assert found is not None
    assert (found.rows_K.tolist(), found.findings_K, found.num_unread) == ([0], ("Infiltration",), 5)
    assert found.box_K4[0] * FILM_PX == pytest.approx([102.4, 204.8, 512, 256])


def test_a_list_that_cannot_be_read_is_refused_and_no_list_is_none(plan: EvalPlan, tmp_path: Path) -> None:
    cohort = dataclasses.replace(plan.cohort, root=tmp_path)
    assert read_boxes(cohort) is None
    assert read_boxes(dataclasses.replace(plan.cohort, dataset="mimic")) is None
    (tmp_path / "BBox_List_2017.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 99)[:-9])
    with pytest.raises(DataError, match="the list of boxes cannot be read"):
        read_boxes(cohort)
