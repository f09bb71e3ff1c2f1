"""The folder of a run, beside its journals and checkpoints: what it is, what was left behind, what it publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cxrssl.audit.seen import list_films
from cxrssl.cohort.pool import PooledCohort
from cxrssl.cohort.read import IGNORE
from cxrssl.core.code import digest_code
from cxrssl.core.commit import find_commit
from cxrssl.core.durable import find_leftovers, remove_leftover, write_json
from cxrssl.core.errors import CxrsslError, Preempted
from cxrssl.core.journal import append_record
from cxrssl.core.version import __version__
from cxrssl.model.encoder import publish_encoder
from cxrssl.model.finding_head import pack_head
from cxrssl.records.encoder import EncoderOrigin
from cxrssl.records.events import has_finished
from cxrssl.records.run import RunDescription, RunFiles
from cxrssl.train.plan import RunPlan
from cxrssl.train.pooled import list_members
from cxrssl.train.record import load_labels
from cxrssl.train.state import TrainState


def describe_run(plan: RunPlan, device: torch.device) -> None:
    """Write run.json, once: what the run is, for people, dashboard and store."""
    if plan.files.description.exists():
        return
    commit = find_commit()
    description = RunDescription(
        run_id=plan.run_id,
        objective=plan.recipe.objective.name,
        recipe=plan.recipe.to_dict(),
        ehr_columns=tuple(plan.ehr_columns),
        cohort=plan.cohort.name,
        dataset=plan.cohort.dataset,
        split=plan.scheme,
        num_films=len(plan.rows),
        num_twins_left_out=plan.num_twins_left_out,
        num_without_sex=plan.num_without_sex,
        members=list_members(plan.cohort, plan.images, plan.scheme, plan.rows),
        num_shared_patients=plan.cohort.num_shared_persons if isinstance(plan.cohort, PooledCohort) else None,
        num_outside_where=plan.num_outside_where if plan.recipe.data.where else None,
        num_steps=plan.num_steps,
        steps_per_epoch=plan.steps_per_epoch,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        extends_setup=plan.start.extended.setup if plan.start and plan.start.extended else None,
        versions={"cxrssl": __version__, "torch": str(torch.__version__)},
        commit=commit.sha if commit else "",
        is_dirty=commit is not None and commit.is_dirty,
        code_sha256=digest_code(),
        **plan.origin,
    )
    write_json(plan.files.description, description.to_dict())


def remove_leftovers(folder: Path, events: Path) -> None:
    """Remove what a killed process left behind, each recorded before it goes."""
    for path in [*find_leftovers(folder), *find_leftovers(RunFiles(folder).checkpoints)]:
        append_record(events, {"event": "leftover", "what": path.relative_to(folder).as_posix()})
        remove_leftover(path)


def publish_run(plan: RunPlan, state: TrainState, path: Path) -> None:
    """Publish the encoder, and its anchor if it has one, with the list of films that shaped it."""
    cohort = plan.cohort
    origin = EncoderOrigin(
        run_id=plan.run_id,
        step=state.step,
        cohort=cohort.name,
        dataset=cohort.dataset,
        link=cohort.link,
        split=plan.scheme,
        members=list_members(cohort, plan.images, plan.scheme, plan.rows),
        **plan.origin,
    )
    films = list_films(cohort, plan.images, plan.rows)
    lineage = plan.start.lineage if plan.start else ((), {})
    head = _pack_head(plan, state)
    publish_encoder(path, state.model.published, plan.recipe, origin, films, state.model.anchor, lineage, head)


def _pack_head(plan: RunPlan, state: TrainState) -> bytes:
    """Return the file of the layer for findings, of those that were taught; empty where labels are not learnt."""
    layer, labels_NL = state.model.finding_head, load_labels(plan)
    if layer is None or labels_NL is None:
        return b""
    return pack_head(layer, plan.finding_names, (labels_NL != IGNORE).any(axis=0))


def record_finish(files: RunFiles, num_steps: int) -> None:
    """Record the end of a run whose process was killed after it had published the encoder."""
    if not has_finished(files.events):
        append_record(files.events, {"event": "finish", "step": num_steps})


def describe_end(error: BaseException, step: int) -> dict[str, Any]:
    """Return the event that says how a run ended before its last step."""
    if isinstance(error, Preempted | KeyboardInterrupt):
        return {"event": "stop", "step": step}
    what = error.what if isinstance(error, CxrsslError) else type(error).__name__
    return {"event": "fail", "step": step, "what": what}
