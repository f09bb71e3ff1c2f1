"""Take two steps of a recipe on the fake GPU: `python -m tests.gpu.fake.steps CASES.json` prints what each part asked.

A case is {"recipe", "set", "changes", "columns", "predict", "findings", "micro_batch", "plant": kind,
"fused", "film_px", "compiled"}.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from cxrssl.model.build import build_objective
from cxrssl.model.record import Predicted, Record, RecordColumns
from cxrssl.model.vit import encode_views
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import BACKBONES, Recipe
from cxrssl.train import step as steps
from cxrssl.train.compiler import CODE_OPTIONS, COMPILED, compile_model
from cxrssl.train.device import fix_kernels
from cxrssl.train.feed import send
from cxrssl.train.guard import Guard
from cxrssl.train.health import multiply_features
from cxrssl.train.meter import bring
from cxrssl.train.schedule import settings_at
from cxrssl.train.state import TrainState, build_optimizer
from cxrssl.views import draw
from cxrssl.views.boxes import draw_boxes
from cxrssl.views.draw import Views, make_views
from cxrssl.views.fused import cut_kinds_fused
from cxrssl.views.masks import draw_kept
from cxrssl.views.resample import whole_views
from tests.gpu.fake.device import CUDA, Parts, fake_gpu, on_host
from tests.gpu.fake.inductor import Compiler, fake_compiler

FILM_PX = 64
Json = dict[str, Any]


def take_steps(case: Json) -> Json:
    """Return the parts of the second of two steps, and the error that ended them, if one did."""
    recipe = load_recipe(case.get("recipe", "strict"), case.get("set", []), case.get("changes", {}))
    parts = Parts(_plant(case["plant"]) if "plant" in case else lambda name: None)
    compiler = Compiler(CODE_OPTIONS)
    error = ""
    try:
        with fake_gpu(), fake_compiler() if case.get("compiled") else contextlib.nullcontext():
            _take(recipe, case, parts, compiler)
    except Exception as raised:  # what a fake tensor says of a value that nobody computed, or of two devices
        error = f"{type(raised).__name__}: {str(raised).splitlines()[0]}"
    graphs = [dataclasses.asdict(graph) for graph in compiler.graphs]
    return {"error": error, "parts": {name: vars(part) for name, part in parts.found.items()}, "graphs": graphs}


def _take(recipe: Recipe, case: Json, parts: Parts, compiler: Compiler) -> None:
    size, film_px = recipe.train.batch_size, case.get("film_px", FILM_PX)
    model = _build(recipe, _columns(case))
    state = TrainState(0, model, build_optimizer(model, recipe))
    guard, valid = Guard(state.optimizer, CUDA), torch.tensor([[0.0, 0.0, film_px, film_px]] * size)
    held = torch.empty((4 * size, film_px, film_px), dtype=torch.uint8, device=CUDA)
    slices = steps.split_batch(size, 0, 1, case.get("micro_batch", 0))
    if case.get("fused"):
        model.cut_kinds = cut_kinds_fused
    watched = parts.named
    if case.get("compiled"):
        # Inductor counts these itself, and dynamo passes over what is watched.
        compile_model(model, compiler)
        watched = compiler.named
    for name in COMPILED:
        setattr(model, name, watched(name, getattr(model, name)))
    for name in ("begin_step", "end_step"):
        setattr(model, name, parts.named(name, getattr(model, name)))
    with (
        patch.object(draw, "draw_boxes", on_host(draw_boxes)),
        patch.object(draw, "draw_kept", on_host(draw_kept)),
        patch.object(torch.autograd, "backward", watched("backward", torch.autograd.backward)),
        patch.object(torch, "_foreach_copy_", parts.named("weights", torch._foreach_copy_)),
        patch.object(steps, "clip_gradients", parts.named("clip", steps.clip_gradients)),
        patch.object(guard, "check", parts.named("guard", guard.check)),
        patch.object(state.optimizer, "step", parts.named("optimiser", state.optimizer.step)),
    ):
        for number in range(2):
            parts.found.clear()
            places = torch.arange(size)
            films = parts.named("feed", lambda places=places: held.index_select(0, send(places, CUDA)))()

            def cut(part: slice, films: Tensor = films, number: int = number) -> Views:
                return make_views(films[part], valid, model.view_plan, recipe.train.seed, number, part, model.cut_kinds)

            batch = steps.Batch(parts.named("views", cut), _draw_record(case, size), slices)
            now = settings_at(number, 100, 10, recipe.train)
            loss, numbers = steps.take_step(state, batch, now, guard, recipe.train)
            parts.named("numbers", lambda numbers=numbers: bring(torch.cat([numbers, guard.is_bad[None]])))()
            parts.named("health", lambda loss=loss: bring(multiply_features(loss.features_BD)))()

            @torch.no_grad()
            def encode(films: Tensor = films) -> Tensor:
                boxes = send(valid, CUDA)
                return encode_views(model.published, whole_views(films, boxes, recipe.views))

            parts.named("features", encode)()


def _build(recipe: Recipe, columns: RecordColumns) -> Any:
    """Return the recipe's model with its weights on the fake GPU."""
    model = on_host(build_objective)(recipe, columns)
    for module in model.modules():
        for name, value in list(module._parameters.items()):
            if value is not None:
                fake = torch.empty(value.shape, dtype=value.dtype, device=CUDA)
                module._parameters[name] = nn.Parameter(fake, requires_grad=value.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)
    return model


def _columns(case: Json) -> RecordColumns:
    predicted = (Predicted("icu", 0, 2, 0.7), Predicted("since_admission", 2, 1, 1.0)) if case.get("predict") else ()
    return RecordColumns(case.get("columns", 0), predicted, case.get("findings", 0))


def _draw_record(case: Json, size: int) -> Record:
    def fake(*shape: int) -> Tensor:
        return torch.empty(shape, device=CUDA)

    given = fake(size, case["columns"]) if case.get("columns") else None
    values, known, withheld = (fake(size, 3), fake(size, 2), fake(size)) if case.get("predict") else (None, None, None)
    labels = torch.empty((size, case["findings"]), dtype=torch.int8, device=CUDA) if case.get("findings") else None
    return Record(given, values, known, withheld, labels)


def _plant(kind: str) -> Callable[[str], None]:
    """Return what does a forbidden thing at the end of each part."""

    def plant(name: str) -> None:
        here = torch.empty(3, device=CUDA)
        with contextlib.suppress(Exception):  # a fake tensor refuses the first two: they are counted all the same
            if kind == "tensor of the CPU":
                here + torch.ones(3)
            elif kind == "item":
                here.sum().item()
            else:
                for _ in range(100):
                    here = here * 2

    return plant


def main() -> None:
    BACKBONES["vit-micro"] = (24, 2, 3)  # as deep as kernels can be told apart
    cases = json.loads(Path(sys.argv[1]).read_text())
    found = {}
    for name, case in sorted(cases.items(), key=lambda item: item[1].get("deterministic", False)):
        if case.get("deterministic"):
            fix_kernels()
        found[name] = take_steps(case)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
