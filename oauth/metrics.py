"""The numbers that operators watch about installs, tokens and wake-ups."""

from prometheus_client import Counter

wake_ups = Counter(
    "wake_ups_total", "Wake-ups wanted, by task and by what became of them", ["task", "outcome"]
)
