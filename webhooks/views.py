"""The slot that HighLevel's letters come through: read the bytes, call one function, shape the answer.
Whether a letter is kept is decided in inbox.py."""

from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webhooks import inbox, metrics
from webhooks.inbox import Outcome


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "body_too_large"
    default_detail = "HighLevel's letters have 256 KB at most."


class InvalidSignature(APIException):
    status_code = 401
    default_code = "invalid_signature"
    default_detail = "The letter has no valid signature of HighLevel's."


class NotALetter(APIException):
    status_code = 400
    default_code = "invalid_request"
    default_detail = "The body is not a JSON object, or its content type does not say so."


REFUSALS: dict[Outcome, type[APIException]] = {
    Outcome.TOO_LARGE: BodyTooLarge,
    Outcome.BAD_SIGNATURE: InvalidSignature,
    Outcome.NOT_JSON: NotALetter,
}
# HighLevel sends whatever is not answered with a 2xx again, and pauses whoever answers too many so.
ANSWERS = {
    Outcome.STORED: "stored",
    Outcome.DUPLICATE: "duplicate",
    Outcome.OTHER_APP: "dropped",
    Outcome.OUT_OF_TIME: "dropped",
}


class HighLevel(APIView):
    """`POST /webhooks/highlevel`: what authenticates is the signature over the raw body, which no parser touches."""

    authentication_classes = ()
    permission_classes = ()
    http_method_names = ("post",)
    schema = None

    def post(self, request: Request) -> Response:
        outcome = _outcome(request)
        metrics.letters_received.labels(outcome).inc()
        if refusal := REFUSALS.get(outcome):
            raise refusal
        return Response({"status": ANSWERS[outcome]})


def _outcome(request: Request) -> Outcome:
    declared = request.headers.get("Content-Length", "")
    if (
        "Transfer-Encoding" not in request.headers
        and declared.isdecimal()
        and int(declared) > inbox.LARGEST_BODY
    ):
        return Outcome.TOO_LARGE
    return inbox.receive(_body(request), request.headers)


def _body(request: Request) -> bytes:
    """Never more of it than shows that it is too large."""
    return request.stream.read(inbox.LARGEST_BODY + 1) if request.stream else b""
