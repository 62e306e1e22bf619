"""The operator's view of bookings: read only, since only `converge` may say what HighLevel has."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from appointments.models import Booking, TimelineEntry
from oauth.admin import ReadOnly


class TimelineInline(admin.TabularInline):  # type: ignore[type-arg]
    model = TimelineEntry
    ordering = ("id",)
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Booking)
class BookingAdmin(ReadOnly):
    list_display = (
        "id",
        "tenant",
        "location",
        "status",
        "starts_at",
        "attempts",
        "next_attempt_at",
        "created_at",
    )
    list_filter = ("status", "duplicate_suspected")
    list_select_related = ("tenant", "location")
    search_fields = ("id", "appointment_id", "external_reference", "location__id")
    ordering = ("-id",)
    show_full_result_count = False
    exclude = ("request_digest",)
    inlines = (TimelineInline,)
