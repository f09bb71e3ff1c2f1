"""Views of several sizes in one stream of tokens have the class tokens and gradients that each size has alone."""

from collections.abc import Sequence

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.model.stream import Kind, encode_kinds, encode_stream
from cxrssl.model.vit import build_encoder, encode_views
from tests.model.test_vit import untrained


def draw(px: int, num_views: int, num_kept: int = 0, patch_px: int = 8) -> Kind:
    generator = torch.Generator().manual_seed(px)
    views = torch.randn(num_views, 1, px, px, generator=generator, dtype=torch.double)
    if not num_kept:
        return views, None
    order = torch.rand(num_views, (px // patch_px) ** 2, generator=generator).argsort(dim=1)
    return views, order[:, :num_kept].sort(dim=1).values


def gradients(encoder: VisionTransformer, found: Sequence[Tensor]) -> dict[str, Tensor]:
    encoder.zero_grad()
    torch.autograd.backward([tokens.square().sum() for tokens in found])
    return {name: value.grad.clone() for name, value in encoder.named_parameters() if value.grad is not None}


@pytest.mark.parametrize(
    "kinds",
    [
        [draw(32, 3, num_kept=11), draw(16, 5)],
        [draw(32, 3, num_kept=11), draw(16, 5, num_kept=3), draw(24, 1)],
        [draw(32, 2)],
    ],
    ids=len,
)
def test_a_stream_gives_the_class_tokens_and_gradients_of_each_kind_by_itself(kinds: list[Kind]) -> None:
    encoder = untrained(build_encoder("vit-micro", 8, 32)).double()
    together, apart = encode_stream(encoder, kinds), [encode_views(encoder, *kind) for kind in kinds]
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    found, wanted = gradients(encoder, together), gradients(encoder, apart)
    assert found.keys() == wanted.keys() == dict(encoder.named_parameters()).keys()
    for name, grad in wanted.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-10, atol=1e-10, msg=name)


def test_a_stream_knows_registers_scaled_layers_and_a_norm_before_the_blocks() -> None:
    for name in ("vit_small_patch14_reg4_dinov2", "vit_xsmall_patch16_clip_224"):
        patch_px = 14 if "14" in name else 16
        encoder = untrained(build_encoder(f"timm:{name}", patch_px, 4 * patch_px)).double()
        kinds = [draw(2 * patch_px, 2, num_kept=2, patch_px=patch_px), draw(patch_px, 3)]
        with torch.no_grad():
            together, apart = encode_stream(encoder, kinds), [encode_views(encoder, *kind) for kind in kinds]
        for one, other in zip(together, apart, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_cpu_encodes_each_kind_by_itself_to_the_last_digit() -> None:
    encoder = untrained(build_encoder("vit-micro", 8, 32))
    kinds = [(views.float(), kept) for views, kept in (draw(32, 3, num_kept=11), draw(16, 5))]
    for one, other in zip(encode_kinds(encoder, kinds), [encode_views(encoder, *kind) for kind in kinds], strict=True):
        assert torch.equal(one, other)
