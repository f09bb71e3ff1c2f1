"""The health record inside an objective: how it is joined, when it is without effect, and how it is predicted."""

import math

import numpy as np
import pytest
import torch

from cxrssl.model.heads import EhrFusion
from cxrssl.model.msn import MSN
from cxrssl.model.objective import Loss
from cxrssl.model.record import Predicted, Record, RecordColumns, RecordHead
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import EhrSettings, Recipe
from cxrssl.train.schedule import StepSettings
from cxrssl.train.state import init_state
from cxrssl.train.step import clip_gradients, set_schedule
from cxrssl.views.draw import Views, make_views

NUM_FILMS, NUM_COLUMNS = 8, 5
SEX = Predicted("sex", first=0, width=2, scale=math.log(2))
AGE = Predicted("age", first=2, width=1, scale=0.05)
GIVEN = torch.rand(NUM_FILMS, NUM_COLUMNS, generator=torch.Generator().manual_seed(1))
ZERO = torch.zeros(())


def recipe_with(*overrides: str, ehr: tuple[str, ...] = ("sex", "age")) -> Recipe:
    changes = {
        "model": {"backbone": "vit-micro", "patch_px": 8},
        "ehr": {"features": list(ehr)} if ehr else {},
        "views": {"global_px": 32, "focal_px": 16, "num_focal": 2},
        "objective": {"num_prototypes": 16},
        "train": {"batch_size": NUM_FILMS},
    }
    return load_recipe("strict", list(overrides), changes)


def build(recipe: Recipe, columns: RecordColumns) -> MSN:
    model = init_state(recipe, columns, torch.device("cpu")).model
    assert isinstance(model, MSN)
    return model


def draw_views(model: MSN) -> Views:
    films = torch.randint(0, 256, (NUM_FILMS, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return make_views(films, torch.tensor([[0.0, 0.0, 40.0, 40.0]] * NUM_FILMS), model.view_plan, 0, 0)


def first_step(model: MSN, record: Record) -> tuple[Loss, dict[str, torch.Tensor | None]]:
    loss: Loss = model(draw_views(model), record)
    loss.total.backward()
    return loss, {name: value.grad for name, value in model.named_parameters()}


# ---- identity start


@pytest.mark.parametrize("fusion", ["linear", "mlp", "film"])
@pytest.mark.parametrize("branch", ["anchor", "both"])
def test_started_as_the_identity_a_record_changes_no_digit_of_the_first_step(fusion: str, branch: str) -> None:
    vanilla, wanted = first_step(build(recipe_with(ehr=()), RecordColumns()), Record())
    recipe = recipe_with(f"ehr.fusion={fusion}", f"ehr.branch={branch}")
    fused, found = first_step(build(recipe, RecordColumns(NUM_COLUMNS)), Record(GIVEN))
    assert torch.equal(fused.total, vanilla.total)
    for name in (name for name in wanted if name.startswith(("encoder.", "head.", "prototypes"))):
        gradient, same = wanted[name], found[name]
        assert gradient is not None, name
        assert same is not None, name
        assert torch.equal(gradient, same), name
    # It starts without effect and is not stuck there.
    assert any(g is not None and g.abs().sum() > 0 for name, g in found.items() if name.startswith("fusion.fuse"))


def test_started_at_random_as_published_an_anchor_no_longer_resembles_its_target() -> None:
    def agreement(start: str, num_seeds: int = 5) -> float:
        total = 0.0
        for seed in range(num_seeds):
            recipe = recipe_with(f"ehr.start={start}", f"train.seed={seed}")
            model = build(recipe, RecordColumns(NUM_COLUMNS)).eval()
            with torch.no_grad():
                embedded = torch.randn(64, 96, generator=torch.Generator().manual_seed(seed))
                assert model.fusion is not None
                plain, fused = (model.head(x) for x in (embedded, model.fusion(embedded, GIVEN.repeat(8, 1))))
                total += float(torch.cosine_similarity(plain - plain.mean(0), fused - fused.mean(0)).mean())
        return total / num_seeds

    assert agreement("identity") == pytest.approx(1.0, abs=1e-6)
    assert agreement("random") < 0.4


def test_the_published_fusion_is_one_linear_map_of_both_embeddings() -> None:
    fusion = EhrFusion(3, 4, 6)
    film, record = torch.randn(2, 6), torch.randn(2, 3)
    weight, bias = fusion.fuse.weight, fusion.fuse.bias
    expected = film @ weight[:, :6].T + fusion.embed(record) @ weight[:, 6:].T + bias  # type: ignore[index]
    torch.testing.assert_close(fusion(film, record), expected)


@pytest.mark.parametrize("fusion", ["linear", "mlp", "film"])
def test_each_fusion_is_its_equation(fusion: str) -> None:
    torch.manual_seed(0)
    layer = EhrFusion(3, 4, 6, fusion, "identity")
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    v, e = torch.randn(2, 6), layer.embed(torch.randn(2, 3, generator=torch.Generator().manual_seed(2)))
    record = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))
    parts = dict(layer.fuse.named_parameters())
    if fusion == "linear":
        expected = v + torch.cat([v, e], 1) @ parts["weight"].T + parts["bias"]
    elif fusion == "mlp":
        hidden = torch.nn.functional.gelu(torch.cat([v, e], 1) @ parts["0.weight"].T + parts["0.bias"])
        expected = v + hidden @ parts["2.weight"].T + parts["2.bias"]
    else:
        both = torch.nn.functional.gelu(e) @ parts["1.weight"].T + parts["1.bias"]
        expected = v * (1 + both[:, :6]) + both[:, 6:]
    torch.testing.assert_close(layer(v, record), expected)


# ---- branches, learning rate


def test_only_with_both_branches_does_the_record_reach_the_target() -> None:
    for branch, reaches in (("anchor", False), ("both", True)):
        model = build(recipe_with(f"ehr.branch={branch}", "ehr.start=random"), RecordColumns(NUM_COLUMNS))
        views = draw_views(model)
        entropies = [model(views, Record(record)).numbers["target_entropy"] for record in (GIVEN, GIVEN.flip(0))]
        assert (entropies[0] != entropies[1]) == reaches


def test_the_fusion_of_the_target_is_the_moving_average_of_the_anchors() -> None:
    model = build(recipe_with("ehr.branch=both"), RecordColumns(NUM_COLUMNS))
    assert model.fusion is not None
    assert model.target_fusion is not None
    before = model.target_fusion.embed.weight.clone()
    with torch.no_grad():
        model.fusion.embed.weight += 1.0
    model.move_target(0.75)
    torch.testing.assert_close(model.target_fusion.embed.weight, before + 0.25)
    assert not [name for name, _ in model.trained_parameters() if name.startswith("target_")]


def test_the_fusion_has_its_own_learning_rate() -> None:
    state = init_state(recipe_with("ehr.lr_mult=0.25"), RecordColumns(NUM_COLUMNS), torch.device("cpu"))
    set_schedule(state.optimizer, StepSettings(lr=0.5, weight_decay=0.1, ema_momentum=0.9, progress=0.0))
    rate_of = {id(p): group["lr"] for group in state.optimizer.param_groups for p in group["params"]}
    for name, parameter in state.model.trained_parameters():
        assert rate_of[id(parameter)] == (0.125 if name.startswith("fusion.") else 0.5), name


# ---- predicted features


def make_record(num_known: int = NUM_FILMS) -> Record:
    rng = np.random.default_rng(0)
    sex = np.eye(2, dtype=np.float32)[rng.integers(0, 2, NUM_FILMS)]
    values = np.concatenate([sex, rng.random((NUM_FILMS, 1), dtype=np.float32)], axis=1)
    known = np.ones((NUM_FILMS, 2), np.float32)
    known[num_known:, 1] = 0
    return Record(None, torch.from_numpy(values), torch.from_numpy(known))


def test_the_loss_of_predicted_features_equals_a_loop() -> None:
    head, record = RecordHead(6, (SEX, AGE), EhrSettings()), make_record(num_known=3)
    with torch.no_grad():
        head.linear.weight.normal_(generator=torch.Generator().manual_seed(0))
    cls = torch.randn(NUM_FILMS, 2, 6, generator=torch.Generator().manual_seed(1))
    guesses = (cls @ head.linear.weight.T + head.linear.bias).detach().double().numpy()
    assert record.values_BP is not None
    sums: dict[str, list[float]] = {"sex": [], "age": []}
    for film in range(NUM_FILMS):
        wanted, of_sex, of_age = record.values_BP[film].numpy(), [], []
        for view in range(2):
            guess = guesses[film, view]
            of_sex.append(-math.log(math.exp(guess[int(wanted[:2].argmax())]) / sum(map(math.exp, guess[:2]))))
            of_age.append((guess[2] - wanted[2]) ** 2)
        sums["sex"].append(sum(of_sex) / 2 / SEX.scale)
        if film < 3:
            sums["age"].append(sum(of_age) / 2 / AGE.scale)
    expected = (sum(sums["sex"]) / NUM_FILMS + sum(sums["age"]) / 3) / 2
    assert head(cls, record).item() == pytest.approx(expected, rel=1e-5)


def test_an_unknown_value_teaches_nothing() -> None:
    head, record = RecordHead(6, (SEX, AGE), EhrSettings()), make_record(num_known=0)
    cls = torch.randn(NUM_FILMS, 1, 6)
    head(cls, record).backward()
    assert head.linear.weight.grad is not None
    assert head.linear.weight.grad[2].abs().sum() == 0
    assert record.known_BF is not None
    nothing = record._replace(known_BF=torch.zeros_like(record.known_BF))
    assert head(cls, nothing).item() == 0


def test_a_loss_of_one_is_the_best_constant_guess() -> None:
    values = torch.tensor([[1.0, 0.0, 0.2]] * 3 + [[0.0, 1.0, 0.8]])
    share = 0.75
    entropy, variance = -(share * math.log(share) + 0.25 * math.log(0.25)), values[:, 2].var(correction=0).item()
    head = RecordHead(6, (Predicted("sex", 0, 2, entropy), Predicted("age", 2, 1, variance)), EhrSettings())
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.tensor([math.log(share), math.log(0.25), values[:, 2].mean().item()]))
    assert head(torch.randn(4, 1, 6), Record(None, values, torch.ones(4, 2))).item() == pytest.approx(1.0, rel=1e-6)


def test_predicted_features_add_their_weighted_loss_once_they_have_begun_and_teach_the_encoder() -> None:
    recipe = recipe_with("ehr.predict_weight=2.5", "ehr.predict_start=0.5", 'ehr.predict=["sex","age"]', ehr=())
    columns, record = RecordColumns(0, (SEX, AGE)), make_record()
    model = build(recipe, columns)
    vanilla = build(recipe_with(ehr=()), RecordColumns())(draw_views(model), Record())
    for progress, weight in ((0.0, 0.0), (0.49, 0.0), (0.5, 2.5), (0.9, 2.5)):
        model.begin_step(0.9, ZERO, progress)
        loss = model(draw_views(model), record)
        expected = vanilla.total + weight * loss.numbers["record_loss"]
        torch.testing.assert_close(loss.total, expected, rtol=1e-6, atol=0)
    assert [number.name for number in model.numbers][-1] == "record_loss"
    model.begin_step(0.9, ZERO, 1.0)
    _, gradients = first_step(model, record)
    assert clip_gradients(model, 0.0) > 0
    assert gradients["record_head.linear.weight"] is not None


# ---- skill


def gated(*predicted: Predicted) -> RecordHead:
    return RecordHead(6, predicted or (SEX, AGE), EhrSettings(predict=("sex", "age"), predict_gate="skill")).train()


def withhold(record: Record, *films: int) -> Record:
    withheld = torch.zeros(NUM_FILMS)
    withheld[list(films)] = 1
    return record._replace(withheld_B=withheld)


def test_without_skill_the_head_learns_and_the_encoder_does_not() -> None:
    head, cls = gated(), torch.randn(NUM_FILMS, 1, 6, requires_grad=True)
    record = withhold(make_record(), 0)
    head(cls, record).backward()
    assert head.skill_F.tolist() == [0, 0]
    assert cls.grad is not None
    assert cls.grad.abs().sum() == 0
    assert head.linear.weight.grad is not None
    assert head.linear.weight.grad.abs().sum() > 0


def test_the_encoder_is_taught_each_feature_in_proportion_to_its_skill() -> None:
    cls, record = torch.randn(NUM_FILMS, 1, 6), withhold(make_record())
    grads = []
    for skills in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.25)):
        torch.manual_seed(0)
        head, seen = gated(), cls.clone().requires_grad_()
        head.losses_2F.copy_(torch.tensor([[1 - skill for skill in skills], [1.0, 1.0]]))
        head(seen, record).backward()
        assert seen.grad is not None
        grads.append(seen.grad)
    both, sex, age, parts = grads
    torch.testing.assert_close(sex + age, both)
    torch.testing.assert_close(0.5 * sex + 0.25 * age, parts)


def test_skill_is_the_loss_of_withheld_films_against_a_constant_guess_and_no_bad_step_counts() -> None:
    head, bad = gated(SEX), torch.ones(())
    record = withhold(make_record(), 1, 2)._replace(known_BF=torch.ones(NUM_FILMS, 1))
    head.last_2F.copy_(torch.tensor([[math.nan], [2.0]]))
    head.begin_step(0.0, bad)
    assert head.losses_2F.tolist() == [[64], [64]]
    sums, count = 64.0, 64.0
    for step in range(3):
        cls = torch.randn(NUM_FILMS, 1, 6, generator=torch.Generator().manual_seed(step))
        head(cls, record)
        guess = (cls[1:3, 0] @ head.linear.weight.T + head.linear.bias).double()
        assert record.values_BP is not None
        wanted = record.values_BP[1:3, :2].argmax(dim=1)
        loss = torch.nn.functional.cross_entropy(guess, wanted, reduction="sum").item() / SEX.scale
        sums, count = sums * (1 - 2 / 256) + loss, count * (1 - 2 / 256) + 2
        head.begin_step(0.0, ZERO)
        assert head.skill_F.item() == pytest.approx(max(0.0, 1 - sums / count), abs=1e-6)
        assert head.losses_2F[:, 0].tolist() == pytest.approx([sums, count], rel=1e-5)


def test_after_a_step_of_many_withheld_films_skill_is_that_of_the_step() -> None:
    head = gated(SEX)
    for step in range(4):
        head.last_2F.copy_(torch.tensor([[300.0 + step], [600.0]]))
        head.begin_step(0.0, ZERO)
        assert head.losses_2F.tolist() == [[300.0 + step], [600.0]]
        assert head.skill_F.item() == pytest.approx(0.5 - step / 600)


def test_films_of_withheld_people_teach_the_head_nothing() -> None:
    losses = []
    for change in (0.0, 1.0):
        torch.manual_seed(0)
        head, record = gated(), withhold(make_record(), 0, 3)
        assert record.values_BP is not None
        record.values_BP[[0, 3], 2] += change
        losses.append(head(torch.randn(NUM_FILMS, 1, 6), record).item())
    assert losses[0] == losses[1]
