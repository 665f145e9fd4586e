"""CloudWatch for an emulator that speaks JSON: the SDK sends CBOR, which moto does not read."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

from awscrt.cbor import AwsCborDecoder
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TARGET = "GraniteServiceVersion20100801"
OPERATION = f"/service/{TARGET}/operation/"
# The name in the policies, and the one in the signatures, by which moto looks for a permission.
POLICY, SIGNATURE = "cloudwatch:", "monitoring:"


def as_moto_knows(actions: list[str]) -> list[str]:
    """Actions for a policy in moto."""
    return [action.replace(POLICY, SIGNATURE) for action in actions]


def request_as_json(
    path: str, body: bytes, headers: dict[str, str], credentials: Credentials, region: str
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the same request as JSON, with a signature of its own."""
    asked = AwsCborDecoder(body, on_epoch_time=float).pop_next_data_item()
    anew = AWSRequest(
        "POST",
        f"http://{headers['host']}/",
        data=json.dumps(asked).encode(),
        headers={
            "Host": headers["host"],
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"{TARGET}.{path.removeprefix(OPERATION)}",
        },
    )
    SigV4Auth(credentials, SIGNATURE.removesuffix(":"), region).add_auth(anew)
    prepared = anew.prepare()
    return prepared.body, dict(prepared.headers)


def answer_as_cbor(status: int, body: bytes) -> bytes:
    """The answer, or the error, in the form that the SDK reads."""
    if status == 200:
        said = json.loads(body)
    else:
        code = re.search(rb"<Code>(.*?)</Code>", body)
        said = {"__type": code.group(1).decode() if code else "Unknown", "message": "refused"}
    return _cbor(said)


def _cbor(value: Any, *, is_time: bool = False) -> bytes:  # noqa: ANN401
    """awscrt would write whole numbers as integers; CloudWatch writes every value as a double."""
    if isinstance(value, dict):
        fields = [
            _cbor(name) + _cbor(it, is_time=name == "Timestamps") for name, it in value.items()
        ]
        return _head(5, len(fields)) + b"".join(fields)
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(_cbor(it, is_time=is_time) for it in value)
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    return (b"\xc1" if is_time else b"") + b"\xfb" + struct.pack(">d", value)


def _head(kind: int, length: int) -> bytes:
    return bytes([kind << 5 | 25]) + struct.pack(">H", length)
