"""The key cabinet: installs, tokens and API keys, who may act for whom. Nothing about bookings lives here."""
