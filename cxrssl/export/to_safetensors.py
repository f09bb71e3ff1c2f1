"""The weights under timm's names with encoder.json beside them: `cxrssl.load_encoder(FOLDER)`."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save

from cxrssl.export.bundle import WEIGHTS, Bundle, Reloaded
from cxrssl.export.load import open_weights


def check() -> None:
    """Do nothing: safetensors is always there."""


def write(bundle: Bundle) -> dict[str, bytes]:
    """Return the weights; the header of the file says the shape, heads included, as encoder.json does."""
    return {WEIGHTS: save(bundle.tensors, bundle.shape.header)}


def load(folder: Path) -> Reloaded:
    """Return the encoder as `cxrssl.load_encoder` builds it, in double precision."""
    module = open_weights(folder).double()
    return lambda films: module(films)


def usage(bundle: Bundle) -> str:
    """Return the lines that load it."""
    return """\
import cxrssl, torch
model, prepare = cxrssl.load_encoder(".")
features = model(torch.from_numpy(views))"""
