"""Routes of the install flow."""

from django.urls import path

from oauth import views

urlpatterns = [
    path("install", views.install, name="install"),
    path("progress", views.progress, name="progress"),
    path("callback", views.callback, name="callback"),
]
