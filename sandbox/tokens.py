"""Codes, access and refresh tokens, issued, rotated once, refused afterwards; and private integration tokens.

Not here: the OAuth endpoints and their refusals (oauth.py).
"""

import base64
import json
import secrets
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.answers import trace_id
from sandbox.clock import Clock
from sandbox.records import new_hex_id, new_id
from sandbox.settings import Settings

UserType = Literal["Company", "Location"]


@dataclass(frozen=True)
class Grant:
    """What somebody consented to: every token stands for one of these."""

    user_type: UserType
    company_id: str
    location_id: str | None
    scopes: tuple[str, ...]
    user_id: str
    # Of the install it belongs to: installs.in_force compares them.
    life: int = 0
    # A private integration token's: it needs no install.
    private: bool = False
    approved_locations: tuple[str, ...] = ()
    approve_all: bool = True
    install_to_future_locations: bool = False

    @property
    def resource(self) -> str:
        return self.location_id or self.company_id


@dataclass
class Code:
    grant: Grant
    client_id: str
    redirect_uri: str
    expires_at: float


@dataclass
class Refresh:
    grant: Grant
    used_at: float | None = None
    successor: dict[str, Any] | None = None


class Tokens:
    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._settings = settings
        self._codes: dict[str, Code] = {}
        self._access: dict[str, tuple[Grant, float]] = {}
        self._refresh: dict[str, Refresh] = {}
        self._private: dict[str, Grant] = {}
        # By location or company, so that ending one's tokens does not go through everybody's.
        self._of_resource: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self.issued: Counter[str] = Counter()

    def issue_code(self, grant: Grant, redirect_uri: str) -> str:
        code = secrets.token_hex(20)
        expires_at = self._clock.epoch() + self._settings.code_seconds
        self._codes[code] = Code(grant, self._settings.client_id, redirect_uri, expires_at)
        return code

    def find_code(self, code: str) -> Code | None:
        found = self._codes.get(code)
        return found if found and found.expires_at > self._clock.epoch() else None

    def redeem_code(self, code: str) -> dict[str, Any]:
        return self.issue(self._codes.pop(code).grant, "authorization_code")

    def issue(self, grant: Grant, reason: str) -> dict[str, Any]:
        """A new pair, as the body of HighLevel's answer; `reason` is what `issued` counts it under."""
        self.issued[reason] += 1
        access, refresh = self._jwt(grant), self._jwt(grant)
        self._access[access] = (grant, self._clock.epoch() + self._settings.access_token_seconds)
        self._refresh[refresh] = Refresh(grant)
        self._of_resource[grant.resource].append((access, refresh))
        return {**_pair(access, refresh, self._settings.access_token_seconds), **_describe(grant)}

    def issue_private(self, grant: Grant) -> str:
        token = f"pit-{uuid.uuid4()}"
        self._private[token] = grant
        return token

    def grant_of(self, access_token: str) -> Grant | None:
        if is_private(access_token):
            return self._private.get(access_token)
        grant, expires_at = self._access.get(access_token, (None, 0.0))
        return grant if expires_at > self._clock.epoch() else None

    def find_refresh(self, refresh_token: str) -> Refresh | None:
        """Unused, or used so recently that the same answer is given again: HighLevel's grace of 30 s."""
        found = self._refresh.get(refresh_token)
        if found is None or found.used_at is None:
            return found
        recently = self._clock.epoch() - found.used_at <= self._settings.refresh_grace_seconds
        return found if recently else None

    def rotate(self, refresh: Refresh) -> dict[str, Any]:
        if refresh.successor is not None:
            self.issued["refresh_replayed"] += 1
            return refresh.successor
        refresh.used_at = self._clock.epoch()
        refresh.successor = self.issue(refresh.grant, "refresh_token")
        return refresh.successor

    def revoke_access(self, resource: str) -> None:
        """Access tokens of the location or company are refused from now on; its refresh token still works."""
        for access, _refresh in self._of_resource[resource]:
            self._access.pop(access, None)

    def revoke_refresh(self, resource: str) -> None:
        for _access, refresh in self._of_resource[resource]:
            self._refresh.pop(refresh, None)

    def revoke_private(self, location_id: str) -> None:
        self._private = {
            token: grant for token, grant in self._private.items() if grant.location_id != location_id
        }

    def _jwt(self, grant: Grant) -> str:
        """Three parts like a JWT of HighLevel's, more than a kilobyte; the signature is noise."""
        now = int(self._clock.epoch())
        claims = {
            "authClass": grant.user_type,
            "authClassId": grant.resource,
            "primaryAuthClassId": grant.resource,
            "source": "INTEGRATION",
            "sourceId": self._settings.client_id,
            "channel": "OAUTH",
            "oauthMeta": {"scopes": list(grant.scopes), "client": self._settings.app_id},
            "iat": now,
            "exp": now + self._settings.access_token_seconds,
            "uniqueId": new_id(),
        }
        header = _segment(json.dumps({"alg": "RS256", "typ": "JWT"}).encode())
        return f"{header}.{_segment(json.dumps(claims).encode())}.{_segment(secrets.token_bytes(512))}"


def is_private(token: str) -> bool:
    return token.startswith("pit-")


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _pair(access: str, refresh: str, seconds: int) -> dict[str, Any]:
    return {
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": seconds,
        "refresh_token": refresh,
        "refreshTokenId": new_hex_id(),
        "traceId": trace_id(),
    }


def _describe(grant: Grant) -> dict[str, Any]:
    described: dict[str, Any] = {
        "scope": " ".join(grant.scopes),
        "userType": grant.user_type,
        "companyId": grant.company_id,
        "userId": grant.user_id,
        "planId": "66a0419a0dffa47fb5f8b22f",
        "isBulkInstallation": grant.user_type == "Company",
    }
    if grant.location_id:
        return {**described, "locationId": grant.location_id}
    return {
        **described,
        "approvedLocations": list(grant.approved_locations),
        "approveAllLocations": grant.approve_all,
        "installToFutureLocations": grant.install_to_future_locations,
    }
