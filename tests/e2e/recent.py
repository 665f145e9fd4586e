"""Access logs of just now: what is older than a day is never published."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta, timezone

from cloud import ACCOUNT, REGION

ID = "0123456789abcdef"
GROUP = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/shop-web/fedcba9876543210"
WINDOW = timedelta(minutes=5)


def window(ago: int) -> datetime:
    """The begin of a window of five minutes that many windows before the current one."""
    now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    return now - timedelta(minutes=now.minute % 5) - ago * WINDOW


def key(begin: datetime, node: str, *, balancer: str = "shop") -> str:
    """The key under which a node delivers the window."""
    end = begin + WINDOW
    folder = f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/{end:%Y/%m/%d}"
    return (
        f"{folder}/{ACCOUNT}_elasticloadbalancing_{REGION}_app.{balancer}.{ID}_"
        f"{end:%Y%m%dT%H%MZ}_{node}_1a2b3c4d.log.gz"
    )


def log(begin: datetime, requests: int, *, refused_each: int = 0, balancer: str = "shop") -> bytes:
    """Requests of one target group in the window; one connection of so many is refused."""
    rows = []
    for number in range(requests):
        at = begin + WINDOW * number / requests
        refused = refused_each and number % refused_each == 0
        times, status = ("-1 -1 -1", "502 -") if refused else ("0.001 0.018 0.000", "200 200")
        time = f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
        rows.append(
            f"http {time} app/{balancer}/{ID} 198.51.100.7:40000 "
            f"10.0.0.{number % 3 + 1}:8080 {times} {status} 200 300 "
            f'"GET http://shop.example.com:80/cart HTTP/1.1" "curl/8" - - {GROUP} '
            f'"Root=1-0-{number:x}" "-" "-" 0 {time} "forward" "-" "-" '
            f'"10.0.0.{number % 3 + 1}:8080" "{status.split()[1]}" "-" "-" TID_{number:x}\n'
        )
    return gzip.compress("".join(rows).encode(), mtime=0)
