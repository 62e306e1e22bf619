"""Agencies, locations and their tokens; tenants and their API keys.
How tokens are opened and refreshed is in vault.py, what installs mean in installs.py, keys are in keys.py."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
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


class LocationStatus(models.TextChoices):
    """`Account.Status`, an agency's too; the name by which the API's schema knows it."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    NEEDS_RECONNECT = "needs_reconnect"
    UNINSTALLED = "uninstalled"


class WaitingReason(models.TextChoices):
    """`Account.Waiting`: why nothing is started."""

    RATE_LIMITED = "rate_limited"
    DAILY_QUOTA = "daily_quota"
    SUSPENDED = "suspended"
    NEEDS_RECONNECT = "needs_reconnect"
    # An uninstall was reported and HighLevel could not be asked about it yet.
    VERIFYING = "verifying"


class Account(models.Model):
    """What the app is installed in: an agency, or one of its locations.

    `not_before` and `waiting_for` are its one brake: nothing is started for it before that instant, and
    what is started first afterwards is the probe.

    `installed_as_of` and `uninstalled_as_of` are the latest that HighLevel has said of either, by HighLevel's
    clock: they are compared with its other instants only. installs.py judges by them which news is older.
    """

    Status: TypeAlias = LocationStatus
    Waiting: TypeAlias = WaitingReason

    # No token works for these, stored or not, until somebody installs the app again.
    DISCONNECTED = (Status.NEEDS_RECONNECT, Status.UNINSTALLED)
    # HighLevel gave no token for these; one that it gives proves them active.
    LOCKED_OUT = (Status.SUSPENDED, Status.NEEDS_RECONNECT)

    id = models.CharField(primary_key=True, max_length=ID_LENGTH)
    name = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE)
    not_before = models.DateTimeField(null=True, blank=True)
    waiting_for = models.CharField(max_length=16, choices=Waiting, blank=True)
    version_id = models.CharField(max_length=ID_LENGTH, blank=True)
    installed_as_of = models.DateTimeField(null=True, blank=True)
    uninstalled_as_of = models.DateTimeField(null=True, blank=True)
    installed_at = models.DateTimeField(null=True, blank=True)
    # By PostgreSQL's clock: since when it is uninstalled, and when what that left was erased.
    disconnected_at = models.DateTimeField(null=True, blank=True, editable=False)
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)
    # When HighLevel is to be asked next whether it still is.
    check_due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name or self.id

    @property
    def is_connected(self) -> bool:
        """Whether it holds a token that works, or will again by itself."""
        return self.status not in self.DISCONNECTED

    @property
    def is_waiting(self) -> bool:
        return self.not_before is not None and self.not_before > timezone.now()

    @property
    def scopes_missing(self) -> list[str]:
        """What the install was not given and this product needs."""
        token: Token | None = getattr(self, "token", None)
        return token.scopes_missing if token else []

    def learn(self, **facts: Any) -> None:
        """Keep of these what is new."""
        news = {name: fact for name, fact in facts.items() if getattr(self, name) != fact}
        for name, fact in news.items():
            setattr(self, name, fact)
        if news:
            self.save(update_fields=news.keys())

    def brake(self, waiting_for: Waiting, wait: timedelta | None, status: Status | None = None) -> None:
        """Start nothing for it for `wait` (None: until it is released).

        Without a new `status` a shorter brake never replaces a longer one: news of a lesser trouble may come late.
        """
        until = Now() + wait if wait is not None else models.Value(FOREVER)
        changes: dict[str, Any] = {"not_before": until, "waiting_for": waiting_for}
        rows = self._rows().exclude(status=self.Status.UNINSTALLED)
        if status is not None:
            self._become(rows, status, **changes)
        else:
            rows.filter(Q(not_before__isnull=True) | Q(not_before__lt=until)).update(**changes)

    def release(self) -> None:
        """Active again if it was suspended or to be reconnected: HighLevel has just given a token for it."""
        rows = self._rows().filter(status__in=self.LOCKED_OUT)
        self._become(rows, self.Status.ACTIVE, not_before=None, waiting_for="")

    def connect(self, **facts: Any) -> None:
        """It holds a token now: active, whatever it was."""
        if self.installed_at is None or self.status == self.Status.UNINSTALLED:
            facts["installed_at"] = Now()
        self._become(self._rows(), self.Status.ACTIVE, not_before=None, waiting_for="", **facts)

    def disconnect(self, **facts: Any) -> None:
        """The app is gone from it, and whatever it was given with it."""
        with transaction.atomic():
            self._become(self._rows(), self.Status.UNINSTALLED, not_before=None, waiting_for="", **facts)
            Token.objects.of(self).delete()

    def _rows(self) -> "models.QuerySet[Any, Any]":
        return type(self)._default_manager.filter(pk=self.pk)

    def _become(self, rows: "models.QuerySet[Any, Any]", status: Status, **changes: Any) -> None:
        with transaction.atomic(savepoint=False):
            before = rows.select_for_update(no_key=True).values_list("status", flat=True).first()
            if before is None:
                return
            if (status == self.Status.UNINSTALLED) != (before == self.Status.UNINSTALLED):
                ends = status == self.Status.UNINSTALLED
                changes |= {"disconnected_at": Now() if ends else None, "erased_at": None}
            rows.update(status=status, **changes)
            if before != status:
                self._tell(status)
        self.refresh_from_db(fields=["status", *changes])

    def _tell(self, status: Status) -> None:
        """News for whom it may concern, in the transaction that makes it so."""


def unbraked(account: str = "") -> Q:
    """Rows whose account need not wait, by PostgreSQL's clock; `account` is the way to it, as in "location__"."""
    return Q(**{f"{account}not_before__isnull": True}) | Q(**{f"{account}not_before__lte": Now()})


class Agency(Account):
    """A HighLevel company. It is active where the app is installed in the company as a whole."""

    # It may be known only as the company of a location that installed by itself.
    status = models.CharField(max_length=16, choices=Account.Status, default=Account.Status.UNINSTALLED)
    install_to_future_locations = models.BooleanField(default=False)
    # Locations that the installer ticked, for HighLevel's list of them may lag; empty where it was all.
    approved_locations = ArrayField(models.CharField(max_length=ID_LENGTH), default=list, blank=True)
    # A white-label agency's own, for the pages that its people see.
    brand_domain = models.CharField(max_length=255, blank=True)
    brand_logo_url = models.CharField(max_length=1000, blank=True)

    class Meta:
        verbose_name_plural = "agencies"
        indexes = [
            models.Index(
                fields=["check_due_at"], condition=Q(check_due_at__isnull=False), name="agency_to_check"
            )
        ]

    def progress(self) -> "Progress":
        """How many of its locations hold a token, of all in which the app is installed."""
        theirs = self.locations.exclude(status=self.Status.UNINSTALLED)
        counted = theirs.aggregate(
            all=models.Count("pk"), connected=models.Count("token"), waiting=models.Count("mint_due_at")
        )
        return Progress(**counted, listed=self.check_due_at is None or self.check_due_at > timezone.now())


@dataclass(frozen=True)
class Progress:
    """`waiting` are to be connected yet; until the agency's list is `listed` the numbers still grow."""

    all: int
    connected: int
    waiting: int
    listed: bool

    @property
    def is_done(self) -> bool:
        return self.listed and not self.waiting


class Upstream(models.Model):
    """HighLevel as a whole, in one row at most: what it has failed to answer lately, and until when it is let be.

    Its brake stands beside those of agencies and locations; what it means is in outage.py.
    """

    THE_ONE = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    # Calls in a row that nothing was answered to, and whose they were (only as many as it takes to tell).
    failures = models.PositiveIntegerField(default=0)
    failed_locations = ArrayField(models.CharField(max_length=ID_LENGTH), default=list, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "upstream"

    def __str__(self) -> str:
        return f"{self.failures} failures"


class LocationQuerySet(models.QuerySet["Location"]):
    def covered_by(self, key: "ApiKey") -> "LocationQuerySet":
        """The locations that a key may act for, those its agency gains later included."""
        named = ApiKey.locations.through.objects.filter(apikey_id=key.pk, location_id=models.OuterRef("pk"))
        covered = Q(models.Exists(named))
        if key.agency_id is not None:
            covered |= Q(agency_id=key.agency_id)
        return self.filter(covered)


def covered_by(of_agency: bool) -> str:
    """`LocationQuerySet.covered_by` as SQL about `location`, of the values of `covering_values`.

    A key that was revoked or given other scopes since it was found covers nothing.
    """
    named = f"""
        EXISTS (SELECT FROM {ApiKey.locations.through._meta.db_table} AS named
                WHERE named.apikey_id = %(key)s AND named.location_id = location.id)
    """
    covered = f"({named} OR location.agency_id = %(agency)s)" if of_agency else named
    return f"""
        {covered} AND EXISTS (
            SELECT FROM {ApiKey._meta.db_table} AS key
            WHERE key.id = %(key)s AND key.revoked_at IS NULL
            AND (key.expires_at IS NULL OR key.expires_at > statement_timestamp())
            AND array_to_string(key.scopes, ' ') = %(scopes)s
            AND key.agency_id IS NOT DISTINCT FROM %(agency)s::varchar
        )
    """  # noqa: S608  (no value is in it)


def covering_values(key: "ApiKey") -> dict[str, Any]:
    return {"key": key.pk, "agency": key.agency_id, "scopes": " ".join(key.scopes)}


class Location(Account):
    """A HighLevel sub-account in whose calendars we book."""

    agency = models.ForeignKey(Agency, models.PROTECT, null=True, blank=True, related_name="locations")
    # Whether it was installed with its agency: then it goes with the agency too.
    came_with_agency = models.BooleanField(default=False)
    timezone = models.CharField(max_length=64, blank=True)
    # ISO 3166-1 alpha-2; that of phone numbers without one.
    country = models.CharField(max_length=2, blank=True)
    # Its token is to be asked for with the agency's: from when, who is at it since when, how often in vain.
    mint_due_at = models.DateTimeField(null=True, blank=True)
    mint_started_at = models.DateTimeField(null=True, blank=True)
    mint_failures = models.PositiveSmallIntegerField(default=0)
    # Scopes that HighLevel refused a call for, whatever the token says.
    scopes_refused = ArrayField(models.CharField(max_length=100), default=list, blank=True)

    objects = LocationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["not_before"], condition=Q(not_before__isnull=False), name="location_braked"
            ),
            models.Index(
                fields=["agency", "mint_due_at"],
                condition=Q(mint_due_at__isnull=False),
                name="location_to_mint",
            ),
            models.Index(
                fields=["check_due_at"], condition=Q(check_due_at__isnull=False), name="location_to_check"
            ),
        ]

    @property
    def connected_agency(self) -> Agency | None:
        """The agency that holds a token to ask for this location's with."""
        return self.agency if self.agency is not None and self.agency.is_connected else None

    def await_token(self) -> None:
        """It is installed with its agency, whose token will bring its own: as soon as a booking wants it."""
        due: dict[str, Any] = {"mint_due_at": Now(), "mint_failures": 0}
        if self.is_connected:
            # Whatever it waits for it goes on waiting for: only a token shows that it is no longer suspended.
            self._rows().update(**due)
            self.refresh_from_db(fields=list(due))
        else:
            self._become(self._rows(), self.Status.ACTIVE, not_before=None, waiting_for="", **due)

    def await_grant(self) -> None:
        """It is installed, but nobody holds a token for it yet."""
        waiting = self.Waiting.NEEDS_RECONNECT
        self._become(self._rows(), self.Status.NEEDS_RECONNECT, not_before=FOREVER, waiting_for=waiting)

    def refuse_scope(self, scope: str) -> None:
        """HighLevel said that the install lacks it: the location's trouble, not its token's."""
        if scope not in self.scopes_refused:
            self.scopes_refused = sorted([*self.scopes_refused, scope])
            self.save(update_fields=["scopes_refused"])

    @property
    def scopes_missing(self) -> list[str]:
        lacking = {*self.scopes_refused, *super().scopes_missing}
        return [scope for scope in scopes.NEEDED if scope in lacking]

    def _tell(self, status: Account.Status) -> None:
        LocationChange.objects.bulk_create(
            LocationChange(location=self, status=status, reader=reader) for reader in LocationChange.READERS
        )


class LocationChangeQuerySet(models.QuerySet["LocationChange"]):
    def unread(self, reader: str) -> "LocationChangeQuerySet":
        """This reader's, oldest first, which nobody else takes before the transaction ends."""
        return self.filter(reader=reader).order_by("id").select_for_update(skip_locked=True)


class LocationChange(models.Model):
    """News of a location for a room that depends on it, which takes the row away as it acts on it.

    There is one for each reader: a room that is behind holds up no other.
    """

    READERS = ("appointments",)

    location = models.ForeignKey(Location, models.CASCADE, related_name="changes")
    reader = models.CharField(max_length=16)
    # What the location is from then on.
    status = models.CharField(max_length=16, choices=Account.Status)
    at = models.DateTimeField(db_default=Now(), editable=False)

    objects = LocationChangeQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["reader", "id"], name="location_change_to_read")]

    def __str__(self) -> str:
        return f"{self.location_id} is {self.status}"


class TokenQuerySet(models.QuerySet["Token"]):
    def of(self, account: Account) -> "TokenQuerySet":
        return self.filter(**{account._meta.model_name or "": account.pk})


class Token(models.Model):
    """An account's pair of access and refresh token. `version` grows with each pair stored."""

    class Kind(models.TextChoices):
        OAUTH = "oauth"
        # An operator's Private Integration Token: it is never refreshed and does not run out.
        PRIVATE = "private"

    # Part of what each value is sealed to, so it is known before the row is saved.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.OneToOneField(Location, models.CASCADE, null=True, blank=True, related_name="token")
    agency = models.OneToOneField(Agency, models.CASCADE, null=True, blank=True, related_name="token")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.OAUTH)
    access_token = SealedField()
    refresh_token = SealedField(blank=True)
    scopes = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    user_type = models.CharField(max_length=16, default="Location")
    version = models.PositiveIntegerField(default=1)
    # By HighLevel's clock (the access token's `iat`): compared only with another of its instants.
    issued_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    refresh_due_at = models.DateTimeField(null=True, blank=True)
    refresh_started_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TokenQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(location__isnull=False, agency__isnull=True)
                | Q(location__isnull=True, agency__isnull=False),
                name="token_of_one_account",
            )
        ]
        indexes = [
            # In the order in which refreshing.py takes them.
            models.Index(
                fields=["refresh_started_at", "refresh_due_at"],
                condition=Q(refresh_due_at__isnull=False),
                name="token_to_refresh",
            )
        ]

    def __str__(self) -> str:
        return f"token of {self.location_id or self.agency_id}"

    @property
    def account(self) -> Account:
        account = self.location or self.agency
        assert account is not None  # noqa: S101  (a constraint says so)
        return account

    @property
    def scopes_missing(self) -> list[str]:
        return scopes.missing(self.scopes, of_agency=self.agency_id is not None)


class CodeExchange(models.Model):
    """The exchange of an install's code, so that a callback that comes twice makes one and shows it twice."""

    # SHA-256 of the install's state, or of the code where it has no state.
    id = models.CharField(primary_key=True, max_length=64, editable=False)
    code_digest = models.CharField(max_length=64, editable=False)
    location = models.ForeignKey(Location, models.CASCADE, null=True, blank=True, related_name="+")
    agency = models.ForeignKey(Agency, models.CASCADE, null=True, blank=True, related_name="+")
    # Why it connected nothing: a reason of exchanges.py.
    failure = models.CharField(max_length=32, blank=True)
    started_at = models.DateTimeField(db_default=Now(), editable=False, db_index=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"exchange {self.id[:8]}…"

    @property
    def account(self) -> Account | None:
        return self.location or self.agency

    def restart(self) -> bool:
        """Take it up again after its failure; False where another request was quicker."""
        failed = CodeExchange.objects.filter(pk=self.pk).exclude(failure="")
        return bool(failed.update(failure="", finished_at=None, started_at=Now()))

    def finish(self, **result: Any) -> None:
        CodeExchange.objects.filter(pk=self.pk).update(finished_at=Now(), **result)


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

    # Where a process remembers it: when it was found (monotonic).
    found_at: float | None = None

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.tenant_id}"

    @property
    def is_usable(self) -> bool:
        unexpired = self.expires_at is None or self.expires_at > timezone.now()
        return self.revoked_at is None and unexpired
