"""docker-compose.yml as compose reads it: merged, with variables filled in."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PATH = ROOT / "docker-compose.yml"
SECRETS = {
    "POSTGRES_PASSWORD": "nothing-secret",
    "PREFECT_PASSWORD": "nothing-secret-for-prefect",
    "PALIMPSEST_TOKEN": "nothing-secret-at-all",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing-secret-either",
}
"""Values of the variables that the file requires from its user."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:[-?])([^}]*))?\})")


class UnsetVariableError(Exception):
    """A required variable is not set."""


def substitute(value: Any, variables: dict[str, str]) -> Any:
    """Return a value with its variables substituted, as compose does."""
    if isinstance(value, dict):
        return {name: substitute(item, variables) for name, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, variables) for item in value]
    return (
        _VARIABLE.sub(lambda match: _value_of(match, variables), value)
        if isinstance(value, str)
        else value
    )


def _value_of(match: re.Match[str], variables: dict[str, str]) -> str:
    escaped, name, operator, text = match.groups()
    if escaped:
        return "$"
    value = variables.get(name, "")
    if not value and operator == ":?":
        raise UnsetVariableError(f"{name}: {text}")
    return value or (text if operator == ":-" else "")


def as_written() -> dict[str, Any]:
    """Return the file with its references merged and its variables not substituted."""
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def as_run(variables: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the file as compose would run it."""
    return substitute(as_written(), SECRETS if variables is None else variables)


def command_of(service: dict[str, Any]) -> list[str]:
    """Return the command of a service's container."""
    return [*service["entrypoint"], *service["command"]]


def check_of(service: dict[str, Any]) -> list[str]:
    """Return the command of a service's health check."""
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    return command
