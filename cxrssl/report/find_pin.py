"""Which setup a report is told to subtract, found by name.

In: groups of published evaluations, ablations, a name. Out: Pin. Never: a baseline of some of the seeds of a setup: it
is of all that were trained, whichever of its runs was named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.contrast import find_side
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.ablation import Ablation
from cxrssl.report.pin import Pin


def find_pin(
    workspace: Workspace, name: str, groups: Sequence[SeedGroup], ablations: Sequence[Ablation], terms: set[str]
) -> Pin:
    """Return the setup of a name: an arm of one of these ablations, else what `cxrssl compare` calls so.

    Raises: UsageError for a name of nothing, of several setups, or of what was scored on none of `terms`; DataError for
    a run that was not probed.
    """
    arms = {run: facts.arm for each in ablations for run, facts in each.contract.runs.items()}
    is_arm = name in arms.values()
    found = [each for each in groups if any(arms.get(run) == name for run in _runs_of(each))] if is_arm else []
    if not found:
        found = _find_setups(workspace, name, groups, arms)
    pinned: dict[str, SeedGroup] = {}
    for group in found:
        other = pinned.setdefault(group.settings.terms, group)
        if other is not group:
            ids = [plain(each.evaluations[0].settings.candidate_id, 120) for each in (other, group)]
            what = f'baseline "{plain(name, 120)}" is several setups'
            raise UsageError(what, hint=f"name one by a run: {' or '.join(ids)}")
    if terms.isdisjoint(pinned):
        what = f'baseline "{plain(name, 120)}" was not scored on the films and labels of this report'
        raise UsageError(what, workspace.root, "probe it on the same cohort in the same way")
    return Pin(plain(name, 60) if is_arm else plain(found[0].name, 120), pinned)


def _find_setups(
    workspace: Workspace, name: str, groups: Sequence[SeedGroup], arms: Mapping[str, str]
) -> list[SeedGroup]:
    evaluations = [one for each in groups for one in (*each.evaluations, *each.repeats)]
    try:
        ids = {each.eval_id for each in find_side(workspace, name, evaluations)}
    except UsageError as error:
        known = {each.settings.run_id for each in evaluations} | set(arms.values()) - {""}
        what = f'no run, arm or setup "{plain(name, 120)}" to subtract as the baseline'
        raise UsageError(what, error.where, nearest_hint(name, known - {""}) if known - {""} else error.hint) from None
    return [each for each in groups if any(one.eval_id in ids for one in (*each.evaluations, *each.repeats))]


def _runs_of(group: SeedGroup) -> list[str]:
    return [each.settings.run_id for each in (*group.evaluations, *group.repeats) if each.settings.run_id]
