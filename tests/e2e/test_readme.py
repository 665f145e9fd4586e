"""The README's commands of AWS and cargo-lambda: there are such operations and options."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import botocore.session
import pytest
from botocore import xform_name

from processes import ROOT, tool

if TYPE_CHECKING:
    from botocore.model import Shape

# Options that every command of the AWS CLI has.
GLOBAL = {"--region", "--output", "--query", "--profile", "--cli-binary-format"}

# Where the CLI has another name than the service.
RENAMED = {("sns", "subscribe", "--notification-endpoint"): "Endpoint"}


def commands(program: str) -> list[list[str]]:
    """The words of each command of the README's shell blocks that begins so."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            text = re.sub(r"<([A-Z ]+)>", lambda it: it[1].replace(" ", "_"), line)
            words = shlex.split(text, comments=True)
            while words:
                end = next((at for at, it in enumerate(words) if it in ("&&", "|")), len(words))
                command, words = words[:end], words[end + 1 :]
                if ">" in command:
                    at = command.index(">")
                    del command[at : at + 2]
                if command[:1] == [program]:
                    found.append(command)
    return found


def options(words: list[str]) -> dict[str, list[str]]:
    """Each option with its values."""
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            assert word not in found, f"{word} stands twice"
            found[word] = []
        elif found:
            found[list(found)[-1]].append(word)
    return found


def check_value(shape: Shape, value: str) -> None:
    """An enumeration has this value, a structure these members, as far as shorthand shows it."""
    if shape.type_name == "list":
        return check_value(shape.member, value)
    if shape.type_name == "string" and shape.enum:
        assert value in shape.enum, f"{value}: allowed is {shape.enum}"
    if shape.type_name in ("integer", "double", "float", "long"):
        float(value)
    if shape.type_name == "structure" and not value.startswith(("{", "[", "file://")):
        for pair in value.split(","):
            name, _, inner = pair.partition("=")
            assert name in shape.members, f"{name}: there is {list(shape.members)}"
            check_value(shape.members[name], inner)
    return None


@pytest.mark.parametrize("words", commands("aws"), ids=lambda words: " ".join(words[1:3]))
def test_a_command_of_the_aws_cli_is_one(words: list[str]) -> None:
    """Its operation, its options and what is required of them."""
    _, service, operation, *rest = words
    if service == "s3" and operation in ("cp", "sync"):
        # Commands of the CLI's own: from where, to where, and here nothing else.
        assert len(rest) == 2, words
        return
    session = botocore.session.get_session()
    model = session.get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation == "wait":
        waiters = session.get_waiter_model(service)
        known = {xform_name(name, "-"): name for name in waiters.waiter_names}
        assert rest[0] in known, f"{service} wait {rest[0]}: there is {sorted(known)}"
        name = waiters.get_waiter(known[rest[0]]).operation
    else:
        assert operation in names, f"{service} has no {operation}"
        name = names[operation]
    shape = model.operation_model(name).input_shape
    members = {f"--{xform_name(member, '-')}": member for member in shape.members}
    given = set()
    for option, values in options(rest).items():
        if option in GLOBAL:
            continue
        member = RENAMED.get((service, operation, option)) or members.get(option)
        assert member, f"{service} {operation} has no {option}: there is {sorted(members)}"
        given.add(member)
        for value in values:
            # What lambda invoke answers goes to a file, which has no option.
            if value != "/dev/stdout":
                check_value(shape.members[member], value)
    missing = set(shape.required_members) - given
    assert not missing, f"{service} {operation} needs {missing}"


def test_almost_a_command_of_the_aws_cli_is_none() -> None:
    """The check above can fail."""
    for wrong in (
        ["aws", "sqs", "create-queues", "--queue-name", "a"],
        ["aws", "sqs", "create-queue", "--queue-names", "a"],
        ["aws", "sqs", "create-queue", "--attributes", "A=1"],
        ["aws", "dynamodb", "wait", "table-there", "--table-name", "a"],
        ["aws", "iam", "create-role", "--role-name", "a"],
        ["aws", "dynamodb", "update-time-to-live", "--table-name", "a",
         "--time-to-live-specification", "Attribute=expires,Enabled=true"],
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            test_a_command_of_the_aws_cli_is_one(wrong)


def test_a_command_of_cargo_lambda_is_one() -> None:
    """The options of `cargo lambda deploy`."""
    help_of = subprocess.run(
        [tool("cargo-lambda"), "lambda", "deploy", "--help"], capture_output=True, text=True
    )
    [command] = commands("cargo")
    assert command[:3] == ["cargo", "lambda", "deploy"]
    for word in command[3:]:
        if word.startswith("--"):
            assert f" {word} " in help_of.stdout or f"[alias: {word}]" in help_of.stdout, word
