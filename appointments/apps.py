"""The desk as a Django app."""

from django.apps import AppConfig


class AppointmentsConfig(AppConfig):
    name = "appointments"
