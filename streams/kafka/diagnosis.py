"""Why a cluster cannot be reached: aiokafka logs the cause and raises only that there is one."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from streams.kafka.settings import KafkaSettings

CONNECTION_KEYS = ("request_timeout_ms", "security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username")
"""Of what every client takes, beside the password."""
DEFAULT_PORT = 9092
LONGEST_SECONDS = 5.0


async def connection_fault(settings: KafkaSettings) -> str:
    """What a connection to the first broker fails with; empty if it does not."""
    keys = settings.client()
    host, _, port = settings.bootstrap[0].rpartition(":")
    wanted: dict[str, Any] = {name: keys[name] for name in (*CONNECTION_KEYS, "sasl_plain_password") if name in keys}
    try:
        async with asyncio.timeout(min(LONGEST_SECONDS, settings.request_seconds)):
            connection = await create_conn(host or settings.bootstrap[0], int(port) if host else DEFAULT_PORT, **wanted)
    except (OSError, ValueError, KafkaError) as error:
        return f"{settings.bootstrap[0]}: {_reason(error, settings)}"
    connection.close()
    return ""


def _reason(error: Exception, settings: KafkaSettings) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        trusted = f"ca_file {settings.ca_file}" if settings.ca_file else "the system's certificates"
        return f"{trusted} does not vouch for its certificate ({error.verify_message}); set ca_file to its authority's"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection ({error.reason or error}); is security={settings.security} right for this port?"
    if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed)):
        return f"it refuses the login of user {settings.username} by {settings.mechanism}"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"it does not offer mechanism={settings.mechanism}"
    return str(error) or type(error).__name__
