"""The request that deletes a consumer group: aiokafka's admin client has no call for it."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest


async def group_deletion_error(admin: AIOKafkaAdminClient, group: str) -> int:
    """Ask the group's coordinator to delete it; the error's number, 0 for done. Raises KafkaError."""
    response = await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))
    ((_, code),) = response.results
    return int(code)
