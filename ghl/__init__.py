"""The telephone: the only code that speaks HighLevel's wire format.

No Django, no models, no retries and no decisions about bookings: those live to the left of here.
"""
