"""The key cabinet as a Django app."""

from django.apps import AppConfig


class OauthConfig(AppConfig):
    name = "oauth"

    def ready(self) -> None:
        from oauth import checks  # noqa: F401
