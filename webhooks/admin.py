"""The operator's view of letters: what came in, what became of it, and a way to have it processed once more."""

from django.contrib import admin
from django.http import HttpRequest

from oauth.admin import ReadOnly
from webhooks import inbox
from webhooks.models import Letter, LetterQuerySet


@admin.register(Letter)
class LetterAdmin(ReadOnly):
    list_display = ("webhook_id", "type", "location_id", "company_id", "status", "attempts", "received_at")
    list_filter = ("status", "type")
    search_fields = ("webhook_id", "location_id", "company_id")
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("replay_selected",)

    @admin.action(description="Replay selected letters", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: LetterQuerySet) -> None:
        self.message_user(request, f"To be processed again: {inbox.replay(queryset)}.")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_letter")
