"""A headless Chromium, spoken to through a pipe: no port, no driver, no profile of anybody."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from processes import NotReady

# As little as possible beside the page: nothing is asked for over the network.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
SECONDS = 60


def chromium() -> str:
    """The browser, or what to install."""
    named = os.environ.get("CHROMIUM")
    names = [named] if named else ["chromium", "google-chrome"]
    found = next((path for path in map(shutil.which, names) if path), None)
    if not found:
        raise NotReady(
            "Chromium is not installed. Run `.ci/browser` as root (or `apt-get install chromium`), "
            "or set CHROMIUM to the path of a Chrome or Chromium."
        )
    return found


class Browser:
    """One browser with one page."""

    def __init__(self, folder: Path) -> None:
        to_browser, self.writer = os.pipe()
        self.reader, from_browser = os.pipe()

        def descriptors() -> None:
            # Chromium reads from 3 and writes to 4, and either may be taken by the other pipe.
            read, write = os.dup(to_browser), os.dup(from_browser)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.log = (folder / "chromium.log").open("wb")
        self.process = subprocess.Popen(
            [chromium(), *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            pass_fds=(3, 4),
            preexec_fn=descriptors,
            env={**os.environ, "HOME": str(folder)},
        )
        os.close(to_browser)
        os.close(from_browser)
        self.received = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Asks the browser and waits for the answer; events that come before it are kept."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(f"no answer to {method}")
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def wait_for(self, method: str) -> None:
        """Waits for an event, unless it has come already."""
        while not any(event["method"] == method for event in self.events):
            self._next(f"no {method}")

    def _next(self, trouble: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.received:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.reader], [], [], max(left, 0))
            chunk = os.read(self.reader, 1 << 20) if ready else b""
            if not chunk:
                raise NotReady(f"{trouble}:\n{self._tail()}")
            self.received += chunk
        line, self.received = self.received.split(b"\0", 1)
        message = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message

    def _tail(self) -> str:
        self.log.flush()
        return "\n".join(Path(self.log.name).read_text(errors="replace").splitlines()[-20:])

    def open(self, page: str, *, width: int, height: int = 800, dark: bool = False) -> None:
        """Loads a page as a window of this size shows it."""
        self.resize(width, height, dark=dark)
        self.events.clear()
        self.call("Page.navigate", url=page)
        self.wait_for("Page.loadEventFired")

    def resize(self, width: int, height: int, *, dark: bool) -> None:
        """A window of this size, light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401
        """The value of an expression in the page. The page's own policy does not hold for it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """What the page said in the console, what was refused, and dialogs, since it was opened."""
        kinds = (
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Audits.issueAdded",
            "Page.javascriptDialogOpening",
        )
        return [event for event in self.events if event["method"] in kinds]

    def requested(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        sent = [it for it in self.events if it["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        """The page as it is printed, on A4."""
        printed = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(printed["data"])

    def close(self) -> None:
        """Ends the browser."""
        os.close(self.writer)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reader)
        self.log.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
