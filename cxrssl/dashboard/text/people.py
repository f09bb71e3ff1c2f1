"""A cohort as tables: flow, link, what is known, prevalence, who the people are, overlaps."""

from __future__ import annotations

from collections.abc import Sequence

from cxrssl.core.text import count_noun, plain
from cxrssl.dashboard.people import CohortDetail, Counts, Prevalence
from cxrssl.dashboard.text.cells import NOTHING
from cxrssl.dashboard.text.sheet import Column, Sheet, make_rows

BAR = 20
EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, places: int = BAR) -> str:
    """Return a bar of eighths of a place, as long as the share of `places`."""
    eighths = round(min(max(share, 0.0), 1.0) * places * 8)
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def cohort_line(detail: CohortDetail) -> str:
    """Return what a cohort is."""
    if not detail.name:
        return "no cohort yet: cxrssl ingest makes one, see cxrssl help datasets"
    if detail.problem:
        return f"cohort {plain(detail.name, 80)} cannot be read: {plain(detail.problem, 200)}"
    at = f" ({detail.names.index(detail.name) + 1} of {len(detail.names)})" if len(detail.names) > 1 else ""
    films, subjects = count_noun(detail.num_films, "film"), count_noun(detail.num_subjects, "subject")
    return f"cohort {plain(detail.name, 80)}{at} of {plain(detail.dataset, 40)}: {films} of {subjects}" + (
        f", {plain(detail.link_rule, 100)}" if detail.link_rule else ""
    )


def cohort_sheets(detail: CohortDetail) -> list[Sheet]:
    """Return the tables of a cohort; one without rows is left out."""
    sheets = [
        _count_sheet("Flow", "step", (*detail.flow, ("films in the cohort", detail.num_films)), 0),
        _count_sheet("Rejected rows", "rule", detail.rejected, 0),
        _split_sheet(detail),
        _count_sheet("Link to a hospital stay", "status", detail.link, detail.num_films),
        _count_sheet("Known of films", "feature", detail.known, detail.num_films),
        _prevalence_sheet(detail),
        _count_sheet("Age in years, of films", "age", detail.age, detail.num_films),
        _count_sheet("Sex, of films", "sex", detail.sex, detail.num_films),
        _count_sheet("View", "view", detail.view, detail.num_films),
        _overlap_sheet(detail),
    ]
    return [sheet for sheet in sheets if sheet.rows]


def _count_sheet(title: str, name: str, counts: Counts, total: int) -> Sheet:
    columns = (Column(name, 34, True), Column("films"), Column("share"), Column("", 0, True, 1, is_drawn=True))
    texts = {}
    for at, (what, num) in enumerate(counts):
        share = num / total if total else 0.0
        texts[f"{at}"] = [plain(what, 60), f"{num:,}", f"{share:.1%}" if total else "", bar(share) if total else ""]
    sheet = Sheet(title, columns, make_rows(texts))
    return sheet if total else sheet.without(3).without(2)


def _split_sheet(detail: CohortDetail) -> Sheet:
    texts = {name: [name, f"{films:,}", f"{subjects:,}"] for name, films, subjects in detail.splits}
    columns = (Column("split", 0, True), Column("films"), Column("subjects"))
    return Sheet(f"Split {plain(detail.scheme, 40)}", columns, make_rows(texts))


def _prevalence_sheet(detail: CohortDetail) -> Sheet:
    prevalence = detail.prevalence or {}
    splits = [name for name, *_ in detail.splits]
    columns = (Column("finding", 30, True), *(Column(split) for split in splits), Column("uncertain", 0, False, 1))
    texts = {}
    for finding, by_split in prevalence.items():
        uncertain = sum(each.num_uncertain for each in by_split.values())
        texts[finding] = [plain(finding, 40), *(_share(by_split[split]) for split in splits), f"{uncertain:,}"]
    notes = (
        "blank and uncertain labels are left out here; a probe counts blank ones as absent, unless told otherwise",
    )
    return Sheet("Prevalence: films with the finding, of those labelled", columns, make_rows(texts), notes)


def _share(each: Prevalence) -> str:
    return f"{each.num_pos:,}/{each.num_known:,} {each.num_pos / each.num_known:6.1%}" if each.num_known else NOTHING


def _overlap_sheet(detail: CohortDetail) -> Sheet:
    columns = (Column("cohort", 34, True), Column("subjects"), Column("films"), Column("", 0, True, 1))
    texts = {
        each.other: [
            plain(each.other, 60),
            f"{each.num_subjects:,}" if each.is_same_dataset else NOTHING,
            f"{each.num_films:,}" if each.is_same_dataset else NOTHING,
            "" if each.is_same_dataset else "another dataset: cxrssl cohort audit compares pixels",
        ]
        for each in detail.overlaps
    }
    return Sheet("Shared with other cohorts, by id", columns, make_rows(texts))


def split_in_two(heights: Sequence[int]) -> int:
    """Return how many of the first parts make up about half of the height of all."""
    total, seen = sum(heights), 0
    for at, height in enumerate(heights):
        if seen + height / 2 >= total / 2:
            return max(at, 1)
        seen += height
    return len(heights)
