"""What is decided of GPUs without one: which a process takes, its precision, sizes tried, memory, options, kernels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cxrssl.core.errors import IntegrityError, SetupError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.model.vit import _take, _take_positions
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.train import loop
from cxrssl.train.compiler import CODE_OPTIONS, list_options, uses_graphs
from cxrssl.train.device import describe_precision, number_device, set_precision
from cxrssl.train.estimate import trial_sizes
from cxrssl.train.feed import FilmPlan, _Ahead, _Resident, _Settling, fits_beside, send
from cxrssl.train.meter import HostCopy
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.ranks import VOTE_LAG, Ranks, StopVote
from tests.train.test_feed import film_plan as film_plan
from tests.train.test_feed import template as template
from tests.world import TINY

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
TOTAL = 80 * 2**30


@pytest.mark.parametrize(("local_rank", "count", "number"), [(0, 1, 0), (3, 1, 0), (0, 4, 0), (3, 4, 3)])
def test_a_process_takes_the_gpu_of_its_place_or_the_only_one_it_sees(local_rank: int, count: int, number: int) -> None:
    assert number_device(7, local_rank, count) == number


def test_too_few_gpus_are_told_by_the_place_of_the_process() -> None:
    with pytest.raises(SetupError, match="rank 7 is process 4 of its machine and sees 2 GPUs"):
        number_device(7, 3, 2)


def test_tf32_is_refused_on_a_cpu_and_rounds_products_on_a_gpu_alone() -> None:
    with pytest.raises(UsageError, match="tf32"):
        set_precision("tf32", CPU)
    try:
        set_precision("tf32", CUDA)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        set_precision("fp32", CPU)
    assert torch.get_float32_matmul_precision() == "highest"


def test_fp32_on_a_gpu_is_said_to_be_slow() -> None:
    assert "train.precision=bf16" in describe_precision("fp32", CUDA)
    assert not any(describe_precision(*each) for each in [("fp32", CPU), ("bf16", CUDA), ("tf32", CUDA)])


def test_a_gpu_is_tried_with_sizes_near_the_batch_and_with_half_of_them_when_it_is_full() -> None:
    assert trial_sizes(64, is_cuda=True) == [(32, 64), (16, 32), (8, 16), (4, 8)]
    assert trial_sizes(256, is_cuda=False) == [(4, 12)]
    assert trial_sizes(2, is_cuda=True) == [(1, 2)]


def test_films_are_held_only_beside_what_the_first_steps_leave() -> None:
    mimic = 368_960 * 320**2
    assert fits_beside(mimic, free_bytes=79 * 2**30, total_bytes=TOTAL)
    assert not fits_beside(mimic, free_bytes=34 * 2**30, total_bytes=TOTAL)  # 1,024 films at once took 45 GB


@pytest.mark.parametrize("free", [0, 10**12])
def test_a_gpu_settles_on_holding_its_films_after_two_steps(
    film_plan: FilmPlan, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
    feed = _Settling(film_plan, CPU, 60)
    kinds = []
    for step in range(film_plan.first, film_plan.end):
        expected = film_plan.images.read_rows(film_plan.rows_of(step))
        assert (feed.films(step).numpy() == expected).all()
        kinds.append(type(feed._feed))
    feed.close()
    assert kinds == [_Ahead] * 2 + [_Resident if free else _Ahead] * (len(kinds) - 2)


def test_memory_that_cannot_be_locked_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory\nand much more")

    monkeypatch.setattr(torch.Tensor, "pin_memory", fail)
    with pytest.raises(SetupError, match=r"the system gives no 1\.0 MiB of page-locked memory, from which a GPU reads"):
        send(torch.zeros(2**18), CUDA)


def test_a_vote_is_read_from_the_copy_of_an_old_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the vote of a step is read VOTE_LAG steps later, and only by waiting for its own copy."""
    waited: list[int] = []

    class Copy:
        def __init__(self, number: int) -> None:
            self.number = number

        def synchronize(self) -> None:
            waited.append(self.number)

    numbers = iter(range(100))
    monkeypatch.setattr("cxrssl.train.ranks.bring", lambda vote: HostCopy(vote, Copy(next(numbers))))  # type: ignore[arg-type]
    monkeypatch.setattr("cxrssl.train.ranks.dist.all_reduce", lambda *args, **kwargs: None)
    vote = StopVote(Ranks(world_size=2, group=object()), CPU)  # type: ignore[arg-type]
    vote._lag = VOTE_LAG
    wishes = [False, False, True, False, False, False, False, False]
    assert [vote.is_stop(wish) for wish in wishes] == [False] * 6 + [True, False]
    assert waited == [0, 1, 2, 3]


def test_small_kernels_are_joined_and_none_is_chosen_by_timing() -> None:
    assert list_options(with_graphs=False) == CODE_OPTIONS
    assert CODE_OPTIONS == {"deterministic": True, "combo_kernels": True, "combo_kernels_autotune": 0}
    assert list_options(with_graphs=True)["triton.cudagraphs"] is True


def test_launches_are_recorded_only_where_no_call_needs_what_an_earlier_one_gave() -> None:
    group: Any = object()
    assert uses_graphs("graphs", CUDA, 1, Ranks())
    for word, device, num_parts, ranks in [
        ("on", CUDA, 1, Ranks()),
        ("graphs", CPU, 1, Ranks()),
        ("graphs", CUDA, 2, Ranks()),
        ("graphs", CUDA, 1, Ranks(group=group)),
    ]:
        assert not uses_graphs(word, device, num_parts, ranks)


def test_positions_taken_by_a_product_equal_those_gathered_and_so_do_their_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(20, 6, generator=generator, requires_grad=True)
    kept = torch.stack([torch.randperm(20, generator=generator)[:7] for _ in range(3)])
    product = (kept[:, :, None] == torch.arange(20)).float() @ positions
    gathered = _take_positions(positions, kept)
    assert torch.equal(product, gathered)
    assert torch.equal(gathered, _take(positions.expand(3, -1, -1), kept))
    weights = torch.rand(product.shape, generator=generator)
    one, two = (torch.autograd.grad((each * weights).sum(), positions)[0] for each in (product, gathered))
    torch.testing.assert_close(one, two)


@pytest.fixture
def plan(template: Workspace) -> RunPlan:
    return plan_run(template, "nih", load_recipe("demo", TINY), Machine(deterministic=True, device="cuda"), "gpu")


def test_another_gpu_is_refused_where_bits_are_promised_and_told_where_not(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def checkpoints(plan: RunPlan) -> loop.Checkpoints:
        settings = loop.checkpoint_settings(plan, CUDA, Ranks(), False)
        return loop.Checkpoints(plan.files.checkpoints, settings, 2, loop.note_gpu(plan, CUDA))

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    plan.files.checkpoints.mkdir(parents=True)
    checkpoints(plan).save(3, {"x": torch.zeros(1)})
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    with pytest.raises(IntegrityError, match="another gpu: H100, now A100"):
        checkpoints(plan).load_newest(lambda error: None)
    assert "goes on with A100, its last checkpoint is of H100" in capsys.readouterr().err


def test_parts_that_do_not_divide_the_batch_are_told(template: Workspace) -> None:
    machine = Machine(device="cuda", micro_batch=3)
    plan = plan_run(template, "nih", load_recipe("demo", TINY), machine)
    assert any("micro_batch=3 does not divide a batch of 8" in sentence for sentence in plan.warnings)
