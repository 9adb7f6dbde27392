"""docker-compose.yml, Dockerfile and prefect.yaml say what is real, safe and complete."""

import copy
import re
import tomllib
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from compose_spec import PyCompose
from prefect import settings
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import Settings, temporary_settings
from starlette.testclient import TestClient

from palimpsest.flows.protected_server import protected_app
from tests.services import compose
from tests.services.compose import ROOT

SERVICES: dict[str, dict[str, Any]] = compose.as_written()["services"]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
MERGED = {"build", "x-", "<<"}


def parsed(told: dict[str, Any]) -> PyCompose:
    """Return the file as a library for the compose specification reads it."""
    return PyCompose.from_yaml(yaml.safe_dump(told))


def test_compose_file_is_of_the_compose_specification() -> None:
    assert set(parsed(compose.as_run()).service_names()) == set(SERVICES)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "worker", "restrat"), "no"),
        (("services", "worker", "depends_on"), {"setup": {"condition": "done"}}),
        (("services", "server", "ports"), ["127.0.0.1:99999:4200"]),
        (("services", "server", "healthcheck", "intervall"), "5s"),
        (("servces",), {}),
    ],
)
def test_the_library_would_tell(path: tuple[str, ...], value: Any) -> None:
    told = copy.deepcopy(compose.as_run())
    place = told
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"."):
        parsed(told)


def test_what_services_name_is_there() -> None:
    told = compose.as_run()
    for name, service in told["services"].items():
        assert set(service["networks"]) <= set(told["networks"]), name
        assert set(service.get("depends_on", {})) <= set(told["services"]), name
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert source.startswith((".", "/")) or source in told["volumes"], mount
    used = {
        mount.partition(":")[0]
        for one in told["services"].values()
        for mount in one.get("volumes", [])
    }
    assert set(told["volumes"]) <= used
    assert len(told["networks"]) == 1


def setting_names(settings: type[Any] = Settings) -> set[str]:
    """Return every environment variable that Prefect's settings are read from."""
    names = set()
    for name, field in settings.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            names |= setting_names(field.annotation)
        else:
            prefix = settings.model_config.get("env_prefix", "")
            names.add(f"{prefix}{name}".upper())
            alias = field.validation_alias
            for choice in getattr(alias, "choices", [alias] if alias else []):
                if isinstance(choice, str):
                    names.add(choice.upper())
    return names


@pytest.mark.parametrize("service", SERVICES)
def test_each_variable_is_a_setting_of_this_prefect(service: str) -> None:
    known = setting_names()
    assert "PREFECT_HOME" in known
    assert "PREFECT_SERVER_ANALYTICS_ENABLD" not in known
    told = {
        name for name in SERVICES[service].get("environment", {}) if name.startswith("PREFECT_")
    }
    assert told <= known


def test_each_variable_of_ours_is_read_somewhere() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for room in ("flows", "cli", "records")
        for path in (ROOT / room).glob("*.py")
    )
    told = {name for one in SERVICES.values() for name in one.get("environment", {})}
    told |= {name for one in DEPLOYMENTS for name in one["work_pool"]["job_variables"]["env"]}
    mine = {name for name in told if name.startswith("PALIMPSEST_")}
    assert mine
    assert all(name in code for name in mine), mine


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_pinned_watched_and_closed(name: str) -> None:
    service = compose.as_run()["services"][name]
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert re.search(r"\d+\.\d+|RELEASE\.\d{4}-\d\d-\d\dT", tag), service["image"]
    ends = service["restart"] == "no"
    assert ends != ("healthcheck" in service)
    for waited in service.get("depends_on", {}).values():
        assert waited["condition"] in {"service_healthy", "service_completed_successfully"}
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), port
    assert "ports" not in service or name in {"server", "inspector"}
    assert not service.get("privileged")


def test_our_image_has_the_version_of_the_project_and_prefect_that_of_the_constraints() -> None:
    from palimpsest.records import __version__

    assert SERVICES["worker"]["image"] == f"palimpsest:{__version__}"
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    told = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    assert f"prefect=={told['prefect-version']}\n" in constraints


def test_no_secret_stands_in_the_files() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if (
                re.search(r"PASSWORD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY|_USER$", variable)
                and value != "prefect"
            ):
                assert value is None or re.fullmatch(r"\$\{\w+:[-?][^}]*\}", value), (
                    name,
                    variable,
                )
                assert value is None or value.endswith(":-}") or ":?" in value, (name, variable)
        assert not re.search(r"://[^/\s]*:[^/\s]*@", str(service)), name
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for line in example.splitlines():
        assert not re.search(r"(PASSWORD|SECRET|TOKEN|KEY\w*)=.", line), line
    assert ".env\n" in (ROOT / ".gitignore").read_text(encoding="utf-8")


def test_what_the_user_must_give_is_asked_for_and_explained() -> None:
    with pytest.raises(compose.UnsetVariableError, match=r"PREFECT_PASSWORD.*\.env"):
        compose.as_run({})
    with pytest.raises(compose.UnsetVariableError, match=r"POSTGRES_PASSWORD.*\.env"):
        compose.as_run({"PREFECT_PASSWORD": "y"})
    with pytest.raises(compose.UnsetVariableError, match=r"PALIMPSEST_TOKEN.*\.env"):
        compose.as_run({"POSTGRES_PASSWORD": "x", "PREFECT_PASSWORD": "y"})
    required = {"POSTGRES_PASSWORD": "x", "PREFECT_PASSWORD": "y", "PALIMPSEST_TOKEN": "z"}
    compose.as_run(required)  # nothing else is needed
    asked = set(re.findall(r"\$\{(\w+)", compose.PATH.read_text(encoding="utf-8")))
    asked -= {"MINIO_ROOT_PASSWORD"}  # of the container's shell
    asked |= {
        name
        for one in SERVICES.values()
        for name, value in one.get("environment", {}).items()
        if value is None
    }
    explained = set(
        re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert asked == explained


def test_prefect_server_and_its_clients_share_a_login() -> None:
    services = compose.as_run()["services"]
    server = services["server"]["environment"]
    assert compose.command_of(services["server"])[:3] == [
        "python",
        "-m",
        "palimpsest.flows.protected_server",
    ]
    assert server["PREFECT_SERVER_API_AUTH_STRING"] == compose.SECRETS["PREFECT_PASSWORD"]
    clients = {name for name, one in services.items() if "PREFECT_API_URL" in one["environment"]}
    assert clients == {"setup", "worker"}
    for name in clients:
        environment = services[name]["environment"]
        assert environment["PREFECT_API_AUTH_STRING"] == compose.SECRETS["PREFECT_PASSWORD"]
        assert urlsplit(environment["PREFECT_API_URL"]).hostname == "server"


@pytest.mark.parametrize(
    ("host", "status"),
    [("server", 401), ("127.0.0.1", 401), ("localhost", 401), ("evil.example", 400)],
)
def test_prefect_server_refuses_strangers_by_the_settings_of_the_file(
    host: str, status: int
) -> None:
    environment = compose.as_run()["services"]["server"]["environment"]
    names = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS")
    with temporary_settings({getattr(settings, name): environment[name] for name in names}):
        client = TestClient(protected_app(), base_url=f"http://{host}:4200")
    headers = {"Origin": "https://evil.example"}
    response = client.post("/api/deployments/filter", json={}, headers=headers)
    assert response.status_code == status
    assert "Access-Control-Allow-Origin" not in response.headers


def dockerfile() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        (word, rest)
        for word, _, rest in (line.partition(" ") for line in text.splitlines())
        if word.isupper()
    ]


def copied() -> set[str]:
    """Return what the image takes from the project's folder."""
    found = set()
    for word, rest in dockerfile():
        if word == "COPY" and "--from=" not in rest:
            found |= set(rest.split()[:-1])
    return found


def test_image_has_all_that_it_needs_and_no_rights() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert packages <= copied()
    assert {"prefect.yaml", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= copied()
    assert all((ROOT / path).exists() for path in copied())
    allowed = re.findall(
        r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(allowed) == copied()
    for word, rest in dockerfile():
        if word == "FROM":
            assert re.match(r"python:3\.\d+\.\d+-slim-\w+( |$)", rest), rest
    [user] = [rest for word, rest in dockerfile() if word == "USER"]
    assert user not in {"root", "0"}


def test_folders_that_services_write_to_belong_to_the_image_s_user() -> None:
    made = " ".join(rest for word, rest in dockerfile() if word == "RUN")
    owned = set(re.search(r"chown archivist ([^&]*)", made).group(1).split())
    for name in ("server", "worker", "inspector"):
        mounted = [mount.split(":") for mount in compose.as_run()["services"][name]["volumes"]]
        assert {parts[1] for parts in mounted if parts[-1] != "ro"} <= owned


def test_prefect_yaml_has_the_five_deployments() -> None:
    read = PrefectYamlModel.model_validate(
        yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    )
    assert [one.name for one in read.deployments] == [
        "ingest",
        "report",
        "verify",
        "compact",
        "clean",
    ]


@pytest.mark.parametrize("told", DEPLOYMENTS, ids=lambda told: told["name"])
def test_deployment_is_complete_and_its_flow_takes_its_parameters(told: dict[str, Any]) -> None:
    flow = load_flow_from_entrypoint(told["entrypoint"], use_placeholder_flow=False)
    assert flow.name == told["name"]
    flow.validate_parameters(told["parameters"])
    schema = flow.parameters.model_dump()
    assert set(schema["required"]) <= set(told["parameters"]), (
        "startable without filling in the form"
    )
    assert set(told["parameters"]) <= set(schema["properties"])
    for name, parameter in schema["properties"].items():
        assert parameter.get("description"), f"{told['name']}: {name}"
    assert told["description"]
    assert "palimpsest" in told["tags"]
    [schedule] = told["schedules"]
    assert schedule["timezone"]
    assert schedule["cron"]
    assert told["concurrency_limit"]["limit"] == 1
    waits = told["concurrency_limit"]["collision_strategy"] == "ENQUEUE"
    assert waits == (told["name"] == "ingest")
    assert told["work_pool"]["name"] == "palimpsest"
    limit = float(told["work_pool"]["job_variables"]["env"]["PALIMPSEST_TIME_LIMIT"])
    assert 0 < limit <= 24 * 3600
