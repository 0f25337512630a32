"""What the demo says, in colour and within 100 columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from examples.demo.catalogue import Catalogue
from examples.demo.loading import Loaded
from examples.demo.queries import Answer
from examples.demo.tenants import CROWD
from tierwright.services.explanation import Explanation

_SHOWN_ROWS = 4
_INDENT = (0, 0, 0, 2)


def console() -> Console:
    """Return a console as wide as the terminal, but at most 100 columns; 100 where the output goes elsewhere."""
    made = Console(highlight=False)
    made.width = min(made.width, 100) if made.is_terminal else 100
    return made


class Report:
    """Prints the demo's steps on a console."""

    def __init__(self, out: Console) -> None:
        self.out = out

    def title(self, database: str) -> None:
        """Print what runs where."""
        self.out.print(Text.assemble(("tierwright", "bold magenta"), f" on {database}"))

    @contextmanager
    def step(self, number: int, text: str) -> Iterator[None]:
        """Print a step's headline, and after it how long it took."""
        self.out.print()
        self.out.print(Rule(Text(f"{number}  {text}", "bold cyan"), align="left", style="cyan"))
        start = perf_counter()
        yield
        self.out.print(Text(f"  {perf_counter() - start:.2f} s", "dim"), justify="right")

    def line(self, text: str, style: str = "") -> None:
        """Print one indented line."""
        self.out.print(Padding(Text(text, style), _INDENT, expand=False))

    def loaded(self, loaded: Loaded) -> None:
        """Print what is in the tables, and what the price list was silent about."""
        grid = Table.grid(padding=(0, 2))
        for column in ("right", "left", "right", "left"):
            grid.add_column(justify=column)
        cells = [cell for table, count in loaded.counts.items() for cell in (Text(f"{count:,}", "bold"), table)]
        for start in range(0, len(cells), 4):
            grid.add_row(*cells[start : start + 4])
        self.out.print(Padding(grid, _INDENT, expand=False))
        if loaded.catalogue is None:
            self.line(f"Loaded by an earlier run at {_cell(loaded.at)}; nothing was written.", "yellow")
        else:
            self._remarks(loaded.catalogue)

    def _remarks(self, catalogue: Catalogue) -> None:
        components = catalogue.document.components.values()
        public = sum(entry.feature_key is None for entry in components)
        retired = catalogue.counted(is_deprecated=True)
        left_out = ", ".join(f"{key} ({why})" for key, why in catalogue.prices.reported) or "none"
        self.line(
            f"{catalogue.models:,} models of {len(catalogue.prices.features)} providers, every price exact; {retired} "
            f"of them are past their date, and {catalogue.without_mode} without a mode have the type 'unknown'."
        )
        self.line(f"Left out by the importer: {left_out}", "yellow")
        self.line(f"{public} of {len(components)} components are public: their feature_key is NULL.")
        self.line(f"{CROWD:,} tenants and their history are generated, so that the planner has a choice to make.")

    def answer(self, answer: Answer) -> None:
        """Print a question, its SQL, some rows, its time and its plan."""
        self.out.print()
        self.out.print(Text(f"? {answer.question.text}", "bold"))
        sql = Syntax("", "sql", theme="ansi_dark", background_color="default").highlight(answer.sql)
        sql.rstrip()
        for shown in (sql, _rows(answer)):
            self.out.print(Padding(shown, _INDENT, expand=False))
        time = Text.assemble((f"{answer.microseconds:,.0f} µs", "bold green"), f", best of {answer.runs:,} runs; plan:")
        self.out.print(Padding(time, _INDENT, expand=False))
        mark = ("✓ ", "bold green") if answer.uses_index else ("✗ ", "bold red")
        for line in answer.plan:
            text = Text.assemble(mark if answer.question.index in line else "  ", (line, "dim"))
            text.highlight_words([answer.question.index], "not dim bold green")
            self.out.print(Padding(text, _INDENT, expand=False))

    def decision(self, about: str, found: Explanation) -> Explanation:
        """Print a decision with its reason, the sentence that explains it and what would change it; return it."""
        decision = found.decision
        verdict = ("✓ granted", "bold green") if decision.enabled else ("✗ denied", "bold red")
        source = " ".join(filter(None, (decision.source.value, decision.tier_key)))
        self.out.print()
        self.out.print(Text(f"? {about}", "bold"))
        said = Text.assemble(verdict, f"  {decision.reason.value} ", (f"({source})", "dim"), f"\n{found.sentence}")
        if found.remedy:
            said.append(f"\n{found.remedy}", "yellow")
        self.out.print(Padding(said, _INDENT, expand=False))
        return found


def _rows(answer: Answer) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for column in answer.columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in answer.rows[:_SHOWN_ROWS]:
        table.add_row(*(_cell(value) for value in row))
    more = len(answer.rows) - _SHOWN_ROWS
    if more > 0:
        table.add_row(Text(f"… {more} more rows", "dim"))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value.isoformat() if isinstance(value, date) else str(value)
