"""The mail room's routes, under /webhooks/."""

from django.urls import path

from webhooks import views

urlpatterns = [path("highlevel", views.HighLevel.as_view(), name="highlevel-webhook")]
