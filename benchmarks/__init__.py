"""Yardsticks and ratios behind `make bench`. Whether something works is the tests' matter, how fast it is ours."""
