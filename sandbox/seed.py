"""The world every demo and test begins with: one agency, three locations, the documentation's own ids.

Not here: bulk locations for benchmarks (World.add_location, or POST /_sandbox/locations).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.world import World

COMPANY = "GNb7aIv4rQFVb9iwNl5K"

# These make the example of HighLevel's create-appointment page work as it stands.
LOCATION = "C2QujeCh8ZnC7al2InWR"
CALENDAR = "CVokAlI8fgw4WYWoCtQz"
USER = "0007BWpSzSwfiuSl0tR2"
CONTACT = "0007BWpSzSwfiuSl0tR2"

SECOND_LOCATION = "l1C08ntBrFjLS0elLIYU"
SECOND_CALENDAR = "BqTwX8QFwXzpegMve9EQ"
SECOND_USER = "Rg6BRRiHh7dS9gJy3W8b"
SECOND_CONTACT = "9NkT25Vor1v4aQatFsv2"

THIRD_LOCATION = "HjiMUOsCCHCjtxzEf8PR"
THIRD_CALENDAR = "ocQHyuzHvysMo5N5VsXc"
THIRD_USER = "YH21xB7pMFq4LGSpW9Tt"
THIRD_CONTACT = "seD4PfOuKoVMLkEZqohJ"


def plant(world: "World") -> None:
    world.add_company("Marketplace Demo Agency", id=COMPANY)

    world.add_location("Chai & Co. Bengaluru", timezone="Asia/Kolkata", country="IN", id=LOCATION)
    world.add_user(LOCATION, "Asha Rao", id=USER)
    world.add_calendar(LOCATION, "Discovery call", team=(USER,), id=CALENDAR)
    world.add_contact(LOCATION, id=CONTACT, firstName="Ravi", lastName="Iyer", email="ravi@example.com")

    world.add_location("Lakeside Dental Chicago", timezone="America/Chicago", id=SECOND_LOCATION)
    world.add_user(SECOND_LOCATION, "Dana Fox", id=SECOND_USER)
    world.add_calendar(SECOND_LOCATION, "Check-up", team=(SECOND_USER,), id=SECOND_CALENDAR)
    world.add_contact(
        SECOND_LOCATION,
        id=SECOND_CONTACT,
        firstName="Sam",
        lastName="Okafor",
        email="sam@example.com",
        phone="+13125550132",
    )

    world.add_location("سبا النخيل Dubai", timezone="Asia/Dubai", country="AE", id=THIRD_LOCATION)
    world.add_user(THIRD_LOCATION, "Layla Haddad", id=THIRD_USER)
    world.add_calendar(THIRD_LOCATION, "Massage", team=(THIRD_USER,), slot_minutes=60, id=THIRD_CALENDAR)
    world.add_contact(THIRD_LOCATION, id=THIRD_CONTACT, firstName="مريم", phone="+971501234567")
