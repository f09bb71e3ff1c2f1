"""Every leak by its name, with severity and remedy, and the results of checks. Stdlib only.

In: findings of the other modules. Out: results with counts, as lines, as JSON and as a refusal.
Never: an id of a subject or a film: examples are rows of films.npz.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from cxrssl.core.errors import LeakageError
from cxrssl.core.text import count_noun

Severity = Literal["refuse", "warn"]
MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Check:
    """One leak by name."""

    code: str
    severity: Severity
    """`refuse`: no number on the test set is worth anything; `warn`: reported, and left to the reader."""
    hint: str


_AGAIN = "run cxrssl ingest again"
_LEFT_OUT = "pretrain and probe leave out the film of the earlier split"
_PRETRAIN_ON_TRAIN = "pretrain on train films only, or probe with the split the run was pretrained on"
_TABLE: tuple[tuple[str, Severity, str], ...] = (
    # ---- ids and splits of a cohort
    ("subject-unknown", "refuse", "films without a subject cannot be kept apart: leave them out"),
    ("image-twice", "refuse", _AGAIN),
    ("image-under-two-subjects", "refuse", "find out whose film it is, or leave it out"),
    ("file-twice", "refuse", "each file is one film: correct the table of films"),
    ("study-under-two-subjects", "refuse", "find out whose study it is, or leave it out"),
    ("subject-in-two-splits", "refuse", "split by subject: cxrssl ingest does"),
    ("film-without-split", "warn", "no number includes these films; is the split file complete?"),
    ("split-changed", "refuse", "the split is not the one that was made: " + _AGAIN),
    # ---- pixels of a cohort
    ("identical-films-in-two-splits", "warn", _LEFT_OUT),
    ("near-films-in-two-splits", "warn", _LEFT_OUT),
    ("identical-films-under-two-subjects", "warn", "one person may have two ids: join them, as COVID's groups do"),
    ("films-of-another-cohort", "refuse", "pack them again: cxrssl ingest"),
    ("films-look-odd", "warn", "look at these films, named in noted.csv of the pack: cxrssl help films"),
    ("headers-contradict", "warn", "see in noted.csv of the pack which rule decided: cxrssl help films"),
    # ---- values of a cohort
    ("link-outside-stay", "refuse", "the film carries the record of another stay: " + _AGAIN),
    ("film-after-death", "warn", "the film, the death or the person is wrong: look at these rows"),
    ("unknown-counted-as-no", "warn", "link by time: outside every stay the outcome is unknown"),
    ("value-outside-window", "refuse", "the record was not known at the film: " + _AGAIN),
    ("feature-reveals-target", "warn", "leave the feature out, or do not score that finding"),
    ("film-shape-reveals-target", "warn", "classes come from different sources: a probe may read the source"),
    ("changed-after-publication", "refuse", "make it again: cxrssl ingest, for films after their folder is deleted"),
    ("audit-stopped", "refuse", "what follows is not checked; if the data are right, this is a bug: report it"),
    ("arrays-differ-from-database", "refuse", "films.npz is not of this cohort.duckdb: " + _AGAIN),
    # ---- a run against the test films of a cohort
    ("pretrained-on-test-film", "refuse", _PRETRAIN_ON_TRAIN),
    ("pretrained-on-test-subject", "refuse", _PRETRAIN_ON_TRAIN),
    ("pretrained-on-identical-film", "refuse", "leave these films out of one of the two cohorts"),
    ("pretrained-on-near-film", "refuse", "look at the pairs; leave these films out of one of the two cohorts"),
    (
        "start-films-unknown",
        "warn",
        "say beside the number that its start may have seen the test films",
    ),
    ("transductive", "warn", "say beside the number that pretraining saw the films, without their labels"),
    ("outcome-undeclared", "refuse", "declare it: ehr.may_use_outcomes = true, or name it with cxrssl pretrain --ehr"),
    ("target-was-input", "refuse", "a target that was an input cannot be scored: choose other features"),
    ("fitted-outside-train", "refuse", "fit on train rows alone"),
    (
        "imputed-with-test-rows",
        "warn",
        "the published code does so; cxrssl pretrain --set ehr.missing=mask does not",
    ),
    ("cohort-changed-since-run", "warn", "the run saw another state of its cohort: pretrain again"),
    ("films-not-listed", "refuse", "the films that the run has seen are unknown: pretrain again"),
    ("record-damaged", "warn", "bring the file back, or delete the folder: tables leave out what it held"),
    # ---- evaluations
    ("known-after-film", "refuse", "it is not known yet when the film is taken: leave the feature out"),
    ("scored-other-films", "refuse", "probe again: exactly the test films are to be scored"),
    ("scored-other-labels", "refuse", "probe again: the labels are not those of the cohort"),
    ("leak-not-reported", "refuse", "probe again: every report must name it"),
    ("test-set-reused", "warn", "name the setting that was fixed beforehand, or report all of them"),
)
CHECKS = {code: Check(code, severity, hint) for code, severity, hint in _TABLE}


@dataclass(frozen=True)
class Result:
    """What one check found about one thing."""

    code: str
    compared: str
    """What was looked at, in words with a count; or why it was not."""
    finding: str = ""
    """One sentence with counts; empty when there is nothing."""
    examples: tuple[int, ...] = ()
    """A few rows of films.npz of the cohort that is audited."""
    severity: Severity | Literal["ok", "skipped"] = "ok"
    about: str = ""

    @property
    def hint(self) -> str:
        return CHECKS[self.code].hint if self.finding else ""


def pass_check(code: str, compared: str) -> Result:
    """Return the result of a check that found nothing."""
    return Result(CHECKS[code].code, compared)


def skip_check(code: str, why: str) -> Result:
    """Return the result of a check that could not be made."""
    return Result(CHECKS[code].code, f"not compared: {why}", severity="skipped")


def report_finding(
    code: str, compared: str, finding: str, examples: Iterable[int] = (), severity: Severity | None = None
) -> Result:
    """Return the result of a check by what it found; one that found nothing has passed."""
    check = CHECKS[code]
    if not finding:
        return pass_check(code, compared)
    return Result(code, compared, finding, tuple(examples)[:MAX_EXAMPLES], severity or check.severity)


@dataclass(frozen=True)
class Audit:
    """Results in the order in which they were made."""

    results: tuple[Result, ...]

    @property
    def findings(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.finding)

    @property
    def refusals(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.severity == "refuse")

    @property
    def by_subject(self) -> dict[str, Audit]:
        """The audit of each thing alone, by what it is."""
        groups: dict[str, list[Result]] = {}
        for result in self.results:
            groups.setdefault(result.about, []).append(result)
        return {about: Audit(tuple(results)) for about, results in groups.items()}

    @property
    def codes(self) -> set[str]:
        """Codes of what was found."""
        return {result.code for result in self.findings}

    def line(self) -> str:
        """Return the audit in one line, such as "33 checks, 1 finding (film-after-death), 2 not compared"."""
        num_skipped = sum(result.severity == "skipped" for result in self.results)
        parts = [count_noun(len(self.results) - num_skipped, "check"), count_noun(len(self.findings), "finding")]
        if self.findings:
            parts[-1] += f" ({', '.join(dict.fromkeys(result.code for result in self.findings))})"
        return ", ".join(parts + ([f"{num_skipped} not compared"] if num_skipped else []))

    def to_dict(self) -> dict[str, Any]:
        results = [{**asdict(result), "hint": result.hint} for result in self.results]
        return {"line": self.line(), "num_refused": len(self.refusals), "results": results}


def make_audit(about: str, results: Sequence[Result]) -> Audit:
    """Return the results as an audit of `about`."""
    return Audit(tuple(replace(result, about=about) for result in results))


def refuse(audit: Audit, where: str) -> None:
    """Raise LeakageError if anything in the audit refuses: the first finding, and how many more there are."""
    if audit.refusals:
        first, *more = audit.refusals
        others = f"; and {', '.join(dict.fromkeys(result.code for result in more))}" if more else ""
        raise LeakageError(f"{first.code}: {first.finding}{others}", where, first.hint)
