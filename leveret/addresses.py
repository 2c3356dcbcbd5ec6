"""Where a broker is, and what one logs in with: in the forms that clients of RabbitMQ want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    import ssl

    import pika  # type: ignore[import-untyped]

AMQP_PORT: Final = 5672
AMQPS_PORT: Final = 5671
MANAGEMENT_PORT: Final = 15672
RETRIES: Final = {"max_retries": 3, "interval_start": 0, "interval_step": 0.05, "interval_max": 0.2}
"""How often and how soon Celery and kombu try again: a test doesn't want to wait for ever."""


class Addresses:
    """What needs no request."""

    @property
    def host(self) -> str:
        """Where AMQP is served."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port of AMQP, of that over TLS if the broker has it."""
        raise NotImplementedError

    @property
    def http_url(self) -> str:
        """The HTTP API (RabbitMQ's management API), without a slash at the end: http://127.0.0.1:15672."""
        raise NotImplementedError

    @property
    def vhost(self) -> str:
        """The virtual host: `/`, or the sandbox's."""
        raise NotImplementedError

    @property
    def user(self) -> str:
        """Who logs in: guest, or the sandbox's own."""
        raise NotImplementedError

    @property
    def password(self) -> str:
        """The user's."""
        raise NotImplementedError

    @property
    def cafile(self) -> str | None:
        """The authority that clients have to trust (a file in PEM), None where TLS isn't served or that wasn't told."""
        raise NotImplementedError

    @property
    def is_tls(self) -> bool:
        """AMQP is served over TLS."""
        raise NotImplementedError

    # --- for clients ------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """amqp://user:password@host:port/vhost, for aio-pika, aiormq, FastStream, kombu, Celery and pika.URLParameters."""
        scheme = "amqps" if self.is_tls else "amqp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, password, vhost = (quote(part, safe="") for part in (self.user, self.password, self.vhost))
        return f"{scheme}://{user}:{password}@{host}:{self.port}/{vhost}"

    @property
    def kombu_url(self) -> str:
        """The same: kombu takes it as it is."""
        return self.url

    def pika_parameters(self, **options: Any) -> pika.ConnectionParameters:
        """For pika's connections; `options` are keywords of pika.ConnectionParameters, and win."""
        import pika

        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "virtual_host": self.vhost,
            "credentials": pika.PlainCredentials(self.user, self.password),
        }
        if self.is_tls:
            given["ssl_options"] = pika.SSLOptions(self.ssl_context(), self.host)
        return pika.ConnectionParameters(**{**given, **options})

    def celery_config(self, **options: Any) -> dict[str, Any]:
        """For `app.conf.update(...)`: this broker, results over it, one task at a time, and few retries, so that a broker which is gone
        fails a test instead of hanging it. Workers leave logging alone, for pytest's caplog. `options` are settings of Celery's, and win.
        """
        config: dict[str, Any] = {
            "broker_url": self.url,
            "result_backend": "rpc://",
            "broker_connection_timeout": 5,
            "broker_connection_retry_on_startup": True,
            "broker_connection_max_retries": RETRIES["max_retries"],
            "broker_heartbeat": 0,
            "broker_transport_options": {"confirm_publish": True, **RETRIES},
            "task_publish_retry_policy": dict(RETRIES),
            "worker_prefetch_multiplier": 1,
            "worker_hijack_root_logger": False,
        }
        if self.is_tls:
            import ssl

            config["broker_use_ssl"] = {"ca_certs": self.cafile, "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": self.host}
        return {**config, **options}

    def ssl_context(self) -> ssl.SSLContext:
        """For clients that take one: it trusts the broker's authority (and whom the system trusts, where that wasn't told)."""
        import ssl

        return ssl.create_default_context(cafile=self.cafile)

    # --- under the names that testcontainers' RabbitMqContainer has -------------------------------------------------

    @property
    def username(self) -> str:
        """The user."""
        return self.user

    def get_connection_params(self) -> pika.ConnectionParameters:
        """As `pika_parameters`."""
        return self.pika_parameters()

    def get_container_host_ip(self) -> str:
        """The host."""
        return self.host

    def get_exposed_port(self, port: int | str) -> int:
        """Where that is which RabbitMQ's image has at `port`: 5672 (5671 with TLS) or 15672. Raises ValueError for others."""
        from urllib.parse import urlsplit

        wanted = int(port)
        if wanted in (AMQPS_PORT if self.is_tls else AMQP_PORT, self.port):
            return self.port
        http_port = urlsplit(self.http_url).port or 0
        if wanted in (MANAGEMENT_PORT, http_port):
            return http_port
        raise ValueError(f"nothing is served at port {wanted}: expected {AMQP_PORT} (AMQP) or {MANAGEMENT_PORT} (HTTP)")
