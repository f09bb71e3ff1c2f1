"""From a dataset folder to a published cohort and its packed films, in one call that repeats no finished work.

In: options. Out: cohorts/<name>/ and images/<name>/. Never: a write into the dataset.
"""

from __future__ import annotations

from pathlib import Path

from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.plan import POLARITIES
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.cohort.seen import SeenFilms
from cxrssl.cohort.summary import CohortSummary
from cxrssl.cohort.walk import compose
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.filestate import Seen
from cxrssl.core.filmfile import FilmFolder
from cxrssl.core.lock import hold_lock
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.images.decode import Choices
from cxrssl.images.pack import PackSummary, pack_images
from cxrssl.images.sources import forget_seen, note_seen, read_sources


def ingest_dataset(workspace: Workspace, options: IngestOptions) -> tuple[CohortSummary, PackSummary | None]:
    """Publish the cohort of a dataset and, if `may_pack`, its packed films.

    Raises: UsageError for an unknown polarity and while another process makes the cohort, and what `build_cohort` and
    `pack_images` raise.
    """
    name = check_name(options.name or options.dataset, "cohort")
    lock = workspace.root / f".lock-cohort-{name}"
    with hold_lock(lock, UsageError(f"cohort {name} is being made by another process", lock, "wait until it is done")):
        return _ingest(workspace, options)


def _ingest(workspace: Workspace, options: IngestOptions) -> tuple[CohortSummary, PackSummary | None]:
    if options.polarity not in POLARITIES:
        what = f'--polarity is "{plain(options.polarity, 60)}"'
        raise UsageError(what, hint=f"choose one of {', '.join(POLARITIES)}")
    dest = workspace.images / check_name(options.name or options.dataset, "cohort")
    if options.is_anew:
        SeenFilms(workspace.cohorts / dest.name).forget()
        forget_seen(dest)
    summary = build_cohort(workspace, options)
    workspace.mark()
    if not options.may_pack:
        return summary, None
    cohort = open_cohort(summary.path)
    verified = {path: seen for path in cohort.path.tolist() if (seen := summary.verified.get(compose(path)))}
    if not options.is_anew:
        note_seen(dest, verified)
    packed = pack_images(
        dest,
        FilmFolder(cohort.root, options.links),
        cohort.image_id.tolist(),
        cohort.path.tolist(),
        size_px=options.size_px,
        cohort_sha256=cohort.content_sha256,
        num_workers=options.num_workers,
        choices=Choices(options.polarity == "shape", options.png_bits),
    )
    _check_packed(dest, cohort, verified)
    return summary, packed


def _check_packed(dest: Path, cohort: Cohort, verified: dict[str, Seen]) -> None:
    """Raise DataError if a film was called verified and then packed from other bytes."""
    packed = read_sources(dest, len(cohort)).tolist()
    changed = [
        path
        for path, sha256 in zip(cohort.path.tolist(), packed, strict=True)
        if sha256 and path in verified and verified[path].sha256 != sha256.decode()
    ]
    if changed:
        what = f"{count_noun(len(changed), 'film')} changed after the check"
        raise DataError(what, cohort.root, "run cxrssl check --anew on the dataset, then this command again")
