"""The operator's view of installs, tokens and keys. Secrets are never shown and nothing secret can be edited."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from oauth import keys
from oauth.models import Agency, ApiKey, Location, Tenant, Token


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that HighLevel's answers make, not people."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Agency)
class AgencyAdmin(ReadOnly):
    list_display = ("id", "name", "status", "waiting_for", "install_to_future_locations", "installed_at")
    list_filter = ("status",)
    search_fields = ("id", "name")
    readonly_fields = ("scopes_missing", "locations_connected")

    @admin.display
    def locations_connected(self, agency: Agency) -> str:
        progress = agency.progress()
        return f"{progress.connected} of {progress.all}"


@admin.register(Location)
class LocationAdmin(ReadOnly):
    list_display = (
        "id",
        "name",
        "agency",
        "status",
        "waiting_for",
        "not_before",
        "mint_due_at",
        "installed_at",
    )
    list_filter = ("status", "waiting_for", "came_with_agency")
    readonly_fields = ("scopes_missing",)
    list_select_related = ("agency",)
    search_fields = ("id", "name", "agency__id")


@admin.register(Token)
class TokenAdmin(ReadOnly):
    list_display = (
        "location",
        "agency",
        "kind",
        "version",
        "expires_at",
        "refresh_due_at",
        "refresh_started_at",
        "updated_at",
    )
    list_select_related = ("location", "agency")
    list_filter = ("kind",)
    search_fields = ("location__id", "agency__id")
    # The two sealed columns are left out altogether: nobody needs even their length.
    fields = ("location", "agency", "kind", "user_type", "scopes", "scopes_missing", "version", "issued_at",
              "expires_at", "refresh_due_at", "refresh_started_at", "updated_at")  # fmt: skip


@admin.register(Tenant)
class TenantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "created_at")
    search_fields = ("name",)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys are issued on the command line, where they are shown once; here they are seen and revoked."""

    list_display = ("prefix", "tenant", "name", "scopes", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("tenant",)
    list_select_related = ("tenant",)
    fields = ("tenant", "name", "prefix", "scopes", "locations", "agency", "created_at", "expires_at",
              "revoked_at", "last_used_at")  # fmt: skip
    actions = ("revoke_selected",)

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: "QuerySet[ApiKey]") -> None:
        for key in queryset.select_related("tenant"):
            keys.revoke(key, by=request.user.get_username())
        self.message_user(request, "Revoked.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("oauth.change_apikey")
