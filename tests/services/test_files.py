"""docker-compose.yml, Dockerfile and prefect.yaml are valid, safe and complete."""

import copy
import re
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


def parse(content: dict[str, Any]) -> PyCompose:
    """Parse the file with a library for the compose specification."""
    return PyCompose.from_yaml(yaml.safe_dump(content))


def test_compose_file_follows_the_compose_specification() -> None:
    assert set(parse(compose.as_run()).service_names()) == set(SERVICES)


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
def test_library_would_find_a_mistake(path: tuple[str, ...], value: Any) -> None:
    content = copy.deepcopy(compose.as_run())
    parent = content
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    with pytest.raises(ValueError, match=r"."):
        parse(content)


def test_everything_that_services_refer_to_exists() -> None:
    content = compose.as_run()
    for name, service in content["services"].items():
        assert set(service["networks"]) <= set(content["networks"]), name
        assert set(service.get("depends_on", {})) <= set(content["services"]), name
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert source.startswith((".", "/")) or source in content["volumes"], mount
    used = {
        mount.partition(":")[0]
        for one in content["services"].values()
        for mount in one.get("volumes", [])
    }
    assert set(content["volumes"]) <= used
    assert len(content["networks"]) == 1


def setting_names(settings: type[Any] = Settings) -> set[str]:
    """Return all environment variables that Prefect's settings are read from."""
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
    used = {
        name for name in SERVICES[service].get("environment", {}) if name.startswith("PREFECT_")
    }
    assert used <= known


def test_each_variable_of_palimpsest_is_read_somewhere() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for room in ("flows", "cli", "store")
        for path in (ROOT / room).rglob("*.py")
    )
    names = {name for one in SERVICES.values() for name in one.get("environment", {})}
    names |= {name for one in DEPLOYMENTS for name in one["work_pool"]["job_variables"]["env"]}
    names = {name for name in names if name.startswith("PALIMPSEST_")}
    assert names
    assert all(name in code for name in names), names


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_a_version_a_health_check_and_no_open_port(name: str) -> None:
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
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    assert f"prefect=={content['prefect-version']}\n" in constraints


def test_files_contain_no_secret() -> None:
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


def test_variables_that_the_user_must_set_are_required_and_explained() -> None:
    with pytest.raises(compose.UnsetVariableError, match=r"PREFECT_PASSWORD.*\.env"):
        compose.as_run({})
    with pytest.raises(compose.UnsetVariableError, match=r"POSTGRES_PASSWORD.*\.env"):
        compose.as_run({"PREFECT_PASSWORD": "y"})
    with pytest.raises(compose.UnsetVariableError, match=r"PALIMPSEST_TOKEN.*\.env"):
        compose.as_run({"POSTGRES_PASSWORD": "x", "PREFECT_PASSWORD": "y"})
    required = {"POSTGRES_PASSWORD": "x", "PREFECT_PASSWORD": "y", "PALIMPSEST_TOKEN": "z"}
    compose.as_run(required)  # nothing else is needed
    variables = set(re.findall(r"\$\{(\w+)", compose.PATH.read_text(encoding="utf-8")))
    variables -= {"MINIO_ROOT_PASSWORD"}  # a variable of the container's shell
    variables |= {
        name
        for one in SERVICES.values()
        for name, value in one.get("environment", {}).items()
        if value is None
    }
    explained = set(
        re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert variables == explained


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
    """Return what the image copies from the project's folder."""
    paths = set()
    for word, rest in dockerfile():
        if word == "COPY" and "--from=" not in rest:
            paths |= set(rest.split()[:-1])
    return paths


def test_image_has_all_packages_and_does_not_run_as_root() -> None:
    rooms = {path.name for path in (ROOT / "src" / "palimpsest").iterdir() if path.is_symlink()}
    assert len(rooms) > 10
    assert rooms | {"src"} <= copied()
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
    commands = " ".join(rest for word, rest in dockerfile() if word == "RUN")
    owned = set(re.search(r"chown archivist ([^&]*)", commands).group(1).split())
    for name in ("server", "worker", "inspector"):
        mounted = [mount.split(":") for mount in compose.as_run()["services"][name]["volumes"]]
        assert {parts[1] for parts in mounted if parts[-1] != "ro"} <= owned


def test_prefect_yaml_has_the_five_deployments() -> None:
    content = PrefectYamlModel.model_validate(
        yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    )
    assert [one.name for one in content.deployments] == [
        "ingest",
        "report",
        "verify",
        "compact",
        "clean",
    ]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_deployment_is_complete_and_its_flow_takes_its_parameters(
    deployment: dict[str, Any],
) -> None:
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    assert flow.name == deployment["name"]
    flow.validate_parameters(deployment["parameters"])
    schema = flow.parameters.model_dump()
    assert set(schema["required"]) <= set(deployment["parameters"]), (
        "startable without filling in the form"
    )
    assert set(deployment["parameters"]) <= set(schema["properties"])
    for name, parameter in schema["properties"].items():
        assert parameter.get("description"), f"{deployment['name']}: {name}"
    assert deployment["description"]
    assert "palimpsest" in deployment["tags"]
    [schedule] = deployment["schedules"]
    assert schedule["timezone"]
    assert schedule["cron"]
    assert deployment["concurrency_limit"]["limit"] == 1
    waits = deployment["concurrency_limit"]["collision_strategy"] == "ENQUEUE"
    assert waits == (deployment["name"] == "ingest")
    assert deployment["work_pool"]["name"] == "palimpsest"
    limit = float(deployment["work_pool"]["job_variables"]["env"]["PALIMPSEST_TIME_LIMIT"])
    assert 0 < limit <= 24 * 3600
