"""The encoder against timm's own forward pass: the same class token and the same gradients, with less work."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.utils._python_dispatch import TorchDispatchMode

from cxrssl.core.errors import ConfigError
from cxrssl.model import vit
from cxrssl.model.msn import MSN
from cxrssl.model.record import Record, RecordColumns
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.load import load_recipe
from cxrssl.views.draw import make_views
from tests.world import TINY

MAX_ERROR = {torch.float32: 5e-6, torch.float64: 1e-12}
"""Of a class token, relative to the largest value: 6e-7 at most with AVX-512, AVX2 and SSE4.1, on 1 to 3 threads."""
MAX_GRAD_ERROR = {torch.float32: 2e-5, torch.float64: 1e-12}
"""Of a gradient, relative to its size: 2e-6 at most on the same; timm's own are no nearer to double precision."""
NO_GRAD_FRAC = 1e-3
"""Of the norm of all gradients, added to each: softmax ignores a bias of all keys, whose gradient is rounding."""


def untrained(module: VisionTransformer) -> VisionTransformer:
    """Biases and scales start at 0 and 1, where they hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return module


def plainly(encoder: VisionTransformer, views: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
    """All tokens through all of timm's blocks; dropped patches leave after the positions."""
    # timm resamples positions in float32, whatever all else is in.
    with patch.object(torch.Tensor, "float", lambda values: values):
        tokens = encoder._pos_embed(encoder.patch_embed(views))
    if kept is not None:
        rows = torch.arange(len(tokens))[:, None]
        prefix = encoder.num_prefix_tokens
        tokens = torch.cat([tokens[:, :prefix], tokens[rows, kept + prefix]], dim=1)
    class_token: torch.Tensor = encoder.norm(encoder.blocks(encoder.norm_pre(tokens)))[:, 0]
    return class_token


def check_equal(encoder: VisionTransformer, px: int, num_views: int = 3, kept: torch.Tensor | None = None) -> None:
    for precision in (torch.float32, torch.float64):
        encoder.to(precision)
        views = torch.randn(num_views, 1, px, px, generator=torch.Generator().manual_seed(1)).to(precision)
        (slow, slow_grads), (fast, fast_grads) = (
            encode_and_differentiate(encoder, encode, views, kept) for encode in (plainly, encode_views)
        )
        assert (fast - slow).abs().max() <= MAX_ERROR[precision] * slow.abs().max()
        assert fast_grads.keys() == slow_grads.keys() == dict(encoder.named_parameters()).keys()
        total = torch.cat([grad.flatten() for grad in slow_grads.values()]).norm()
        for name, grad in slow_grads.items():
            size = grad.norm() + NO_GRAD_FRAC * total
            assert (fast_grads[name] - grad).norm() <= MAX_GRAD_ERROR[precision] * size, name


def encode_and_differentiate(
    encoder: VisionTransformer, encode: Callable[..., torch.Tensor], views: torch.Tensor, kept: torch.Tensor | None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    encoder.zero_grad()
    tokens = encode(encoder, views, kept)
    tokens.square().sum().backward()
    gradients = {name: value.grad for name, value in encoder.named_parameters()}
    return tokens.detach(), {name: value.clone() for name, value in gradients.items() if value is not None}


@pytest.mark.parametrize("px", [64, 32])
def test_the_class_token_and_all_gradients_are_those_of_timms_own_forward_pass(px: int) -> None:
    check_equal(untrained(build_encoder("vit-micro", 8, 64)), px)


@pytest.mark.parametrize(
    ("name", "patch_px", "px"),
    [
        ("vit_tiny_patch16_224", 16, 32),
        ("vit_xsmall_patch16_clip_224", 16, 32),  # a norm before the blocks, no bias in the patches
        ("vit_small_patch14_reg4_dinov2", 14, 28),  # registers, scaled layers, the class token without position
    ],
)
def test_any_vision_transformer_of_timm_gives_its_own_class_token(name: str, patch_px: int, px: int) -> None:
    encoder = build_encoder(f"timm:{name}", patch_px, 2 * px)
    assert encoder.patch_embed.proj.in_channels == 1
    check_equal(untrained(encoder), px)


def test_dropped_patches_have_no_part_in_the_class_token() -> None:
    kept = torch.tensor([[0, 2, 5], [1, 2, 3], [13, 14, 15]])
    check_equal(untrained(build_encoder("vit-micro", 8, 64)), 32, kept=kept)


@pytest.mark.parametrize("part", ["q_norm", "k_norm"])
def test_a_last_block_with_normalised_queries_or_keys_runs_as_timm_has_it(part: str) -> None:
    encoder = untrained(build_encoder("vit-micro", 8, 32))
    setattr(encoder.blocks[-1].attn, part, torch.nn.LayerNorm(32))
    check_equal(encoder, 32)


@pytest.mark.parametrize("max_bytes", [1, 20_000, 2**25])
def test_groups_of_views_give_the_result_of_all_at_once(max_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit, "MAX_BLOCK_BYTES", max_bytes)
    kept = torch.arange(7)[:, None] + torch.tensor([0, 3, 9])
    check_equal(untrained(build_encoder("vit-micro", 8, 32)), 32, num_views=7)
    check_equal(untrained(build_encoder("vit-micro", 8, 32)), 32, num_views=7, kept=kept)


@pytest.mark.parametrize(
    ("backbone", "patch_px", "told", "hint"),
    [
        ("timm:vit_tiny_patch16_22", 16, 'no vision transformer "vit_tiny_patch16_22"', "vit_tiny_patch16_224"),
        ("timm:resnet50", 16, 'no vision transformer "resnet50"', ""),
        ("timm:vit_tiny_patch16_224.augreg_in21k", 16, "no vision transformer", "vit_tiny_patch16_224"),
        ("timm:vit_medium_patch16_gap_240", 16, "lacks what this program needs", ""),
        ("timm:vit_tiny_patch16_224", 14, 'patches of 16 px, "model.patch_px" is 14', "model.patch_px=16"),
    ],
)
def test_a_backbone_without_the_interface_is_refused_with_a_sentence(
    backbone: str, patch_px: int, told: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_encoder(backbone, patch_px, 224)
    assert told in caught.value.what
    assert hint in caught.value.hint


def test_a_recipe_takes_the_names_of_timm_and_no_others() -> None:
    assert load_recipe("strict", ["model.backbone=timm:vit_tiny_patch16_224"]).model.backbone.startswith("timm:")
    for name in ("vit-huge", "timm:", "timm", "resnet50"):
        with pytest.raises(ConfigError, match=r'"model\.backbone" cannot be') as caught:
            load_recipe("strict", [f"model.backbone={name}"])
        assert "; or timm:<name>" in caught.value.hint


class NoWait(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU: values read by Python, shapes that depend on values."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "equal.default")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(word in str(function) for word in self.WAITING), f"{function} waits for the device"
        return function(*args, **(kwargs or {}))


def test_views_loss_and_gradients_never_wait_for_the_device() -> None:
    recipe = load_recipe("demo", [*TINY, "views.rotation_deg=10", "views.contrast=0.2"], {"ehr": {"features": ["sex"]}})
    model, films = MSN(recipe, RecordColumns(3)), torch.randint(0, 256, (4, 40, 40), dtype=torch.uint8)
    valid, ehr = torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 4), torch.rand(4, 3)
    with NoWait():
        views = make_views(films, valid, model.view_plan, 0, 0)
        model(views, Record(ehr)).total.backward()
        model.move_target(0.9)
    with pytest.raises(AssertionError, match="waits for the device"), NoWait():
        films.float().mean().item()


def test_in_bf16_the_loss_is_float32_and_near_that_of_float32() -> None:
    recipe = load_recipe("demo", TINY)
    model, films = MSN(recipe), torch.randint(0, 256, (8, 40, 40), dtype=torch.uint8)
    valid = torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 8)
    views = make_views(films, valid, model.view_plan, 0, 0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(views, None).total
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(model(views, None).total.item(), rel=5e-2)
