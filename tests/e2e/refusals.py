"""How each service of AWS says no."""

from __future__ import annotations

import json

from gateway import Answer

# What each service says to one who asks too often, and where something broke on its side.
THROTTLED = {
    "s3": (503, "SlowDown"),
    "sns": (429, "Throttled"),
    "dynamodb": (400, "ThrottlingException"),
    "elasticloadbalancing": (400, "Throttling"),
    "ec2": (503, "RequestLimitExceeded"),
    "cloudwatch": (400, "ThrottlingException"),
    "sts": (400, "Throttling"),
}
BROKEN = {
    "s3": (500, "InternalError"),
    "sns": (500, "InternalError"),
    "dynamodb": (500, "InternalServerError"),
    "elasticloadbalancing": (503, "ServiceUnavailable"),
    "ec2": (500, "InternalError"),
    "cloudwatch": (500, "InternalServiceFault"),
    "sts": (500, "InternalFailure"),
}
DENIED = {
    "s3": (403, "AccessDenied"),
    "sns": (403, "AuthorizationError"),
    "dynamodb": (400, "AccessDeniedException"),
    "elasticloadbalancing": (403, "AccessDenied"),
    "ec2": (403, "UnauthorizedOperation"),
    "cloudwatch": (403, "AccessDenied"),
    "sts": (403, "AccessDenied"),
}


def refusal(action: str, status: int, code: str, message: str = "emulated") -> Answer:
    """The answer in the words and the form of the service of this action."""
    service = action.partition(":")[0]
    if service == "dynamodb":
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
        return Answer(
            status, [("content-type", "application/x-amz-json-1.0")], json.dumps(body).encode()
        )
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    outside = {
        "s3": "{}",
        "ec2": "<Response><Errors>{}</Errors><RequestID>r</RequestID></Response>",
    }
    # The gateway makes CBOR of it where CloudWatch is asked.
    whole = outside.get(service, "<ErrorResponse>{}<RequestId>r</RequestId></ErrorResponse>")
    return Answer(status, [("content-type", "text/xml")], whole.format(error).encode())


def as_said(action: str, words: dict[str, tuple[int, str]]) -> Answer:
    """The answer of the service of this action, of one of the tables above."""
    return refusal(action, *words[action.partition(":")[0]])
