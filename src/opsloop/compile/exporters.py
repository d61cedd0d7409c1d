"""Configuration of the exporters: blackbox modules, and the basic auth of every endpoint."""

from __future__ import annotations

from collections.abc import Mapping

from opsloop.compile.yamltext import dump


def blackbox_yml() -> str:
    """The modules that prometheus.yml names."""
    ip = {"preferred_ip_protocol": "ip4"}
    return dump(
        {
            "modules": {
                "http_2xx": {"prober": "http", "http": ip},
                "tcp_connect": {"prober": "tcp", "tcp": ip},
                "icmp": {"prober": "icmp", "icmp": ip},
                # An expiry is to be read also when it is past, or of an authority of one's own.
                "tls_connect": {
                    "prober": "tcp",
                    "tcp": {**ip, "tls": True, "tls_config": {"insecure_skip_verify": True}},
                },
            }
        }
    )


def web_config(users: Mapping[str, str]) -> str:
    """Basic auth for Prometheus, Alertmanager and exporters: user name to bcrypt hash.

    It depends on a secret, so it is no part of the bundle: `up` writes it to secrets/web.yml.
    """
    return dump({"basic_auth_users": dict(sorted(users.items()))})
