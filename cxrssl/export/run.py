"""An encoder of a run written in the format of another library, and kept only if that library gives the same features.

In: a workspace, a run, a format. Out: a folder with weights, pixels, model card, training films and proof.
Never: a folder whose proof failed, or one that replaces anything but an older export.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from cxrssl.core.artefact import is_published, publish
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import UsageError
from cxrssl.core.place import check_free, check_place
from cxrssl.core.text import nearest_hint, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import open_run
from cxrssl.export.bundle import ABOUT, CHANNELS, PIXELS, Bundle, Format, make_bundle
from cxrssl.export.card import write_card
from cxrssl.export.cut import cut_origin, cut_recipe
from cxrssl.export.lineage import Lineage, trace_lineage
from cxrssl.export.load import KIND
from cxrssl.export.proof import prove
from cxrssl.export.terms import Terms
from cxrssl.records.encoder import EncoderName, open_record
from cxrssl.records.file import read_json
from cxrssl.records.run import RunFiles

VERSION = 2
"""Raise it when the export of the same encoder changes."""
LIBRARIES: dict[str, tuple[str, ...]] = {
    "timm": ("timm", "torch"),
    "safetensors": ("safetensors", "timm", "torch"),
    "hf": ("transformers", "torch"),
    "onnx": ("onnx", "onnxruntime"),
}
"""Format -> what it is loaded with in its proof."""
FILMS, RECIPE, PROOF, CARD, SCRIPT = (
    "training_films.csv", "recipe.json", "proof.json", "README.md", "preprocess.py",
)  # fmt: skip


@dataclass(frozen=True)
class ExportChoices:
    """What is written, and where."""

    to: str
    encoder: EncoderName = "target"
    channels: int = 1
    out: Path | None = None
    may_replace: bool = False


@dataclass(frozen=True)
class EncoderExport:
    """What `export_encoder` returns."""

    path: Path
    was_current: bool
    """This encoder was already there in this format."""
    bundle: Bundle
    terms: tuple[Terms, ...]
    proof: dict[str, Any]
    """As in proof.json."""


def check_choices(choices: ExportChoices) -> None:
    """Raise UsageError for a format or a number of channels that there is not."""
    if choices.to not in LIBRARIES:
        raise UsageError(f'there is no format "{plain(choices.to, 40)}"', hint=nearest_hint(choices.to, LIBRARIES))
    if choices.channels not in CHANNELS:
        what = f"--channels is {choices.channels}: films are grey, and an encoder sees them in 1 channel or in 3"
        raise UsageError(what, hint="choose 1, or 3 for programs that take colour alone")


def export_encoder(workspace: Workspace, run: str, choices: ExportChoices) -> EncoderExport:
    """Write an encoder of a finished run to `choices.out`, by default a folder in exports/ of the workspace.

    Raises: UsageError for wrong choices or a folder that may not be replaced, SetupError when a library is missing,
    DataError when the run is not finished, has no such encoder, or does not survive the proof.
    """
    check_choices(choices)
    chosen = cast(Format, importlib.import_module(f"cxrssl.export.to_{choices.to}"))
    chosen.check()
    run_id, encoder = open_run(workspace, run, choices.encoder)
    record = open_record(RunFiles(workspace.find_run(run_id)).encoder)
    lineage = trace_lineage(workspace, record, choices.encoder)
    bundle = make_bundle(encoder, choices.channels, lineage.pack_px)
    dest = (choices.out or workspace.exports / _name(run_id, choices)).absolute()
    for root in lineage.roots or (None,):
        check_place(workspace, dest, root)
    settings = _settings(run_id, choices, bundle, lineage)
    if is_published(dest, KIND, settings) and not choices.may_replace:
        return EncoderExport(dest, True, bundle, lineage.terms, cast(dict[str, Any], read_json(dest / PROOF)))
    check_free(dest, KIND, choices.may_replace)
    with publish(dest, KIND, settings, {"encoder": encoder.weights_sha256}) as folder:
        for name, data in chosen.write(bundle).items():
            write_bytes(folder / name, data)
        _write_common(folder, bundle, lineage)
        proof = prove(bundle, folder, chosen.load(folder), _versions(choices.to))
        write_json(folder / PROOF, proof.to_dict())
        write_bytes(folder / CARD, write_card(bundle, lineage, choices.to, chosen.usage(bundle), proof).encode())
    return EncoderExport(dest, False, bundle, lineage.terms, proof.to_dict())


def _write_common(folder: Path, bundle: Bundle, lineage: Lineage) -> None:
    """Write what an export has in every format."""
    write_json(folder / ABOUT, bundle.shape.to_dict())
    write_bytes(folder / PIXELS, json.dumps(bundle.pixels.to_dict(), indent=1).encode())
    write_bytes(folder / SCRIPT, Path(__file__).with_name(SCRIPT).read_bytes())
    write_bytes(folder / FILMS, lineage.films_csv)
    write_json(folder / RECIPE, cut_recipe(bundle.encoder.recipe.to_dict()))


def _settings(run_id: str, choices: ExportChoices, bundle: Bundle, lineage: Lineage) -> dict[str, Any]:
    """Return all that changes what is written."""
    before = lineage.record.ancestors
    return {
        "version": VERSION,
        "format": choices.to,
        "run_id": run_id,
        "encoder": choices.encoder,
        "weights_sha256": bundle.encoder.weights_sha256,
        "shape": bundle.shape.to_dict(),
        "pixels": bundle.pixels.to_dict(),
        "origin": cut_origin(lineage.record.origin, bundle.encoder.recipe.to_dict()).to_dict(),
        **({"started_from": [each.name for each in before]} if before else {}),
        "verdicts": {terms.dataset: terms.verdict for terms in lineage.terms},
        "evaluations": {each.eval_id: each.content_sha256 for each in lineage.evaluations},
    }


def _name(run_id: str, choices: ExportChoices) -> str:
    which = "" if choices.encoder == "target" else f"-{choices.encoder}"
    return f"{run_id}{which}-{choices.to}" + ("" if choices.channels == 1 else f"-{choices.channels}ch")


def _versions(to: str) -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES[to]}
