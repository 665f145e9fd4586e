"""Random faults of AWS, from a seed."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field

from gateway import Answer
from policy import described
from refusals import BROKEN, DENIED, THROTTLED, as_said, refusal

READ, PUBLISH = "s3:GetObject", "sns:Publish"
LEDGER = [f"dynamodb:{it}" for it in ("BatchWriteItem", "Query", "PutItem", "BatchGetItem")]
# Prefix lists are only read where a rule names one.
CONFIGURATION = [it for it in described() if "PrefixList" not in it]

# What SNS says to a message that it does not take: of a topic that is gone, of one whose key may
# not be used, of one that is for others.
SNS_REFUSALS = [
    (404, "NotFound"),
    (400, "KMSAccessDenied"),
    (400, "InvalidParameter"),
    (403, "AuthorizationError"),
]

# Not dealt: AWS or the function had to wait for the machine.
SLOW = "slow"
TOO_NEAR, UNTIL_PARKED = "deadline too near", "denied until parked"

# How often each kind comes in a round of the deck: all of them, what costs seconds seldom.
KINDS = {
    "throttled once": 4,
    "throttled to the end": 2,
    "5xx once": 4,
    "5xx to the end": 2,
    "denied": 4,
    "answer lost": 3,
    "answers lost to the end": 1,
    "items left": 2,
    "body cut": 2,
    "body cut each time": 1,
    "body stalled": 1,
    "body stalled to the deadline": 1,
    "refused by SNS": 2,
    TOO_NEAR: 3,
    UNTIL_PARKED: 1,
}
TO_THE_END = 1000


@dataclass
class Fault:
    """One fault, which bites at the first request of its action."""

    kind: str
    action: str
    # So many requests.
    left: int
    code: tuple[int, str] = (0, "")
    # How long the invocation has, in seconds, where that is the fault.
    seconds: float | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self) -> Answer | None:
        """What is answered in the place of AWS, if anything is."""
        if self.kind.startswith("throttled"):
            return as_said(self.action, THROTTLED)
        if self.kind.startswith("5xx"):
            return as_said(self.action, BROKEN)
        if self.kind.startswith("denied"):
            return as_said(self.action, DENIED)
        if self.kind == "refused by SNS":
            return refusal(self.action, *self.code)
        return None


class Faults:
    """Deals faults, and remembers which of them bit."""

    # So many invocations get a fault: enough for each kind to come often, few enough for most
    # events to succeed in three attempts.
    SHARE = 0.15

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}-faults")
        self._deck: list[str] = []
        self._armed: dict[str, Fault] = {}
        self._biting: dict[str, Fault] = {}
        self._slow: dict[str, Fault] = {}
        self._lock = threading.Lock()
        self.bitten: Counter[str] = Counter()
        self.slow: Counter[str] = Counter()

    def deal(self) -> Fault | None:
        """Before an invocation: perhaps one more fault, which waits for a request of its action."""
        if self._random.random() >= self.SHARE:
            return None
        if not self._deck:
            self._deck = [kind for kind, times in KINDS.items() for _ in range(times)]
            self._random.shuffle(self._deck)
        fault = self._made(self._deck.pop())
        if fault.kind == TOO_NEAR:
            self.bitten[fault.kind] += 1
        elif fault.kind != UNTIL_PARKED:
            self._armed.setdefault(fault.action, fault)
        return fault

    def _made(self, kind: str) -> Fault:
        pick = self._random.choice
        # Half of them where something can be lost, half where something can be overlooked.
        any_of = pick([[READ, PUBLISH, *LEDGER], CONFIGURATION])
        once = self._random.randint(1, 2)
        if kind == TOO_NEAR:
            return Fault(kind, "", 0, seconds=pick([0.05, 0.3, 0.8, 1.5]))
        if kind in ("body cut", "body cut each time"):
            return Fault(kind, READ, once if kind == "body cut" else TO_THE_END)
        if kind == "body stalled":
            return Fault(kind, READ, 1)
        if kind == "body stalled to the deadline":
            return Fault(kind, READ, TO_THE_END, seconds=2.0)
        if kind == UNTIL_PARKED:
            return Fault(kind, READ, TO_THE_END)
        if kind == "items left":
            return Fault(kind, pick(["dynamodb:BatchWriteItem", "dynamodb:BatchGetItem"]), once)
        if kind == "answer lost":
            return Fault(kind, pick([READ, PUBLISH, *LEDGER]), 1)
        if kind == "answers lost to the end":
            return Fault(kind, pick([PUBLISH, "dynamodb:PutItem"]), TO_THE_END)
        if kind == "refused by SNS":
            return Fault(kind, PUBLISH, TO_THE_END, code=pick(SNS_REFUSALS))
        return Fault(kind, pick(any_of), once if kind.endswith("once") else TO_THE_END)

    def begin(self, *, is_parked: bool) -> None:
        """An invocation begins, perhaps of an event that fails each time."""
        self._biting, self._slow = {}, {}
        if is_parked:
            self._armed[READ] = Fault(UNTIL_PARKED, READ, TO_THE_END)

    def bite(self, action: str) -> Fault | None:
        """The fault of this request, if it has one."""
        with self._lock:
            fault = self._biting.get(action)
            if fault is None and action in self._armed:
                fault = self._biting[action] = self._armed.pop(action)
                self.bitten[fault.kind] += 1
            if fault is None or fault.left == 0:
                return None
            fault.left -= 1
            return fault

    def was_slow(self, action: str) -> None:
        """A request of this action may have been given up, though nothing was done to it."""
        with self._lock:
            self._slow[action] = Fault(SLOW, action, 0)

    def was_sent_again(self, action: str) -> None:
        """A request of this action is not the first: a fault bit that, or it was given up."""
        with self._lock:
            if action not in self._biting:
                self._slow[action] = Fault(SLOW, action, 0)

    def let_go(self) -> None:
        """The invocation is over: nothing waits for it any more."""
        with self._lock:
            for fault in self._biting.values():
                fault.over.set()

    def end(self) -> list[Fault]:
        """Every request of the invocation is over. Returns what bit it."""
        with self._lock:
            self.slow.update(self._slow.keys())
            return [*self._biting.values(), *self._slow.values()]
