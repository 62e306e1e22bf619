"""What the hall's tests share with the desk's: a Redis without yesterday's wake-ups."""

from tests.appointments.conftest import _empty_redis

__all__ = ["_empty_redis"]
