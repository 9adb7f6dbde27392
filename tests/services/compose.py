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
"""Values of the variables that the file wants from its user."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:[-?])([^}]*))?\})")


class UnsetVariableError(Exception):
    """A variable is wanted that is not set."""


def filled(value: Any, variables: dict[str, str]) -> Any:
    """Return a value with its variables filled in, as compose does."""
    if isinstance(value, dict):
        return {name: filled(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, variables) for one in value]
    return (
        _VARIABLE.sub(lambda match: _fill(match, variables), value)
        if isinstance(value, str)
        else value
    )


def _fill(match: re.Match[str], variables: dict[str, str]) -> str:
    escaped, name, kind, told = match.groups()
    if escaped:
        return "$"
    value = variables.get(name, "")
    if not value and kind == ":?":
        raise UnsetVariableError(f"{name}: {told}")
    return value or (told if kind == ":-" else "")


def as_written() -> dict[str, Any]:
    """Return the file with its references merged and its variables as they stand."""
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def as_run(variables: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the file as compose would run it."""
    return filled(as_written(), SECRETS if variables is None else variables)


def command_of(service: dict[str, Any]) -> list[str]:
    """Return what a service's container executes."""
    return [*service["entrypoint"], *service["command"]]


def check_of(service: dict[str, Any]) -> list[str]:
    """Return what a service's health check executes."""
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    return command
