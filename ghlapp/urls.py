"""Every route of the product, by room."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from ghlapp import health, problems

urlpatterns = [
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("oauth/", include("oauth.urls")),
    path("webhooks/", include("webhooks.urls")),
    path("api/v1/", include("appointments.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(template_name="ghlapp/api_docs.html"), name="docs"),
    path("admin/", admin.site.urls),
]
handler400 = problems.bad_request
handler404 = problems.not_found
handler500 = problems.failed
