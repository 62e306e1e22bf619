"""The operator's view of letters: what came in, what became of it, and a way to have it processed once more."""

from django.contrib import admin
from django.http import HttpRequest

from oauth import audit
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
        chosen = [str(webhook_id) for webhook_id in queryset.values_list("webhook_id", flat=True)]
        replayed = inbox.replay(queryset)
        by = request.user.get_username()
        audit.record("webhook_events.replayed", count=replayed, webhook_ids=chosen[:100], by=by)
        self.message_user(request, f"To be processed again: {replayed}.")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_letter")
