"""The numbers that operators watch about installs, tokens and wake-ups."""

from collections.abc import Iterator

from django.db import DatabaseError
from django.db.models import Count
from django.db.models.functions import Now
from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

wake_ups = Counter(
    "wake_ups_total", "Wake-ups wanted, by task and by what became of them", ["task", "outcome"]
)


class Locations(Collector):
    """What PostgreSQL says of the locations at the moment of the scrape: the same whichever process is asked."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield from (self._by_status(), self._waiting())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        from oauth.models import Location

        by_status, waiting = self.describe()
        try:
            for status, count in Location.objects.values_list("status").annotate(Count("pk")):
                by_status.add_metric([status], count)
            braked = Location.objects.filter(not_before__gt=Now())
            for reason, count in braked.values_list("waiting_for").annotate(Count("pk")):
                waiting.add_metric([reason], count)
        except DatabaseError:
            return  # the rest of the numbers are worth having without it
        yield from (by_status, waiting)

    @staticmethod
    def _by_status() -> GaugeMetricFamily:
        return GaugeMetricFamily("locations", "Locations known, by status", labels=["status"])

    @staticmethod
    def _waiting() -> GaugeMetricFamily:
        text = "Locations for which nothing is sent at the moment, by reason"
        return GaugeMetricFamily("locations_waiting", text, labels=["reason"])
