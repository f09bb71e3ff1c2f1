"""DINO, SimCLR, MAE, supervised training: losses against slow loops, parts against the whole, what moves and not."""

import math

import numpy as np
import pytest
import torch

from cxrssl.core.errors import ConfigError
from cxrssl.model.dino import DINO, dino_loss
from cxrssl.model.mae import MAE, mae_loss
from cxrssl.model.objective import Loss, Objective
from cxrssl.model.record import NO_RECORD, Predicted, Record, RecordColumns
from cxrssl.model.simclr import nt_xent
from cxrssl.model.supervised import label_loss
from cxrssl.model.vit import cut_patches, encode_tokens, encode_views
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.objectives import DinoSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.train.state import init_state
from cxrssl.train.step import Batch, backward, split_batch
from cxrssl.views.draw import View, Views, make_views

NUM_FILMS = 6
NAMES = ("dino", "simclr", "mae", "supervised")
WITHOUT_RECORD = ("mae", "supervised")
GIVEN = torch.rand(NUM_FILMS, 3, generator=torch.Generator().manual_seed(3))
SEX = Predicted("sex", 0, 2, math.log(2))
LABELS = torch.tensor([[1, 0], [0, 0], [1, -1], [0, 1], [-1, -1], [0, 0]], dtype=torch.int8)
ASKED = Record(None, torch.eye(2)[[0, 1, 0, 1, 1, 0]], torch.ones(NUM_FILMS, 1), labels_BL=LABELS)


def recipe_of(name: str, *overrides: str) -> Recipe:
    changes = {
        "model": {"backbone": "vit-micro", "patch_px": 8},
        "views": {"global_px": 32} | ({"focal_px": 16, "num_focal": 2} if name == "dino" else {}),
        "objective": {"name": name} | ({"num_outputs": 32, "bottleneck_dim": 8} if name == "dino" else {}),
        "train": {"batch_size": NUM_FILMS},
    }
    return load_recipe("strict", list(overrides), changes)


def build(recipe: Recipe, columns: RecordColumns = NO_RECORD) -> Objective:
    return init_state(recipe, columns, torch.device("cpu")).model


def draw(model: Objective, part: slice = slice(None)) -> Views:
    generator = torch.Generator().manual_seed(0)
    films = torch.randint(0, 256, (NUM_FILMS, 40, 40), dtype=torch.uint8, generator=generator)
    valid = torch.tensor([[0.0, 0.0, 40.0, 40.0]] * NUM_FILMS)
    return make_views(films[part], valid, model.view_plan, 0, 0, part)


# ---- equations


def test_nt_xent_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 7))
    crops = np.concatenate([first, second])
    crops /= np.linalg.norm(crops, axis=1, keepdims=True)
    expected, matched = 0.0, 0
    for i in range(10):
        scores = {k: float(crops[i] @ crops[k]) / 0.2 for k in range(10) if k != i}
        partner = (i + 5) % 10
        expected -= math.log(math.exp(scores[partner]) / sum(map(math.exp, scores.values()))) / 10
        matched += max(scores, key=scores.__getitem__) == partner
    loss, share = nt_xent(torch.from_numpy(first), torch.from_numpy(second), 0.2)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert share.item() == pytest.approx(matched / 10)


def test_the_label_loss_equals_a_loop_over_the_known_labels() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, 3)) * 4, rng.integers(-1, 2, (7, 3))
    losses = []
    for logit, label in zip(logits.ravel(), labels.ravel(), strict=True):
        if label >= 0:
            prob = 1 / (1 + math.exp(-logit))
            losses.append(-math.log(prob if label else 1 - prob))
    found = label_loss(torch.from_numpy(logits), torch.from_numpy(labels.astype(np.int8)))
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-6)
    unknown = torch.zeros(2, 3, requires_grad=True)
    label_loss(unknown, torch.full((2, 3), -1, dtype=torch.int8)).backward()
    assert unknown.grad is not None
    assert not unknown.grad.any()


def test_the_dino_loss_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    student, teacher, centre = rng.normal(size=(4, 3, 9)), rng.normal(size=(2, 3, 9)), rng.normal(size=9)

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(values - values.max()) / np.exp(values - values.max()).sum())

    total, count = 0.0, 0
    for g in range(2):
        for v in range(4):
            if g == v:
                continue
            count += 1
            for film in range(3):
                wanted = softmax((teacher[g, film] - centre) / 0.05)
                total -= float(wanted @ np.log(softmax(student[v, film] / 0.2))) / 3
    settings = DinoSettings(student_temp=0.2, teacher_temp=0.05)
    found = dino_loss(torch.from_numpy(student), torch.from_numpy(teacher), torch.from_numpy(centre), settings)
    assert found.item() == pytest.approx(total / count, rel=1e-6)


@pytest.mark.parametrize("is_normalised", [True, False])
def test_the_mae_loss_equals_a_loop_over_hidden_patches(is_normalised: bool) -> None:
    rng = np.random.default_rng(0)
    drawn, pixels = rng.normal(size=(2, 3, 6, 4))
    kept = np.array([[0, 2], [1, 5], [3, 4]])
    expected = np.zeros(3)
    for film in range(3):
        for patch in set(range(6)) - set(kept[film].tolist()):
            wanted = pixels[film, patch]
            if is_normalised:
                wanted = (wanted - wanted.mean()) / math.sqrt(wanted.var(ddof=1) + 1e-6)
            expected[film] += ((drawn[film, patch] - wanted) ** 2).mean() / 4
    found = mae_loss(torch.from_numpy(drawn), torch.from_numpy(pixels), torch.from_numpy(kept), is_normalised)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_the_tokens_of_a_film_begin_with_its_class_token() -> None:
    encoder = build(recipe_of("mae")).published.double()
    views = torch.rand(3, 1, 32, 32, dtype=torch.double)
    kept = torch.tensor([[0, 3, 5], [1, 2, 15], [7, 8, 9]])
    tokens = encode_tokens(encoder, views, kept)
    assert tokens.shape == (3, 4, 96)
    torch.testing.assert_close(tokens[:, 0], encode_views(encoder, views, kept))
    assert torch.equal(cut_patches(views, 8)[0, 1].view(8, 8), views[0, 0, :8, 8:16])


def test_a_film_that_is_drawn_sees_its_kept_patches_alone() -> None:
    model = build(recipe_of("mae"))
    assert isinstance(model, MAE)
    views = draw(model)
    view = views["whole"]
    assert view.kept_BVK is not None
    assert view.kept_BVK.shape == (NUM_FILMS, 1, 4)  # a quarter of 16
    hidden = torch.ones(NUM_FILMS, 16).scatter(1, view.kept_BVK[:, 0], 0.0).bool()
    tokens = encode_tokens(model.encoder, view.pixels_BV1PP[:, 0], view.kept_BVK[:, 0])
    drawn = model.decoder(tokens, view.kept_BVK[:, 0], 1)
    pixels = view.pixels_BV1PP[:, 0].clone()
    cells = pixels.view(NUM_FILMS, 4, 8, 4, 8).permute(0, 1, 3, 2, 4).reshape(NUM_FILMS, 16, 64)
    cells[hidden] = 7.0
    changed = cells.view(NUM_FILMS, 4, 4, 8, 8).permute(0, 1, 3, 2, 4).reshape(NUM_FILMS, 1, 32, 32)
    again = model.decoder(encode_tokens(model.encoder, changed, view.kept_BVK[:, 0]), view.kept_BVK[:, 0], 1)
    assert torch.equal(drawn, again)


# ---- through the step


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_parts_of_any_size_give_the_gradients_of_the_whole(name: str, micro_batch: int) -> None:
    def gradients(size: int) -> tuple[Loss, dict[str, torch.Tensor]]:
        columns = RecordColumns(0 if name in WITHOUT_RECORD else 3, (SEX,), LABELS.shape[1])
        words = ['ehr.predict=["sex"]'] + (
            [] if name in WITHOUT_RECORD else ['ehr.features=["sex"]', "ehr.start=random"]
        )
        model = build(recipe_of(name, *words), columns).double()
        model.begin_step(0.9, torch.zeros(()), 0.5)

        def views_of(part: slice) -> Views:
            views = draw(model, part)
            return {key: View(view.pixels_BV1PP.double(), view.kept_BVK) for key, view in views.items()}

        assert ASKED.values_BP is not None
        given = None if name in WITHOUT_RECORD else GIVEN.double()
        record = ASKED._replace(given_BM=given, values_BP=ASKED.values_BP.double())
        loss = backward(model, Batch(views_of, record, split_batch(NUM_FILMS, 0, 1, size)))
        return loss, {key: value.grad for key, value in model.named_parameters() if value.grad is not None}

    (whole, expected), (parts, found) = gradients(0), gradients(micro_batch)
    assert parts.total.item() == pytest.approx(whole.total.item(), rel=1e-6)
    assert found.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-8, msg=key)


@pytest.mark.parametrize("name", ["dino", "simclr"])
def test_started_as_the_identity_a_record_changes_no_digit_of_the_first_step(name: str) -> None:
    vanilla, fused = build(recipe_of(name)), build(recipe_of(name, 'ehr.features=["sex"]'), RecordColumns(3))
    losses = []
    for model, record in ((vanilla, Record()), (fused, Record(GIVEN))):
        model.begin_step(0.9, torch.zeros(()), 0.5)
        loss: Loss = model(draw(model), record)
        loss.total.backward()
        losses.append(loss.total)
    assert torch.equal(*losses)
    found = dict(fused.named_parameters())
    for key, value in vanilla.named_parameters():
        if value.grad is not None:
            gradient = found[key].grad
            assert gradient is not None, key
            assert torch.equal(value.grad, gradient), key


def test_every_declared_number_is_there_and_finite() -> None:
    for name in NAMES:
        model = build(recipe_of(name, 'ehr.predict=["sex"]'), RecordColumns(0, (SEX,), LABELS.shape[1]))
        loss = model(draw(model), ASKED)
        assert list(loss.numbers) == [number.name for number in model.numbers]
        assert all(torch.isfinite(value) and value.ndim == 0 for value in loss.numbers.values())
        assert not loss.features_BD.requires_grad


# ---- DINO's teacher, centre and last layer


def test_teacher_and_centre_move_by_their_momenta_and_not_after_a_bad_step() -> None:
    model = build(recipe_of("dino"))
    assert isinstance(model, DINO)
    loss = model(draw(model), Record())
    with torch.no_grad():
        model.encoder.cls_token.add_(1.0)  # type: ignore[union-attr]
        model.head.rows.add_(1.0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.end_step(loss, 0.75, torch.ones(()))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.end_step(loss, 0.75, torch.zeros(()))
    after = model.state_dict()
    for key in ("target_encoder.cls_token", "target_head.rows"):
        torch.testing.assert_close(after[key], before[key] + 0.25)
    torch.testing.assert_close(model.centre, 0.1 * loss.kept[0])


def test_the_last_layer_is_held_in_the_first_steps() -> None:
    model = build(recipe_of("dino", "objective.hold_frac=0.5"))
    for progress, is_held in ((0.0, True), (0.4, True), (0.5, False)):
        model.begin_step(0.9, torch.zeros(()), progress)
        model.zero_grad()
        model(draw(model), Record()).total.backward()
        assert (dict(model.named_parameters())["head.rows"].grad is None) == is_held


def test_what_an_objective_makes_no_use_of_is_refused() -> None:
    with pytest.raises(ConfigError, match='objective "mae" cannot join the record to a film'):
        recipe_of("mae", 'ehr.features=["sex"]')
    with pytest.raises(ConfigError, match='objective "simclr" makes no use of it'):
        recipe_of("simclr", "views.num_focal=3")
    with pytest.raises(ConfigError, match='objective "mae" makes no use of it'):
        recipe_of("mae", "train.ema_start=0.9")
    with pytest.raises(ConfigError, match="not a multiple of 32"):
        recipe_of("mae", "objective.decoder_width=50")
    with pytest.raises(ConfigError, match='belongs to objective "msn", and this is "dino"'):
        recipe_of("dino", "objective.num_prototypes=8")
