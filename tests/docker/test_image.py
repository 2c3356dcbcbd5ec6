"""The image, in Docker: what people rely on who run RabbitMQ's. The registry's base images are stood in for (stand_ins).

What RabbitMQ's image does is said in https://hub.docker.com/_/rabbitmq and in docker-library/rabbitmq.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import Run
from tests.docker.engine import ROOT, Container, Engine
from tests.runtime.process import soon

pytestmark = pytest.mark.soak

USER_ID = 999
DATA = "/var/lib/rabbitmq"
SIZE_BYTES_MAX = 160_000_000
"""Unpacked, of which 80 MB are Debian's."""
PULL_BYTES_MAX = 60_000_000
"""Compressed, as a registry has it."""
PORTS = (5672, 15672, 15692)


@pytest.fixture(scope="module")
def served(engine: Engine, image: str) -> Iterator[Container]:
    """A container of the image as it comes."""
    with engine.container(image, options=("--hostname=orders",)) as container:
        yield container.ready()


def fill(container: Container, queue: str, count: int) -> None:
    with container.connect() as wire:
        channel = wire.open_channel()
        channel.queue(queue, durable=True)
        channel.confirm_select()
        for number in range(count):
            channel.publish("", queue, b"%d" % number, delivery_mode=2)
        assert all(channel.confirms(count).values())
        wire.close()


def bodies(container: Container, queue: str) -> list[bytes]:
    with container.connect() as wire:
        found = wire.open_channel().bodies(queue)
        wire.close()
        return found


# --- as it comes ----------------------------------------------------------------------------------------------------


def test_the_broker_is_not_root(served: Container) -> None:
    assert served.broker_user() == USER_ID


def test_the_lines_that_testcontainers_wait_for_come_in_rabbitmqs_order(served: Container) -> None:
    lines = [
        "Management plugin: HTTP (non-TLS) listener started on port 15672",
        "Prometheus metrics: HTTP (non-TLS) listener started on port 15692",
        "Ready to start client connection listeners",
        "started TCP listener on [::]:5672",
        "completed with ",
        "Server startup complete; ",
    ]
    places = [served.log.index(line) for line in lines]
    assert places == sorted(places)
    assert not re.findall(r"^.*\[(?:warning|error|critical)\].*$", served.log, flags=re.MULTILINE)


def test_it_listens_everywhere_and_guest_may_come_from_anywhere(served: Container) -> None:
    with served.connect_from_elsewhere() as wire:
        wire.open_channel().queue("q", exclusive=True)
        wire.close()


def test_what_is_exposed_is_listened_on(engine: Engine, image: str, served: Container) -> None:
    """GitLab's runner waits for an exposed port, so one where nobody listens would keep it waiting."""
    exposed = json.loads(engine.docker("inspect", "--format={{json .Config.ExposedPorts}}", image))
    assert sorted(exposed, key=lambda port: int(port.partition("/")[0])) == [f"{port}/tcp" for port in PORTS]
    connect = f"import socket; [socket.create_connection(('127.0.0.1', port), 5).close() for port in {PORTS}]"
    assert served.exec("python3", "-c", connect).returncode == 0


def test_docker_finds_it_healthy(served: Container) -> None:
    soon(lambda: served.state["Health"]["Status"] == "healthy", 60)
    assert served.state["Health"]["Log"][-1]["Output"] == "Ping succeeded\n"


@pytest.mark.parametrize("user", ["root", "rabbitmq"])
def test_the_commands_find_the_broker(served: Container, user: str) -> None:
    """`docker exec` is root without being asked to."""
    done = served.exec("rabbitmq-diagnostics", "-q", "ping", options=(f"--user={user}",))
    assert (done.returncode, done.stdout) == (0, "Ping succeeded\n"), done.stderr


def test_the_node_is_called_by_the_host(served: Container) -> None:
    done = served.exec("cat", f"{DATA}/mnesia/rabbit@orders.pid")
    assert done.stdout.strip().isdecimal(), done.stderr


def test_it_is_small(engine: Engine, image: str) -> None:
    size = int(engine.docker("inspect", "--format={{.Size}}", image))
    assert size < SIZE_BYTES_MAX
    packed = subprocess.run(
        f"{engine.command} save {image} | tar --extract --to-stdout --wildcards '*layer.tar' | gzip | wc -c",
        shell=True, check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert int(packed) < PULL_BYTES_MAX


# --- stop and start -------------------------------------------------------------------------------------------------


def test_a_stop_is_clean_and_the_messages_are_there_after_it(run: Run) -> None:
    container = run().ready()
    fill(container, "q", 100)
    assert container.stop() == 0
    assert "SIGTERM received - shutting down" in container.log
    container.start()
    soon(lambda: container.log.count("Server startup complete") == 2)
    assert bodies(container, "q") == [b"%d" % number for number in range(100)]


def test_a_volume_outlives_its_container_and_the_host_name(engine: Engine, run: Run) -> None:
    """RabbitMQ's directory is called by the host, so that people lose sight of their data who gave none with --hostname."""
    engine.docker("volume", "create", "kept")
    options = (f"--volume=kept:{DATA}",)
    first = run(*options, "--hostname=one").ready()
    fill(first, "q", 10)
    assert first.stop() == 0
    second = run(*options, "--hostname=two").ready()
    assert len(bodies(second, "q")) == 10


def test_rabbitmqs_directory_if_it_is_asked_for(run: Run) -> None:
    container = run(f"--env=RABBITMQ_MNESIA_BASE={DATA}/mnesia", "--hostname=orders").ready()
    assert container.exec("ls", f"{DATA}/mnesia/rabbit@orders/log").returncode == 0


def test_a_directory_of_roots_is_made_the_users(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "inner").mkdir(parents=True)
    (data / "link").symlink_to("/etc/passwd")
    container = run(f"--volume={data}:{DATA}").ready()
    fill(container, "q", 1)
    assert {each.lstat().st_uid for each in data.rglob("*")} == {USER_ID}
    assert container.exec("stat", "--format=%u", "/etc/passwd").stdout == "0\n"


# --- variables and files --------------------------------------------------------------------------------------------


def test_the_variables_of_rabbitmqs_image(run: Run, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    container = run(
        "--env=RABBITMQ_DEFAULT_USER=maria", "--env=RABBITMQ_DEFAULT_PASS_FILE=/run/secrets/password",
        "--env=RABBITMQ_DEFAULT_VHOST=orders",
        f"--volume={tmp_path}/password:/run/secrets/password:ro", "--env=RABBITMQ_NODE_PORT=5673", "--env=RABBITMQ_NODENAME=rabbit@here",
        "--env=RABBITMQ_LOGS=-", "--env=RABBITMQ_ERLANG_COOKIE=secret cookie here",
        "--env=RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-rabbit log_levels [{connection,error},{default,error}] -rabbit channel_max 7",
        "--env=RABBITMQ_LOG=default=info",
    ).ready()  # fmt: skip
    with container.connect_from_elsewhere(5673, user="maria", password="s3cret", vhost="orders", channel_max=7) as wire:
        wire.close()
    assert container.exec("test", "-f", f"{DATA}/mnesia/rabbit@here.pid").returncode == 0
    assert container.exec("rabbitmq-diagnostics", "-q", "ping").returncode == 0
    assert "s3cret" not in container.log


def test_the_files_of_rabbitmqs_image(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rabbitmq.conf").write_text("load_definitions = /etc/rabbitmq/definitions.json\nlisteners.tcp.default = 5674\n")
    (tmp_path / "20-more.conf").write_text("log.console.level = debug\n")
    (tmp_path / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_event_exchange].\n")
    (tmp_path / "definitions.json").write_text(json.dumps({"vhosts": [{"name": "orders"}], "users": [], "permissions": []}))
    files = {"rabbitmq.conf": "", "20-more.conf": "conf.d/", "enabled_plugins": "", "definitions.json": ""}
    container = run(*(f"--volume={tmp_path}/{name}:/etc/rabbitmq/{folder}{name}:ro" for name, folder in files.items())).ready()
    assert "Adding vhost 'orders'" in container.log
    assert " * rabbitmq_event_exchange" in container.log
    assert "started TCP listener on [::]:5674" in container.log
    # 10-defaults.conf counts beside them: guest isn't held to loopback.
    with container.connect_from_elsewhere(5674) as wire:
        wire.close()


def test_leverets_own_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "leveret.conf").write_text("heartbeat = 17\nlisteners.tcp.default = 5675\n")
    container = run(f"--volume={tmp_path}/leveret.conf:/etc/leveret/leveret.conf:ro").ready()
    assert "configuration read from /etc/leveret/leveret.conf, /etc/leveret/conf.d/10-defaults.conf" in container.log
    with container.connect_from_elsewhere(5675) as wire:
        wire.close()


def test_a_log_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    container = run(f"--volume={tmp_path}/log:/var/log/rabbitmq", "--env=RABBITMQ_LOGS=/var/log/rabbitmq/rabbit.log")
    soon(
        lambda: "Server startup complete" in (tmp_path / "log/rabbit.log").read_text() if (tmp_path / "log/rabbit.log").exists() else False
    )
    assert container.exec("rabbitmq-diagnostics", "-q", "ping").returncode == 0


def test_the_memory_is_the_containers(run: Run) -> None:
    assert "of 512 MiB (536870912 bytes) total" in run("--memory=512m").ready().log


def test_a_configuration_that_is_wrong_ends_it(run: Run) -> None:
    container = run("--env=LEVERET_HEARTBEAT=often")
    soon(lambda: not container.state["Running"])
    assert container.state["ExitCode"] == 78
    assert "LEVERET_HEARTBEAT = often: expected" in container.log


# --- other ways to start --------------------------------------------------------------------------------------------


def test_any_user_and_a_root_that_cannot_be_written(run: Run) -> None:
    container = run("--user=1234:1234", "--read-only", "--tmpfs=/tmp").ready()
    fill(container, "q", 3)
    assert container.broker_user() == 1234
    assert container.exec("rabbitmq-diagnostics", "-q", "ping").returncode == 0
    assert container.exec("rabbitmq-diagnostics", "-q", "ping", options=("--user=0",)).returncode == 0
    assert container.stop() == 0


def test_options_are_those_of_leveret_serve(run: Run) -> None:
    container = run(command=("--memory", "--port", "5680"))
    container.wait_for_log("started TCP listener on [::]:5680")


def test_bash_enables_a_plugin_and_starts_the_server(run: Run) -> None:
    container = run(command=("bash", "-c", "rabbitmq-plugins enable --offline rabbitmq_mqtt; rabbitmq-server")).ready()
    assert container.broker_user() == USER_ID, "not even then"
    assert container.stop() == 0
    assert "SIGTERM received" in container.log


def test_a_script_that_starts_it_in_the_background_and_waits_for_it(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "init.sh"
    script.write_text(
        "#!/bin/sh\n"
        "(rabbitmqctl wait --timeout 60 $RABBITMQ_PID_FILE && rabbitmqctl add_user late secret && touch /tmp/done) &\n"
        'exec rabbitmq-server "$@"\n'
    )
    script.chmod(0o755)
    container = run(f"--volume={script}:/init.sh:ro", f"--env=RABBITMQ_PID_FILE={DATA}/mnesia/rabbitmq.pid", command=("/init.sh",)).ready()
    soon(lambda: container.exec("test", "-f", "/tmp/done").returncode == 0)
    assert container.broker_user() == USER_ID


def test_a_server_that_is_detached(run: Run) -> None:
    """Scripts that go on with rabbitmqctl and end in `tail -f`."""
    command = "rabbitmq-server -detached && rabbitmqctl await_startup --timeout 60 && echo it is up && exec sleep 600"
    container = run(command=("bash", "-c", command))
    container.wait_for_log("it is up", 60)
    assert container.broker_user() == USER_ID
    with container.connect() as wire:
        wire.close()


def test_an_image_that_is_made_of_it(engine: Engine, image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {image}\n"
        "RUN rabbitmq-plugins enable --offline rabbitmq_management rabbitmq_shovel\n"
        "COPY --chown=rabbitmq:rabbitmq rabbitmq.conf /etc/rabbitmq/rabbitmq.conf\n"
        "ENV RABBITMQ_DEFAULT_USER=maria RABBITMQ_DEFAULT_PASS=secret\n"
    )
    (tmp_path / "rabbitmq.conf").write_text("channel_max = 9\n")
    engine.build("derived:test", tmp_path)
    with engine.container("derived:test") as container, container.ready().connect(user="maria", password="secret", channel_max=9) as wire:
        wire.close()


# --- Compose --------------------------------------------------------------------------------------------------------

COMPOSE = str(ROOT / "docker" / "compose.yaml")
NO_NETWORK = """\
services:
  leveret:
    image: {image}
    network_mode: none
    ports: !reset []
"""


def test_compose_waits_until_it_is_healthy(engine: Engine, image: str, tmp_path: Path) -> None:
    """What `depends_on: condition: service_healthy` waits for, too."""
    (tmp_path / "test.yaml").write_text(NO_NETWORK.format(image=image))
    files = (f"--file={COMPOSE}", f"--file={tmp_path}/test.yaml", "--project-name=leveret-test")
    engine.compose(*files, "up", "--no-build", "--detach", "--wait")
    try:
        listed = json.loads(engine.compose(*files, "ps", "--format=json"))
        assert (listed["Service"], listed["Health"]) == ("leveret", "healthy")
    finally:
        engine.compose(*files, "down", "--volumes")


def test_compose_reads_the_profile_with_the_metrics(engine: Engine, image: str) -> None:
    everything = json.loads(engine.compose(f"--file={COMPOSE}", "--profile=metrics", "config", "--format=json"))["services"]
    assert sorted(everything) == ["grafana", "leveret", "prometheus"]
    mounts = [Path(each["source"]) for service in everything.values() for each in service["volumes"] if each["type"] == "bind"]
    assert mounts and all(mount.exists() for mount in mounts), mounts
    alone = json.loads(engine.compose(f"--file={COMPOSE}", "config", "--format=json"))["services"]
    assert sorted(alone) == ["leveret"]
