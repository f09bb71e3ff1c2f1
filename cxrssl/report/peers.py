"""Published numbers of others, and why they do or do not compare with an evaluation of ours.

In: `published.csv`, where each row has its source and how that was read; evaluations. Out: reasons, and a table that is
printed in grey beside ours. Never: a number that compares because a source does not say in what it differs.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from importlib import resources
from typing import NamedTuple

from cxrssl.cohort.finding_names import FINDING_SETS, canonical_name
from cxrssl.core.text import plain
from cxrssl.records.eval_settings import HEAD, SELECTED_ON_TEST, EvalSettings
from cxrssl.records.evaluation import Evaluation
from cxrssl.report.cells import Cell
from cxrssl.report.conditions import show_condition
from cxrssl.report.tables import ReportTable

FILE = "published.csv"
NOT_STATED = "not stated"
NONE = "none"
PATIENTS = "patients"
WITHOUT_UNCERTAIN = ("nih",)
"""Datasets whose labels are never uncertain."""
ENCODERS = ("run", HEAD, "external")
NO = "no: "
TITLE = "Published by others on"
USUAL = "macro AUROC"


@dataclass(frozen=True)
class Peer:
    """A row of `published.csv`: a number as its source prints it, and how it was made; NOT_STATED where that lacks."""

    encoder: str
    size: str
    dataset: str
    findings: str
    """The name of a set of `finding_names`."""
    num_findings: str
    metric: str
    value: str
    lo: str
    hi: str
    scale: str
    """By which the numbers are divided, a power of ten: 100 for those in percent."""
    interval: str
    """What was resampled for it: films or patients; NONE without one."""
    protocol: str
    """fine-tuned, linear, zero-shot, or "fine-tuned or linear" where the source has both."""
    probe: str
    """Which of our protocols trains a head in the same way; empty where none does."""
    labels_pct: str
    """Share of the train labels."""
    split: str
    num_films: str
    """Scored films."""
    resolution_px: str
    labels: str
    """What an uncertain label counts as."""
    selected_on: str
    """Films by which the final model was chosen."""
    source: str
    read: str
    """How the source was read."""
    remark: str

    @property
    def text(self) -> str:
        """The number as a fraction of one with the digits of its source: "0.824", "0.7485 [0.7467, 0.7491]"."""
        value, lo, hi = (self._fraction(each) for each in (self.value, self.lo, self.hi))
        return f"{value} [{lo}, {hi}]" if lo and hi else value

    @property
    def name(self) -> str:
        """Its encoder with its size, where that is stated, and its share of the labels, where that is not all."""
        size = "" if self.size == NOT_STATED else f" ({self.size})"
        share = "" if self.labels_pct in ("100", "0", NOT_STATED) else f", {self.labels_pct} % of the labels"
        return f"{self.encoder}{size}{share}"

    def _fraction(self, text: str) -> str:
        return str(Decimal(text).scaleb(1 - len(self.scale))) if text else ""


class Reason(NamedTuple):
    """Why a number of others does not compare with one of ours."""

    short: str
    """For a cell."""
    long: str
    """For a sentence."""


@functools.cache
def read_peers() -> tuple[Peer, ...]:
    """Return the published numbers, in the order of their file."""
    text = (resources.files("cxrssl") / "report" / FILE).read_text(encoding="utf-8")
    return tuple(Peer(**row) for row in csv.DictReader(text.splitlines()))


def find_reasons(evaluation: Evaluation, peer: Peer) -> tuple[Reason, ...]:
    """Return why a number does not compare with an evaluation; none only where all is stated, and equal.

    What its source does not state is a reason. That the encoders differ is none: it is what a comparison asks.
    """
    checks = (
        _compare_data, _compare_findings, _compare_films, _compare_ways, _compare_labels, _compare_views,
        _compare_selection, _compare_intervals,
    )  # fmt: skip
    return tuple(reason for check in checks for reason in check(evaluation, peer))


def peer_tables(evaluations: Sequence[Evaluation]) -> list[ReportTable]:
    """Return for each dataset that an encoder was scored on what others published; none without such."""
    ours = [each for each in evaluations if each.settings.kind in ENCODERS]
    datasets = dict.fromkeys(each.settings.dataset for each in ours)
    return [table for dataset in datasets if (table := _make_table(dataset, ours)) is not None]


def list_peer_rows(evaluations: Sequence[Evaluation]) -> ReportTable:
    """Return every published number on the datasets of these evaluations as it stands in `published.csv`.

    A last column says why it compares with none of them, or names those that it compares with.
    """
    ours = [each for each in evaluations if each.settings.kind in ENCODERS]
    datasets = {each.settings.dataset for each in ours}
    names = [field.name for field in fields(Peer)]
    peers = [peer for peer in read_peers() if peer.dataset in datasets]
    rows = [[*(getattr(peer, name) for name in names), _judge(ours, peer, "long")] for peer in peers]
    return ReportTable("Published numbers", [*names, "compares"], rows)


def _make_table(dataset: str, ours: Sequence[Evaluation]) -> ReportTable | None:
    peers = [peer for peer in read_peers() if peer.dataset == dataset]
    if not peers:
        return None
    letters: dict[str, str] = {}
    rows: list[list[Cell]] = []
    for peer in peers:
        judged = _judge(ours, peer, "short")
        if judged.startswith(NO):
            judged = f"{NO}{letters.setdefault(judged.removeprefix(NO), _letter(len(letters)))}"
        name = peer.name if peer.metric == USUAL else f"{peer.name}, {peer.metric}"
        rows.append([name, peer.text, judged])
    notes = [
        *(f"{letter}: does not compare: {reasons}." for reasons, letter in letters.items()),
        "Numbers that others published, as their sources print them; they were not made again. What a source does not "
        "state is taken as different.",
        f"Sources: {'; '.join(dict.fromkeys(peer.source for peer in peers))}. All that is known of each is in {FILE}.",
    ]
    shown = plain(dataset, 40)
    columns = ["Encoder", "Macro AUROC", "Compares"]
    return ReportTable(f"{TITLE} {shown}", columns, rows, notes, f"On {shown}", quoted=range(len(rows)))


def _letter(number: int) -> str:
    """Return a, b, ..., z, aa, ab, ..."""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + last)


def _judge(ours: Sequence[Evaluation], peer: Peer, form: str) -> str:
    """Return with which evaluations a number compares; with none, why not with the one that is nearest."""
    here = [each for each in ours if each.settings.dataset == peer.dataset]
    found = [(each, find_reasons(each, peer)) for each in here]
    alike = [each.settings.label for each, reasons in found if not reasons]
    if alike:
        return f"yes, with {', '.join(plain(label, 80) for label in dict.fromkeys(alike))}"
    nearest = min((reasons for _, reasons in found), key=len)
    return NO + "; ".join(getattr(reason, form) for reason in nearest)


def _compare_data(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    here = evaluation.settings.dataset or "another"
    if peer.dataset != here:
        yield Reason(f"on {peer.dataset}", f"it is on {peer.dataset}, ours on {plain(here, 40)}")
    if peer.metric not in ("macro AUROC", "macro AUPRC"):
        yield Reason(f"{peer.metric}, mean not stated", f"it is {peer.metric}, ours are macro means")


def _compare_findings(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    ours = {canonical_name(name) for name, score in evaluation.scores.findings.items() if score.is_defined}
    if peer.findings not in FINDING_SETS:
        yield Reason("findings not stated", "its findings are not stated")
    elif set(FINDING_SETS[peer.findings]) != ours:
        theirs = len(FINDING_SETS[peer.findings])
        short = f"{theirs} findings" if theirs != len(ours) else "other findings"
        yield Reason(short, f"its mean is over {theirs} findings ({peer.findings}), ours over {len(ours)}")


def _compare_films(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    settings, scores = evaluation.settings, evaluation.scores
    own = "official test" if settings.split == "official" else settings.split
    if peer.split == NOT_STATED:
        yield Reason("split not stated", "its split is not stated")
    elif peer.split != own:
        yield Reason(f"split: {peer.split}", f"it is scored on split {peer.split}, ours on {plain(own, 60)}")
    if peer.num_films == NOT_STATED:
        yield Reason("films not stated", "how many films it is scored on is not stated")
    elif peer.num_films != str(scores.num_films):
        films = f"{int(peer.num_films):,}"
        yield Reason(f"{films} films", f"it is scored on {films} films, ours on others")
    if settings.probe.where is not None:
        condition = plain(show_condition(settings.probe.where, settings.probe.where_sha256), 200)
        yield Reason("films here chosen", f"ours are only films where {condition}")


def _compare_ways(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    own, probe = _name_way(evaluation), evaluation.settings.probe
    if peer.protocol == NOT_STATED:
        yield Reason("protocol not stated", "whether it is fine-tuned or linear is not stated")
    elif peer.protocol != own:
        yield Reason(peer.protocol, f"it is {peer.protocol}, ours {own}")
    elif not peer.probe or peer.probe != probe.protocol:
        yield Reason("trained in another way", f"both are {own}, and trained in different ways")


def _name_way(evaluation: Evaluation) -> str:
    """Return how an evaluation of ours came to its scores."""
    settings, head = evaluation.settings, evaluation.scores.head
    if (head is not None and head.is_tuned) or (settings.kind == HEAD and settings.candidate.start):
        return "fine-tuned"
    return "trained on labels" if settings.kind == HEAD else "linear"


def _compare_labels(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    probe = evaluation.settings.probe
    own = "100" if probe.fraction is None else f"{100 * probe.fraction:g}"
    if peer.labels_pct != own:
        yield Reason(f"{peer.labels_pct} % of labels", f"it has {peer.labels_pct} % of the train labels, ours {own} %")
    if peer.dataset in WITHOUT_UNCERTAIN:
        return
    if peer.labels == NOT_STATED:
        yield Reason("label policy not stated", "what an uncertain label counts as is not stated")
    elif peer.labels != probe.uncertain_text:
        long = f"an uncertain label counts as {peer.labels}, in ours as {plain(probe.uncertain_text, 200)}"
        yield Reason(f"uncertain = {peer.labels}", long)


def _compare_views(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    shape = evaluation.settings.candidate.architecture
    own = str(shape.view_px) if shape else "other"
    if peer.resolution_px == NOT_STATED:
        yield Reason("px not stated", "its resolution is not stated")
    elif peer.resolution_px != own:
        yield Reason(f"{peer.resolution_px} px", f"it is at {peer.resolution_px} px, ours at {own}")


def _compare_selection(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    if peer.selected_on == NOT_STATED:
        yield Reason("selection not stated", "on which films its model was chosen is not stated")
    elif peer.selected_on != "val":
        yield Reason("chosen on test", f"its model was chosen on {peer.selected_on} films, so that it is too high")
    if _is_chosen_on_test(evaluation.settings):
        yield Reason("ours chosen on test", "ours was chosen on test films, so that it is too high")
    for seen in (evaluation.settings.leak, evaluation.settings.transductive):
        if seen:
            yield Reason("ours saw test films", f"ours: {plain(seen, 300)}")


def _is_chosen_on_test(settings: EvalSettings) -> bool:
    return settings.probe.selected_on == "test" or settings.label.endswith(SELECTED_ON_TEST)


def _compare_intervals(evaluation: Evaluation, peer: Peer) -> Iterator[Reason]:
    if peer.interval == NONE:
        yield Reason("no interval", "it has no interval")
    elif peer.interval != PATIENTS:
        unit = f"over {peer.interval}" if peer.interval != NOT_STATED else "of a unit that is not stated"
        yield Reason("interval not by patient", f"its interval is {unit}, ours over {PATIENTS}")
