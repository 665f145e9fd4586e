"""A short soak, and that its own parts can be trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cloud import Cloud
from faults import KINDS, SLOW, Faults
from gateway import Answer, Gateway, Request, Trouble
from small_aws import SmallAws
from soak import Soak
from table import Table


def test_two_hundred_invocations_lose_nothing(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """`make soak`, in short: always the same faults, so that a failure here is one of a change."""
    soak = Soak(200, 3, tmp_path)
    try:
        figures = soak.run(lambda _: None)
    finally:
        soak.close()
    faults, memory = figures["faults"], figures["resident memory, MB"]
    measured(
        f"soak: {figures['invocations']} invocations, {sum(faults.values())} faults of "
        f"{len(faults)} kinds, {figures['messages']} messages, {memory['peak']} MB, "
        f"{figures['seconds']} s"
    )
    assert figures["invocations"] >= 200
    assert figures["incidents"] >= 8
    assert figures["told with a call denied"] >= 1
    assert sum(faults.values()) >= 15
    assert len(faults) >= len(KINDS) // 2


@pytest.mark.parametrize(
    ("age", "attempt", "kinds"),
    [(-3600, 1, []), (3600, 1, [SLOW]), (-3600, 2, [SLOW])],
)
def test_what_the_function_may_have_given_up_is_a_fault(
    age: int, attempt: int, kinds: list[str]
) -> None:
    """A busy machine is no failure of the function. With times that no machine is too slow for."""
    aws = SmallAws(Table("table"), Faults(1))
    signed = datetime.now(timezone.utc) - timedelta(seconds=age)
    headers = {
        "x-amz-date": f"{signed:%Y%m%dT%H%M%SZ}",
        "amz-sdk-request": f"attempt={attempt}; max=6",
    }
    request = Request("dynamodb:PutItem", "/", {}, headers)
    aws.faults.begin(is_parked=False)
    aws.before(request)
    aws.after(request)
    assert [(it.kind, it.action) for it in aws.end()] == [(it, request.action) for it in kinds]


class OfTable(Trouble):
    """A gateway to the table in this process."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def instead(self, request: Request) -> Answer:
        """What the table says."""
        status, said = self.table.answer(request.action.partition(":")[2], request.body)
        headers = [("content-type", "application/x-amz-json-1.0")]
        return Answer(status, headers, json.dumps(said).encode())


def item(pk: str, sk: str, **attributes: Any) -> dict[str, Any]:  # noqa: ANN401
    """An item with these attributes."""
    return {"pk": {"S": pk}, "sk": {"S": sk}, **attributes}


def everything(dynamodb: Any, name: str) -> list[Any]:  # noqa: ANN401
    """What the ledger asks of a table, and some of what is refused; gives back the answers."""
    version = [{"version": {"N": str(it)}} for it in range(4)]
    conditions: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (version[1], {"ConditionExpression": "attribute_not_exists(pk)"}),
        (version[2], {"ConditionExpression": "attribute_not_exists(pk)"}),
        *(
            (
                version[after],
                {
                    "ConditionExpression": "#version = :before",
                    "ExpressionAttributeNames": {"#version": "version"},
                    "ExpressionAttributeValues": {":before": version[before]["version"]},
                },
            )
            for after, before in ((2, 1), (3, 1))
        ),
        (
            version[3],
            {
                "ConditionExpression": "attribute_not_exists(#version)",
                "ExpressionAttributeNames": {"#version": "version"},
            },
        ),
        *(
            (
                attributes,
                {
                    "ConditionExpression": "attribute_not_exists(pk) OR #damaged = :true",
                    "ExpressionAttributeNames": {"#damaged": "damaged"},
                    "ExpressionAttributeValues": {":true": {"BOOL": True}},
                },
            )
            for attributes in ({"damaged": {"BOOL": True}}, {})
        ),
    ]
    said = []
    for attributes, condition in conditions:
        try:
            put = item("record#a", "-", **attributes)
            dynamodb.put_item(
                TableName=name,
                Item=put,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **condition,
            )
            said.append("put")
        except ClientError as error:
            said.append((error.response["Error"]["Code"], error.response.get("Item")))
    damaged = item("damaged", "-", damaged={"BOOL": True})
    items = [item("a", f"{it:03}#0", packed={"B": b"x"}, object={"S": "o"}) for it in range(5)]
    puts = [{"PutRequest": {"Item": it}} for it in (damaged, *items)]
    said.append(dynamodb.batch_write_item(RequestItems={name: puts})["UnprocessedItems"])
    said.append(damaged_again(dynamodb, name))
    query = {"TableName": name, "ConsistentRead": True, "ScanIndexForward": False}
    for more in (
        {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": "record#a"}},
        },
        {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ProjectionExpression": "pk, sk, #packed",
            "ExpressionAttributeNames": {"#packed": "packed"},
            "ExpressionAttributeValues": {
                ":pk": {"S": "a"},
                ":first": {"S": "001#"},
                ":last": {"S": "003#g"},
            },
        },
    ):
        said.append(dynamodb.query(**query, **more)["Items"])
    keys = [item("a", "001#0"), item("a", "nothing")]
    read = dynamodb.batch_get_item(RequestItems={name: {"Keys": keys, "ConsistentRead": True}})
    said.append((read["Responses"][name], read["UnprocessedKeys"]))
    return said


def damaged_again(dynamodb: Any, name: str) -> str:  # noqa: ANN401
    """A damaged item may be replaced."""
    dynamodb.put_item(
        TableName=name,
        Item=item("damaged", "-"),
        ConditionExpression="attribute_not_exists(pk) OR #damaged = :true",
        ExpressionAttributeNames={"#damaged": "damaged"},
        ExpressionAttributeValues={":true": {"BOOL": True}},
    )
    return "replaced"


def test_the_table_of_the_soak_answers_as_moto_does(cloud: Cloud, role: tuple[str, str]) -> None:
    """Each operation and expression of the ledger."""
    name = cloud.new_table()
    gateway = Gateway(cloud.port, cloud.secrets)
    answers = []
    try:
        for trouble in (Trouble(), OfTable(Table(name))):
            gateway.trouble = trouble
            answers.append(everything(gateway.client("dynamodb", role), name))
    finally:
        gateway.close()
    by_moto, by_table = answers
    assert by_table == by_moto
    assert "put" in by_moto and any("Conditional" in str(it) for it in by_moto)
