"""What `cxrssl report --verify` prints: one line for each break of the chain of hashes."""

from __future__ import annotations

from cxrssl.cli.options import print_summary
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import count_noun
from cxrssl.core.workspace import Workspace

HINT = "make again what the lines name, in their order, and then the report"


def print_trace(workspace: Workspace, as_json: bool) -> None:
    """Print what holds and what is broken between the source tables and the reports of a workspace.

    Raises: IntegrityError when something is broken.
    """
    from cxrssl.audit.chain import describe_missing
    from cxrssl.report.verify import verify_workspace

    walk = verify_workspace(workspace)
    held = ", ".join(count_noun(num, noun) for noun, num in _name_counts(walk.num_held).items())
    lines = [each.sentence for each in walk.breaks] + describe_missing(walk)
    lines.append(f"held: {held or 'nothing was published'}; {count_noun(len(walk.breaks), 'break')}")
    breaks = [{"kind": each.kind, "name": each.name, "what": each.what} for each in walk.breaks]
    print_summary({"breaks": breaks, "held": dict(walk.num_held), "missing": dict(walk.missing)}, as_json, lines)
    if walk.breaks:
        raise IntegrityError(f"{count_noun(len(walk.breaks), 'break')} in the chain of hashes", workspace.root, HINT)


def _name_counts(num_held: dict[str, int]) -> dict[str, int]:
    """Return the counts by noun."""
    nouns = {"images": "film pack", "features": "feature folder"}
    return {nouns.get(kind, kind): num for kind, num in num_held.items()}
