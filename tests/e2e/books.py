"""What a soak must find at the end: every incident told once, every count exact."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from faults import CONFIGURATION, LEDGER, PUBLISH, SLOW, Fault
from table import Table
from traffic import WINDOW, Balancer, Incident

# The gap of a message that was made without the ledger.
ALONE = "other objects of the incident"


class Wrong(Exception):
    """Something that was promised did not come true."""


def hold(holds: bool, what: str) -> None:
    """Fails with these words where it does not hold."""
    if not holds:
        raise Wrong(what)


@dataclass
class Told:
    """A message that the topic took."""

    phase: str
    incident: int
    id: str
    failures: int
    is_alone: bool
    # Whether every object of the incident was in the table.
    is_whole: bool
    # What was denied of the configuration, and whether a gap says so.
    denied: dict[str, bool] = field(default_factory=dict)
    # Whether the record says that it was told.
    is_marked: bool = False


@dataclass
class Books:
    """Holds what is published against what was put into the logs."""

    balancers: list[Balancer]
    table: Table
    told: list[Told] = field(default_factory=list)
    # Of the invocation that runs.
    now: list[Told] = field(default_factory=list)
    # Actions of the configuration that were denied in it.
    denied: set[str] = field(default_factory=set)
    failed: Counter[str] = field(default_factory=Counter)
    succeeded: dict[str, str] = field(default_factory=dict)
    # Incidents of which a record was saved without that the function knows: it counts nothing then.
    uncounted: set[str] = field(default_factory=set)
    _saved: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._incidents: list[tuple[Balancer, Incident]] = []

    def published(self, message: dict[str, Any]) -> None:
        """A message arrived: of which incident it is, and whether it says what the table holds."""
        balancer = next(it for it in self.balancers if it.id == message["load_balancer"]["id"])
        group = message["target_group"]["arn"]
        start, end = (
            int(datetime.fromisoformat(message["window"][name]).timestamp()) // WINDOW
            for name in ("start", "end")
        )
        of = [
            it
            for it in balancer.incidents
            if it.group == group and it.first < end and start <= it.last
        ]
        hold(len(of) == 1, f"a message about {len(of)} incidents: {message['summary']}")
        gaps = {gap["fact"]: gap for gap in message["gaps"]}
        permissions = {gap["permission"] for gap in message["gaps"]}
        told = Told(
            message["phase"],
            self._number(balancer, of[0]),
            message["incident_id"],
            message["failures"],
            ALONE in gaps,
            False,
            {action: action in permissions for action in self.denied},
        )
        if not told.is_alone:
            told.is_whole = self._compare(balancer, group, range(start, end), message)
        self.now.append(told)

    def _number(self, balancer: Balancer, incident: Incident) -> int:
        for number, (_, it) in enumerate(self._incidents):
            if it is incident:
                return number
        self._incidents.append((balancer, incident))
        return len(self._incidents) - 1

    def _compare(
        self, balancer: Balancer, group: str, windows: range, message: dict[str, Any]
    ) -> bool:
        """Requests and failures of the message are those of the objects in the table."""
        items = self.table.partitions.get(f"observation#{balancer.id}", {}).values()
        there = {it["object"]["S"]: "damaged" in it for it in items}
        asked = {name: it for name, it in balancer.truth.items() if it.window in windows}
        if any(there.get(name) for name in asked):
            return False
        known = [it for name, it in asked.items() if name in there]
        expected = (
            sum(it.requests[group] for it in known),
            sum(it.failures[group] for it in known),
        )
        said = (message["requests"], message["failures"])
        hold(said == expected, f"told {said}, in the table are {expected}: {message['summary']}")
        return len(known) == len(asked)

    def saved(self, record: dict[str, Any]) -> None:
        """A record was saved: what it says of the last message."""
        self._saved |= {record["open"]["id"]} if record["open"] else {it.id for it in self.now}
        if not self.now or self.now[-1].is_alone:
            return
        told, is_open = self.now[-1], record["open"] is not None
        if told.phase == "resolved":
            told.is_marked |= not is_open
        else:
            told.is_marked |= is_open and record["open"]["told"] is not None

    def ended(
        self, request_id: str, name: str, error: dict[str, Any] | None, bit: list[Fault], near: bool
    ) -> None:
        """An invocation is over: what failed had a reason, and says it."""
        actions = {it.action for it in bit}
        # Where a piece of the configuration was late, it is not said whether it was denied as well.
        is_slow = any(it.kind == SLOW for it in bit)
        if error is None:
            hold(request_id not in self.succeeded, f"{request_id} succeeded twice")
            self.succeeded[request_id] = name
        else:
            said = error["errorMessage"]
            self.failed[error["errorType"]] += 1
            # Without a piece of the configuration there is a message all the same.
            failing = [it for it in bit if it.action not in CONFIGURATION]
            hold(bool(failing) or near, f"an invocation failed without a fault: {said}")
            for it in failing:
                is_said = not it.kind.startswith("denied") or it.action in said or near
                hold(is_said, f"{it.action} was denied, and the error says {said}")
        for it in self.now:
            is_said = near or is_slow or all(it.denied.values())
            hold(is_said, f"denied, and the message does not say it: {it}")
            if it.is_alone:
                hold(near or bool(actions & set(LEDGER)), f"told alone without a fault: {it}")
            elif not it.is_marked:
                # Its answer was lost, or that it was told could not be written down.
                reasons = {PUBLISH, "dynamodb:PutItem"}
                hold(near or bool(actions & reasons), f"not marked without a fault: {it}")
        lost = {it.action for it in bit if it.kind in ("answers lost to the end", SLOW)}
        if near or "dynamodb:PutItem" in lost:
            self.uncounted |= self._saved
        self.told += self.now
        self.now = []
        self._saved.clear()
        self.denied.clear()

    def close(self, log: Path) -> dict[str, int]:
        """Everything was delivered: the sums. Returns figures for the report."""
        self._hold_incidents()
        self._hold_table()
        figures = self._hold_metrics(log)
        marked = [it for it in self.told if it.is_marked]
        return {
            "incidents": len(self._incidents),
            "messages": len(self.told),
            "told twice": sum(not it.is_marked and not it.is_alone for it in self.told),
            "told alone": sum(it.is_alone for it in self.told),
            "told with a call denied": sum(bool(it.denied) for it in self.told),
            "resolved with every object there": sum(
                it.phase == "resolved" and it.is_whole for it in marked
            ),
            **figures,
        }

    def _hold_incidents(self) -> None:
        put = sum(len(it.incidents) for it in self.balancers)
        told: dict[int, Counter[str]] = defaultdict(Counter)
        ids: dict[int, set[str]] = defaultdict(set)
        for it in self.told:
            if it.is_marked:
                told[it.incident][it.phase] += 1
            if not it.is_alone:
                ids[it.incident].add(it.id)
        for number, (balancer, incident) in enumerate(self._incidents):
            expected = {"opened": 1, "resolved": 1}
            story = [it for it in self.told if it.incident == number]
            hold(
                told[number] == expected,
                f"{balancer.id} {incident}: told {dict(told[number])}; {story}",
            )
            hold(len(ids[number]) == 1, f"{incident} has the ids {ids[number]}; {story}")
        hold(len(self._incidents) == put, f"{put} incidents, told are {len(self._incidents)}")

    def _hold_table(self) -> None:
        for balancer in self.balancers:
            items = self.table.partitions.get(f"observation#{balancer.id}", {})
            by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for it in items.values():
                by_name[it["object"]["S"]].append(it)
            hold(by_name.keys() == balancer.truth.keys(), f"{balancer.id}: objects are missing")
            for name, truth in balancer.truth.items():
                hold(len(by_name[name]) == 1, f"{name} is {len(by_name[name])} items")
                [it] = by_name[name]
                hold("damaged" not in it, f"{name} stayed damaged")
                counted = (int(it["requests"]["N"]), int(it["failures"]["N"]))
                expected = (truth.requests.total(), truth.failures.total())
                hold(counted == expected, f"{name}: counted {counted}, put were {expected}")

    def _hold_metrics(self, log: Path) -> dict[str, int]:
        truth = {name: it for balancer in self.balancers for name, it in balancer.truth.items()}
        objects: Counter[str] = Counter()
        requests: dict[str, Counter[str]] = defaultdict(Counter)
        failures: dict[str, Counter[str]] = defaultdict(Counter)
        by_cause: Counter[str] = Counter()
        lines = 0
        with log.open() as opened:
            for text in opened:
                line = json.loads(text)
                lines += 1
                match line["message"]:
                    case "metrics of an object":
                        objects[line["requestId"]] += line["Objects"]
                    case "metrics of a window":
                        group = line.get("target_group", "others")
                        requests[line["requestId"]][group] += line["Requests"]
                        failures[line["requestId"]][group] += line["Failures"]
                    case "failures by cause":
                        by_cause[line["incident_id"]] += line["FailuresByCause"]
        hold(objects == Counter(self.succeeded.keys()), "metrics of other events than succeeded")
        for request_id, name in self.succeeded.items():
            it = truth[name]
            failing = {group.split("/")[1]: group for group in it.failures if it.failures[group]}
            expected = {short: it.requests[group] for short, group in failing.items()}
            rest = it.requests.total() - sum(expected.values())
            counted = dict(requests[request_id])
            hold(counted == {**expected, "others": rest}, f"{name}: metrics say {counted}")
            counted = {k: v for k, v in failures[request_id].items() if v}
            expected = {short: it.failures[group] for short, group in failing.items()}
            hold(counted == expected, f"{name}: metrics say {counted} failures, {expected} were")
        last = {it.id: it.failures for it in self.told if it.phase == "resolved" and it.is_marked}
        for incident_id, told in last.items():
            counted = by_cause[incident_id]
            is_less = incident_id in self.uncounted and counted < told
            hold(
                is_less or abs(counted - told) < 1e-6,
                f"{incident_id}: {counted} failures by cause, told {told}",
            )
        return {"lines of the log": lines}
