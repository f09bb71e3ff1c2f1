"""A graph of ONNX for onnxruntime and others: input `films`, output `features`, any number of films."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxrssl.export.bundle import Bundle, Reloaded, copy_module, need_library, take_class_token

GRAPH = "encoder.onnx"
INPUT, OUTPUT = "films", "features"
OPSET = 17
"""The first with LayerNormalization."""


def check() -> None:
    """Raise SetupError without onnx or onnxruntime."""
    need_library("onnx")
    need_library("onnxruntime")


def write(bundle: Bundle) -> dict[str, bytes]:
    """Return the graph, its metadata the shape and the pixels."""
    import onnx

    module = take_class_token(copy_module(bundle.encoder), bundle.shape.channels)
    side = bundle.shape.image_px
    films, buffer = torch.zeros(2, bundle.shape.channels, side, side), io.BytesIO()
    with warnings.catch_warnings():
        # The tracer warns of branches that depend on sizes alone, and sizes are fixed here.
        warnings.simplefilter("ignore")
        axes = {INPUT: {0: "num_films"}, OUTPUT: {0: "num_films"}}
        exporter: Any = torch.onnx
        exporter.export(
            module, (films,), buffer, dynamo=False, opset_version=OPSET,
            input_names=[INPUT], output_names=[OUTPUT], dynamic_axes=axes,
        )  # fmt: skip
    graph = onnx.load_from_string(buffer.getvalue())
    values = {**bundle.shape.to_dict(), "mean": bundle.pixels.mean, "std": bundle.pixels.std}
    onnx.helper.set_model_props(graph, {name: str(value) for name, value in values.items()})
    onnx.checker.check_model(graph, full_check=True)
    return {GRAPH: graph.SerializeToString()}


def load(folder: Path) -> Reloaded:
    """Return the encoder as onnxruntime runs it, in single precision: graphs have one."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])

    def encode(films: Tensor) -> Tensor:
        (features,) = session.run([OUTPUT], {INPUT: films.float().numpy()})
        return torch.from_numpy(features).double()

    return encode


def usage(bundle: Bundle) -> str:
    """Return the lines that load it."""
    return f"""\
import onnxruntime
session = onnxruntime.InferenceSession("{GRAPH}", providers=["CPUExecutionProvider"])
(features,) = session.run(["{OUTPUT}"], {{"{INPUT}": views}})"""
