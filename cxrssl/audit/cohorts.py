"""A cohort audited alone, and two beside each other; what stops one look is a finding, and leaves the others.

In: a workspace, cohorts. Out: results. Never: an exception for what is wrong with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrssl.audit.checks import Audit, Result, make_audit, report_finding
from cxrssl.audit.database import audit_database
from cxrssl.audit.greys import audit_greys
from cxrssl.audit.ids import audit_ids
from cxrssl.audit.looks import audit_looks
from cxrssl.audit.pretraining import audit_films
from cxrssl.audit.seen import Pretraining, list_films
from cxrssl.audit.values import audit_values
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.errors import CxrsslError, IntegrityError, SetupError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import ImageStore, open_images
from cxrssl.records.encoder import EhrInput

CHANGED = "changed-after-publication"
STOPPED = "audit-stopped"


@dataclass(frozen=True, eq=False)
class Audited:
    cohort: Cohort
    images: ImageStore | None
    """None where the films are not packed, or are those of another state of the cohort."""


def open_audited(workspace: Workspace, name: str) -> Cohort | Result:
    """Return a cohort, also one with a subject in two splits; what is wrong with one that cannot be read at all."""
    try:
        return open_cohort(workspace.cohorts / name, check=False)
    except Exception as error:
        return _name_stop(f"cohort {name}", error)


def audit_cohort(workspace: Workspace, cohort: Cohort, targets: Sequence[str]) -> tuple[list[Result], Audited]:
    """Return the audit of a cohort alone, and the cohort with the films that are its own."""
    images, unusable = _open_images(workspace, cohort)
    packed = images if images is not None and np.array_equal(images.image_id, cohort.image_id) else None
    findings = [each for each in cohort.finding_names.tolist() if not targets or each in targets]
    results = look_at_all(
        f"cohort {cohort.name}",
        lambda: [report_finding(CHANGED, "every file with its SHA-256", unusable)],
        lambda: audit_ids(cohort),
        lambda: audit_looks(cohort, images),
        lambda: audit_greys(packed),
        lambda: audit_values(cohort, packed, findings),
        lambda: audit_database(cohort),
    )
    return results, Audited(cohort, packed)


def look_at_all(about: str, *looks: Callable[[], list[Result]]) -> list[Result]:
    """Return what all looks find; of one that the data stop, that it was stopped."""
    results: list[Result] = []
    for look in looks:
        try:
            results += look()
        except Exception as error:
            results.append(_name_stop(about, error))
    return results


def _name_stop(about: str, error: Exception) -> Result:
    """Return an error as a finding, so that one odd thing does not take the others with it; not one of the machine."""
    if isinstance(error, SetupError | MemoryError):
        raise error
    code = CHANGED if isinstance(error, IntegrityError) else STOPPED
    what = error.what if isinstance(error, CxrsslError) else f"{type(error).__name__}: {plain(error, 200)}"
    return report_finding(code, "every file with its SHA-256", f"{about}: {what}")


def _open_images(workspace: Workspace, cohort: Cohort) -> tuple[ImageStore | None, str]:
    """Return the packed films of a cohort, None when there are none, and what is wrong with them."""
    path = workspace.images / cohort.name
    if not path.is_dir():
        return None, ""
    try:
        return open_images(path), ""
    except IntegrityError as error:
        return None, f"films of cohort {cohort.name}: {error.what}"


def audit_pair(first: Audited, second: Audited) -> Audit:
    """Compare the train and val films of one cohort with the test films of another. No run has seen both, so warn."""
    cohort, images = first.cohort, first.images
    about = f"pretraining on cohort {cohort.name}, test on cohort {second.cohort.name}"

    def compare() -> list[Result]:
        films = list_films(cohort, images, cohort.rows_of("train|val"))
        run = Pretraining("", cohort.dataset, cohort.name, cohort.default_split, "", EhrInput(()), films, images)
        results = audit_films(run, second.cohort, second.images, second.cohort.default_split)
        return [replace(each, severity="warn") if each.finding else each for each in results]

    return make_audit(about, look_at_all(about, compare))
