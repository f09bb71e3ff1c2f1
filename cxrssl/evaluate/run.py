"""A finished run evaluated, with its baselines beside it.

In: a workspace, a run, a cohort by name, the settings of the probe. Out: published evaluations, the run's first, and
the comparisons that a report shows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from cxrssl.cohort.read import Cohort
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.asked import EVERYTHING, Asked, settle
from cxrssl.evaluate.before import check_findings, check_head_and_folds, check_split
from cxrssl.evaluate.candidate import Candidate, baseline_candidates, open_run, run_candidate, table_candidate
from cxrssl.evaluate.compare import list_pairs, publish_comparisons
from cxrssl.evaluate.evaluation import evaluate_plan
from cxrssl.evaluate.head import evaluate_head, head_candidate, read_head
from cxrssl.evaluate.joined import join_record
from cxrssl.evaluate.learning import list_draws
from cxrssl.evaluate.pixels import pixels_candidate
from cxrssl.evaluate.plan import plan_evaluation
from cxrssl.evaluate.protocol import Protocol, describe_cost, follow
from cxrssl.evaluate.reading import read_candidate
from cxrssl.evaluate.record import choose_record
from cxrssl.evaluate.shown import shown_candidate
from cxrssl.evaluate.tuned import describe_tuning, tuned_candidates
from cxrssl.images.store import ImageStore
from cxrssl.records.encoder import EncoderName
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, list_evaluations
from cxrssl.records.reading import CLS, Reading
from cxrssl.train.device import choose_devices
from cxrssl.train.pooled import open_films


@dataclass(frozen=True)
class ProbeChoices:
    """What is probed, and where; and what is asked, which each cohort makes into settings of its own."""

    encoder: EncoderName = "target"
    baselines: bool = True
    may_overlap: bool = False
    """Probe a run that has seen test subjects; the evaluation says so."""
    device: str = "auto"
    asked: Asked = EVERYTHING
    joined: str = ""
    """Which of the record is joined to the encoder's features, too; see `joined.choose_record`."""
    reading: Reading = CLS
    """What is read of encoders."""
    fractions: tuple[float, ...] = ()
    """Shares of the labels that a learning curve has beside all of them."""
    draws: int = 3
    """Of each share."""
    head: bool = False
    """Score films by the run's own head, too; see `head.evaluate_head`."""
    protocol: Protocol | None = None
    """Of others, in place of our probe."""
    tell: Callable[[str], None] | None = None
    """Prints what a protocol costs, before it begins."""
    num_gpus: int = 1
    """Devices that share the films that are encoded."""


def probe_run(
    workspace: Workspace,
    run: str,
    cohort_name: str,
    split: str,
    settings: ProbeSettings,
    choices: ProbeChoices = ProbeChoices(),
) -> list[Evaluation]:
    """Evaluate a run, then its baselines, and compare them; an empty cohort or split is the run's own.

    Raises: DataError when the run is not finished or has no such encoder, LeakageError when it has seen test films,
        UsageError for folds and a split, or a feature of the record that is known only after the film.
    """
    check_split(settings, split)
    check_head_and_folds(choices.head, settings)
    run_id, encoder = open_run(workspace, run, choices.encoder)
    cohort, images = open_films(workspace, cohort_name or encoder.origin.one_cohort())
    check_findings(cohort)
    place = choose_devices(choices.device, choices.num_gpus)
    own_split = encoder.origin.split_on(cohort.name, cohort.dataset) or cohort.default_split
    own = run_candidate(workspace, run_id, encoder, images, place, choices.encoder)
    baselines = baseline_candidates(workspace, encoder.recipe, cohort, images, place) if choices.baselines else []
    candidate, *baselines = (
        read_candidate(workspace, each, choices.reading, images, place) for each in (own, *baselines)
    )
    candidates = list_candidates(candidate, baselines, cohort, images, choices)
    if choices.head:
        candidates.insert(1, head_candidate(own, read_head(workspace, run_id)))  # it reads the class token
    return evaluate_candidates(workspace, candidates, cohort, images, split or own_split, settings, choices)


def list_candidates(
    encoder: Candidate, baselines: Sequence[Candidate], cohort: Cohort, images: ImageStore, choices: ProbeChoices
) -> list[Candidate]:
    """Return an encoder, the same with the record if that is asked for, and the baselines and pixels if they are.

    Raises: UsageError, DataError for features of the record that cannot be joined.
    """
    beside = [*baselines, pixels_candidate(images)] if choices.baselines else []
    if not choices.joined:
        return [encoder, *beside]
    names = choose_record(cohort, choices.joined)
    record = table_candidate(cohort, names, "ehr-only")
    if choices.baselines and record.candidate_id not in {each.candidate_id for each in beside}:
        beside.append(record)
    return [encoder, join_record(encoder, cohort, names), *beside]


def evaluate_candidates(
    workspace: Workspace,
    candidates: Sequence[Candidate],
    cohort: Cohort,
    images: ImageStore,
    scheme: str,
    settings: ProbeSettings,
    choices: ProbeChoices,
) -> list[Evaluation]:
    """Evaluate candidates on one split, and publish the comparisons that a report shows of them.

    Where shares of the labels are asked for, these are evaluated too; returned are the evaluations with all labels.
    """
    settings, asked = follow(choices.protocol, settings, choices.asked)
    settings, is_kept_N = settle(settings, cohort, asked)
    if choices.protocol is not None:
        candidates = _show(workspace, candidates, cohort, images, scheme, choices)
    evaluations = []
    for candidate in candidates:
        features = cache(candidate.features)
        draws = [] if candidate.head else list_draws(settings, choices.fractions, choices.draws)  # a head fits nothing
        for each in (settings, *draws):
            plan = plan_evaluation(workspace, candidate, cohort, images, scheme, each, choices.may_overlap, is_kept_N)
            head = candidate.head
            evaluation = evaluate_head(plan, head, features) if head else evaluate_plan(plan, features)
            if each is settings:
                evaluations.append(evaluation)
    _compare(workspace, {evaluation.eval_id for evaluation in evaluations})
    return evaluations


def _show(
    workspace: Workspace,
    candidates: Sequence[Candidate],
    cohort: Cohort,
    images: ImageStore,
    scheme: str,
    choices: ProbeChoices,
) -> list[Candidate]:
    """Return candidates whose encoders are shown films by a protocol, once it has been told what that costs."""
    assert choices.protocol is not None, "asked before"
    num_train = int(images.is_packed_N[cohort.rows_of("train", scheme)].sum())
    if choices.protocol.is_tuned:
        tuned = tuned_candidates(workspace, candidates, choices.protocol, images, choices.device)
        if choices.tell is not None:
            choices.tell(describe_tuning(choices.protocol, candidates, num_train))
        return tuned
    if choices.tell is not None:
        choices.tell(describe_cost(choices.protocol, num_train, sum(each.encoder is not None for each in candidates)))
    place = choose_devices(choices.device, choices.num_gpus)
    return [shown_candidate(workspace, each, choices.protocol, images, place) for each in candidates]


def _compare(workspace: Workspace, eval_ids: set[str]) -> None:
    """Publish the comparisons of these evaluations that a report shows, also those of earlier runs with them."""
    evaluations, _ = list_evaluations(workspace)
    pairs = list_pairs(evaluations)
    publish_comparisons(workspace, [(a, b) for a, b in pairs if eval_ids & {a.eval_id, b.eval_id}])
