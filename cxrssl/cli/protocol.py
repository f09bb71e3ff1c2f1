"""The option of `cxrssl probe` that follows a protocol of others, and the lines that say what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.options import is_given
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrssl.evaluate.protocol import Protocol
    from cxrssl.records.evaluation import Evaluation


def complete_protocol(incomplete: str) -> list[str]:
    """Return the names of protocols that begin as typed."""
    from cxrssl.evaluate.protocol import ON_TEST, protocol_names, read_protocol

    on_test = {name: read_protocol(name).selected_on == ON_TEST for name in protocol_names()}
    named = [f"{name}:{ON_TEST}" if is_on_test else name for name, is_on_test in on_test.items()]
    return [name for name in named if name.startswith(incomplete)]


ProtocolName = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="Train and choose as others do: paper, cxformer, evax:test, medmae:test, a file (cxrssl help protocols).",
        metavar="NAME",
        rich_help_panel="What is fitted and scored",
        autocompletion=complete_protocol,
    ),
]

SAID = {"uncertain": "--uncertain", "blank": "--blank", "read": "--read"}
NEVER = {"folds": "--folds", "fractions": "--fractions", "draws": "--draws", "joined": "--with", "head": "--head"}


def open_protocol(text: str) -> Protocol | None:
    """Return the protocol that is named, None for our own probe.

    Raises: UsageError for an option beside it that the protocol decides, or that has no meaning with it.
    """
    if not text.strip():
        return None
    from cxrssl.evaluate.protocol import load_protocol

    protocol = load_protocol(text)
    decided = {**SAID, **({"findings": "--findings"} if protocol.findings else {})}
    for name, option in decided.items():
        if is_given(name):
            what = f"protocol {protocol.name} decides what {option} would say"
            raise UsageError(what, hint=f"leave {option} out; cxrssl help protocols")
    if protocol.is_tuned and is_given("test_on"):
        what = (
            f"protocol {protocol.name} keeps what an encoder says of its own cohort, and no probe that could be carried"
        )
        raise UsageError(what, hint="leave --test-on out")
    for name, option in NEVER.items():
        if is_given(name):
            raise UsageError(f"{option} goes without --protocol, and says nothing with it", hint="name one of them")
    return protocol


def describe_protocol_use(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return what a protocol decided and left out, in sentences; nothing where none was followed."""
    probe, scores = evaluations[0].settings.probe, evaluations[0].scores
    if probe.protocol is None:
        return []
    lines = [
        f"Protocol {plain(probe.protocol, 60)}, heads selected on: {probe.selected_on}. Uncertain labels count as "
        f"{probe.uncertain_text}, labels that are not mentioned as {probe.blank}. What has no encoder gets our probe."
    ]
    lines += [*_describe_ours(probe.protocol), *_describe_epochs(evaluations[0])]
    if scores.over_draws:
        draws = scores.over_draws
        lines.append(
            f"Mean of heads of {draws.num_draws} draws of the first weights, each chosen on its own: macro AUROC "
            f"{draws.macro_auroc.to_text()}, from {draws.lowest:.3f} to {draws.highest:.3f}. Rows are of the first."
        )
    if probe.drop_batch:
        num = ", ".join(count_noun(num, f"{split} film") for split, num in scores.num_dropped.items())
        lines.append(
            f"Left out, as they do not fill a batch of {probe.drop_batch}: {num}, the last of the cohort; their ids: "
            f"{evaluations[0].path.name}/dropped.csv."
        )
    return lines


def _describe_ours(name: str) -> list[str]:
    """Return what of a protocol of the package is not as its source, or not stated there."""
    from cxrssl.evaluate.protocol import protocol_names, read_protocol

    if name not in protocol_names():
        return []
    return [f"Not as the source, or not stated there (cxrssl help protocols): {'; '.join(read_protocol(name).ours)}."]


def _describe_epochs(evaluation: Evaluation) -> list[str]:
    """Return what choosing an epoch gave over the last one, where an encoder was fine-tuned."""
    head = evaluation.scores.head
    if head is None or not head.is_tuned:
        return []
    path = evaluation.path / "epochs.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]] if path.is_file() else []
    if not rows:
        return []
    _, last, _, run_id = rows[-1]
    return [
        f"Fine-tuned. Kept of {count_noun(len(rows), 'scored epoch')}: number {head.epoch}, of macro AUROC "
        f"{head.auroc:.3f} on {head.selected_on}; the last, whose weights run {run_id} has, {float(last):.3f}."
    ]


def first_line(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return that heads were selected on test, where they were: it stands before all else."""
    probe = evaluations[0].settings.probe
    if probe.selected_on != "test":
        return []
    return [f"selected on: test (protocol {plain(probe.protocol or '', 60)}); such scores are too high."]
