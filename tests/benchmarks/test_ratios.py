"""What `make bench` says: a figure over its yardstick, and whether that is as required."""

from dataclasses import replace

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.ratios import Ratio, table

HALF = Ratio("rotation", "values/s", 2000, 1000, at_least=0.4)


@pytest.mark.parametrize(
    ("bounds", "required", "good"),
    [
        ({"at_least": 0.5}, "≥ 0.5", True),
        ({"at_least": 0.51}, "≥ 0.51", False),
        ({"at_least": 0.0, "at_most": 0.5}, "≤ 0.5", True),
        ({"at_least": 0.0, "at_most": 0.49}, "≤ 0.49", False),
        ({"at_least": 1, "at_most": 1}, "= 1", False),
        ({"at_least": 0.1, "at_most": 2}, "≥ 0.1 ≤ 2", True),
    ],
)
def test_it_holds_a_ratio_to_its_bounds(bounds: dict[str, float], required: str, good: bool) -> None:
    ratio = replace(HALF, **bounds)

    assert (ratio.value, ratio.required, ratio.is_good) == (0.5, required, good)


def test_nothing_measured_is_not_good() -> None:
    assert not replace(HALF, measured=0).is_good


def test_it_prints_a_line_for_each_and_marks_those_missed() -> None:
    lines = table([HALF, replace(HALF, measured=100.25)]).splitlines()

    assert [[cell.strip() for cell in line.split("|")] for line in lines] == [
        ["name", "yardstick", "measured", "ratio", "required"],
        ["rotation, values/s", "2,000", "1,000", "0.50", "≥ 0.4"],
        ["rotation, values/s", "2,000", "100.2", "0.05", "≥ 0.4", "MISSED"],
    ]


def test_it_names_the_benchmarks_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nothing"])

    assert ended.value.code == 2
    complaint = capsys.readouterr().err
    assert all(name in complaint for name in BENCHMARKS)
