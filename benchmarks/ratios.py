"""A figure beside its yardstick from the same run, and the table of them: machines differ, ratios hardly.
How figures come about is not here."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """`measured` over `yardstick`, and between which bounds it must lie."""

    name: str
    unit: str
    yardstick: float
    measured: float
    at_least: float = 0.0
    at_most: float = math.inf

    @property
    def value(self) -> float:
        return self.measured / self.yardstick if self.yardstick else math.inf

    @property
    def is_good(self) -> bool:
        return self.at_least <= self.value <= self.at_most

    @property
    def required(self) -> str:
        if self.at_least == self.at_most:
            return f"= {self.at_least:g}"
        bounds = [f"≥ {self.at_least:g}"] if self.at_least else []
        return " ".join([*bounds, *([f"≤ {self.at_most:g}"] if self.at_most < math.inf else [])])


def table(ratios: Iterable[Ratio]) -> str:
    lines = [("name", "yardstick", "measured", "ratio", "required", ""), *map(_cells, ratios)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths) for line in lines)


def _cells(ratio: Ratio) -> tuple[str, ...]:
    figures = [f"{figure:,.1f}".removesuffix(".0") for figure in (ratio.yardstick, ratio.measured)]
    verdict = "" if ratio.is_good else "MISSED"
    return f"{ratio.name}, {ratio.unit}", *figures, f"{ratio.value:.2f}", ratio.required, verdict


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = cells
    padded = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
    return " | ".join([first.ljust(widths[0]), *padded]).rstrip(" |")
