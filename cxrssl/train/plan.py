"""What a run will do, decided and checked before its first step.

In: workspace, cohort, recipe. Out: a RunPlan, whose id is a function of everything that changes the weights, so that
the same command finds its own run again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.gate import check_cohort
from cxrssl.audit.pretraining import audit_films
from cxrssl.audit.seen import list_films
from cxrssl.cohort.condition import hide_values
from cxrssl.cohort.encoding import Missing, feature_columns
from cxrssl.cohort.features import find_feature, is_outcome_used, name_features, parse_ehr
from cxrssl.cohort.pool import PooledCohort
from cxrssl.cohort.read import Cohort
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.images.store import ImageStore
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.settings import MAX_SEED, Recipe, name_extended
from cxrssl.records.encoder import EhrInput
from cxrssl.records.members import name_data
from cxrssl.records.run import RunFiles
from cxrssl.train.extend import check_data, describe_extension
from cxrssl.train.pooled import FindFilms, describe_pool, members_of, open_data
from cxrssl.train.rows import choose_rows
from cxrssl.train.schedule import share_covered
from cxrssl.train.start import Start, find_continued, find_start, with_name

SLOW_TARGET = "lower train.ema_start or train.ema_horizon"


@dataclass(frozen=True)
class RunPlan:
    """A run before it starts."""

    run_id: str
    folder: Path
    recipe: Recipe
    machine: Machine
    cohort: Cohort
    images: ImageStore
    scheme: str
    rows: NDArray[np.int64]
    """Rows of the cohort that are pretrained on: those of the split whose film is packed and in no later split."""
    num_twins_left_out: int = 0
    """Train films that a later split shows too, pixel by pixel or nearly."""
    num_without_sex: int = 0
    """Films left out because their sex is unknown, as the published code does (`missing = "paper"`)."""
    label: str = ""
    """What the run's id calls it: its objective and record, or the name that it was given."""
    start: Start | None = None
    """What it starts from, where that is not weights drawn from the seed."""
    findings: tuple[str, ...] = ()
    """Those whose labels are learnt, where that is not all that the cohort has."""
    num_outside_where: int = 0
    """Train films that do not meet `data.where`."""
    where_sha256: str = ""
    """Of the films of the cohort that meet it; empty without a condition."""
    find_films: FindFilms | None = None
    """What was asked for them."""

    @property
    def finding_names(self) -> list[str]:
        """The findings whose labels an objective learns."""
        return list(self.findings) or self.cohort.finding_names.tolist()

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.folder)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.rows) // self.recipe.train.batch_size

    @property
    def num_steps(self) -> int:
        return self.steps_per_epoch * self.recipe.train.num_epochs

    @property
    def first_step(self) -> int:
        """The step that the run takes over at from the one that it extends; else 0."""
        return self.start.extended.step if self.start and self.start.extended else 0

    @property
    def ehr_columns(self) -> list[str]:
        """Names of the columns that the EHR branch sees."""
        return list(self.cohort.feature_columns(self.recipe.ehr.features, self.missing))

    @property
    def missing(self) -> Missing:
        """How unknown values enter the EHR branch."""
        return cast(Missing, self.recipe.ehr.missing)

    @cached_property
    def rows_by_member(self) -> NDArray[np.int64]:
        """`rows`, the films of one cohort after those of another."""
        return self.rows[np.argsort(self._members, kind="stable")]

    @cached_property
    def member_sizes(self) -> tuple[int, ...]:
        """How many of `rows` are of each cohort."""
        return tuple(np.bincount(self._members).tolist())

    @property
    def _members(self) -> NDArray[np.int64]:
        cohort = self.cohort
        return cohort.member_N[self.rows] if isinstance(cohort, PooledCohort) else np.zeros(len(self.rows), np.int64)

    @property
    def warnings(self) -> list[str]:
        """Sentences about settings that work but are seldom wanted."""
        size, part = self.recipe.train.batch_size, self.machine.micro_batch
        sentences = self.recipe.objective.warnings(size)
        sentences += describe_pool(self.cohort, self.images, self.scheme, self.rows, self.recipe.ehr.features)
        if self.recipe.data.where:
            outside = f"{count_noun(self.num_outside_where, 'train film')} left out"
            sentences.append(f"only films where {plain(hide_values(self.recipe.data.where), 200)}: {outside}")
        if part and size % part and self.machine.device != "cpu":
            sentences.append(f"micro_batch={part} does not divide a batch of {size}: steps are compiled twice")
        if self.num_twins_left_out:
            twins = count_noun(self.num_twins_left_out, "train film")
            sentences.append(f"{twins} left out, because validation or test has the same film")
        is_known_NF = self.cohort.ehr_known[self.rows]
        unknown = [name for name in self.recipe.ehr.features if not is_known_NF[:, self.cohort.column_of(name)].any()]
        if unknown:
            sentences.append(f"no training film has a known {', '.join(unknown)}: the run learns nothing of it")
        if self.recipe.ehr.features and self.missing == "paper":
            sentences.append("unknown view and position are imputed from the films of all splits, as published")
        if self.num_without_sex:
            sentences.append(f"{count_noun(self.num_without_sex, 'film')} of unknown sex left out, as published")
        has_target = "train.ema_start" not in self.recipe.objective.idle
        if has_target and (covered := self._share_covered()) < 0.9:
            num_steps = self.num_steps - self.first_step
            sentences.append(f"the target covers {covered:.0%} of its way in {num_steps:,} steps: {SLOW_TARGET}")
        if self.recipe.ehr.features and self.recipe.ehr.branch == "both":
            sentences.append("the record on both branches can match them by itself: this is known to fail at length")
        if self.recipe.ehr.control != "none":
            sentences.append(f"the record is wrong on purpose: ehr.control = {self.recipe.ehr.control}")
        if self.recipe.train.rows == "all":
            sentences.append(
                "validation and test films are pretrained on, as in the paper; only a probe in folds may score them"
            )
        if self.start is not None:
            sentences += self.start.describe(self.recipe)
            if self.start.extended is not None:
                how = self.start.extended, self.recipe, self.num_steps, self.steps_per_epoch
                sentences += describe_extension(*how)
            audits = [(each, audit_films(each, self.cohort, self.images, self.scheme)) for each in self.start.seen()]
            sentences += [
                f"{each.run_id}, which it starts from: {result.finding}; cxrssl probe will refuse this run"
                for each, results in audits
                for result in results
                if result.finding
            ]
        return sentences

    def _share_covered(self) -> float:
        return share_covered(self.num_steps, self.recipe.train, self.first_step)

    @property
    def workspace(self) -> Path:
        """The folder of all that is written."""
        return self.folder.parent.parent

    @property
    def films_bytes(self) -> int:
        """Size of all its films as they are packed."""
        return len(self.rows) * self.images.size_px**2

    @cached_property
    def origin(self) -> dict[str, str]:
        """Hashes of all that a resume must find unchanged."""
        return {
            "recipe_sha256": self.recipe.sha256,
            "cohort_sha256": self.cohort.content_sha256,
            "images_sha256": self.images.content_sha256,
        }


def plan_run(
    workspace: Workspace,
    cohort_name: str,
    recipe: Recipe,
    machine: Machine,
    name: str = "",
    films: tuple[Cohort, ImageStore] | None = None,
    start: Start | None = None,
    find_films: FindFilms | None = None,
) -> RunPlan:
    """Return the plan of a run on a published cohort, or on several, or on their `films`, which were opened before.

    `cohort_name` holds the names of several with commas between them.

    `start` is what `model.init` names, where it was looked up before. It is left out of the recipe of the plan but for
    its name and the hash of its weights. `find_films` asks a cohort for the films that meet `data.where`.

    Raises: UsageError or DataError when cohort, films, recipe and start do not fit together, LeakageError when nothing
    that is trained on this cohort could be tested on it.
    """
    cohort, images = films or open_data(workspace, cohort_name)
    scheme = recipe.train.split or cohort.default_split
    cohort.split_of(scheme)
    recipe, is_given = _resolve(recipe, scheme), start is not None
    if not is_given and recipe.train.extends:
        start = find_continued(workspace, recipe)
    elif not is_given and recipe.model.init:
        start = find_start(workspace, recipe)
    recipe = with_name(recipe, start)
    ehr, objective = recipe.ehr, recipe.objective
    if objective.start_hint and start is None:
        raise UsageError(f'objective "{objective.name}" has no weights to start from', hint=objective.start_hint)
    for feature in (*ehr.features, *ehr.predict):
        cohort.column_of(feature)
    for each in members_of(cohort):
        check_cohort(each, EhrInput(ehr.features, ehr.missing, ehr.may_use_outcomes, ehr.predict))
    chosen = choose_rows(cohort, images, recipe, scheme, find_films)
    if len(chosen.rows) < recipe.train.batch_size:
        what = f"{count_noun(len(chosen.rows), 'training film')}, fewer than one batch of {recipe.train.batch_size}"
        raise UsageError(what, hint="choose a smaller batch: --set train.batch_size=N")
    label = check_name(name, "run") if name else "+".join([recipe.objective.name, *_name_record(recipe)])
    folder = workspace.runs / name_run(recipe, cohort, images, label, chosen.where_sha256)
    data = (cohort, images, scheme, chosen.rows, chosen.num_twins, chosen.num_without_sex)
    asked = (chosen.num_outside, chosen.where_sha256, find_films)
    plan = RunPlan(folder.name, folder, recipe, machine, *data, label, start, (), *asked)
    if start is not None and start.extended is not None and not is_given:
        own_id = name_run(start.extended.recipe, cohort, images, label, chosen.where_sha256)
        has_state = plan.files.is_published or any(plan.files.checkpoints.glob("step-*"))
        check_data(start.extended, plan.origin, own_id, list_films(cohort, images, plan.rows).image_id, has_state)
    return plan


def plan_seeds(plan: RunPlan, num_seeds: int) -> list[RunPlan]:
    """Return the plan and those of the next seeds, each as `plan_run` would make it. Raises: UsageError."""
    first = plan.recipe.train.seed
    if first + num_seeds - 1 > MAX_SEED:
        raise UsageError(f"{num_seeds:,} seeds from {first:,} go beyond the largest seed, {MAX_SEED:,}")
    return [with_seed(plan, first + number) for number in range(num_seeds)]


def with_seed(plan: RunPlan, seed: int) -> RunPlan:
    """Return the plan of the same run with another seed, as `plan_run` would make it.

    Raises: UsageError when it extends another run, whose seed it has.
    """
    if seed != plan.recipe.train.seed and plan.start and plan.start.extended:
        what = f"seed {seed} cannot extend run {plan.start.name}, which has another one"
        raise UsageError(what, hint="extend the run of each seed: cxrssl runs extend")
    recipe = replace(plan.recipe, train=replace(plan.recipe.train, seed=seed))
    folder = plan.folder.parent / name_run(recipe, plan.cohort, plan.images, plan.label, plan.where_sha256)
    return replace(plan, run_id=folder.name, folder=folder, recipe=recipe)


def name_run(recipe: Recipe, cohort: Cohort, images: ImageStore, label: str, asked: str = "") -> str:
    """Return a run's id. The same command finds its own run again; another recipe, cohort or film is another run.

    `asked` is the hash of which films a condition keeps, or of what else an evaluation asks of a run that fine-tunes
    for it; see `evaluate.tuned`.
    """
    hashes = {"recipe": recipe.sha256, "cohort": cohort.content_sha256, "images": images.content_sha256}
    hashes |= {"asked": asked} if asked else {}
    digest = hash_settings(hashes)[:8]
    return f"{name_data(cohort.name)}-{label}-{recipe.model.backbone}-s{recipe.train.seed}-{digest}"


def _name_record(recipe: Recipe) -> list[str]:
    """Return what of the record takes part, and how far another run is extended, as parts of a run's name."""
    ehr = recipe.ehr
    parts = [name_features(ehr.features, "+")] if ehr.features else []
    parts += ["predict-" + name_features(ehr.predict, "-")] if ehr.predict else []
    parts += [ehr.control.replace(":", "-")] if ehr.control != "none" else []
    return parts + ([name_extended(recipe)] if recipe.train.extends else [])


def _resolve(recipe: Recipe, scheme: str) -> Recipe:
    """Return the recipe with groups of `ehr.features` and the default split spelt out: equal runs have equal ids."""
    features, predict = (parse_ehr(",".join(n)) if n else () for n in (recipe.ehr.features, recipe.ehr.predict))
    feature_columns(features, cast(Missing, recipe.ehr.missing))  # refuses a policy that cannot fill them
    _, _, part = recipe.ehr.control.partition(":")
    if part and part not in {name for f in (*features, *predict) for name in (f, find_feature(f).group)}:
        known = f"this run uses {', '.join([*features, *predict])}"
        raise UsageError(f'"ehr.control" shuffles "{plain(part, 60)}", which takes no part', hint=known)
    may_use_outcomes = recipe.ehr.may_use_outcomes and is_outcome_used([*features, *predict])  # else it says nothing
    ehr = replace(recipe.ehr, features=features, predict=predict, may_use_outcomes=may_use_outcomes)
    train = replace(recipe.train, split=scheme)
    return replace(recipe, ehr=ehr, train=train)
