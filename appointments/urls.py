"""Routes of the tenant API."""

from django.urls import path

from appointments import api, locations

urlpatterns = [
    path("bookings", api.BookingList.as_view()),
    path("bookings/<uuid:booking_id>", api.BookingDetail.as_view()),
    path("bookings/<uuid:booking_id>/timeline", api.Timeline.as_view()),
    path("bookings/<uuid:booking_id>/cancel", api.Cancel.as_view()),
    path("bookings/<uuid:booking_id>/retry", api.Retry.as_view()),
    path("locations", locations.LocationList.as_view()),
    path("locations/<str:location_id>", locations.LocationDetail.as_view()),
]
