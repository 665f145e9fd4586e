"""Load balancers whose incidents and counts are known: what a soak puts into the logs."""

from __future__ import annotations

import gzip
import random
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cloud import ACCOUNT, BUCKET, REGION, Cloud

WINDOW = 300
# Objects that are older than a day are counted and not told. Twenty hours leave four for the run.
FIRST_AGO = 20 * 3600
# A window is complete ten minutes after its end: with this every window is, from the start.
LAST_AGO = 20 * 60
NODES = 2
# Three quiet windows resolve an incident; with one more the next one is never joined to it.
QUIET = (4, 6)
FAILING = (1, 3)


@dataclass
class Truth:
    """What one object holds: requests and failures by target group."""

    window: int
    requests: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


@dataclass
class Incident:
    """Windows in which a target group failed."""

    group: str
    first: int
    last: int


class Balancer:
    """A load balancer with two target groups, of instances and of addresses, and two nodes."""

    def __init__(self, cloud: Cloud, network: Network, number: int, seed: int) -> None:
        self._random = random.Random(f"{seed}-traffic-{number}")
        self.groups: list[str] = []
        elbv2 = cloud.client("elbv2")
        made = elbv2.create_load_balancer(
            Name=f"soak-{number}", Subnets=network.subnets, SecurityGroups=[network.group]
        )["LoadBalancers"][0]
        self.id = made["LoadBalancerArn"].split("loadbalancer/")[1]
        for kind, targets in (("instance", network.instances), ("ip", network.addresses)):
            group = elbv2.create_target_group(
                Name=f"soak-{number}-{kind}",
                Protocol="HTTP",
                Port=8080,
                VpcId=network.vpc,
                TargetType=kind,
            )["TargetGroups"][0]["TargetGroupArn"]
            registered = [{"Id": target, "Port": 8080} for target in targets]
            elbv2.register_targets(TargetGroupArn=group, Targets=registered)
            self.groups.append(group)
        elbv2.create_listener(
            LoadBalancerArn=made["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.groups[0]}],
        )
        now = int(time.time())
        self.next = (now - FIRST_AGO) // WINDOW
        self.end = (now - LAST_AGO) // WINDOW
        self.truth: dict[str, Truth] = {}
        self.incidents: list[Incident] = []

    def episode(self) -> list[tuple[str, bytes]] | None:
        """Keys and contents of an incident and the quiet after it, in the order in which they come.

        None when the day is over.
        """
        failing = self._random.randint(*FAILING)
        windows = failing + self._random.randint(*QUIET)
        if self.end <= self.next + windows:
            return None
        group = self._random.choice(self.groups)
        first = self.next
        self.incidents.append(Incident(group, first, first + failing - 1))
        self.next += windows
        made = []
        for window in range(first, first + windows):
            for node in range(1, NODES + 1):
                # Objects of nearby windows overtake each other.
                comes = window + self._random.uniform(0, 2.5)
                failed = group if window < first + failing else None
                made.append((comes, *self._object(window, node, failed)))
        return [(key, content) for _, key, content in sorted(made)]

    def _object(self, window: int, node: int, failed: str | None) -> tuple[str, bytes]:
        end = datetime.fromtimestamp((window + 1) * WINDOW, UTC)
        folder = f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/{end:%Y/%m/%d}"
        name = f"{ACCOUNT}_elasticloadbalancing_{REGION}_{self.id.replace('/', '.')}"
        key = f"{folder}/{name}_{end:%Y%m%dT%H%MZ}_192.0.2.{node}_1a2b3c4d.log.gz"
        truth = self.truth[f"s3://{BUCKET}/{key}"] = Truth(window)
        rows = []
        for group in self.groups:
            requests = self._random.randint(20, 40)
            # Each object of an incident shows it by itself: five failures do.
            failures = self._random.randint(6, 12) if group == failed else 0
            truth.requests[group], truth.failures[group] = requests, failures
            rows += [self._row(window, group, index, index < failures) for index in range(requests)]
        self._random.shuffle(rows)
        return key, gzip.compress("".join(rows).encode(), mtime=0)

    def _row(self, window: int, group: str, index: int, is_failure: bool) -> str:
        at = f"{datetime.fromtimestamp(window * WINDOW + 5 + index, UTC):%Y-%m-%dT%H:%M:%S}"
        target = f"10.0.{self.groups.index(group)}.{10 + index % 2}:8080"
        times = "-1 -1 -1 502 -" if is_failure else "0.001 0.018 0.000 200 200"
        status = "-" if is_failure else "200"
        trace = f"{self._random.getrandbits(96):024x}"
        return (
            f"http {at}.020000Z {self.id} 198.51.100.7:40000 {target} {times} 200 300 "
            f'"GET http://shop.example.com:80/{index % 5} HTTP/1.1" "curl/8" - - {group} '
            f'"Root=1-0-{trace}" "-" "-" 0 {at}.000000Z "forward" "-" "-" "{target}" "{status}" '
            f'"-" "-" TID_{trace}\n'
        )


class Network:
    """One network for all load balancers."""

    def __init__(self, cloud: Cloud) -> None:
        ec2 = cloud.client("ec2")
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            ec2.create_subnet(
                VpcId=self.vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for number, zone in enumerate("ab")
        ]
        self.group = ec2.create_security_group(
            GroupName="soak", Description="Lets everything in", VpcId=self.vpc
        )["GroupId"]
        ec2.authorize_security_group_ingress(
            GroupId=self.group,
            IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
        )
        self.addresses = [f"10.0.1.{10 + number}" for number in range(2)]
        self.instances: list[str] = []
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        for number in range(2):
            interface: dict[str, Any] = {
                "DeviceIndex": 0,
                "SubnetId": self.subnets[0],
                "PrivateIpAddress": f"10.0.0.{10 + number}",
                "Groups": [self.group],
            }
            made = ec2.run_instances(
                ImageId=image, MinCount=1, MaxCount=1, NetworkInterfaces=[interface]
            )
            self.instances.append(made["Instances"][0]["InstanceId"])
            address = self.addresses[number]
            ec2.create_network_interface(
                SubnetId=self.subnets[1], PrivateIpAddress=address, Groups=[self.group]
            )


def s3_event(key: str) -> dict[str, Any]:
    """A bucket notification about one object."""
    quoted = urllib.parse.quote_plus(key, safe="/")
    return {
        "Records": [
            {
                "eventVersion": "2.4",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": BUCKET}, "object": {"key": quoted}},
            }
        ]
    }
