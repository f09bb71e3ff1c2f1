"""`cxrssl help`: the manual, one file a topic in `cxrssl/manual/`, whose first line is "# topic: what it is about"."""

from __future__ import annotations

from importlib import resources
from typing import Annotated

import typer

from cxrssl.core.columns import align_rows
from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

FIRST = "overview"


def complete_topic(incomplete: str) -> list[str]:
    """Return the topics that begin as typed."""
    return [name for name in topic_names() if name.startswith(incomplete)]


def show_topic(
    context: typer.Context,
    topic: Annotated[
        str, typer.Argument(help="Topic; left out, all topics are listed.", autocompletion=complete_topic)
    ] = "",
) -> None:
    """Show a topic of the manual, or list the topics.

    Example: cxrssl help films
    """
    if not topic:
        typer.echo("\n".join(list_topics()))
        return
    if topic not in topic_names():
        commands = getattr(context.find_root().command, "commands", {})
        hint = f"cxrssl {topic} --help" if topic in commands else nearest_hint(topic, topic_names())
        raise UsageError(f'there is no topic "{plain(topic, 60)}"', hint=hint)
    typer.echo(read_topic(topic), nl=False)


def topic_names() -> list[str]:
    """Return the topics in the order in which they are listed."""
    files = (file.name for file in (resources.files("cxrssl") / "manual").iterdir())
    names = sorted(name.removesuffix(".md") for name in files if name.endswith(".md"))
    return sorted(names, key=lambda name: name != FIRST)


def read_topic(name: str) -> str:
    """Return the text of a topic."""
    return (resources.files("cxrssl") / "manual" / f"{name}.md").read_text(encoding="utf-8")


def list_topics() -> list[str]:
    """Return a line for each topic, and how to read one."""
    titles = {name: read_topic(name).partition("\n")[0].partition(": ")[2] for name in topic_names()}
    how = "read one: cxrssl help TOPIC; the options of a command: cxrssl COMMAND --help"
    return [*align_rows(list(titles.items())), "", how]
