"""What a person runs at a desk: `make invoke` and `alb502 diagnose --live`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import incident
from cloud import REGION
from conftest import World
from policy import described
from processes import ROOT, TARGET, environment_at, program


def test_make_invoke_shows_the_whole_way(tmp_path: Path) -> None:
    """The emulated cloud in one command."""
    done = subprocess.run(
        [sys.executable, "tests/e2e/invoke.py", "events/s3-blocked-port.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "2 x sns:Publish",
        "CAUSE 1  blocked-port",
        '"published": 2',
        "diagnosis published",
    ):
        assert words in done.stdout, done.stdout
    assert (TARGET / "invoke" / "s3-blocked-port" / "body-1-email.txt").exists()
    own = done.stdout.split("\nSubject: ")[0]
    assert max(len(line) for line in own.splitlines()) <= 78, own


def test_make_invoke_names_the_events_that_there_are() -> None:
    """A typo is answered with what would work."""
    done = subprocess.run(
        [sys.executable, "tests/e2e/invoke.py", "events/typo.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "make invoke EVENT=events/s3-blocked-port.json" in done.stderr


def diagnose(
    world: World, folder: Path, keys: tuple[str, str] | None
) -> subprocess.CompletedProcess[str]:
    """Runs `alb502 diagnose --live` on the objects of the blocked port, as a person would."""
    for key in incident.keys(incident.event("s3-blocked-port.json")):
        path = folder / world.cloud.renamed(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(world.cloud.renamed(incident.rows(key)))
    return subprocess.run(
        [program("alb502"), "diagnose", "AWSLogs", "--live", "--format", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment_at(folder, world.gateway.url, keys),
    )


def test_live_says_what_the_function_says(world: World, tmp_path: Path) -> None:
    """The same adapters, with the person's smaller policy, and no region but that of the log."""
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    by_function = world.invoke(event).diagnosis
    keys = world.cloud.user("person", described())
    done = diagnose(world, tmp_path, keys)
    assert done.returncode == 0, done.stderr
    assert "arn:aws:iam::123456789012:user/person" in done.stderr
    [by_person] = json.loads(done.stdout)["diagnoses"]
    for part in ("summary", "causes", "checks", "gaps", "facts"):
        assert by_person[part] == by_function[part], part
    assert by_person["load_balancer"]["region"] == REGION


def test_live_without_credentials_says_what_to_do(world: World, tmp_path: Path) -> None:
    """No diagnosis that looks as if AWS had been asked."""
    done = diagnose(world, tmp_path, None)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "no AWS credentials were found" in said, said
    assert "aws sso login" in said
    # That is said of the function, which looks nowhere else.
    assert "in the environment" not in said
    assert done.stdout == ""
