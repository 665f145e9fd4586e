"""A table of DynamoDB in memory: the operations of the ledger, with the expressions that it uses.

For a soak, which makes tens of thousands of such calls: moto takes ten milliseconds for one, more
with every item of a partition. A test holds that both answer alike.
"""

from __future__ import annotations

import json
from typing import Any

Item = dict[str, Any]
ERROR = "com.amazonaws.dynamodb.v20120810#"


class NotUnderstood(Exception):
    """A request that this table does not know: it is never taken for another one."""


class Table:
    """Items by partition key and sort key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.partitions: dict[str, dict[str, Item]] = {}

    def put(self, item: Item) -> None:
        """Puts an item in the place of what is there."""
        self.partitions.setdefault(item["pk"]["S"], {})[item["sk"]["S"]] = item

    def get(self, pk: str, sk: str) -> Item | None:
        """The item, if it is there."""
        return self.partitions.get(pk, {}).get(sk)

    def answer(self, operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and content of the answer."""
        asked = json.loads(body)
        by_name = {
            "BatchWriteItem": self._write,
            "BatchGetItem": self._read,
            "Query": self._query,
            "PutItem": self._put,
        }
        if operation not in by_name:
            raise NotUnderstood(operation)
        return by_name[operation](asked)

    def _write(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        for request in asked["RequestItems"][self.name]:
            self.put(request["PutRequest"]["Item"])
        return 200, {"UnprocessedItems": {}}

    def _read(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        keys = asked["RequestItems"][self.name]["Keys"]
        found = [self.get(key["pk"]["S"], key["sk"]["S"]) for key in keys]
        there = [it for it in found if it is not None]
        return 200, {"Responses": {self.name: there}, "UnprocessedKeys": {}}

    def _query(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        values = asked["ExpressionAttributeValues"]
        partition = self.partitions.get(values[":pk"]["S"], {})
        sks = sorted(partition, reverse=not asked.get("ScanIndexForward", True))
        condition = asked["KeyConditionExpression"]
        if condition == "pk = :pk AND sk BETWEEN :first AND :last":
            first, last = values[":first"]["S"], values[":last"]["S"]
            sks = [sk for sk in sks if first <= sk <= last]
        elif condition != "pk = :pk":
            raise NotUnderstood(condition)
        items = [partition[sk] for sk in sks]
        projection = asked.get("ProjectionExpression")
        if projection:
            names = asked.get("ExpressionAttributeNames", {})
            wanted = {names.get(it.strip(), it.strip()) for it in projection.split(",")}
            items = [{k: v for k, v in item.items() if k in wanted} for item in items]
        return 200, {"Items": items, "Count": len(items), "ScannedCount": len(items)}

    def _put(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        item = asked["Item"]
        there = self.get(item["pk"]["S"], item["sk"]["S"])
        condition = asked.get("ConditionExpression")
        if condition and not any(_holds(it, there, asked) for it in condition.split(" OR ")):
            refused: dict[str, Any] = {"__type": f"{ERROR}ConditionalCheckFailedException"}
            if there and asked.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                refused["Item"] = there
            return 400, refused
        self.put(item)
        return 200, {}


def _holds(condition: str, item: Item | None, asked: dict[str, Any]) -> bool:
    names = asked.get("ExpressionAttributeNames", {})
    if condition.startswith("attribute_not_exists("):
        name = condition.removeprefix("attribute_not_exists(").removesuffix(")")
        return item is None or names.get(name, name) not in item
    name, equals, value = condition.partition(" = ")
    if not equals:
        raise NotUnderstood(condition)
    expected = asked["ExpressionAttributeValues"][value]
    return item is not None and item.get(names.get(name, name)) == expected
