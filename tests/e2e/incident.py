"""The bundled incidents, moved to the emulated cloud: its ids in the rows, keys and events."""

from __future__ import annotations

import gzip
import json
import urllib.parse
from typing import Any

from cloud import Cloud
from processes import ROOT

EVENTS = ROOT / "events"
SNAPSHOT = EVENTS / "local" / "aws"
# The bundled incidents are of one day, and are told on all others.
EVER = {"ALB502_MAX_AGE_HOURS": "100000"}
OBJECTS = EVENTS / "local" / "s3" / "example-alb-logs"


def event(name: str) -> dict[str, Any]:
    """An event of `events/`."""
    return json.loads((EVENTS / name).read_text())


def keys(payload: dict[str, Any]) -> list[str]:
    """The decoded keys of an S3 event."""
    found = [record["s3"]["object"]["key"] for record in payload["Records"]]
    return [urllib.parse.unquote_plus(key) for key in found]


def rows(key: str) -> str:
    """The rows of a bundled object."""
    return gzip.decompress((OBJECTS / key).read_bytes()).decode()


def worst(payload: dict[str, Any]) -> str:
    """The key of the bundled object with the most failures."""
    return max(keys(payload), key=lambda key: rows(key).count(" 504 - "))


def move(cloud: Cloud, payload: dict[str, Any] | list[Any]) -> dict[str, Any] | list[Any]:
    """Puts the objects of an event into the emulated bucket; returns the event that names them.

    Whatever the shape of the event: a key of AWS stands in each of them as it is.
    """
    text = json.dumps(payload)
    for path in sorted(OBJECTS.rglob("*.log.gz")):
        key = path.relative_to(OBJECTS).as_posix()
        if key in text:
            put(cloud, key, rows(key))
    return json.loads(cloud.renamed(text))


def put(cloud: Cloud, key: str, text: str) -> str:
    """Puts rows into the bucket as a log object; returns its key there."""
    moved = cloud.renamed(key)
    cloud.put_object(moved, gzip.compress(cloud.renamed(text).encode(), mtime=0))
    return moved


def one_record(payload: dict[str, Any], key: str) -> dict[str, Any]:
    """A record like the first one of the event, for another key."""
    record = json.loads(json.dumps(payload["Records"][0]))
    record["s3"]["object"] = {"key": urllib.parse.quote_plus(key, safe="/")}
    return record
