"""An emulated AWS: moto's server, filled with the configuration of a snapshot."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from monitoring import as_moto_knows
from processes import free_port, tool, wait_for_port

ACCOUNT = "123456789012"
REGION = "eu-west-1"
BUCKET = "example-alb-logs"

JsonObject = dict[str, Any]


class Cloud:
    """A running moto server with a bucket, a topic and a queue that is subscribed to it."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log.open("wb")
        self._server = subprocess.Popen(
            [tool("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_for_port(self.port, self._server, log)
        self._keys = ("AKIAADMINISTRATOR000", "administrator")
        self._clients: dict[tuple[str, str], Any] = {}
        self.names: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self._tables = 0
        self.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.topic = self.client("sns").create_topic(Name="alb502")["TopicArn"]
        self.queue = self.client("sqs").create_queue(QueueName="alb502-reader")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:alb502-reader"
        self.client("sns").subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def close(self) -> None:
        """Stops the server."""
        self._server.terminate()
        self._server.wait()
        self._log.close()

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its types at run time
        """A client with every permission."""
        key, secret = self._keys
        if (service, key) not in self._clients:
            # To make one takes longer than most of what is asked of it.
            self._clients[service, key] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service, key]

    def enforce_permissions(self) -> None:
        """From now on each call needs a permission, as on AWS. Clients made before have none."""
        iam = self.client("iam")
        self._keys = self._user(iam, "administrator", ["*"])
        self._auth(0)

    def _auth(self, calls_without: int) -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth",
            data=str(calls_without).encode(),
            headers={"Content-Type": "text/plain"},
        )
        urllib.request.urlopen(request).close()

    def user(self, name: str, actions: list[str]) -> tuple[str, str]:
        """Key and secret of a user who may do these actions and nothing else."""
        key, secret = self._user(self.client("iam"), name, actions)
        self.secrets[key] = secret
        return key, secret

    @staticmethod
    def _user(iam: Any, name: str, actions: list[str]) -> tuple[str, str]:  # noqa: ANN401
        statement = {"Effect": "Allow", "Action": as_moto_knows(actions), "Resource": "*"}
        iam.create_user(UserName=name)
        iam.put_user_policy(
            UserName=name,
            PolicyName="only-this",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def put_object(self, key: str, content: bytes, bucket: str = BUCKET) -> None:
        """Stores a log object."""
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=content)

    def new_table(self) -> str:
        """A table as the template makes it, empty; returns its name."""
        self._tables += 1
        name = f"alb502-{self._tables}"
        self.client("dynamodb").create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
        )
        return name

    def messages(self) -> list[JsonObject]:
        """Takes what has arrived in the queue: SNS delivers before Publish answers."""
        taken = []
        sqs = self.client("sqs")
        while True:
            answer = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            batch = answer.get("Messages", [])
            if not batch:
                return taken
            for message in batch:
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                taken.append(json.loads(message["Body"]))

    def renamed(self, text: str) -> str:
        """The text with the ids of the snapshot replaced by those that the emulator gave."""
        for old, new in self.names.items():
            text = text.replace(old, new)
        return text

    def load(self, folder: Path) -> int:
        """Creates what a configuration snapshot describes. Returns the number of resources."""
        before = len(self.names)
        snapshot = Snapshot(folder)
        _network(self, snapshot)
        _targets(self, snapshot)
        _load_balancers(self, snapshot)
        _metrics(self, snapshot)
        return len(self.names) - before


class Snapshot:
    """The files of a configuration snapshot, as the AWS CLI prints them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self, stem: str, key: str) -> list[JsonObject]:
        """The list under `key` in every file of the call."""
        found: list[JsonObject] = []
        for path in sorted(self.folder.glob(f"{stem}*.json")):
            found += json.loads(path.read_text()).get(key, [])
        return found

    def of(self, stem: str, name: str, key: str) -> list[JsonObject]:
        """The list in the file that is about `name`."""
        path = self.folder / f"{stem}.{name}.json"
        return json.loads(path.read_text())[key] if path.exists() else []


def _network(cloud: Cloud, snapshot: Snapshot) -> None:
    ec2 = cloud.client("ec2")
    for subnet in snapshot.all("describe-subnets", "Subnets"):
        vpc = subnet["VpcId"]
        if vpc not in cloud.names:
            block = ".".join(subnet["CidrBlock"].split(".")[:2]) + ".0.0/16"
            cloud.names[vpc] = ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        made = ec2.create_subnet(
            VpcId=cloud.names[vpc],
            CidrBlock=subnet["CidrBlock"],
            AvailabilityZone=subnet["AvailabilityZone"],
        )
        cloud.names[subnet["SubnetId"]] = made["Subnet"]["SubnetId"]
    groups = snapshot.all("describe-security-groups", "SecurityGroups")
    for group in groups:
        made = ec2.create_security_group(
            GroupName=group["GroupName"],
            Description=group["Description"],
            VpcId=cloud.names[group["VpcId"]],
        )
        cloud.names[group["GroupId"]] = made["GroupId"]
    for group in groups:
        # The egress rule that lets everything out is there from the start.
        rules = json.loads(cloud.renamed(json.dumps(group["IpPermissions"])))
        if rules:
            ec2.authorize_security_group_ingress(
                GroupId=cloud.names[group["GroupId"]], IpPermissions=rules
            )


def _targets(cloud: Cloud, snapshot: Snapshot) -> None:
    ec2 = cloud.client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    for reservation in snapshot.all("describe-instances", "Reservations"):
        for instance in reservation["Instances"]:
            interface = {
                "DeviceIndex": 0,
                "SubnetId": cloud.names[instance["SubnetId"]],
                "PrivateIpAddress": instance["PrivateIpAddress"],
                "Groups": [cloud.names[it["GroupId"]] for it in instance["SecurityGroups"]],
            }
            made = ec2.run_instances(
                ImageId=image, MinCount=1, MaxCount=1, NetworkInterfaces=[interface]
            )
            cloud.names[instance["InstanceId"]] = made["Instances"][0]["InstanceId"]


def _load_balancers(cloud: Cloud, snapshot: Snapshot) -> None:
    elbv2 = cloud.client("elbv2")
    for balancer in snapshot.all("describe-load-balancers", "LoadBalancers"):
        made = elbv2.create_load_balancer(
            Name=balancer["LoadBalancerName"],
            Subnets=[cloud.names[zone["SubnetId"]] for zone in balancer["AvailabilityZones"]],
            SecurityGroups=[cloud.names[group] for group in balancer["SecurityGroups"]],
            Scheme=balancer["Scheme"],
        )["LoadBalancers"][0]
        _rename(cloud, balancer["LoadBalancerArn"], made["LoadBalancerArn"])
        wanted = snapshot.of(
            "describe-load-balancer-attributes", balancer["LoadBalancerName"], "Attributes"
        )
        known = ("idle_timeout.timeout_seconds", "access_logs.s3.enabled", "access_logs.s3.bucket")
        elbv2.modify_load_balancer_attributes(
            LoadBalancerArn=made["LoadBalancerArn"],
            Attributes=[it for it in wanted if it["Key"] in known],
        )
    for group in snapshot.all("describe-target-groups", "TargetGroups"):
        asked = ("Protocol", "Port", "HealthCheckProtocol", "HealthCheckPort", "HealthCheckPath")
        made = elbv2.create_target_group(
            Name=group["TargetGroupName"],
            VpcId=cloud.names[group["VpcId"]],
            TargetType=group["TargetType"],
            **{name: group[name] for name in asked},
        )["TargetGroups"][0]
        _rename(cloud, group["TargetGroupArn"], made["TargetGroupArn"])
        for target in snapshot.of(
            "describe-target-health", group["TargetGroupName"], "TargetHealthDescriptions"
        ):
            registered = {
                "Id": cloud.names[target["Target"]["Id"]],
                "Port": target["Target"]["Port"],
            }
            elbv2.register_targets(TargetGroupArn=made["TargetGroupArn"], Targets=[registered])
    for listener in snapshot.all("describe-listeners", "Listeners"):
        actions = json.loads(cloud.renamed(json.dumps(listener["DefaultActions"])))
        # moto wants a certificate of its own for HTTPS, which no check looks at.
        elbv2.create_listener(
            LoadBalancerArn=cloud.renamed(listener["LoadBalancerArn"]),
            Protocol="HTTP",
            Port=listener["Port"],
            DefaultActions=actions,
        )


def _metrics(cloud: Cloud, snapshot: Snapshot) -> None:
    """What CloudWatch counted, minute by minute."""
    balancers = snapshot.all("describe-load-balancers", "LoadBalancers")
    for balancer in balancers:
        name = balancer["LoadBalancerName"]
        results = snapshot.of("get-metric-data", name, "MetricDataResults")
        if len(balancers) == 1:
            results = snapshot.all("get-metric-data", "MetricDataResults")
        of_balancer = cloud.renamed(balancer["LoadBalancerArn"]).split("loadbalancer/")[1]
        data = []
        for result in results:
            metric, _, group = cloud.renamed(result["Label"]).partition(" ")
            # In the order in which the function asks: moto does not find another one.
            dimensions = [{"Name": "TargetGroup", "Value": group}] if group else []
            dimensions.append({"Name": "LoadBalancer", "Value": of_balancer})
            data += [
                {"MetricName": metric, "Dimensions": dimensions, "Timestamp": at, "Value": value}
                for at, value in zip(result["Timestamps"], result["Values"], strict=True)
            ]
        if data:
            cloud.client("cloudwatch").put_metric_data(
                Namespace="AWS/ApplicationELB", MetricData=data
            )


def _rename(cloud: Cloud, old: str, new: str) -> None:
    """Remembers an ARN, and the id at its end as log keys write it: `app.shop.5c8a`."""
    old_name, new_name = old.split("/", 1)[1], new.split("/", 1)[1]
    cloud.names[old] = new
    cloud.names[old_name] = new_name
    cloud.names[old_name.replace("/", ".")] = new_name.replace("/", ".")


def main() -> None:
    """Starts an emulated cloud for a look around."""
    cloud = Cloud(Path("/dev/null"))
    print(cloud.load(Path(sys.argv[1])), "names,", cloud.url)
    try:
        time.sleep(3600)
    finally:
        cloud.close()


if __name__ == "__main__":
    main()
