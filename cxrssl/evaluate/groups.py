"""Evaluations that differ in the seed alone, as one row: the mean over seeds, and by how much it beats another.

In: published evaluations, the setups of their runs. Out: SeedGroup; SeedScores of one group or of two. No torch.
Never: a seed counted twice, or groups compared that were not scored on the same films and labels.

Suffix letters: T the two metrics (AUROC, average precision), L the macro mean and the findings, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun
from cxrssl.evaluate.resamples import Resamples as Resamples
from cxrssl.records.eval_settings import HEAD, JOINED, PIXELS, EvalSettings, kind_rank
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.setup import RIGHT, Setup
from cxrssl.stats.bca import METRICS
from cxrssl.stats.scores import rarer_of_mean
from cxrssl.stats.seeds import LeftOut, SeedMean, SeedNumbers, average_seeds, compare_seeds, compare_unpaired
from cxrssl.stats.seeds import SeedScores as SeedScores

OF_SEED = ("candidate_id", "label")
"""Settings that may name a seed, and otherwise repeat what others say."""
OF_RECORD = ("label", "is_outcome_used", "leak", "transductive")
"""Settings that follow from the record."""


@dataclass(frozen=True)
class SeedGroup:
    """Evaluations whose setup is the same but for the seed."""

    group_id: str
    """The same whichever seeds there are."""
    evaluations: tuple[Evaluation, ...]
    """One a seed, ascending."""
    seeds: tuple[int, ...]
    """Empty for what has no seed, such as the record alone."""
    control: str | None = None
    """How the record is wrong, RIGHT where it is not; None where the run is not known."""
    repeats: tuple[Evaluation, ...] = ()
    """Further evaluations of seeds that are there already: they count for nothing."""
    right_id: str = ""
    """Equal for groups that differ in the control alone; empty where the run is not known."""
    vanilla_id: str = ""
    """Equal for groups that differ in the record alone."""
    has_record: bool = False

    @property
    def settings(self) -> EvalSettings:
        """Those of its first evaluation; the others differ from them as seeds do."""
        return self.evaluations[0].settings

    @property
    def num_seeds(self) -> int:
        return len(self.seeds)

    @property
    def label(self) -> str:
        """How tables call it, without a seed."""
        return self.settings.label.partition(", seed ")[0]

    @property
    def name(self) -> str:
        """Its label, and of a run its encoder and length."""
        settings, shape = self.settings, self.settings.candidate.architecture
        if settings.kind != "run" or shape is None:
            return self.label
        return f"{self.label} ({shape.backbone}, {count_noun(settings.candidate.num_epochs or 0, 'epoch')})"


def group_seeds(evaluations: Sequence[Evaluation], setups: Mapping[str, Setup]) -> list[SeedGroup]:
    """Return every evaluation in a group, those that differ in the seed alone together; runs first.

    `setups` are those of the runs, by run_id (`records.setup.read_setups`). An evaluation of a run that is not among
    them stands alone: what else it differs in is not known.
    """
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in sorted(evaluations, key=lambda each: each.eval_id):
        setup = _setup_of(evaluation, setups)
        groups.setdefault(_name_group(evaluation, setup), []).append(evaluation)
    made = [_make_group(group_id, members, setups) for group_id, members in groups.items()]
    return sorted(made, key=_row_order)


def find_seed(evaluation: Evaluation) -> int | None:
    """Return the seed of what was trained or drawn; None for what has none."""
    settings, shape = evaluation.settings, evaluation.settings.candidate.architecture
    return shape.seed if shape is not None and settings.kind in ("run", HEAD, "random-init") else None


def compare_groups(group: SeedGroup, against: SeedGroup, resamples: Resamples | None = None) -> SeedScores:
    """Return by how much a group ranks the test films better than another, as means over seeds with one interval each.

    The interval holds for other test subjects and other seeds; see `stats.seeds.compare_seeds`. Groups of the same
    seeds are paired seed by seed, and a group without a seed is the same for each; others are not paired. With one seed
    on a side the interval is of the subjects alone, as of single evaluations, and `says_nothing_about_method` is true.
    `resamples` keeps what was measured for further comparisons.

    Raises: DataError when the two were not made on equal terms, or not on the same test films and labels.
    """
    if group.settings.terms != against.settings.terms:
        where = f"{group.evaluations[0].eval_id}, {against.evaluations[0].eval_id}"
        raise DataError("these evaluations are not of the same test films, labels and settings of the probe", where)
    resamples = resamples or Resamples()
    (a_TLS, a_TLSR), (b_TLS, b_TLSR) = resamples.measure(group.evaluations), resamples.measure(against.evaluations)
    is_paired = group.seeds == against.seeds or not (group.seeds and against.seeds)
    if is_paired:
        a_TLS, b_TLS = np.broadcast_arrays(a_TLS, b_TLS)  # what has no seed is the same for each seed of the other
        shape = (*a_TLS.shape, a_TLSR.shape[-1])
        a_TLSR, b_TLSR = np.broadcast_to(a_TLSR, shape), np.broadcast_to(b_TLSR, shape)
    compare = compare_seeds if is_paired else compare_unpaired
    level = group.evaluations[0].scores.level

    def conclude(at: tuple[int, int], _: int) -> SeedMean:
        return compare(a_TLS[at], b_TLS[at], a_TLSR[at], b_TLSR[at], level)

    return _tabulate(group, resamples.names(group.evaluations), conclude, is_paired)


def score_group(group: SeedGroup, resamples: Resamples | None = None) -> SeedScores:
    """Return how well a group ranks the test films, as means over its seeds with one interval each.

    Raises: DataError when its evaluations are not of the same test films and labels.
    """
    resamples = resamples or Resamples()
    values_TLS, samples_TLSR = resamples.measure(group.evaluations)
    level = group.evaluations[0].scores.level
    without_TLS = resamples.leave_out(group.evaluations) if len(group.evaluations) < 2 else None

    def conclude(at: tuple[int, int], num_rarer: int) -> SeedMean:
        left_out = None if without_TLS is None else LeftOut(without_TLS[at], num_rarer)
        return average_seeds(values_TLS[at], samples_TLSR[at], level, left_out, METRICS[at[0]])

    return _tabulate(group, resamples.names(group.evaluations), conclude, True)


def find_pixels_group(group: SeedGroup, groups: Sequence[SeedGroup]) -> SeedGroup | None:
    """Return the thumbnails of the same films, for trained encoders."""
    if group.settings.kind not in ("run", "external"):
        return None
    alike = (each for each in groups if each.settings.terms == group.settings.terms)
    return next((each for each in alike if each.settings.kind == PIXELS), None)


def find_untrained_group(group: SeedGroup, groups: Sequence[SeedGroup]) -> SeedGroup | None:
    """Return the untrained encoders of the same architecture, for runs."""
    if group.settings.kind != "run":
        return None
    wanted = _untrained_key(group.settings)
    untrained = (each for each in groups if each.settings.kind == "random-init")
    return next((each for each in untrained if _untrained_key(each.settings) == wanted), None)


def find_vanilla_group(group: SeedGroup, groups: Sequence[SeedGroup]) -> SeedGroup | None:
    """Return the runs without the record that are otherwise equal, for runs with it, right or wrong."""
    if not group.has_record:
        return None
    alike = (each for each in groups if each.vanilla_id == group.vanilla_id)
    return next((each for each in alike if not each.has_record), None)


def find_wrong_groups(group: SeedGroup, groups: Sequence[SeedGroup]) -> dict[str, SeedGroup]:
    """Return the runs that were given a wrong record and are otherwise equal, by control, for runs with the right one.

    The controls are those of `ehr.control`: shuffled, shuffled:GROUP, zeros, noise.
    """
    if not group.has_record or group.control != RIGHT:
        return {}
    wrong = [each for each in groups if each.right_id == group.right_id and each.control != RIGHT]
    return {str(each.control): each for each in sorted(wrong, key=lambda each: str(each.control))}


def _make_group(group_id: str, members: Sequence[Evaluation], setups: Mapping[str, Setup]) -> SeedGroup:
    setup = _setup_of(members[0], setups)
    by_seed: dict[int | None, Evaluation] = {}
    repeats = []
    for each in members:
        if by_seed.setdefault(_seed_of(each, setups), each) is not each:
            repeats.append(each)
    seeds = sorted(seed for seed in by_seed if seed is not None)
    ordered = [by_seed[seed] for seed in seeds] if seeds else list(by_seed.values())
    if setup is None:
        return SeedGroup(group_id, tuple(ordered), tuple(seeds), repeats=tuple(repeats))
    peers = _without_seed(members[0].settings, OF_RECORD)
    return SeedGroup(
        group_id=group_id,
        evaluations=tuple(ordered),
        seeds=tuple(seeds),
        control=setup.control,
        repeats=tuple(repeats),
        right_id=hash_settings([peers, setup.right_sha256]),
        vanilla_id=hash_settings([peers, setup.vanilla_sha256]),
        has_record=setup.has_record,
    )


def _name_group(evaluation: Evaluation, setup: Setup | None) -> str:
    """Return the id of the group of an evaluation."""
    settings = evaluation.settings
    if setup is not None:
        parts: list[Any] = [_without_seed(settings), settings.label, setup.sha256]
    elif settings.kind == "random-init":
        parts = [_without_seed(settings)]
    else:
        parts = [evaluation.eval_id]
    return hash_settings(parts)[:12]


def _without_seed(settings: EvalSettings, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings of an evaluation but those that a seed decides, and those in `left_out`.

    With OF_RECORD left out, nor those of the candidate that the record decides.
    """
    values, candidate = settings.to_dict(), dict(settings.to_dict()["candidate"])
    hashes = ("weights_sha256", "setup_sha256", "head_sha256")
    dropped = (*hashes, "features", "missing", "taught_before") if left_out and settings.kind != JOINED else hashes
    kept = {key: value for key, value in candidate.items() if key not in dropped}
    if "architecture" in kept:
        kept["architecture"] = {key: value for key, value in kept["architecture"].items() if key != "seed"}
    others = {key: value for key, value in values.items() if key not in (*OF_SEED, *left_out, "candidate")}
    return {**others, "candidate": kept}


def _untrained_key(settings: EvalSettings) -> Any:
    shape = _without_seed(settings)["candidate"].get("architecture")
    return settings.terms, settings.candidate.read, shape


def _setup_of(evaluation: Evaluation, setups: Mapping[str, Setup]) -> Setup | None:
    return setups.get(evaluation.settings.run_id)


def _seed_of(evaluation: Evaluation, setups: Mapping[str, Setup]) -> int | None:
    setup = _setup_of(evaluation, setups)
    return find_seed(evaluation) if setup is None else setup.seed


def _tabulate(
    group: SeedGroup, names: Sequence[str], conclude: Callable[[tuple[int, int], int], SeedMean], is_paired: bool
) -> SeedScores:
    """Return the means of both metrics of the macro mean (row 0) and of each finding, with what they rest on.

    `conclude` makes one of the place in [T, L] and of the subjects with the finding or without it, the fewer.
    """
    scores = group.evaluations[0].scores.findings
    rests_on = [rarer_of_mean(scores), *(scores[name].auroc.num_rarer or 0 if name in scores else 0 for name in names)]
    auroc, auprc = (
        [conclude((metric, row), num).counted(num) for row, num in enumerate(rests_on)] for metric in range(2)
    )
    macro, *findings = (SeedNumbers(*pair) for pair in zip(auroc, auprc, strict=True))
    return SeedScores(macro, dict(zip(names, findings, strict=True)), is_paired)


def _row_order(group: SeedGroup) -> tuple[str, int, int, str, str]:
    settings = group.settings
    return settings.terms, kind_rank(settings.kind), len(settings.features), settings.label, group.group_id
