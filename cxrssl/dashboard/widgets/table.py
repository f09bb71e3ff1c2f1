"""A table updated in place: rows have keys, only changed cells are written, the selection stays.

In: columns and rows of Cell. Out: the screen. Never: markup; a cell's text is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from cxrssl.dashboard.text.sheet import Cell, Column, Sheet
from cxrssl.dashboard.text.styles import paint_style
from cxrssl.dashboard.widgets.theme import theme_of

PADDING = 2
"""Cells beside the text of each column."""
SCROLLBAR = 1


class KeyedTable(DataTable[Text]):
    """A DataTable whose rows have keys. Until the user moves, the first row ever shown stays selected."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="down"),
        Binding("k", "cursor_up", "Up", show=False, id="up"),
        Binding("g", "scroll_top", "Top", show=False, id="top"),
        Binding("G", "scroll_bottom", "Bottom", show=False, id="bottom"),
    ]

    class Moved(Message):
        """The user moved to another row."""

        def __init__(self, table: KeyedTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> KeyedTable:
            return self.table

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row")
        self.chosen_key = ""
        """The row the user is at; a filter may hide it for a while."""
        self._columns: tuple[Column, ...] = ()
        self._cells: dict[str, tuple[Cell, ...]] = {}
        self._theme = ""

    @property
    def selected(self) -> str:
        """Key of the row at the cursor, "" in an empty table."""
        return self.chosen_key if self.chosen_key in self._cells else next(iter(self._cells), "")

    def show_sheet(self, sheet: Sheet) -> None:
        """Show a table whose columns have their widths."""
        self.show(sheet.columns, sheet.rows)

    def show(self, columns: Sequence[Column], rows: Mapping[str, Sequence[Cell]]) -> None:
        """Show these rows."""
        fresh = {key: tuple(cells) for key, cells in rows.items()}
        is_repainted = self._theme != theme_of(self)
        self._theme = theme_of(self)
        if is_repainted or tuple(columns) != self._columns or list(fresh) != list(self._cells) or not self.chosen_key:
            self._rebuild(tuple(columns), fresh)
            return
        for key, cells in fresh.items():
            for column, old, new in zip(self._columns, self._cells[key], cells, strict=True):
                if old != new:
                    self.update_cell(key, column.name, self._text_of(new, column))
        self._cells = fresh

    def _rebuild(self, columns: tuple[Column, ...], rows: dict[str, tuple[Cell, ...]]) -> None:
        if self.chosen_key in self._cells:
            self.chosen_key = self._key_at_cursor()  # the user may have moved a moment ago
        with self.prevent(DataTable.RowHighlighted), self.app.batch_update():
            is_same_shape = columns == self._columns
            self.clear(columns=not is_same_shape)
            if not is_same_shape:
                for column in columns:
                    label = Text(column.head, justify="left" if column.is_left else "right")
                    self.add_column(label, width=column.width, key=column.name)
            for key, cells in rows.items():
                self.add_row(*(self._text_of(cell, c) for cell, c in zip(cells, columns, strict=True)), key=key)
            self._columns, self._cells = columns, rows
            self.chosen_key = self.chosen_key or next(iter(rows), "")
            if self.selected:
                self.move_cursor(row=list(rows).index(self.selected))

    @on(DataTable.RowHighlighted)
    def remember_row(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        key = self._key_at_cursor()  # that of the event may be of a table that was rebuilt since
        if key and key != self.selected:
            self.chosen_key = key
            self.post_message(self.Moved(self, key))

    def _key_at_cursor(self) -> str:
        keys = list(self._cells)
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else ""

    def _text_of(self, cell: Cell, column: Column) -> Text:
        justify = "left" if column.is_left else "right"
        style = paint_style(cell.style, theme_of(self))
        return Text(cell.text, style, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
