"""What is asked of an evaluation, as the user says it, made into settings that hold for one cohort.

In: words of the command line, an open cohort. Out: ProbeSettings with the cohort's own names, and the films that a
condition keeps. Never: a word that has no effect.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.condition import hide_values
from cxrssl.cohort.finding_names import canonical_name, choose_findings
from cxrssl.cohort.read import UNCERTAIN_POLICIES, Cohort
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import nearest_hint, plain, shell_word
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.train.pooled import FindFilms

Films = NDArray[np.bool_]
Policy = Literal["ignore", "zeros", "ones"]


@dataclass(frozen=True)
class Asked:
    """Words that mean something on a cohort only."""

    findings: str = ""
    """The name of a set, or names of findings with commas between them; empty asks for all."""
    uncertain: str = ""
    """A policy for labels of -1, and those of single findings: "zeros,Edema=ones"; empty leaves it as it is."""
    where: str = ""
    """A condition in SQL on films; empty keeps all."""
    find_films: FindFilms | None = None


EVERYTHING = Asked()


def settle(settings: ProbeSettings, cohort: Cohort, asked: Asked) -> tuple[ProbeSettings, Films | None]:
    """Return the settings for a cohort, and which of its films are kept; None keeps all.

    Raises: UsageError for words that do not fit the cohort, DataError when no film is kept.
    """
    names = cohort.finding_names.tolist()
    if asked.findings:
        settings = dataclasses.replace(settings, findings=choose_findings(asked.findings, names, cohort.name))
    if asked.uncertain:
        policy, own = read_policies(asked.uncertain, names, settings.findings or names)
        settings = dataclasses.replace(settings, uncertain=policy, uncertain_by=own)
    condition = " ".join(asked.where.split())
    if not condition:
        return settings, None
    assert asked.find_films is not None, "a condition comes with what can ask it"
    is_kept_N = asked.find_films(cohort, asked.where)
    if not is_kept_N.any():
        raise DataError(
            f"no film of cohort {cohort.name} meets --where {shell_word(hide_values(condition))}", cohort.folder
        )
    digest = hashlib.sha256("\n".join(cohort.image_id[is_kept_N].tolist()).encode()).hexdigest()
    return dataclasses.replace(settings, where=condition, where_sha256=digest), is_kept_N


def read_policies(text: str, known: Sequence[str], chosen: Sequence[str]) -> tuple[Policy, tuple[str, ...] | None]:
    """Return the policy for uncertain labels, and as "NAME=POLICY" where a finding has another one of its own.

    Raises: UsageError for an unknown policy or finding, one that is named twice, or one that is not asked for.
    """
    usual, own = "", dict[str, str]()
    for part in (part.strip() for part in text.split(",")):
        name, equals, policy = part.rpartition("=")
        if policy.strip() not in UNCERTAIN_POLICIES:
            what = f'--uncertain cannot be "{plain(part, 60)}"'
            raise UsageError(what, hint="write ignore, zeros or ones, and for single findings NAME=ones")
        if (bool(equals) and not name.strip()) or (not equals and usual):
            raise UsageError(f'--uncertain says "{plain(part, 60)}" beside another policy for all findings')
        if not equals:
            usual = policy.strip()
            continue
        finding = _find_own(name.strip(), known)
        if finding in own or finding not in chosen:
            why = "is named twice" if finding in own else "is not among --findings"
            raise UsageError(f'--uncertain: "{plain(finding, 60)}" {why}')
        own[finding] = policy.strip()
    usual = usual or "ignore"
    kept = tuple(f"{name}={own[name]}" for name in known if own.get(name, usual) != usual)
    return cast(Policy, usual), kept or None


def _find_own(name: str, known: Sequence[str]) -> str:
    """Return how the cohort calls a finding."""
    if name in known:
        return name
    alike = [each for each in known if canonical_name(each) == canonical_name(name)]
    if not alike:
        raise UsageError(f'--uncertain: there is no finding "{plain(name, 60)}"', hint=nearest_hint(name, known))
    return alike[0]
