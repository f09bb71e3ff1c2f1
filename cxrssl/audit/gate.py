"""The checks of `pretrain` and `probe` before they start: refuse, or leave films out and count them.

In: an open, packed cohort. Out: rows that must not be fitted on, audits. Raises: LeakageError.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Audit, make_audit, refuse
from cxrssl.audit.evaluations import audit_known
from cxrssl.audit.ids import audit_ids
from cxrssl.audit.looks import find_twins
from cxrssl.audit.pretraining import audit_outcomes, audit_pretraining
from cxrssl.audit.seen import Pretraining
from cxrssl.cohort.read import Cohort
from cxrssl.images.store import ImageStore
from cxrssl.records.encoder import EhrInput

Rows = NDArray[np.int64]


def check_cohort(cohort: Cohort, ehr: EhrInput) -> None:
    """Raise LeakageError if a model trained on this cohort, with this part of the record, could not be tested on it."""
    refuse(make_audit(cohort.name, [*audit_ids(cohort), audit_outcomes(ehr)]), f"cohort {cohort.name}")


def leave_out_twins(cohort: Cohort, images: ImageStore, scheme: str, rows: Rows) -> Rows:
    """Return the rows without those whose film a later split shows too, pixel by pixel or nearly."""
    return rows[~np.isin(rows, find_twins(cohort, images, scheme).left_out)]


def audit_candidate(
    kind: str,
    features: Sequence[str],
    run: Pretraining | None,
    cohort: Cohort,
    images: ImageStore,
    scheme: str,
) -> Audit:
    """Return the audit of what is about to be probed on a cohort."""
    results = [audit_known(kind, features)]
    if run is not None:
        results += audit_pretraining(run, cohort, images, scheme)
    return make_audit(f"{kind} on cohort {cohort.name}", results)
