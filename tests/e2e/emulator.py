"""ministack: an emulated AWS that deploys templates of SAM and runs their functions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from cloud import ACCOUNT, REGION
from processes import NotReady, free_port, wait_for_port


class Emulator:
    """A running ministack.

    It has an environment of its own, because it wants other versions of what SAM needs too:
    `.ci/ministack.txt`.
    """

    def __init__(self, folder: Path) -> None:
        hypercorn = Path(sys.prefix) / "ministack" / "bin" / "hypercorn"
        if not hypercorn.exists():
            raise NotReady(f"{hypercorn} is not installed. Run `make tools`.")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # The account is the access key.
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "administrator",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            # How often SAM looks whether the stack is ready, in seconds.
            "SAM_CLI_POLL_DELAY": "0.5",
        }
        self.log = folder / "ministack.log"
        self._output = self.log.open("wb")
        self._server = subprocess.Popen(
            [str(hypercorn), "ministack.app:app", "--bind", f"127.0.0.1:{self.port}"],
            cwd=folder,
            env={**self.environment, "GATEWAY_PORT": str(self.port)},
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        wait_for_port(self.port, self._server, self.log)

    def close(self) -> None:
        """Stops the server, and with it the functions that it runs."""
        self._server.terminate()
        self._server.wait()
        self._output.close()

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its types at run time
        """A client with every permission."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="administrator",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def run(self, folder: Path, *command: str, **variables: str) -> str:
        """Runs a command of a person against this AWS, and returns what it printed."""
        done = subprocess.run(
            command,
            cwd=folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        told = f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, f"{told}\n{self.story()}"
        return done.stdout

    def story(self) -> str:
        """The end of the server's log, for the text of a failure."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])
