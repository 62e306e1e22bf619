"""What authentication leaves in a request's WSGI environment."""

# Present once the request's API key is known to be good: how its body may be read depends on that.
AUTHENTICATED = "oauth.authenticated"
