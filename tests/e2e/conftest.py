"""The emulated world that the tests share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud import Cloud
from function import Function, Invocation
from gateway import Gateway, Trouble
from incident import EVER, SNAPSHOT
from policy import granted

LEDGER = "dynamodb:"
MEASURED = "measured"

# Files run side by side. What takes longest begins first, so that it is not left alone at the end.
FIRST = ("deploy", "trouble", "probe", "s3", "faults", "ledger", "soak", "permissions", "html")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts these files first; within a file all stays as it is."""
    order = [f"test_{name}.py" for name in FIRST]
    items.sort(key=lambda it: order.index(it.path.name) if it.path.name in order else len(order))


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes lines that a test has measured. They stand at the end of the output."""
    return lambda line: request.node.user_properties.append((MEASURED, line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tests run in processes of their own, which have no terminal: this one has."""
    ended = [it for how in ("passed", "failed") for it in terminalreporter.getreports(how)]
    reports = [it for it in ended if it.when == "call"]
    lines = [line for it in reports for name, line in it.user_properties if name == MEASURED]
    if lines:
        terminalreporter.section(MEASURED)
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """AWS with the load balancers of the bundled incidents, and permissions that count."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud") / "moto.log")
    cloud.load(SNAPSHOT)
    cloud.enforce_permissions()
    yield cloud
    cloud.close()


@pytest.fixture(scope="session")
def role(cloud: Cloud) -> tuple[str, str]:
    """Keys with just what the template grants."""
    return cloud.user("alb502-as-deployed", granted())


class World:
    """One test's functions between the runtime and AWS."""

    def __init__(self, cloud: Cloud, role: tuple[str, str], folder: Path) -> None:
        self.cloud, self.role, self.folder = cloud, role, folder
        self.gateway = Gateway(cloud.port, cloud.secrets)
        self.started: list[Function] = []
        cloud.messages()

    def start(
        self, keys: tuple[str, str] | None = None, seconds: float = 30.0, **settings: str
    ) -> Function:
        """Starts a function, with a table of its own: it knows of nothing that was before."""
        folder = self.folder / f"function-{len(self.started)}"
        settings = {"ALB502_TOPIC_ARN": self.cloud.topic, **EVER, **settings}
        if "ALB502_TABLE" not in settings:
            settings["ALB502_TABLE"] = self.cloud.new_table()
        function = Function(
            self.gateway.url, keys or self.role, folder, seconds=seconds, **settings
        )
        self.started.append(function)
        return function

    def invoke(
        self,
        event: object,
        *,
        trouble: Trouble | None = None,
        keys: tuple[str, str] | None = None,
        seconds: float = 30.0,
        **settings: str,
    ) -> Outcome:
        """Starts a function, sends it one event, and reads what came of it."""
        self.gateway.trouble = trouble or Trouble()
        self.gateway.requests = []
        function = self.start(keys, seconds, **settings)
        invocation = function.invoke(event)
        return Outcome(invocation, self.cloud.messages(), self.gateway, function)

    def close(self) -> None:
        """Stops what was started."""
        for function in self.started:
            function.close()
        self.gateway.close()


class Outcome:
    """What an invocation did, as everybody concerned saw it."""

    def __init__(
        self,
        invocation: Invocation,
        messages: list[dict[str, Any]],
        gateway: Gateway,
        function: Function,
    ) -> None:
        self.invocation, self.messages = invocation, messages
        self.requests = gateway.requests
        self.lines = function.lines()

    @property
    def diagnosis(self) -> dict[str, Any]:
        """The one message in the queue that opens an incident, in its machine form."""
        told = [json.loads(message["Message"]) for message in self.messages]
        opened = [it for it in told if it["phase"] == "opened"]
        assert len(opened) == 1, self.story
        return opened[0]

    @property
    def actions(self) -> list[str]:
        """The IAM actions of the requests but the ledger's, in the order in which they came."""
        return [it.action for it in self.requests if not it.action.startswith(LEDGER)]

    @property
    def remembered(self) -> list[str]:
        """The actions of the ledger."""
        return [it.action for it in self.requests if it.action.startswith(LEDGER)]

    @property
    def published(self) -> dict[str, str]:
        """The parameters of the first Publish, which opens the incident."""
        found = [request for request in self.requests if request.action == "sns:Publish"]
        return found[0].parameters

    @property
    def bodies(self) -> dict[str, str]:
        """The body for each protocol, as it was published."""
        return json.loads(self.published["Message"])

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines of the log with this message."""
        return [line for line in self.lines if line["message"] == message]

    @property
    def story(self) -> str:
        """Everything, for the text of a failure."""
        log = "\n".join(json.dumps(line) for line in self.lines)
        asked = "\n".join(self.actions)
        return f"{self.invocation}\nasked:\n{asked}\nlog:\n{log}"


@pytest.fixture
def world(cloud: Cloud, role: tuple[str, str], tmp_path: Path) -> Iterator[World]:
    """Functions of this test's own in the shared cloud."""
    world = World(cloud, role, tmp_path)
    yield world
    world.close()
