"""What is noted about a film that was decoded: doubts about its greys, and contradictions that a rule decided.

A film may have several. They are counted and named, and refuse nothing. Stdlib only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import IntFlag, auto


class Note(IntFlag):
    """One bit each; the order is that of the packs' index, so new ones go to the end."""

    FEW_GREYS = auto()
    NARROW = auto()
    BLACK = auto()
    WHITE = auto()
    ONE_GREY = auto()
    BAND = auto()
    POLARITY = auto()
    WINDOW = auto()
    OUTLIERS = auto()
    PADDING = auto()
    NO_FRAMES = auto()
    NO_PREAMBLE = auto()
    DEPTH = auto()


LOOKS = Note.FEW_GREYS | Note.NARROW | Note.BLACK | Note.WHITE | Note.ONE_GREY | Note.BAND
"""Doubts about the greys themselves; the others say how a contradiction or a gap was decided."""
WORDS: dict[Note, str] = {
    Note.FEW_GREYS: "few grey levels",
    Note.NARROW: "nearly all of it within few greys",
    Note.BLACK: "nearly all black",
    Note.WHITE: "mostly white",
    Note.ONE_GREY: "mostly one grey",
    Note.BAND: "a band of zeros",
    Note.POLARITY: "PresentationLUTShape contradicts PhotometricInterpretation",
    Note.WINDOW: "window unusable, range used",
    Note.OUTLIERS: "a few far values clipped",
    Note.PADDING: "zeros after the pixels",
    Note.NO_FRAMES: "NumberOfFrames 0",
    Note.NO_PREAMBLE: "DICOM without preamble",
    Note.DEPTH: "16-bit PNG that uses fewer bits",
}
assert set(WORDS) == set(Note), "every note has words"


def count_notes(notes: Iterable[int]) -> dict[str, int]:
    """Return note in words -> films that have it, in the order of the notes; those of no film are left out."""
    films = Counter(notes)
    counts = {words: sum(num for each, num in films.items() if each & note) for note, words in WORDS.items()}
    return {words: num for words, num in counts.items() if num}


def say_notes(note: int) -> str:
    """Return the notes of one film in words."""
    return "; ".join(words for each, words in WORDS.items() if note & each)
