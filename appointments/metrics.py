"""The numbers that operators watch about bookings."""

from prometheus_client import Counter

bookings_accepted = Counter("bookings_accepted_total", "Bookings accepted from tenants")
bookings_moved = Counter("bookings_moved_total", "Changes of state of bookings, by the new state", ["status"])
duplicates_suspected = Counter(
    "bookings_duplicate_suspected_total", "Bookings of which HighLevel seems to have a second appointment"
)
comparisons = Counter("bookings_compared_total", "Calendars compared with bookings, by outcome", ["outcome"])
