"""`cxrssl check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, align, make_workspace, next_line, print_summary
from cxrssl.core.text import count_noun, format_bytes

if TYPE_CHECKING:
    from cxrssl.cohort.release.check import ReleaseCheck

NUM_SHOWN = 10
TABLE_SUFFIXES = (".csv", ".csv.gz", ".txt", ".html", ".pdf", ".md", ".zip", ".tar", ".tar.gz")


def check(
    path: Annotated[Path, typer.Argument(help="Folder of a dataset, or one above several; it is only read.")],
    workers: Annotated[int, typer.Option(help="Files read at a time; 0 means one per core, at most 8.", min=0)] = 0,
    anew: Annotated[bool, typer.Option("--anew", help="Also reread files that an earlier check has read.")] = False,
    follow_links: Annotated[
        Path | None, typer.Option(help="Folder elsewhere that links may lead into.", metavar="DIR")
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Verify every file against its publisher's SHA256SUMS.txt. Resumable; ingest then calls the cohort verified.

    Example: cxrssl check /path/to/physionet.org
    """
    from cxrssl.cohort.files import check_folder
    from cxrssl.cohort.release.check import check_release
    from cxrssl.cohort.release.listing import find_listings
    from cxrssl.core.errors import IntegrityError

    folders = find_listings(path)
    links = check_folder(follow_links, "--follow-links") if follow_links else None
    place = make_workspace(workspace)
    checks = [check_release(place, folder, workers, anew, links) for folder in folders]
    place.mark()
    summary = {"checks": [{**found.values, "path": str(found.path), "read_now": found.num_hashed} for found in checks]}
    wrong = sum(fault.kind != "extra" for found in checks for fault in found.faults)
    then = [] if wrong else [next_line("doctor", str(path), workspace=workspace)]
    print_summary(summary, as_json, [*(line for found in checks for line in describe_check(found)), *then])
    if wrong:
        hint = "fetch these files again and repeat the command: only what changed is read"
        raise IntegrityError(f"{count_noun(wrong, 'file')} not as published", path, hint)


def describe_check(check: ReleaseCheck) -> list[str]:
    """Return the lines about one listing: counts, then the first tables of each kind; films are named in a file."""
    values = check.values
    lines = [
        f"{check.folder}: {values['verified']:,} of {count_noun(values['listed'], 'listed file')} verified, "
        f"{format_bytes(values['verified_bytes'])}"
    ]
    lines += align([(kind, f"{count:,}") for kind, count in values["faults"].items() if count])
    for kind in values["faults"]:
        faults = [fault for fault in check.faults if fault.kind == kind]
        tables = [fault for fault in faults if not is_film(fault.path)][:NUM_SHOWN]
        lines += [f"  {kind} {fault.path}  {fault.detail}".rstrip() for fault in tables]
        if len(faults) > len(tables):
            what = "more " * bool(tables) + f"{kind}"
            lines.append(f"  {len(faults) - len(tables):,} {what}: {check.path / 'faults.csv'}")
    return lines


def is_film(path: str) -> bool:
    """Return whether a path may be a film's, whose name may hold a subject's id."""
    return not path.lower().endswith(TABLE_SUFFIXES)
