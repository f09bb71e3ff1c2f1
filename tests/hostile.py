"""Texts that try to leave the place where they are shown, seeded; and what may not be left of them."""

from __future__ import annotations

import random
import re
import unicodedata
from html.parser import HTMLParser

PIECES = [
    "\x1b[31m", "\x1b]52;c;b3duZWQ=\x07", "\x1b]0;title\x07", "\x9b2J", "\x90q\x9c", "\r", "\n", "\t", "\x00", "\x7f",
    "\x08", "\u202e", "\u200b", "\u2066", "\ufeff", "\u2028", "\U000e0041", "\ufffe", "\udcff", "\u0301", "名", "ß",
    "🫁", "é", "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "</title>", "]]>", "<!--", "&lt;b&gt;",
    "&#106;", "&amp;", "[x](javascript:alert(1))", "![x](https://evil.example/p.png)", "https://evil.example",
    "www.evil.example", "[a]: http://b", "<https://evil.example>", "javascript:alert(1)", "[/nope]",
    "[link=https://evil.example]x[/link]", "[bold red]", "`", "```", "``", "|", "\\|", "\\", "**b**", "__b__", "~~s~~",
    "$x$", "# h", "- i", "1. i", "> q", "---", "===", "    code", "=1+1", "=HYPERLINK(\"https://evil.example\")",
    "@SUM(1)", "+1+cmd|' /C calc'!A0", "-2+3", "'", "\"", "\"\"", ",", ";", "＝1+1", "{0}", "{x!r}", "%s",
    "$(touch owned)", "`touch owned`", "'; DROP TABLE film; --", "../../etc/passwd", "a" * 300, " ", "Edema",
    "No Finding", "-0.5", "1e5", "NULL", "nan",
]  # fmt: skip


def hostile_texts(num: int, seed: int) -> list[str]:
    """Return `num` different texts: the pieces alone first, then joined at random."""
    rng = random.Random(seed)
    texts = dict.fromkeys(PIECES)
    while len(texts) < num:
        chosen = [rng.choice(PIECES) for _ in range(rng.randint(1, 4))]
        chosen += [chr(rng.choice([rng.randrange(1, 256), rng.randrange(0x2000, 0x2100), rng.randrange(1, 0xD800)]))]
        rng.shuffle(chosen)
        texts["".join(chosen)] = None
    return list(texts)[:num]


def unsafe_chars(text: str, allowed: str = "\n") -> set[str]:
    """Return the characters of a text that may drive a terminal."""
    bad = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    return {char for char in text if char not in allowed and unicodedata.category(char) in bad}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def tags_of(markdown: str) -> list[tuple[str, dict[str, str | None]]]:
    """Return the tags, with attributes, that GitHub's Markdown makes of a text; HTML in it is taken as HTML."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True, "linkify": True}).enable(["table", "strikethrough", "linkify"])
    parser.linkify.set({"fuzzy_link": True, "fuzzy_email": True})  # type: ignore[union-attr]
    tags = _Tags()
    tags.feed(parser.render(markdown))
    return tags.seen


def runs_in_a_spreadsheet(cell: str) -> bool:
    """Return whether a spreadsheet may take a cell of CSV for a formula."""
    is_number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell)
    is_formula = not is_number and cell.lstrip()[:1] in {*"=+-@＝＋－＠"}
    return is_formula or cell[:1] in {"\t", "\r", "\n"}
