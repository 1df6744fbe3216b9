"""What a cluster says about named topics, without creating them: aiokafka's own call lets a broker create them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.metadata import MetadataRequest


async def topic_errors(admin: AIOKafkaAdminClient, names: Sequence[str]) -> Mapping[str, int]:
    """The error's number by topic, 0 for one that exists and may be described. Raises KafkaError."""
    request = MetadataRequest(list(names), allow_auto_topic_creation=False)
    response = (await admin._send_request(request)).to_object()
    return {topic["topic"]: topic["error_code"] for topic in response["topics"]}
