"""What the template lets the function do."""

from __future__ import annotations

from cfnlint.decode import cfn_yaml

from processes import ROOT


def granted() -> list[str]:
    """The actions that alb502's own policy grants in every stack, in the order of the template."""
    template = cfn_yaml.load(str(ROOT / "template.yaml"))
    policies = template["Resources"]["Role"]["Properties"]["Policies"]
    own = next(policy for policy in policies if policy["PolicyName"] == "alb502")
    actions: list[str] = []
    for statement in own["PolicyDocument"]["Statement"]:
        if "Fn::If" in statement:
            continue
        action = statement["Action"]
        actions += [str(action)] if isinstance(action, str) else [str(it) for it in action]
    return actions


def described() -> list[str]:
    """The actions among them that show the configuration."""
    return [
        action
        for action in granted()
        if action.split(":")[1].startswith(("Describe", "Get"))
        and not action.startswith(("s3:", "dynamodb:"))
    ]
