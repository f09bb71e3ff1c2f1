"""A batch encoded in parts has the loss and the gradients of a batch encoded at once."""

from collections.abc import Sequence

import pytest
import torch

from cxrssl.model.msn import MSN
from cxrssl.model.objective import Loss
from cxrssl.model.record import Record, RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.train.state import init_state
from cxrssl.train.step import Batch, backward, split_batch
from cxrssl.views.draw import View, Views, make_views
from tests.world import TINY

NUM_FILMS = 12


QUEUE = ["train.batch_size=12", "objective.queue_size=24"]


def gradients(
    micro_batch: int, ehr: Sequence[str], overrides: Sequence[str] = ()
) -> tuple[Loss, dict[str, torch.Tensor]]:
    recipe = load_recipe("demo", [*TINY, *overrides], {"ehr": {"features": list(ehr)}} if ehr else {})
    model = init_state(recipe, RecordColumns(3 if ehr else 0), torch.device("cpu")).model.double()
    generator = torch.Generator().manual_seed(0)
    films = torch.randint(0, 256, (NUM_FILMS, 48, 48), dtype=torch.uint8, generator=generator)
    valid = torch.tensor([[0.0, 4.0, 48.0, 40.0]]).expand(NUM_FILMS, 4)
    assert isinstance(model, MSN)
    if model.queue is not None:
        model.queue.push(torch.randn(12, 96, generator=generator), torch.full((8,), 1 / 8), torch.zeros(()))
    record = torch.rand(NUM_FILMS, 3, generator=generator, dtype=torch.double) if ehr else None

    def views_of(part: slice) -> Views:
        views = make_views(films[part], valid, model.view_plan, 5, 7, part)
        return {purpose: View(view.pixels_BV1PP.double(), view.kept_BVK) for purpose, view in views.items()}

    loss = backward(model, Batch(views_of, Record(record), split_batch(NUM_FILMS, 0, 1, micro_batch)))
    return loss, {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize(("ehr", "overrides"), [((), ()), (("sex", "age"), ()), ((), QUEUE)])
@pytest.mark.parametrize("micro_batch", [3, 5, 12])
def test_parts_of_any_size_give_the_gradients_of_the_whole(
    micro_batch: int, ehr: Sequence[str], overrides: Sequence[str]
) -> None:
    whole, expected = gradients(0, ehr, overrides)
    parts, found = gradients(micro_batch, ehr, overrides)
    assert parts.total.item() == pytest.approx(whole.total.item(), rel=1e-6)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-8, msg=name)


def test_a_step_looks_at_the_films_of_its_queue() -> None:
    (alone, _), (joined, _) = (gradients(0, (), overrides) for overrides in (QUEUE[:1], QUEUE))
    assert abs(alone.numbers["memax"] - joined.numbers["memax"]) > 1e-4
    assert abs(alone.numbers["target_entropy"] - joined.numbers["target_entropy"]) > 1e-4


def test_every_film_of_a_batch_is_in_one_part_of_one_process() -> None:
    for world_size, micro_batch in ((1, 0), (1, 5), (2, 0), (3, 3), (4, 2)):
        parts = [split_batch(24, rank, world_size, micro_batch) for rank in range(world_size)]
        films = [film for own in parts for part in own for film in range(part.start, part.stop)]
        assert films == list(range(24))
