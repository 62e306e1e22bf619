"""Agencies, locations and their tokens; tenants and their API keys.
How tokens are opened and refreshed is in vault.py, how keys are issued and checked in keys.py."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from oauth import scopes
from oauth.sealing import SealedField

# HighLevel's ids have about 20 to 36 characters; none is documented to be longer.
ID_LENGTH = 64
# What people call their tenants and keys.
NAME_LENGTH = 100
# "Until somebody reconnects it", as an instant that claims can compare with.
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)


class Agency(models.Model):
    """A HighLevel company."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH)
    name = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "agencies"

    def __str__(self) -> str:
        return self.name or self.id


class LocationQuerySet(models.QuerySet["Location"]):
    def covered_by(self, key: "ApiKey") -> "LocationQuerySet":
        """The locations that a key may act for, those its agency gains later included."""
        named = ApiKey.locations.through.objects.filter(apikey_id=key.pk, location_id=models.OuterRef("pk"))
        covered = Q(models.Exists(named))
        if key.agency_id is not None:
            covered |= Q(agency_id=key.agency_id)
        return self.filter(covered)


class Location(models.Model):
    """A HighLevel sub-account in whose calendars we book.

    `not_before` and `waiting_for` are its one brake: nothing is started for it before that instant, and
    what is started first afterwards is the probe.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"
        NEEDS_RECONNECT = "needs_reconnect"
        UNINSTALLED = "uninstalled"

    # No token works for these, stored or not, until somebody installs the app again.
    DISCONNECTED = (Status.NEEDS_RECONNECT, Status.UNINSTALLED)
    # HighLevel gave no token for these; one that it gives proves them active.
    LOCKED_OUT = (Status.SUSPENDED, Status.NEEDS_RECONNECT)

    class Waiting(models.TextChoices):
        RATE_LIMITED = "rate_limited"
        DAILY_QUOTA = "daily_quota"
        SUSPENDED = "suspended"
        NEEDS_RECONNECT = "needs_reconnect"

    id = models.CharField(primary_key=True, max_length=ID_LENGTH)
    agency = models.ForeignKey(Agency, models.PROTECT, null=True, blank=True, related_name="locations")
    name = models.CharField(max_length=255, blank=True)
    timezone = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE)
    not_before = models.DateTimeField(null=True, blank=True)
    waiting_for = models.CharField(max_length=16, choices=Waiting, blank=True)
    installed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = LocationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["not_before"], condition=Q(not_before__isnull=False), name="location_braked")
        ]

    def __str__(self) -> str:
        return self.name or self.id

    @property
    def is_waiting(self) -> bool:
        return self.not_before is not None and self.not_before > timezone.now()

    def brake(self, waiting_for: Waiting, wait: timedelta | None, status: Status | None = None) -> None:
        """Start nothing for this location for `wait` (None: until it is released).

        Without a new `status` a shorter brake never replaces a longer one: news of a lesser trouble may come late.
        """
        until = Now() + wait if wait is not None else models.Value(FOREVER)
        changes: dict[str, Any] = {"not_before": until, "waiting_for": waiting_for}
        rows = Location.objects.filter(pk=self.pk).exclude(status=Location.Status.UNINSTALLED)
        if status is not None:
            rows.update(status=status, **changes)
        else:
            rows.filter(Q(not_before__isnull=True) | Q(not_before__lt=until)).update(**changes)

    def release(self) -> None:
        """Active again if it was suspended or to be reconnected: HighLevel has just given a token for it."""
        rows = Location.objects.filter(pk=self.pk, status__in=Location.LOCKED_OUT)
        rows.update(status=Location.Status.ACTIVE, not_before=None, waiting_for="")


class Token(models.Model):
    """A location's pair of access and refresh token. `version` grows with each pair stored."""

    # Part of what each value is sealed to, so it is known before the row is saved.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.OneToOneField(Location, models.CASCADE, related_name="token")
    access_token = SealedField()
    refresh_token = SealedField(blank=True)
    scopes = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    user_type = models.CharField(max_length=16, default="Location")
    version = models.PositiveIntegerField(default=1)
    # By HighLevel's clock (the access token's `iat`): compared only with another of its instants.
    issued_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    refresh_due_at = models.DateTimeField(null=True, blank=True, db_index=True)
    refresh_started_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"token of {self.location_id}"

    @property
    def scopes_missing(self) -> list[str]:
        return scopes.missing(self.scopes)


class Tenant(models.Model):
    """A customer's system: owns API keys, bookings and their idempotency keys."""

    name = models.CharField(max_length=NAME_LENGTH, unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """What a tenant's system calls us with. The key itself is shown once and kept only as a digest."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=NAME_LENGTH, blank=True)
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    scopes = ArrayField(models.CharField(max_length=32), default=list)
    locations = models.ManyToManyField(Location, blank=True, related_name="api_keys")
    agency = models.ForeignKey(Agency, models.PROTECT, null=True, blank=True, related_name="api_keys")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.tenant_id}"

    @property
    def is_usable(self) -> bool:
        unexpired = self.expires_at is None or self.expires_at > timezone.now()
        return self.revoked_at is None and unexpired
