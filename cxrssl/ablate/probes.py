"""Whether the probes that runs will have would be refused: said before anything is trained.

In: jobs, settings of their probe. Out: nothing, or the error that the first probe would end with. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxrssl.ablate.contract import Job
from cxrssl.audit.checks import refuse
from cxrssl.audit.gate import audit_candidate
from cxrssl.audit.seen import Pretraining, list_films, part_by_cohort
from cxrssl.core.errors import CxrsslError, DataError, UsageError
from cxrssl.core.text import plain
from cxrssl.records.encoder import EhrInput, learns_labels
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.train.pooled import list_members, members_of, packs_of


def check_probes(jobs: Sequence[Job], probe: ProbeSettings) -> None:
    """Raise the error that the probe of an arm would end with, naming the arm.

    Raises: DataError for a cohort without findings or films to score; LeakageError for runs that will have seen the
    test films, or been told a finding; UsageError when arms on a cohort would be scored on other films.
    """
    schemes: dict[str, tuple[str, Job]] = {}
    for job in {job.row.name: job for job in jobs}.values():
        scheme = probe.split_name or job.scheme
        known, other = schemes.setdefault(job.cohort.name, (scheme, job))
        if scheme != known:
            what = f"arms {plain(other.row.name, 80)} and {plain(job.row.name, 80)} would be scored on other films"
            raise UsageError(f"{what}: splits {known} and {scheme}", hint="give every arm on a cohort one train.split")
        try:
            _check_probe(job, scheme, probe)
        except CxrsslError as error:
            error.what = f"arm {plain(job.row.name, 120)} could not be probed: {error.what}"
            raise


def _check_probe(job: Job, scheme: str, probe: ProbeSettings) -> None:
    plan, (cohort, images) = job.plan, job.probed
    if not cohort.finding_names.size:
        raise DataError(f"cohort {cohort.name} has no findings to probe", cohort.folder)
    if not probe.folds and not images.is_packed_N[cohort.rows_of("test", scheme)].any():
        raise DataError(f"cohort {cohort.name} has no packed test film in split {scheme}", cohort.folder)
    ehr = plan.recipe.ehr
    run = Pretraining(
        run_id=plan.run_id,
        dataset=plan.cohort.dataset,
        cohort=plan.cohort.name,
        scheme=plan.scheme,
        cohort_sha256=plan.cohort.content_sha256,
        ehr=EhrInput(ehr.features, ehr.missing, ehr.may_use_outcomes, ehr.predict),
        films=list_films(plan.cohort, plan.images, plan.rows),
        images=plan.images,
        may_know_labels=learns_labels(plan.recipe.to_dict()),
        before=plan.start.seen() if plan.start else (),
        unlisted=plan.start.unlisted if plan.start else (),
    )
    packs = dict(zip((each.name for each in members_of(plan.cohort)), packs_of(plan.images), strict=True))
    run = part_by_cohort(run, list_members(plan.cohort, plan.images, plan.scheme, plan.rows), packs.get)
    refuse(audit_candidate("run", run.features, run, cohort, images, scheme), f"cohort {cohort.name}")
