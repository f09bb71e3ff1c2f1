"""What `cxrssl report --checklist` prints: each item of a checklist with the lines that answer it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from cxrssl.cli.options import print_summary

if TYPE_CHECKING:
    from cxrssl.core.workspace import Workspace
    from cxrssl.report.checklist import Filled
    from cxrssl.report.choose import Choice
    from cxrssl.report.small import SmallCells

WIDTH = 80


def print_checklist(workspace: Workspace, name: str, small: SmallCells, choice: Choice, as_json: bool) -> None:
    """Print a checklist of the package, filled from records of what was chosen. Raises: UsageError, unknown names."""
    from cxrssl.records.published import read_published
    from cxrssl.report.checklist import fill_checklist, read_checklist
    from cxrssl.report.choose import narrow

    checklist = read_checklist(name)
    filled = fill_checklist(checklist, workspace, narrow(read_published(workspace), choice), small)
    print_summary(filled.to_dict(), as_json, describe_filled(filled))


def describe_filled(filled: Filled) -> list[str]:
    """Return a filled checklist as lines: what was read of it, then each section with its items."""
    about = filled.checklist
    lines = [*_wrap(about.title), *_wrap(f"Source: {about.source}. {about.read}")]
    section = ""
    for each in filled.items:
        if each.item.section != section:
            section = each.item.section
            lines += ["", section]
        lines += _wrap(each.item.topic, f"  {each.item.number:<4}")
        lines += [line for text in each.texts for line in _wrap(text, "    ->  ")]
    return [*lines, "", f"{filled.headline}."]


def _wrap(text: str, head: str = "") -> list[str]:
    """Return a text in lines that never break an id; the first begins with `head`, the others below what follows it."""
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
