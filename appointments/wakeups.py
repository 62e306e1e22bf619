"""The wake-up that has a worker converge what is due for a location.
How wake-ups are sent, and what happens without a broker, is in oauth/wakeups.py."""

from oauth.wakeups import WakeUp

CONVERGE = WakeUp("appointments.tasks.converge_location")
