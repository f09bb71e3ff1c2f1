"""The options of `cxrssl probe` and `cxrssl predict` for an encoder that others trained."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    from cxrssl.model.external import ExternalChoices
    from cxrssl.records.external import ExternalSource

PANEL = "An encoder of others"
ExternalPath = Annotated[
    Path | None,
    typer.Option(
        "--external",
        help="A safetensors file, or a folder of timm or Hugging Face (ViT, DINOv2); see cxrssl help probing.",
        metavar="PATH",
        rich_help_panel=PANEL,
    ),
]
Architecture = Annotated[
    str, typer.Option("--arch", help="Of a file: timm's name, or vit-tiny etc.", metavar="NAME", rich_help_panel=PANEL)
]
InputPx = Annotated[
    int,
    typer.Option(
        "--input-px", help="Side of the film [as the files say].", metavar="PX", min=0, max=1024, rich_help_panel=PANEL
    ),
]
PixelMean = Annotated[
    str,
    typer.Option("--pixel-mean", help="Of pixels in [0, 1], one or three [as the files say].", metavar="LIST",
                 rich_help_panel=PANEL),
]  # fmt: skip
PixelStd = Annotated[
    str,
    typer.Option("--pixel-std", help="Deviation of pixels [as the files say].", metavar="LIST", rich_help_panel=PANEL),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(help="Tensors that are no part of it, as 'head*'; repeatable.", metavar="PATTERN",
                 rich_help_panel=PANEL),
]  # fmt: skip
SeenFilms = Annotated[
    Path | None,
    typer.Option(help="List of its training films, by id; without it unknown.", metavar="FILE", rich_help_panel=PANEL),
]


OPTIONS: dict[str, tuple[Any, Any]] = {
    "external": (ExternalPath, None),
    "arch": (Architecture, ""),
    "input_px": (InputPx, 0),
    "pixel_mean": (PixelMean, ""),
    "pixel_std": (PixelStd, ""),
    "ignore": (Ignore, None),
    "seen_films": (SeenFilms, None),
}
"""Name -> kind and default, in the order of the fields of ExternalOptions."""


class ExternalOptions(NamedTuple):
    """The options as they were typed."""

    path: Path | None
    arch: str
    input_px: int
    pixel_mean: str
    pixel_std: str
    ignore: list[str] | None
    seen_films: Path | None = None

    def check(self, run: str, encoder: str) -> None:
        """Raise UsageError unless there is either a run, with the name of its encoder, or an encoder of others."""
        if self.path is not None and encoder != "target":
            raise UsageError("--encoder names an encoder of a run, and says nothing with --external")
        self.check_alone()
        if bool(run) == bool(self.path):
            what = "no run was named" if not run else "a run and --external exclude each other"
            raise UsageError(what, hint="cxrssl probe RUN, or --external PATH for an encoder of others")

    def check_alone(self) -> None:
        """Raise UsageError for an option that needs --external, where that is not there."""
        if self.path is None and any(self):
            named = next(name for name, value in zip(self._fields, self, strict=True) if value)
            raise UsageError(f"--{named.replace('_', '-')} says nothing without --external", hint="cxrssl help probing")

    def choices(self) -> ExternalChoices:
        """Return what the options say. Raises: UsageError."""
        from cxrssl.model.external import ExternalChoices

        assert self.path is not None, "checked"
        mean, std = read_numbers(self.pixel_mean, "--pixel-mean"), read_numbers(self.pixel_std, "--pixel-std")
        return ExternalChoices(self.path, self.arch, self.input_px, mean, std, tuple(self.ignore or ()))


NO_FILES = ExternalOptions(None, "", 0, "", "", None)


def takes_external(*, has_seen_films: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of an encoder of others in place of its parameter `files`, an ExternalOptions."""
    names = [name for name in OPTIONS if has_seen_films or name != "seen_films"]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def taken(**values: Any) -> None:
            files = ExternalOptions(*(values.pop(name) for name in names))
            command(**values, files=files)

        own = inspect.signature(command, eval_str=True)
        options = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
            for name, (kind, default) in ((name, OPTIONS[name]) for name in names)
        ]
        parameters = []
        for each in own.parameters.values():
            parameters += options if each.name == "files" else [each]
        taken.__annotations__ = {each.name: each.annotation for each in parameters}
        taken.__dict__["__signature__"] = own.replace(parameters=parameters)
        return taken

    return decorate


def read_numbers(text: str, name: str) -> tuple[float, ...]:
    """Return the numbers of an option. Raises: UsageError."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f'{name} is "{plain(text, 60)}", not a list of numbers', hint="as 0.485,0.456,0.406") from None


def describe_source(source: ExternalSource) -> list[str]:
    """Return what was loaded, in lines."""
    out = f", left out: {plain(', '.join(source.ignored), 200)}" if source.ignored else ""
    return [
        f"  {source.architecture}, {count_noun(source.num_tensors, 'tensor')} loaded{out}",
        f"  films of {source.input_px} px, mean {source.pixel_mean}, deviation {source.pixel_std}, "
        f"by {source.pixels_from}",
        f"  saw the test films: {source.saw_test}; {source.seen_note}",
    ]
