"""Real servers and the whole stack on one machine, for `make serve`, `make demo` and the tests.
Nothing here runs in production: there, DATABASE_URL and REDIS_URL name servers that others keep."""
