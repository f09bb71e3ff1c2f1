"""The weights of encoders' products in bf16, from one cast a step in place of one a product.

In: a model whose weights are float32. Out: the same model, whose linear layers have the weights that autocast would
make for them, digit for digit; gradients arrive at the float32 weights. Never: another weight in a checkpoint, the
optimiser or the moving average.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.model.objective import Objective


class NarrowWeights:
    """Lends the encoders of a model narrow weights for the length of a step's forward and backward passes."""

    def __init__(self, model: Objective, dtype: torch.dtype) -> None:
        encoders = [module for module in model.modules() if isinstance(module, VisionTransformer)]
        self._places = [place for encoder in encoders for place in _places(encoder)]
        wide = [module._parameters[name] for module, name in self._places]
        # The same memory at every step, as a recorded CUDA graph reads it.
        self._narrow = [
            torch.empty_like(value, dtype=dtype, requires_grad=False) for value in wide if value is not None
        ]

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Have the linear layers compute with narrow weights, made from the weights of now."""
        wide = [getattr(*place) for place in self._places]
        found: Any = _Cast.apply(self._narrow, *wide)
        self._put(found)
        try:
            yield
        finally:
            self._put(wide)

    def _put(self, values: Sequence[Any]) -> None:
        for (module, name), value in zip(self._places, values, strict=True):
            module._parameters[name] = value


def _places(encoder: VisionTransformer) -> list[tuple[nn.Module, str]]:
    """Return the weights and biases of linear layers, that of the patches among them, as modules and names."""
    linear = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
    layers: list[nn.Module] = [encoder.patch_embed.proj, *linear]
    return [(layer, name) for layer in layers for name, value in layer._parameters.items() if value is not None]


class _Cast(torch.autograd.Function):
    """Narrow copies of many weights at once, and their gradients widened at once."""

    @staticmethod
    def forward(ctx: Any, narrow: list[Tensor], *wide: Tensor) -> tuple[Tensor, ...]:
        torch._foreach_copy_(narrow, list(wide))
        found = [value.detach() for value in narrow]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[new for new, old in zip(found, wide, strict=True) if not old.requires_grad])
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        given = [grad for grad in grads if grad is not None]
        widened = [torch.empty_like(grad, dtype=torch.float32) for grad in given]
        if given:
            torch._foreach_copy_(widened, given)
        left = iter(widened)
        return (None, *(None if grad is None else next(left) for grad in grads))
