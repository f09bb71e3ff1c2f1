"""From a dataset folder to a published cohort and its packed films, in one call that repeats no finished work.

In: options. Out: cohorts/<name>/ and images/<name>/. Never: a write into the dataset.
"""

from __future__ import annotations

from cxrssl.cohort.ingest import POLARITIES, IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.summary import CohortSummary
from cxrssl.core.errors import UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.images.decode import Choices
from cxrssl.images.pack import PackSummary, pack_images


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
    summary = build_cohort(workspace, options)
    workspace.mark()
    if not options.may_pack:
        return summary, None
    cohort = open_cohort(summary.path)
    packed = pack_images(
        workspace.images / cohort.name,
        cohort.root,
        cohort.image_id.tolist(),
        cohort.path.tolist(),
        size_px=options.size_px,
        cohort_sha256=cohort.content_sha256,
        num_workers=options.num_workers,
        choices=Choices(options.polarity == "shape", options.png_bits),
    )
    return summary, packed
