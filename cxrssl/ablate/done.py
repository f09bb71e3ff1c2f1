"""Which runs of an ablation are done, as what is published says; no journal is asked.

In: a workspace and jobs. Out: the evaluation of each job that has one.
Never: a run of other code, data or weights than the contract names taken for done.
"""

from __future__ import annotations

from collections.abc import Iterable

from cxrssl.ablate.contract import Job
from cxrssl.core.errors import IntegrityError
from cxrssl.core.workspace import Workspace
from cxrssl.records.encoder import EncoderRecord, open_record
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, open_evaluation


def find_encoder(job: Job) -> EncoderRecord | None:
    """Return the encoder that the run of a job has published, None while there is none that can be used."""
    if not job.plan.files.is_published:
        return None
    try:
        record = open_record(job.plan.files.encoder, verify=False)
    except IntegrityError:
        return None
    origin = record.origin
    hashes = {name: getattr(origin, name) for name in job.plan.origin}
    return record if hashes == job.plan.origin and origin.run_id == job.run_id else None


def find_evaluation(workspace: Workspace, job: Job, probe: ProbeSettings) -> Evaluation | None:
    """Return the evaluation of the encoder that a job has published; the latest protocol, if there are several."""
    encoder = find_encoder(job)
    if encoder is None:
        return None
    found = [
        evaluation
        for evaluation in _open_some(workspace, job)
        if evaluation.settings.candidate.weights_sha256 == encoder.weights_sha256
        and evaluation.settings.candidate_id == job.run_id
        and evaluation.settings.cohort_sha256 == job.cohort.content_sha256
        and evaluation.settings.images_sha256 == job.probed[1].content_sha256
        and evaluation.settings.split == (probe.split_name or job.scheme)
        and evaluation.settings.probe == probe
    ]
    return max(found, key=lambda each: each.settings.protocol_version, default=None)


def _open_some(workspace: Workspace, job: Job) -> Iterable[Evaluation]:
    beginning = f"{job.run_id}-on-{job.cohort.name}-"
    for name in workspace.eval_ids():
        if name.startswith(beginning):
            try:
                yield open_evaluation(workspace.evals / name)
            except IntegrityError:
                continue
