"""Published numbers: each with its source, and none that compares where a fact differs or is not stated."""

from __future__ import annotations

import csv
import re
from dataclasses import fields, replace
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest

from cxrssl.cohort.finding_names import FINDING_SETS, NIH_14
from cxrssl.cohort.sources import nih
from cxrssl.evaluate.protocol import protocol_names
from cxrssl.records.eval_settings import CandidateSettings, EvalSettings, ProbeSettings
from cxrssl.records.evaluation import EvalScores, Evaluation
from cxrssl.records.features import Architecture
from cxrssl.records.scores import HeadChoice
from cxrssl.report.peers import NOT_STATED, Peer, find_reasons, list_peer_rows, peer_tables, read_peers
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import FindingScore

SHAPE = Architecture("vit-tiny", 16, 224, 0.5, 0.3, seed=0)
NUMBER = Interval(0.8, 0.79, 0.81, 1000, 1000, 50)
DATASETS = ("nih", "chexpert", "mimic")
METRICS = ("macro AUROC", "macro AUPRC", "AUROC", "AUPRC")
PROTOCOLS = ("fine-tuned", "linear", "zero-shot", "fine-tuned or linear", NOT_STATED)
ALIKE = Peer(
    encoder="one of theirs", size="ViT-T", dataset="nih", findings="nih14", num_findings="14", metric="macro AUROC",
    value="82.4", lo="81.9", hi="82.9", scale="100", interval="patients", protocol="linear", probe="cxformer",
    labels_pct="100", split="official test", num_films="25596", resolution_px="224", labels="none",
    selected_on="val", source="a paper", read="read", remark="",
)  # fmt: skip


def make_evaluation(
    findings: tuple[str, ...] = nih.FINDINGS,
    num_films: int = 25596,
    protocol: str | None = "cxformer",
    **changes: object,
) -> Evaluation:
    """Return an evaluation that ALIKE compares with."""
    score = FindingScore(NUMBER, NUMBER, 200, 0, 50, 50, 150)
    scores = EvalScores(dict.fromkeys(findings, score), NUMBER, NUMBER, num_films, 2797, 1000, 0.95, 0)
    settings = EvalSettings(
        candidate_id="nih-msn", kind="run", label="MSN", candidate=CandidateSettings((), architecture=SHAPE),
        is_outcome_used=False, cohort="nih", split="official", cohort_sha256="c", images_sha256="i", dataset="nih",
        probe=ProbeSettings(protocol=protocol, selected_on="val" if protocol else None),
    )  # fmt: skip
    return Evaluation("nih-msn-on-nih", replace(settings, **changes), scores, Path("nowhere"), "sha")  # type: ignore[arg-type]


OURS = make_evaluation()


def test_each_row_has_its_source_its_protocol_and_a_number() -> None:
    assert len(read_peers()) > 50
    for peer in read_peers():
        for field in fields(Peer):
            if field.name not in ("lo", "hi", "probe", "remark"):
                assert getattr(peer, field.name).strip(), (peer.name, field.name)
        assert peer.protocol in PROTOCOLS
        assert peer.metric in METRICS
        assert peer.selected_on in ("val", "test", NOT_STATED)
        assert peer.source.startswith(("github ", "arXiv ", "Nature Communications"))
        assert "read" in peer.read or "abstract" in peer.read
        assert 0.05 < Decimal(peer.value) / Decimal(peer.scale) < 1
        assert bool(peer.lo) == bool(peer.hi) == (peer.interval != "none")


def test_the_findings_of_a_row_are_a_known_set_of_that_many() -> None:
    for peer in read_peers():
        assert peer.findings == peer.num_findings == NOT_STATED or str(len(FINDING_SETS[peer.findings])) == (
            peer.num_findings
        )


def test_no_row_is_there_twice() -> None:
    keys = [(p.encoder, p.size, p.dataset, p.metric, p.labels_pct, p.source) for p in read_peers()]
    assert len(set(keys)) == len(keys)


def test_the_file_has_a_line_a_row_and_no_formula() -> None:
    text = (resources.files("cxrssl") / "report" / "published.csv").read_text(encoding="utf-8")
    lines = list(csv.reader(text.splitlines()))
    assert {len(line) for line in lines} == {len(fields(Peer))}
    assert not [cell for line in lines for cell in line if cell.startswith(("=", "+", "-", "@"))]


def test_no_published_number_compares_with_any_evaluation_of_ours() -> None:
    """None that is known states all that a comparison needs, whatever of ours stands beside it."""
    for dataset in DATASETS:
        for protocol in (None, "cxformer", "paper"):
            for findings in (*FINDING_SETS.values(), nih.FINDINGS):
                ours = make_evaluation(tuple(findings), protocol=protocol, dataset=dataset)
                assert all(find_reasons(ours, peer) for peer in read_peers())


def test_a_number_whose_every_fact_is_stated_and_equal_compares() -> None:
    assert find_reasons(OURS, ALIKE) == ()


@pytest.mark.parametrize(
    ("field", "value", "short"),
    [
        ("dataset", "chexpert", "on chexpert"),
        ("metric", "AUROC", "AUROC, mean not stated"),
        ("findings", "nih8", "8 findings"),
        ("findings", "mimic14", "other findings"),
        ("findings", NOT_STATED, "findings not stated"),
        ("split", "official val", "split: official val"),
        ("split", NOT_STATED, "split not stated"),
        ("num_films", "612", "612 films"),
        ("num_films", NOT_STATED, "films not stated"),
        ("protocol", "fine-tuned", "fine-tuned"),
        ("protocol", "fine-tuned or linear", "fine-tuned or linear"),
        ("protocol", NOT_STATED, "protocol not stated"),
        ("probe", "", "trained in another way"),
        ("labels_pct", "10", "10 % of labels"),
        ("resolution_px", "518", "518 px"),
        ("resolution_px", NOT_STATED, "px not stated"),
        ("selected_on", "test", "chosen on test"),
        ("selected_on", NOT_STATED, "selection not stated"),
        ("interval", "none", "no interval"),
        ("interval", "films", "interval not by patient"),
        ("interval", NOT_STATED, "interval not by patient"),
    ],
)
def test_one_fact_that_differs_or_is_not_stated_is_the_reason(field: str, value: str, short: str) -> None:
    reasons = find_reasons(OURS, replace(ALIKE, **{field: value}))
    assert short in [reason.short for reason in reasons]
    assert all(reason.long for reason in reasons)


@pytest.mark.parametrize(
    ("ours", "short"),
    [
        (make_evaluation(nih.FINDINGS[:8]), "14 findings"),
        (make_evaluation(num_films=1002), "25,596 films"),
        (make_evaluation(split="5-folds"), "split: official test"),
        (make_evaluation(protocol=None), "trained in another way"),
        (make_evaluation(kind="head"), "linear"),
        (make_evaluation(leak="it saw 3 test films"), "ours saw test films"),
        (make_evaluation(transductive="it saw films that folds score"), "ours saw test films"),
        (make_evaluation(label="MSN, selected on test"), "ours chosen on test"),
        (make_evaluation(probe=ProbeSettings(protocol="cxformer", where="view = 'PA'")), "films here chosen"),
        (make_evaluation(probe=ProbeSettings(protocol="cxformer", fraction=0.1, draw=0)), "100 % of labels"),
        (make_evaluation(candidate=CandidateSettings(())), "224 px"),
    ],
)
def test_what_is_unlike_on_our_side_is_a_reason_too(ours: Evaluation, short: str) -> None:
    assert short in [reason.short for reason in find_reasons(ours, ALIKE)]


def test_a_fine_tuned_encoder_of_ours_is_no_linear_one_and_shares_the_protocol_but_not_the_choice() -> None:
    head = HeadChoice("fine-tuned, class token", 1e-3, 45, 45, "test", 0.8)
    ours = make_evaluation(probe=ProbeSettings(protocol="evax", selected_on="test"), label="MSN, selected on test")
    ours = replace(ours, scores=replace(ours.scores, head=head))
    eva = next(peer for peer in read_peers() if peer.encoder == "EVA-X-Ti" and peer.dataset == "nih")
    shorts = [reason.short for reason in find_reasons(ours, eva)]
    assert shorts == ["chosen on test", "ours chosen on test", "no interval"]
    assert "linear" in [reason.short for reason in find_reasons(ours, ALIKE)]


def test_the_protocols_that_rows_name_are_those_of_the_package() -> None:
    assert {peer.probe for peer in read_peers()} - {""} <= set(protocol_names())


def test_an_uncertain_label_counts_alike_where_the_dataset_has_such_labels() -> None:
    ours = make_evaluation(FINDING_SETS["mimic14"], dataset="mimic")
    peer = replace(ALIKE, dataset="mimic", findings="mimic14", labels="zeros")
    assert [reason.short for reason in find_reasons(ours, peer)] == ["uncertain = zeros"]
    assert "label policy not stated" in [r.short for r in find_reasons(ours, replace(peer, labels=NOT_STATED))]
    alike = make_evaluation(
        FINDING_SETS["mimic14"], dataset="mimic", probe=ProbeSettings(protocol="cxformer", uncertain="zeros")
    )
    assert find_reasons(alike, peer) == ()


def test_numbers_keep_the_digits_of_their_source() -> None:
    texts = {(p.encoder, p.size, p.dataset, p.metric): p.text for p in read_peers()}
    assert texts["EVA-X-Ti", "ViT-Ti/16, 6 M", "nih", "macro AUROC"] == "0.824"
    assert texts["DINOv2 (natural images)", "ViT-B/14", "nih", "macro AUROC"] == "0.7485 [0.7467, 0.7491]"
    assert texts["BiomedCLIP", "ViT-B/16", "nih", "macro AUROC"] == "0.7930 [0.7910, 0.7931]"
    assert texts["vanilla MSN", "ViT-T, 5.7 M", "nih", "macro AUPRC"] == "0.2082"


def test_the_table_names_its_sources_and_says_no_with_a_reason() -> None:
    (table,) = peer_tables([OURS])
    assert table.title == "Published by others on nih"
    assert all(re.fullmatch("no: [a-z]", str(row[-1])) for row in table.rows)
    assert "hustvl/EVA-X" in table.note
    assert set(table.quoted) == set(range(len(table.rows)))
    eva = next(row for row in table.rows if str(row[0]).startswith("EVA-X-Ti"))
    assert eva == ["EVA-X-Ti (ViT-Ti/16, 6 M)", "0.824", "no: a"]
    assert table.rows[-1][:2] == ["vanilla MSN (ViT-T, 5.7 M), macro AUPRC", "0.2082"]
    assert table.notes[0] == "a: does not compare: fine-tuned; chosen on test; no interval."
    letters = {str(row[-1]).removeprefix("no: ") for row in table.rows}
    assert {str(note)[0] for note in table.notes if "does not compare" in str(note)} == letters


def test_a_dataset_that_nobody_published_on_has_no_table() -> None:
    assert peer_tables([make_evaluation(dataset="covid")]) == []
    assert peer_tables([make_evaluation(kind="pixels")]) == []


def test_a_number_that_compares_names_what_it_compares_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrssl.report.peers.read_peers", lambda: (ALIKE,))
    (table,) = peer_tables([OURS, make_evaluation(num_films=7)])
    assert table.rows[0][-1] == "yes, with MSN"


def test_every_fact_of_a_row_is_in_the_rows_for_programs() -> None:
    table = list_peer_rows([OURS])
    assert table.columns == [*(field.name for field in fields(Peer)), "compares"]
    assert len(table.rows) == sum(peer.dataset == "nih" for peer in read_peers())
    assert all(str(row[-1]).startswith("no: it ") or "not stated" in str(row[-1]) for row in table.rows)


def test_nih_calls_fourteen_findings_as_the_set_does() -> None:
    assert find_reasons(make_evaluation(NIH_14), ALIKE) == find_reasons(OURS, ALIKE) == ()
