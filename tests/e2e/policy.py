"""What the template lets the function do."""

from __future__ import annotations

import json
from typing import Any

from cfnlint.decode import cfn_yaml

from processes import ROOT


def granted(*conditions: str) -> list[str]:
    """The actions that alb502's own policy grants, in the order of the template.

    Those that a condition of the template decides on only when it is named here.
    """
    template = cfn_yaml.load(str(ROOT / "template.yaml"))
    policies = template["Resources"]["Role"]["Properties"]["Policies"]
    own = next(policy for policy in policies if policy["PolicyName"] == "alb502")
    actions: list[str] = []
    for statement in own["PolicyDocument"]["Statement"]:
        if "Fn::If" in statement:
            condition, statement, _ = statement["Fn::If"]
            if condition not in conditions:
                continue
        actions += _actions(statement)
    return actions


def of_the_readme(name: str) -> list[str]:
    """The actions of the policy after the line `<!-- policy:name -->` of the README."""
    readme = (ROOT / "README.md").read_text()
    _, _, rest = readme.partition(f"<!-- policy:{name} -->\n```json\n")
    policy = json.loads(rest.partition("\n```")[0])
    return [action for statement in policy["Statement"] for action in _actions(statement)]


def _actions(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return [str(action)] if isinstance(action, str) else [str(it) for it in action]


def described() -> list[str]:
    """The actions among them that show the configuration."""
    return [
        action
        for action in granted()
        if action.split(":")[1].startswith(("Describe", "Get"))
        and not action.startswith(("s3:", "dynamodb:"))
    ]
