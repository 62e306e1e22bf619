"""The numbers that operators watch about letters. Types are labels only where the table of handlers names them."""

from prometheus_client import Counter

letters_received = Counter(
    "letters_received_total", "Deliveries from HighLevel, by what became of them", ["outcome"]
)
letters_processed = Counter(
    "letters_processed_total",
    "Attempts to process a letter, by its type and how they ended",
    ["type", "outcome"],
)
