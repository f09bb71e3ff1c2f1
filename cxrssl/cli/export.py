"""`cxrssl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    RunName,
    WorkspacePath,
    narrate,
    open_workspace,
    print_summary,
)
from cxrssl.core.errors import UsageError
from cxrssl.core.text import shell_word


def export(
    run: RunName,
    to: Annotated[str, typer.Option(help="timm, safetensors, hf (transformers) or onnx.", metavar="FORMAT")],
    encoder: Annotated[
        str, typer.Option(help="target, or anchor: the trained encoder that the target follows.", metavar="NAME")
    ] = "target",
    channels: Annotated[
        int, typer.Option(help="1, or 3 for programs that take colour alone: the same grey in each.", metavar="NUM")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make; exports/RUN-FORMAT when left out.", metavar="FOLDER")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older export.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write a run's encoder for another library: weights, pixels, model card, training films, licence verdict.

    It is kept only if that library gives the features that the program itself gives, on drawn films.

    Example: cxrssl export mimic-msn --to timm
    """
    from cxrssl.records.encoder import parse_encoder_name

    if out is not None and out.suffix.lower() in (".safetensors", ".onnx", ".zip", ".bin", ".pt", ".pth"):
        raise UsageError(
            "--out is a folder, and this is the name of a file", out, f"--out {shell_word(out.with_suffix(''))}"
        )
    which = parse_encoder_name(encoder)
    opened = open_workspace(workspace)
    run_id = opened.find_run(run).name  # before torch is loaded, which takes seconds
    narrate(f"load torch to export run {run_id}")
    from cxrssl.export.run import ExportChoices, export_encoder

    made = export_encoder(opened, run_id, ExportChoices(to, which, channels, out, force))
    proof = made.proof
    summary = {
        "folder": str(made.path),
        "was_current": made.was_current,
        "shape": made.bundle.shape.to_dict(),
        "verdicts": {terms.dataset: terms.verdict for terms in made.terms},
        "proof": proof,
    }
    state = "was there already" if made.was_current else "written"
    lines = [f"{made.path} {state}", made.bundle.shape.in_words]
    lines.append(f"proof: {proof['num_films']} drawn films, features differ by at most {proof['difference']:.1e}")
    lines += [f"licence verdict, {terms.dataset}: {terms.verdict}. {terms.sentence}" for terms in made.terms]
    print_summary(summary, as_json, [*lines, "read README.md before passing it on"])
