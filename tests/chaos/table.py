"""The table at the end of a run: a row for each fault, summed over the seeds.
How a booking is judged is books.py."""

from collections.abc import Iterable

from tests.chaos.books import Verdict

COLUMNS = (
    "accepted",
    "booked",
    "rejected",
    "cancelled",
    "on hold",
    "failed",
    "lost",
    "doubled",
    "longest delay",
)


def table(verdicts: Iterable[Verdict], order: Iterable[str]) -> str:
    rows: dict[str, list[Verdict]] = {name: [] for name in order}
    for each in verdicts:
        rows[each.record.errand.fault].append(each)
    filled = {name: row for name, row in rows.items() if row}
    lines = [
        ["fault", *COLUMNS],
        *([name, *_figures(row)] for name, row in filled.items()),
        ["all", *_figures([each for row in filled.values() for each in row])],
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths) for line in lines)


def totals(verdicts: Iterable[Verdict]) -> tuple[int, int]:
    """How many are lost, and how many doubled."""
    all_of_them = list(verdicts)
    return sum(each.lost is not None for each in all_of_them), sum(
        each.doubled is not None for each in all_of_them
    )


def _figures(verdicts: list[Verdict]) -> list[str]:
    status = [each.status for each in verdicts]
    lost, doubled = totals(verdicts)
    delay = max((each.delay_seconds or 0.0 for each in verdicts), default=0.0)
    counted = [status.count(name) for name in ("booked", "rejected", "cancelled", "on_hold", "failed")]
    accepted = sum(each.accepted for each in verdicts)
    return [*map(str, (accepted, *counted, lost, doubled)), f"{delay:.1f} s"]


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = (
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()
