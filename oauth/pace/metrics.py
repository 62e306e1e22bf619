"""The numbers that operators watch about the pace of calls. What moves them is in __init__.py."""

from prometheus_client import Counter

waits = Counter("pace_waits_total", "Calls that had to wait for HighLevel's limit, by their use", ["use"])
corrections = Counter("pace_corrections_total", "What HighLevel's answers corrected about its limits")
backoffs = Counter("pace_backoffs_total", "Refusals for the limit in spite of the pace")
