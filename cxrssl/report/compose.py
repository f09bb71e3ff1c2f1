"""The document of a report: what stands in it, and in which order.

In: what was gathered. Out: a Document: first what a reader must know, then results, then how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from cxrssl.audit.checks import Audit, Result
from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.averages import has_seeds
from cxrssl.evaluate.compare import Group, group_evaluations
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.report import ablations
from cxrssl.report.difference_tables import difference_table, seed_difference_table
from cxrssl.report.document import Block, Document, Figure, Item, Listing, Paragraph, Section, file_stem
from cxrssl.report.facts import list_facts, run_table
from cxrssl.report.figure import draw_flow
from cxrssl.report.figures.series import TRAINED
from cxrssl.report.figures.terms import name_file
from cxrssl.report.flow import Flow
from cxrssl.report.gather import Gathered, name_arms
from cxrssl.report.group_tables import list_group_tables
from cxrssl.report.lead import MAX_NAMED as MAX_LED
from cxrssl.report.lead import lead_of_ablations, lead_of_table
from cxrssl.report.learning_tables import learning_tables
from cxrssl.report.lines import Code, Line, map_texts
from cxrssl.report.peers import peer_tables
from cxrssl.report.pictures import Pictures
from cxrssl.report.probe_tables import finding_table, macro_table, name_terms, outcome_sentence
from cxrssl.report.seed_tables import describe_mixed, seed_finding_table, seed_table
from cxrssl.report.small import HIDDEN, NOTE, SHOWN, SmallCells, hide_in_sentence
from cxrssl.report.tables import ReportTable
from cxrssl.report.transfer_tables import fit_tables

MAX_NAMED = 3
"""Runs whose names stand in one line of the audit."""


def compose(gathered: Gathered, small: SmallCells, pictures: Pictures, command: str = "") -> Document:
    """Return the document of a report; each figure stands with the tables that it draws."""
    gathered = name_arms(gathered)
    chosen = gathered.chosen
    blocks: list[Block] = [*_describe_damage(gathered)]
    figures = _place_figures(gathered, pictures)
    of_ablations = {each.name: figures.get(each.name, []) for each in chosen.ablations}
    blocks += ablations.make_section(chosen.ablations, _list_unfinished(gathered), small, of_ablations)
    blocks += _score_sections(gathered, small, figures)
    blocks += [Section("Figures", figures[""], is_detail=True)] if "" in figures else []
    learning = learning_tables(gathered.curves, gathered.numbers, small)
    blocks += [Section("Learning curves", learning)] if learning else []
    fits = fit_tables(chosen.evaluations, gathered.differences)
    blocks += [Section("Other cohorts and calibration", fits)] if fits else []
    others = peer_tables(chosen.evaluations)
    blocks += [Section("Numbers of others", others)] if others else []
    flows = [
        block
        for name, flow in gathered.flows.items()
        for block in flow_blocks(name, flow.hide_small(small), pictures.blocks.get(name))
    ]
    blocks += [Section("Flow of films", flows, is_detail=True)] if flows else []
    blocks += _run_section(gathered, small)
    blocks += _audit_section(gathered, small)
    headline = map_texts(outcome_sentence(chosen.evaluations), lambda text: hide_in_sentence(text, small))
    facts, answer = list_facts(gathered, small, command), _lead(gathered, small)
    document = Document(_title(gathered), headline, facts, blocks, answer)
    note = SHOWN if small == "show" else NOTE if _has_hidden(document) else ""
    about = [Section("About this report", [Paragraph(note, "note")])] if note else []
    return replace(document, blocks=[*blocks, *about])


def _title(gathered: Gathered) -> str:
    """Return what the report is on: the ablation, or the cohorts."""
    names = list(dict.fromkeys(cohort for cohort, _ in gathered.chosen.probed))
    cohorts = f"cohort {names[0]}" if len(names) == 1 else count_noun(len(names), "cohort")
    choice = gathered.choice
    return f"Report on ablation {choice.ablation}, {cohorts}" if choice.ablation else f"Report on {cohorts}"


def _has_hidden(document: Document) -> bool:
    texts = (text for table in document.tables for row in table.texts() for text in row)
    return any(HIDDEN in text for text in texts) or HIDDEN in repr(document)


def _place_figures(gathered: Gathered, pictures: Pictures) -> dict[str, list[Block]]:
    """Return the figures by the name of their ablation, by the terms of their table, and all others under ""."""
    places = {f"forest-ablation-{file_stem(each.name)}": each.name for each in gathered.chosen.ablations}
    places |= {name_file(table): table[0].settings.terms for table in gathered.tables}
    placed: dict[str, list[Block]] = {}
    for name, block in ((name, block) for name, block in pictures.blocks.items() if name not in gathered.flows):
        place = next((place for mark, place in places.items() if mark in name), "")
        placed.setdefault(place, []).append(block)
    return placed


def _lead(gathered: Gathered, small: SmallCells) -> list[Line]:
    """Return what was found: what ablations declared, else the scores of the first tables."""
    if gathered.chosen.ablations:
        return lead_of_ablations(gathered.chosen.ablations)
    by_terms = {table[0].settings.terms: table for table in gathered.tables}
    lines = []
    for group in group_evaluations(gathered.chosen.evaluations)[:MAX_LED]:
        table = by_terms[group[0].settings.terms]
        terms = name_terms(group[0].settings)
        kinds = [each.settings.kind for each in (table if has_seeds(table) else group)]
        trained = [at for at, kind in enumerate(kinds) if kind in TRAINED]
        main = _main_tables(gathered, group, table, small)[0]
        lines.append(lead_of_table(f"{terms[:1].upper()}{terms[1:]}", main, trained))
    return [line for line in lines if line]


def _describe_damage(gathered: Gathered) -> list[Block]:
    damage = gathered.chosen.damage
    if not damage:
        return []
    items = [Item(plain(each.sentence, 600)) for each in damage]
    return [Section("Not read, or not in full", [Listing(items, "warning")])]


def _list_unfinished(gathered: Gathered) -> list[str]:
    """Return the ablations that have no table yet."""
    if not gathered.choice.is_all:
        return []
    seen = {each.name for each in gathered.published.ablations}
    seen |= {each.name for each in gathered.published.damage if each.kind == ABLATION}
    return [name for name in gathered.workspace.ablation_names() if name not in seen]


def _score_sections(gathered: Gathered, small: SmallCells, figures: Mapping[str, Sequence[Block]]) -> list[Section]:
    """Return a section for what was scored on equal terms: means over seeds, single evaluations, then details."""
    by_terms = {table[0].settings.terms: table for table in gathered.tables}
    sections = []
    for group in group_evaluations(gathered.chosen.evaluations):
        table = by_terms[group[0].settings.terms]
        terms = name_terms(group[0].settings)
        drawn = figures.get(group[0].settings.terms, ())
        details = [*_detail_tables(gathered, group, table, small), *drawn[1:]]
        blocks: list[Block] = [*_main_tables(gathered, group, table, small), *drawn[:1]]
        blocks += [Section("By finding and by group", details, is_detail=True)] if details else []
        sections.append(Section(terms[:1].upper() + terms[1:], blocks))
    return sections


def _main_tables(gathered: Gathered, group: Group, table: Sequence[SeedGroup], small: SmallCells) -> list[ReportTable]:
    single = macro_table(group, gathered.differences, small, gathered.pin)
    mixed = describe_mixed(table)
    single = replace(single, notes=[*([mixed] if mixed else []), *single.notes])
    if not has_seeds(table):
        return [single]
    return [seed_table(table, gathered.averages, gathered.pin), replace(single, is_detail=True)]


def _detail_tables(
    gathered: Gathered, group: Group, table: Sequence[SeedGroup], small: SmallCells
) -> list[ReportTable]:
    if has_seeds(table):
        tables = [
            seed_finding_table(table, gathered.averages, small),
            seed_difference_table(table, gathered.averages, gathered.pin),
        ]
    else:
        tables = [finding_table(group, small), difference_table(group, gathered.differences, gathered.pin)]
    return [each for each in (*tables, *list_group_tables(group, small)) if each.rows]


def flow_blocks(name: str, flow: Flow, drawn: Block | None = None) -> list[Block]:
    """Return the table and the figure of a flow, whose small counts are hidden; `drawn` is the one for print."""
    table = flow.to_table()
    if isinstance(drawn, Figure):
        return [table, drawn]
    steps = "; ".join(f"{what}: {films}" for what, films in table.texts())
    return [table, Figure(name, flow.title, f"{flow.title}. {steps}", draw_flow(flow).encode())]


def _run_section(gathered: Gathered, small: SmallCells) -> list[Section]:
    """Return the runs, and from which archive imported evaluations are."""
    blocks: list[Block] = [run_table(gathered, small)] if gathered.chosen.runs else []
    imported = [each for each in gathered.chosen.evaluations if each.imported]
    if imported:
        items = [Item([Code(each.eval_id), f": {plain(each.imported.sentence, 600)}"]) for each in imported]
        blocks += [Paragraph("Imported, without what was predicted of each film:"), Listing(items)]
    return [Section("Runs", blocks, is_detail=True)] if blocks else []


def _audit_section(gathered: Gathered, small: SmallCells) -> list[Section]:
    """Return a line for each cohort, pair of cohorts and run, and one for all evaluations; runs alike share one."""
    if gathered.audit is None:
        return [Section("Audit", [Paragraph("Not made, the workspace holds no cohort.")], is_detail=True)]
    groups: dict[str, list[Result]] = {}
    for result in gathered.audit:
        about = result.about.split(" on cohort ")[0] if result.about.startswith("run ") else result.about
        groups.setdefault("evaluations" if about.startswith(("evaluation ", "all ")) else about, []).append(result)
    said = [(about, _say(group, small)) for about, group in groups.items()]
    items = []
    for (_, (line, findings)), alike in groupby(said, key=lambda each: (each[0].startswith("run "), each[1])):
        names = [about for about, _ in alike]
        for chunk in [names] if names[0].startswith("run ") else [[name] for name in names]:
            inner = [Item(finding) for finding in findings]
            items.append(Item(f"{_name(chunk)}: {line}", inner))
    return [Section("Audit", [Listing(items)], is_detail=True)]


def _say(results: Sequence[Result], small: SmallCells) -> tuple[str, tuple[str, ...]]:
    audit = Audit(tuple(results))
    findings = (f"{each.severity}: {each.code}: {plain(each.finding)}" for each in audit.findings)
    return audit.line(), tuple(hide_in_sentence(finding, small) for finding in findings)


def _name(about: Sequence[str]) -> str:
    """Return what lines are about, those of many runs as one."""
    if len(about) == 1:
        return plain(about[0], 200)
    names = [plain(each.removeprefix("run "), 120) for each in about]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{count_noun(len(names), 'run')} alike ({', '.join(names[:MAX_NAMED])}{more}), each"
