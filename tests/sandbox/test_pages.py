"""A person looks at what was booked."""

import httpx2

from sandbox import World
from sandbox.seed import LOCATION
from tests.sandbox.asking import Asker


def test_it_shows_what_was_booked(client: httpx2.Client, ask: Asker) -> None:
    assert "Nothing booked yet." in client.get("/").text

    ask.book(title="First call")

    page = client.get("/").text
    for shown in ("First call", "Ravi Iyer", "Wed 23 Jun 2021", "03:30&ndash;04:30", "confirmed"):
        assert shown in page


def test_it_shows_the_newest_first(world: World, client: httpx2.Client, ask: Asker) -> None:
    for title in ("older", "newer"):
        ask.book(title=title)
        world.clock.advance(1)

    page = client.get("/").text
    assert page.index("newer") < page.index("older")


def test_it_shows_titles_as_text_whatever_they_are(client: httpx2.Client, ask: Asker) -> None:
    ask.book(title="<script>alert(1)</script> 👩‍⚕️ موعد")

    page = client.get("/")
    assert '<bdi dir="auto">&lt;script&gt;alert(1)&lt;/script&gt; 👩‍⚕️ موعد</bdi>' in page.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"


def test_it_shows_a_location_that_is_suspended(world: World, client: httpx2.Client) -> None:
    assert "suspended" not in client.get("/").text

    world.locations[LOCATION].active = False

    assert "suspended" in client.get("/").text


def test_it_renews_itself(client: httpx2.Client) -> None:
    assert '<meta http-equiv="refresh"' in client.get("/").text
