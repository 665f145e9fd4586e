"""One process of the function through thousands of invocations, on an AWS that fails at random.

`make soak` runs it, and `test_soak.py` a short form. Load balancers have one incident after the
other; every object comes as a bucket notification, some come twice, and what fails is delivered
again as Lambda does: twice more under the same id, then it is parked until somebody sends it again.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from books import Books, hold
from cloud import BUCKET, Cloud
from copies import Copy
from faults import UNTIL_PARKED, Faults
from small_aws import SmallAws
from table import Table
from traffic import Balancer, Network, s3_event

# Long enough for a body that stands still for five seconds to be taken up again.
SECONDS = 20.0
# Reading ends after half of the time (src/aws/deadlines.rs), everything else later: an invocation
# that took longer, since the machine was busy, may have met a deadline.
NEAR = 0.5
# As Lambda does with an event that came by itself: the first time, and two retries.
ATTEMPTS = 3
# S3 delivers at least once: so many objects come a second time.
TWICE = 0.08
# A day of a load balancer is some 500 invocations: with fewer of them no day is too short.
OF_ONE_BALANCER = 350
TABLE = "alb502-soak"
# Memory may grow by so much from the second quarter of the invocations to the last. Nothing is
# kept, but the allocator's pages wander: the medians of quarters between 43.1 and 43.8 MB in 10,000
# invocations, by 0.3 MB in the first 200. Of 10,000 there are 5,000 between the two quarters: 200
# bytes left behind by each are seen, and of 200 invocations 10 KB by each, a third of an object.
MARGIN_KB = 1024


@dataclass(order=True)
class Delivery:
    """An event on its way."""

    due: int
    number: int
    key: str = field(compare=False)
    balancer: int = field(compare=False)
    # S3 tells of the object once more.
    is_second: bool = field(default=False, compare=False)
    attempts: int = field(default=0, compare=False)
    sent: int = field(default=0, compare=False)
    is_parked: bool = field(default=False, compare=False)
    # It will fail until it is parked.
    is_bad: bool = field(default=False, compare=False)

    @property
    def request_id(self) -> str:
        """The same for every attempt; another one where a person sends it again."""
        return f"event-{self.number}-{self.sent}"


class Soak:
    """The whole of it."""

    def __init__(self, invocations: int, seed: int, folder: Path) -> None:
        self.wanted, self.seed = invocations, seed
        self._random = random.Random(f"{seed}-deliveries")
        self.faults = Faults(seed)
        self.aws = SmallAws(Table(TABLE), self.faults)
        self.cloud = Cloud(folder / "moto.log")
        network = Network(self.cloud)
        count = max(2, -(-invocations // OF_ONE_BALANCER))
        balancers = [Balancer(self.cloud, network, number, seed) for number in range(count)]
        self.books = Books(balancers, self.aws.table)
        self.aws.published, self.aws.saved = self.books.published, self.books.saved
        self.aws.denied = self.books.denied.add
        settings = {"ALB502_TOPIC_ARN": self.cloud.topic, "ALB502_TABLE": TABLE}
        keys = ("AKIASOAK", "soak")
        self.copy = Copy(self.cloud, keys, folder / "function", settings, self.aws)
        self.done = self.deaths = self.parked = 0
        self.kilobytes: list[int] = []
        self._number = 0
        # Of the running episode of each load balancer: what has not come yet, and how much of it
        # was not handled yet.
        self._to_come: list[deque[Delivery]] = [deque() for _ in balancers]
        self._not_handled: Counter[int] = Counter()
        self._again: list[Delivery] = []
        self._is_over = [False] * count

    def close(self) -> None:
        """Stops what was started."""
        self.copy.close()
        self.cloud.close()

    def run(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """Runs to the end. Returns figures."""
        started = said = time.monotonic()
        while (delivery := self._next()) is not None:
            self._deliver(delivery)
            if time.monotonic() - said > 5.0:
                said = time.monotonic()
                progress(self._so_far(said - started))
        progress(self._so_far(time.monotonic() - started))
        hold(self.deaths == 0, f"the process died {self.deaths} times, or did not answer")
        figures = self.books.close(self.copy.log)
        memory = self._memory()
        return {
            "invocations": self.done,
            "seconds": round(time.monotonic() - started),
            "calls that AWS answered": self.aws.calls,
            "parked": self.parked,
            **figures,
            "failed invocations": dict(self.books.failed),
            "faults": dict(sorted(self.faults.bitten.items())),
            "calls that were slow": self.faults.slow.total(),
            "resident memory, MB": memory,
        }

    def _so_far(self, seconds: float) -> str:
        faults, memory = sum(self.faults.bitten.values()), self.kilobytes[-1] / 1024
        return (
            f"{self.done} of {self.wanted} invocations, {self.done / seconds:.0f} a second, "
            f"{faults} faults, {len(self.books.told)} messages, {memory:.1f} MB"
        )

    def _next(self) -> Delivery | None:
        """The event that comes now; None when all is done."""
        if self._again and self._again[0].due <= self.done:
            return heapq.heappop(self._again)
        for number in range(len(self._to_come)):
            self._begin_episode(number)
        ready = [number for number, it in enumerate(self._to_come) if it]
        if ready:
            return self._to_come[self._random.choice(ready)].popleft()
        return heapq.heappop(self._again) if self._again else None

    def _begin_episode(self, number: int) -> None:
        """The next incident of a load balancer, once everything of the one before was handled: so
        it is known which windows are one incident."""
        under_way = self._to_come[number] or self._not_handled[number]
        waiting = sum(len(it) for it in self._to_come)
        if under_way or self._is_over[number] or self.wanted <= self.done + waiting:
            return
        episode = self.books.balancers[number].episode()
        if episode is None:
            self._is_over[number] = True
            return
        for key, content in episode:
            self.aws.objects[f"{BUCKET}/{key}"] = content
            self._to_come[number].append(self._made(key, number))
            if self._random.random() < TWICE:
                second = self._made(key, number)
                second.is_second, second.due = True, self._later(80)
                heapq.heappush(self._again, second)
        self._not_handled[number] = len(episode)

    def _made(self, key: str, balancer: int) -> Delivery:
        self._number += 1
        return Delivery(0, self._number, key, balancer)

    def _later(self, most: int) -> int:
        return self.done + self._random.randint(3, most)

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.is_parked:
            self._wait_for_lease(delivery)
            delivery.is_parked, delivery.attempts = False, 0
            delivery.sent += 1
        fault = self.faults.deal()
        delivery.is_bad |= fault is not None and fault.kind == UNTIL_PARKED
        seconds = fault.seconds if fault and fault.seconds else SECONDS
        self.faults.begin(is_parked=delivery.is_bad)
        self.copy.gateway.requests.clear()
        started = time.monotonic()
        done = self.copy.deliver(s3_event(delivery.key), delivery.request_id, seconds)
        took = time.monotonic() - started
        bit = self.aws.end()
        if self.aws.wrong:
            raise self.aws.wrong
        self.done += 1
        near = (fault is not None and fault.seconds is not None) or took > NEAR * seconds
        if done.answer is None and done.error is None:
            self.deaths += 1
            self.copy.start()
        else:
            name = f"s3://{BUCKET}/{delivery.key}"
            self.books.ended(delivery.request_id, name, done.error, bit, near)
            self.kilobytes.append(resident(self.copy.process.pid))
        if done.answer is not None:
            self._not_handled[delivery.balancer] -= not delivery.is_second
        else:
            self._send_again(delivery)

    def _send_again(self, delivery: Delivery) -> None:
        delivery.attempts += 1
        if delivery.attempts == ATTEMPTS:
            self.parked += 1
            delivery.is_parked, delivery.is_bad = True, False
        delivery.due = self._later(30)
        heapq.heappush(self._again, delivery)

    def _wait_for_lease(self, delivery: Delivery) -> None:
        """A person sends it again hours later: the lease of an attempt that failed is over."""
        balancer = self.books.balancers[delivery.balancer].id
        records = self.aws.table.partitions.get(f"record#{balancer}", {}).values()
        leases = [json.loads(it["record"]["S"])["lease"] for it in records]
        until = max((it["until"] / 1e6 for it in leases if it), default=0.0)
        time.sleep(max(0.0, until - time.time()))

    def _memory(self) -> dict[str, float]:
        """Holds that memory is flat: the last quarter beside the second one, when all is warm."""
        quarter = len(self.kilobytes) // 4
        medians = [
            statistics.median(self.kilobytes[quarter * it : quarter * (it + 1)]) for it in range(4)
        ]
        grown = medians[3] - medians[1]
        hold(
            grown <= MARGIN_KB,
            f"memory grew by {grown:.0f} KB from the second to the last quarter: {medians}",
        )
        figures = {f"median of quarter {it + 1}": medians[it] for it in range(4)}
        figures["peak"] = max(self.kilobytes)
        return {name: round(kilobytes / 1024, 2) for name, kilobytes in figures.items()}


def resident(pid: int) -> int:
    """Kilobytes of a process in memory."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        # Not on Linux.
        return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)]))
    [line] = [it for it in status.read_text().splitlines() if it.startswith("VmRSS:")]
    return int(line.split()[1])


def main() -> None:
    """Runs, and says how to see a failure again."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--invocations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"SEED={seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="alb502-soak-"))
    soak = Soak(arguments.invocations, seed, folder)
    try:
        figures = soak.run(lambda text: print(f"  {text}", flush=True))
    except Exception as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        print(f"The log of the function is {soak.copy.log}. To see it again:", file=sys.stderr)
        print(f"  make soak SOAK={arguments.invocations} SEED={seed}", file=sys.stderr)
        raise SystemExit(1) from error
    finally:
        soak.close()
    shutil.rmtree(folder)
    for name, value in figures.items():
        rows = value if isinstance(value, dict) else {}
        print(f"{name:<34} {sum(rows.values()) if name == 'faults' else '' if rows else value}")
        for kind, number in rows.items():
            print(f"  {kind:<32} {number}")


if __name__ == "__main__":
    main()
