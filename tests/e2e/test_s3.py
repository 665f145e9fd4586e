"""What a person types at night: `alb502 diagnose` with `--load-balancer` and `s3://`."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import incident
import recent
from cloud import ACCOUNT, REGION
from conftest import World
from gateway import Answer, CutBody, Request, Trouble
from policy import described
from processes import environment_at, program

READ = ["s3:ListBucket", "s3:GetObject"]
# The incident is in the middle: an hour before and after it are asked for.
HOUR = timedelta(hours=1)


def unwrapped(said: str) -> str:
    """Lines are broken to fit a terminal: what they say, on one."""
    return " ".join(said.split())


class CutLarge(CutBody):
    """Only bodies of the large object break off."""

    def send(self, request: Request, body: bytes, write: Callable[[bytes], None]) -> None:
        """Passes on the rest, lists as well."""
        if "app.large." not in request.path.split("?")[0]:
            return write(body)
        return super().send(request, body, write)


class Expired(Trouble):
    """The credentials end after so many objects."""

    def __init__(self, left: int) -> None:
        self.left = left

    def instead(self, request: Request) -> Answer | None:
        """S3 refuses the object."""
        if ".log.gz" not in request.path.split("?")[0]:
            return None
        self.left -= 1
        body = b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>"
        return Answer(400, [], body) if self.left < 0 else None


class SlowList(Trouble):
    """Lists take their time, as those of a large bucket do."""

    def before(self, request: Request) -> None:
        """Waits before each list."""
        if "list-type=2" in request.path:
            time.sleep(0.5)


# Stands for a terminal: both streams end up on it.
ON_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


class Night:
    """The blocked port in a bucket of its own, and a person who may read."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.bucket = re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-")
        self.s3 = world.cloud.client("s3")
        location = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=location)
        self.logs: dict[str, bytes] = {}
        for key in incident.keys(incident.event("s3-blocked-port.json")):
            rows = world.cloud.renamed(incident.rows(key)).encode()
            self.put(world.cloud.renamed(key), gzip.compress(rows, mtime=0))
        self.key = min(self.logs)
        self.end = ends(self.key)
        self.keys = self.person("night", [*described(), *READ])

    def person(self, name: str, actions: list[str]) -> tuple[str, str]:
        """Keys of somebody who may do just this."""
        return self.world.cloud.user(f"{self.bucket}-{name}", actions)

    def put(self, key: str, content: bytes, *, prefix: str = "") -> None:
        """A log object, of which there is a local copy."""
        self.logs[key] = content
        self.world.cloud.put_object(prefix + key, content, self.bucket)

    @property
    def balancer(self) -> str:
        """The name of the load balancer."""
        return self.key.split("_app.")[1].split(".")[0]

    def run(
        self,
        *arguments: str,
        keys: tuple[str, str] | None = None,
        region: str | None = REGION,
        command: str = "diagnose",
        on_terminal: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `alb502` and remembers what it asked."""
        self.world.gateway.requests = []
        terminal = [sys.executable, "-c", ON_TERMINAL] if on_terminal else []
        return subprocess.run(
            [*terminal, program("alb502"), command, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment_at(self.folder, self.world.gateway.url, keys or self.keys, region),
        )

    def span(self) -> list[str]:
        """The flags for the time of the incident."""
        since, until = self.end - HOUR, self.end + HOUR
        return ["--since", f"{since:%Y-%m-%dT%H:%M}Z", "--until", f"{until:%Y-%m-%dT%H:%M}Z"]

    def in_s3(self, *arguments: str, prefix: str = "", command: str = "diagnose") -> dict[str, Any]:
        """The JSON of `alb502 diagnose s3://...`."""
        url = f"s3://{self.bucket}/{prefix}"
        done = self.run(url, *self.span(), "--format", "json", *arguments, command=command)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def on_disk(self, *arguments: str, command: str = "diagnose") -> dict[str, Any]:
        """The same of local copies, under the same names."""
        for key, content in self.logs.items():
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        done = self.run("AWSLogs", "--format", "json", *arguments, command=command)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.replace('"AWSLogs/', f'"s3://{self.bucket}/AWSLogs/'))

    def fetched(self) -> list[str]:
        """The objects that were asked for."""
        paths = [request.path.split("?")[0] for request in self.world.gateway.requests]
        return [path.removeprefix(f"/{self.bucket}/") for path in paths if ".log.gz" in path]


def ends(key: str) -> datetime:
    """The time in the name of an object."""
    found = re.search(r"_(\d{8}T\d{4})Z_", key)
    assert found
    return datetime.strptime(found[1], "%Y%m%dT%H%M")


def at(key: str, time: datetime) -> str:
    """The key of an object of another time."""
    return re.sub(r"\d{8}T\d{4}Z", f"{time:%Y%m%dT%H%M}Z", key).replace(
        f"{ends(key):%Y/%m/%d}", f"{time:%Y/%m/%d}"
    )


@pytest.fixture
def night(world: World, tmp_path: Path) -> Iterator[Night]:
    """Logs that nobody was told of."""
    yield Night(world, tmp_path)


def test_s3_says_what_local_copies_say(night: Night) -> None:
    """Every load balancer below the prefix, and only the time that is asked for."""
    in_s3, on_disk = night.in_s3("--live"), night.on_disk("--live")
    assert in_s3 == on_disk
    [diagnosis] = in_s3["diagnoses"]
    assert diagnosis["causes"][0]["id"] == "blocked-port"
    # What is far from the time is not fetched, what is of another kind is named.
    for hours in (-6, -2, 2, 6):
        night.put(at(night.key, night.end + timedelta(hours=hours)), b"damaged")
    folder, _, file = night.key.rpartition("/")
    night.put(f"{folder}/conn_log_{file}", b"damaged")
    night.put(night.key.replace("_app.", "_net."), b"damaged")
    again = night.in_s3("--live")
    [same] = again["diagnoses"]
    assert {**same, "objects": []} == {**diagnosis, "objects": []}
    assert sorted(night.fetched()) == sorted(it["name"].split("/", 3)[3] for it in in_s3["objects"])
    skipped = [it for it in again["objects"] if it["error"]]
    assert {it["kind"] for it in skipped} == {"connection log", "Network Load Balancer log"}
    assert all(it["error"].startswith("skipped: a ") for it in skipped)


def test_late_and_early_objects_are_within_the_margin(night: Night) -> None:
    """A span of one minute still has the window before and the one after."""
    since = night.end - timedelta(minutes=3)
    until = since + timedelta(minutes=1)
    flags = ["--since", f"{since:%Y-%m-%dT%H:%MZ}", "--until", f"{until:%Y-%m-%dT%H:%MZ}"]
    for minutes in (-10, -5, 5, 10):
        time = night.end + timedelta(minutes=minutes)
        key = at(night.key, time)
        if key not in night.logs:
            night.put(key, night.logs[night.key])
    night.run(f"s3://{night.bucket}", *flags)
    ends_of = {ends(key) - night.end for key in night.fetched()}
    assert ends_of == {timedelta(minutes=it) for it in (-5, 0, 5)}


def test_a_large_object_comes_in_pieces_over_a_bad_line(night: Night) -> None:
    """More than one piece, and bodies that break off: not one row is lost or read twice."""
    rows = recent.log(night.end - recent.WINDOW, 30_000, refused_each=10, balancer="large")
    text = gzip.decompress(rows)
    assert len(text) > 8 << 20
    night.put(at(recent.key(night.end, "10.0.0.9", balancer="large"), night.end), text)
    night.world.gateway.trouble = CutLarge(2)
    in_s3 = night.in_s3()
    [large] = [it for it in in_s3["objects"] if "app.large." in it["name"]]
    assert (large["entries"], large["malformed"], large["error"]) == (30_000, 0, None)
    assert {it["load_balancer"]["name"] for it in in_s3["diagnoses"]} >= {"large"}
    # Two pieces, and the two bodies that broke off once more.
    assert len([key for key in night.fetched() if "app.large." in key]) == 2 + 2
    assert in_s3 == night.on_disk()


def test_a_rehearsal_of_s3_is_that_of_local_copies(night: Night) -> None:
    """In the order in which the objects came, whatever their keys; and bodies break off."""
    # Another load balancer: refused in the third window, which comes in two pieces; then healthy.
    begin = night.end - timedelta(minutes=30)
    for number in range(8):
        at_window = begin + number * recent.WINDOW
        refused, requests = (10, 30_000) if number == 2 else (0, 200)
        rows = recent.log(at_window, requests, refused_each=refused, balancer="large")
        night.put(recent.key(at_window, "10.0.0.9", balancer="large"), gzip.decompress(rows))
    night.world.gateway.trouble = CutLarge(2)
    in_s3, fetched = night.in_s3(command="rehearse"), night.fetched()
    assert in_s3 == night.on_disk(command="rehearse")
    told = [(it["load_balancer"].split("/")[1], it["phase"]) for it in in_s3["messages"]]
    assert told[0] == ("large", "opened"), told
    assert ("large", "resolved") in told
    assert (night.balancer, "opened") in told
    assert in_s3["history"]["objects"] == len(night.logs)
    # Each object once, but for the second piece and the two bodies that broke off.
    assert set(fetched) == set(night.logs)
    assert len(fetched) == len(night.logs) + 1 + 2
    # The text is the same as well, and --since and --until choose.
    url = f"s3://{night.bucket}"
    done = night.run(url, *night.span(), command="rehearse")
    assert "MESSAGES THAT WOULD HAVE BEEN SENT" in done.stdout
    assert done.stdout == night.run("AWSLogs", command="rehearse").stdout
    assert re.search(r"reading \d+ objects \(\d+\.\d MB\) of s3://", unwrapped(done.stderr))
    until = f"{begin + recent.WINDOW:%Y-%m-%dT%H:%M}Z"
    done = night.run(url, night.span()[0], night.span()[1], "--until", until, command="rehearse")
    assert "No message would have been sent." in done.stdout, done.stdout


def test_a_rehearsal_names_what_it_could_not_read(night: Night) -> None:
    """A damaged object is named and the others count; what holds for all is said once."""
    whole = night.in_s3(command="rehearse")
    damaged = at(night.key, night.end + timedelta(minutes=50))
    night.put(damaged, b"\x1f\x8bdamaged")
    url = [f"s3://{night.bucket}", *night.span()]
    done = night.run(*url, "--format", "json", command="rehearse")
    assert done.returncode == 1
    assert f"error: s3://{night.bucket}/{damaged}: " in unwrapped(done.stderr)
    assert json.loads(done.stdout)["messages"] == whole["messages"]
    night.world.gateway.trouble = Expired(3)
    for command in ("rehearse", "diagnose"):
        night.world.gateway.trouble = Expired(3)
        done = night.run(*url, command=command)
        assert (done.returncode, done.stdout) == (1, ""), done.stdout
        said = unwrapped(done.stderr)
        assert said.count("credentials are expired") == 1, said
        assert "aws sso login" in said


def test_a_terminal_shows_how_far_the_listing_is(night: Night) -> None:
    """A large bucket takes minutes, and nobody waits in the dark."""
    night.world.gateway.trouble = SlowList()
    url = [f"s3://{night.bucket}", *night.span()]
    listing = rf"listing s3://{night.bucket}: \d+ objects? so far, \d s"
    # What waits can wait together.
    with ThreadPoolExecutor(6) as pool:
        runs = {
            command: (
                pool.submit(night.run, *url, command=command, on_terminal=True),
                pool.submit(night.run, *url, "--quiet", command=command, on_terminal=True),
                pool.submit(night.run, *url, command=command),
            )
            for command in ("rehearse", "diagnose")
        }
    for command, waited_for in runs.items():
        shown, quiet, piped = (run.result() for run in waited_for)
        assert re.search(listing, shown.stdout), (command, shown.stdout)
        # The line is taken away before the next one.
        # Reading the output as text makes a line break of a carriage return.
        taken_away = r"so far, \d s\n\x1b\[Kreading \d+ objects"
        assert re.search(taken_away, shown.stdout), shown.stdout
        assert quiet.returncode == 0, quiet.stdout
        assert not re.search(r"listing s3|reading \d+ object", quiet.stdout), quiet.stdout
        assert piped.returncode == 0, piped.stderr
        assert "listing" not in piped.stderr


@pytest.fixture
def logging(night: Night) -> Iterator[Night]:
    """The load balancer writes to the bucket, under a prefix."""
    elbv2 = night.world.cloud.client("elbv2")
    [balancer] = elbv2.describe_load_balancers(Names=[night.balancer])["LoadBalancers"]
    arn = balancer["LoadBalancerArn"]
    before = elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]

    def change(**attributes: str) -> None:
        pairs = [{"Key": f"access_logs.s3.{it}", "Value": attributes[it]} for it in attributes]
        elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=pairs)

    change(enabled="true", bucket=night.bucket, prefix="prod/web")
    for key, content in list(night.logs.items()):
        night.put(key, content, prefix="prod/web/")
    night.arn, night.change = arn, change
    yield night
    was = [it for it in before if it["Key"].startswith("access_logs.s3.")]
    elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=was)


def test_one_command_does_everything(logging: Night) -> None:
    """Bucket and prefix from the attributes, the log of this one alone, the configuration."""
    expected = logging.in_s3("--live", prefix="prod/web")["diagnoses"]
    for name, region in [(logging.balancer, REGION), (logging.arn, None)]:
        done = logging.run(
            "--load-balancer", name, *logging.span(), "--format", "json", region=region
        )
        assert done.returncode == 0, done.stderr
        told = [it for it in expected if it["load_balancer"]["name"] == logging.balancer]
        assert json.loads(done.stdout)["diagnoses"] == told
    done = logging.run("--load-balancer", logging.balancer, *logging.span())
    assert "CAUSE 1  blocked-port" in done.stdout
    said = unwrapped(done.stderr)
    assert re.search(r"reading \d+ objects \(0\.\d MB\) of s3://.*/prod/web/AWSLogs/", said)
    assert "MB/s)" in said
    by_name = ["--load-balancer", logging.balancer, *logging.span()]
    done = logging.run(*by_name, "--format", "json", command="rehearse")
    assert done.returncode == 0, done.stderr
    rehearsed = json.loads(done.stdout)
    everything = logging.in_s3(prefix="prod/web", command="rehearse")
    of_it = [it for it in everything["messages"] if logging.balancer in it["load_balancer"]]
    assert rehearsed["messages"] == of_it != []
    assert rehearsed["history"]["load_balancers"] == 1


def test_what_stands_in_the_way_is_named_with_the_next_step(logging: Night) -> None:
    """At night nobody guesses."""
    url, balancer = f"s3://{logging.bucket}/prod/web", logging.balancer

    def said(
        *arguments: str,
        code: int = 1,
        keys: tuple[str, str] | None = None,
        region: str | None = REGION,
        command: str = "diagnose",
    ) -> str:
        done = logging.run(*arguments, keys=keys, region=region, command=command)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        return unwrapped(done.stderr)

    blind = logging.person("blind", [*described(), "s3:ListBucket"])
    lost = logging.person("lost", [*described(), "s3:GetObject"])
    nobody = logging.person("nobody", ["s3:GetObject"])
    assert f"s3://{logging.bucket}/prod/web/AWSLogs/" in said(url, *logging.span(), keys=blind)
    denied = said(url, *logging.span(), keys=blind)
    assert "alb502 needs s3:GetObject on it" in denied and "_app." in denied
    assert "aws sts get-caller-identity" in denied
    again = said(url, *logging.span(), keys=blind, command="rehearse")
    assert again.count("alb502 needs s3:GetObject on it") == 1, again
    assert "aws sts get-caller-identity" in again
    denied = said(url, keys=lost)
    assert "it needs s3:ListBucket on the bucket. `aws sts get-caller-identity`" in denied
    assert "are expired or not valid. It takes the credentials" in said(
        url, keys=("AKIANOBODY0000000000", "wrong")
    )
    assert "it needs elasticloadbalancing:DescribeLoadBalancers" in said(
        "--load-balancer", balancer, keys=nobody
    )
    for command in ("diagnose", "rehearse"):
        lost_bucket = said("s3://no-such-bucket-here", command=command)
        assert "there is no such bucket. Look at its name; `aws s3 ls`" in lost_bucket
    typo = said(f"s3://{logging.bucket}/typo")
    assert "no access logs under" in typo and "--load-balancer NAME" in typo
    elsewhere = said(f"{url}/AWSLogs/{ACCOUNT}/elasticloadbalancing/us-east-2")
    assert f"leave them out: {url}/" in elsewhere
    early = said(url, "--since", "2020-02-03T04:00:00Z", "--until", "2020-02-03T05:00:00Z")
    assert f"The newest day with logs is {logging.end:%Y-%m-%d}: --since" in early
    one = said(f"{url}/{logging.key}", code=2)
    assert f"s3://{logging.bucket}/prod/web/ --since" in one and "aws s3 cp" in one
    folder, _, name = logging.key.rpartition("/")
    other = said(f"{url}/{folder}/conn_log_{name}", code=2)
    assert "a connection log" in other and "--load-balancer NAME" in other
    late = said("--load-balancer", balancer, "--since", "1h")
    assert "Objects come five to ten minutes after the requests" in late
    assert f"of app/{balancer}/" in late
    nowhere = said("--load-balancer", "no-such-balancer")
    assert f"there is none in {REGION}" in nowhere and "describe-load-balancers" in nowhere
    assert "give --region" in said("--load-balancer", balancer, region=None)
    group = logging.arn.replace(":loadbalancer/app/", ":targetgroup/")
    anew = "/".join(["app", balancer, "0123456789abcdef"])
    for name, why in [
        ("no-such-balancer", "describe-load-balancers --region"),
        (group, "this is the ARN of a target group"),
        (logging.arn.rpartition("/")[0] + "/0123456789abcdef", "describe-load-balancers --region"),
        (anew, f"{balancer} was made anew, as app/{balancer}/"),
    ]:
        for command in ("diagnose", "rehearse", "snapshot"):
            assert why in said("--load-balancer", name, command=command), name
    assert not (logging.folder / "config").exists()
    assert "--since soon" in said(url, "--since", "soon", code=2)
    logging.change(enabled="false")
    off = said("--load-balancer", balancer)
    assert "its access logs are off" in off
    assert "Key=access_logs.s3.enabled,Value=true" in off and logging.arn in off


def test_a_snapshot_says_what_live_says(logging: Night) -> None:
    """The configuration of now, for a colleague without an account."""
    order = ["--load-balancer", logging.balancer, *logging.span()]
    live = logging.on_disk("--live")
    groups = logging.world.cloud.client("elbv2")
    arn = live["diagnoses"][0]["target_group"]["arn"]
    secret = {"Key": "deploy-token", "Value": "s3cr3t-of-somebody"}
    own = {"Key": "alb502:keep-alive-seconds", "Value": "75"}
    groups.add_tags(ResourceArns=[arn], Tags=[secret, own])
    live = logging.on_disk("--live")
    done = logging.run(*order, command="snapshot")
    groups.remove_tags(ResourceArns=[arn], TagKeys=[secret["Key"], own["Key"]])
    assert done.returncode == 0, done.stderr
    assert re.search(r"written: \d\d files to config", unwrapped(done.stderr)), done.stderr
    saved = {path.name: path.read_text() for path in (logging.folder / "config").iterdir()}
    assert "s3cr3t" not in "".join(saved.values())
    assert "alb502:keep-alive-seconds" in saved["describe-tags.json"]
    origin = json.loads(saved["snapshot.json"])
    assert (origin["account"], origin["region"]) == (ACCOUNT, REGION)
    again = logging.on_disk("--snapshot", "config")
    for now, then in zip(live["diagnoses"], again["diagnoses"], strict=True):
        # That it was taken long after the incident is said.
        then["gaps"] = [it for it in then["gaps"] if "was taken at" not in it["reason"]]
        for part in ("summary", "causes", "checks", "facts", "why_healthy", "gaps"):
            assert then[part] == now[part], part
    # Files of before would be mixed with these.
    done = logging.run(*order, command="snapshot")
    assert done.returncode == 2
    assert "--out config: not empty" in unwrapped(done.stderr)
