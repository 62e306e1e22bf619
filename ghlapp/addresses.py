"""The address of a request's client, as far as the proxies in front of this service can be believed."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest

# No client has it, so it is in no network of ours, and all of unknown address share a throttle's count.
UNKNOWN = "0.0.0.0"  # noqa: S104


def client_address(request: HttpRequest) -> str:
    """The IP address of the client: for logs, throttles and the limit of failed sign-ins.

    Each proxy appends the address it was called from to `X-Forwarded-For`, so behind `TRUSTED_PROXY_COUNT` of them
    the entry that many places from the right is the client's; what stands before it, the client wrote itself.
    An entry that is no address is UNKNOWN's, not the proxy's: those are often inside ones.
    """
    trusted, forwarded = settings.TRUSTED_PROXY_COUNT, request.headers.get("X-Forwarded-For", "")
    if not trusted or not forwarded:
        return str(request.META.get("REMOTE_ADDR", ""))
    entries = [entry.strip() for entry in forwarded.split(",")]
    # Fewer entries than proxies: the request began at one of ours.
    return _without_port(entries[-min(trusted, len(entries))]) or UNKNOWN


def _without_port(entry: str) -> str:
    """The address in `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443` and the like; empty where there is none."""
    host = entry.partition("]")[0].lstrip("[") if entry.startswith("[") else entry
    for candidate in (host, host.rpartition(":")[0]):
        try:
            return str(ip_address(candidate))
        except ValueError:
            continue
    return ""
