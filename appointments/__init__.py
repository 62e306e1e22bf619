"""The desk: bookings, and the REST API that tenants call. Nothing here speaks HighLevel's wire format."""
