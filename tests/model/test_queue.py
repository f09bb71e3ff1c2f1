"""The queue against a slow numpy version: Sinkhorn and me-max over the batch and the films of the last steps."""

import math

import numpy as np
import pytest
import torch

from cxrssl.core.errors import ConfigError
from cxrssl.model.msn import MSN, entropy, msn_loss
from cxrssl.model.queue import FilmQueue
from cxrssl.model.record import RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.objectives import MsnSettings
from tests.model.test_msn import slow_sharpen, slow_sinkhorn, slow_softmax_cosine
from tests.model.test_vit import NoWait

NUM_VIEWS, BATCH, QUEUE, WIDTH, NUM_PROTOTYPES = 3, 4, 12, 16, 10
GOOD, BAD = torch.tensor(0.0), torch.tensor(1.0)
OBJECTIVE = MsnSettings(num_prototypes=NUM_PROTOTYPES, memax_weight=0.7, queue_size=QUEUE)


def draw(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.tensor(rng.normal(size=shape), dtype=torch.float32)


def filled_queue(rng: np.random.Generator, num_steps: int) -> tuple[FilmQueue, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A queue after some steps, and the targets and mean assignments of those steps, newest first."""
    queue = FilmQueue(QUEUE, BATCH, WIDTH, NUM_PROTOTYPES)
    steps = [(draw(rng, BATCH, WIDTH), draw(rng, NUM_PROTOTYPES).softmax(0)) for _ in range(num_steps)]
    for targets, mean in steps:
        queue.push(targets, mean, GOOD)
    return queue, steps[::-1]


@pytest.mark.parametrize("num_steps", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_with_a_queue_equals_the_slow_numpy_version_while_it_fills_and_when_it_is_full(
    seed: int, num_steps: int
) -> None:
    rng = np.random.default_rng(seed)
    queue, steps = filled_queue(rng, num_steps)
    anchors, targets = draw(rng, NUM_VIEWS, BATCH, WIDTH), draw(rng, BATCH, WIDTH)
    prototypes = draw(rng, NUM_PROTOTYPES, WIDTH)
    fast = msn_loss(anchors, targets, prototypes, OBJECTIVE, queue)

    held = steps[: QUEUE // BATCH]
    known = np.concatenate([targets.double().numpy(), *(old.double().numpy() for old, _ in held)])
    q = prototypes.double().numpy()
    wanted = slow_sinkhorn(slow_sharpen(slow_softmax_cosine(known, q, 0.1), 0.25), 3)[:BATCH]
    probs = np.array([slow_softmax_cosine(view, q, 0.1) for view in anchors.double().numpy()])
    cross_entropy = -(wanted * np.log(probs)).sum(axis=2).mean()
    means = [probs.mean(axis=(0, 1)), *(mean.double().numpy() for _, mean in held)]
    mean = np.mean(means, axis=0)
    memax = math.log(NUM_PROTOTYPES) + sum(m * math.log(m) for m in mean)
    assert fast.numbers["cross_entropy"].item() == pytest.approx(cross_entropy, rel=1e-5)
    assert fast.numbers["memax"].item() == pytest.approx(memax, rel=1e-4)
    assert fast.total.item() == pytest.approx(cross_entropy + 0.7 * memax, rel=1e-5)
    assert fast.numbers["target_entropy"].item() == pytest.approx(
        -(wanted * np.log(wanted)).sum(axis=1).mean(), rel=1e-5
    )


def test_an_empty_queue_changes_neither_loss_nor_gradient() -> None:
    rng = np.random.default_rng(0)
    anchors, targets, prototypes = draw(rng, NUM_VIEWS, BATCH, WIDTH), draw(rng, BATCH, WIDTH), draw(rng, 10, WIDTH)
    found = []
    for queue in (None, FilmQueue(QUEUE, BATCH, WIDTH, NUM_PROTOTYPES)):
        leaf = anchors.clone().requires_grad_()
        loss = msn_loss(leaf, targets, prototypes, OBJECTIVE, queue).total
        loss.backward()
        found.append((loss.detach(), leaf.grad))
    for alone, joined in zip(*found, strict=True):
        torch.testing.assert_close(joined, alone, rtol=1e-5, atol=1e-7)


def test_the_gradient_of_me_max_is_that_of_a_population_with_the_mean_of_batch_and_queue() -> None:
    """-(ln mean p) . d(mean p): the mean of all films, the change of the batch, whole whatever its share."""
    rng = np.random.default_rng(1)
    queue, _ = filled_queue(rng, 3)
    targets, prototypes = draw(rng, BATCH, WIDTH), draw(rng, NUM_PROTOTYPES, WIDTH)
    anchors = draw(rng, NUM_VIEWS, BATCH, WIDTH).requires_grad_()

    def gradient(value: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(value, anchors)[0]

    parts = msn_loss(anchors, targets, prototypes, OBJECTIVE, queue)
    without = MsnSettings(num_prototypes=NUM_PROTOTYPES, memax_weight=0.0)
    found = gradient(parts.total) - gradient(msn_loss(anchors, targets, prototypes, without, queue).total)
    probs = torch.nn.functional.cosine_similarity(anchors.flatten(0, 1)[:, None], prototypes[None], dim=2) / 0.1
    mean = probs.softmax(dim=1).mean(dim=0)
    joined = (mean.detach() + queue.means_SK.sum(dim=0)) / 4
    torch.testing.assert_close(found, 0.7 * gradient((mean * joined.log()).sum()), rtol=1e-4, atol=1e-6)


def test_a_queue_lets_a_small_batch_keep_sharp_targets_over_many_prototypes() -> None:
    """1,024 prototypes: alone, 64 films are spread over 16 prototypes each; with 960 more they keep their own."""
    prototypes = torch.linalg.qr(torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0))).Q
    batch, earlier = prototypes[:64], prototypes[64:]
    queue = FilmQueue(960, 64, 1024, 1024)
    for old in earlier.split(64):
        queue.push(old, torch.full((1024,), 1 / 1024), GOOD)
    objective = MsnSettings()
    alone, joined = (
        msn_loss(batch[None], batch, prototypes, objective, each).numbers["target_entropy"] for each in (None, queue)
    )
    assert alone > 0.9 * math.log(1024)
    assert joined < 0.01


def test_the_newest_films_come_first_and_the_oldest_leave() -> None:
    rng = np.random.default_rng(2)
    queue, steps = filled_queue(rng, 5)
    expected = torch.cat([torch.nn.functional.normalize(targets, dim=1) for targets, _ in steps[:3]])
    assert torch.equal(queue.targets_QD, expected)
    assert torch.equal(queue.means_SK, torch.stack([mean for _, mean in steps[:3]]))
    assert queue.num_batches == 3
    assert (queue.log_weights() == 0).all()
    half, _ = filled_queue(rng, 2)
    assert half.log_weights().tolist() == [0.0] * 8 + [-math.inf] * 4


def test_a_bad_step_leaves_the_queue_as_it_was_and_nobody_waits_to_know() -> None:
    rng = np.random.default_rng(3)
    queue, _ = filled_queue(rng, 2)
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    with NoWait():
        queue.push(torch.full((BATCH, WIDTH), math.nan), torch.full((NUM_PROTOTYPES,), math.nan), BAD)
        parts = msn_loss(draw(rng, 2, BATCH, WIDTH), draw(rng, BATCH, WIDTH), draw(rng, 10, WIDTH), OBJECTIVE, queue)
    assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())
    assert torch.isfinite(parts.total)


def test_a_model_without_a_queue_has_no_trace_of_one_and_the_published_one_has_none() -> None:
    changes = {"model": {"backbone": "vit-micro"}, "ehr": {"features": ["sex"]}}
    published = load_recipe("paper", [], changes)
    assert isinstance(published.objective, MsnSettings)
    assert published.objective.queue_size == 0
    assert not [name for name in MSN(published, RecordColumns(2)).state_dict() if "queue" in name]
    with_queue = MSN(load_recipe("paper", ["objective.queue_size=128"], changes), RecordColumns(2)).state_dict()
    assert [name for name in with_queue if "queue" in name] == [
        "queue.targets_QD", "queue.means_SK", "queue.num_batches",
    ]  # fmt: skip


def test_a_queue_that_nothing_looks_at_is_refused() -> None:
    idle = ["objective.sinkhorn_iters=0", "objective.memax_weight=0"]
    with pytest.raises(ConfigError, match=r'queue_size" has no effect: "objective\.sinkhorn_iters" is 0'):
        load_recipe("strict", [*idle, "objective.queue_size=128"])


def test_usage_of_prototypes_is_told_for_the_batch_alone() -> None:
    """So that a collapse shows at once, not after as many steps as the queue holds."""
    rng = np.random.default_rng(4)
    queue = FilmQueue(QUEUE, BATCH, WIDTH, NUM_PROTOTYPES)
    for _ in range(3):
        queue.push(draw(rng, BATCH, WIDTH), torch.full((NUM_PROTOTYPES,), 1 / NUM_PROTOTYPES), GOOD)
    prototypes = draw(rng, NUM_PROTOTYPES, WIDTH)
    collapsed = prototypes[0].expand(NUM_VIEWS, BATCH, WIDTH)
    parts = msn_loss(collapsed, draw(rng, BATCH, WIDTH), prototypes, OBJECTIVE, queue)
    assert parts.numbers["prototype_usage"] < 0.15
    assert entropy(queue.join_mean(parts.kept[0].log())).exp() > 0.7 * NUM_PROTOTYPES
