"""Collections, payload indexes and aliases of a Qdrant server."""

from __future__ import annotations

import contextlib

from qdrant_client import AsyncQdrantClient, models

from stores.errors import Refused, WrongLayout
from stores.index import CollectionSpec
from stores.layout import check_layout
from stores.server_words import INDEX_TYPES, OUR_TYPES, ask


async def ensure(client: AsyncQdrantClient, url: str, spec: CollectionSpec, alias: str | None) -> None:
    """As `Index.ensure`; several may call it at once."""
    aliases = await _aliases(client, url)
    collections = {each.name for each in (await ask(url, client.get_collections())).collections}
    if spec.name in aliases or alias == spec.name or alias in collections:
        raise Refused(f"{spec.name!r} and {alias!r}: a name is a collection's or an alias, not both")
    if spec.name not in collections:
        await _create(client, url, spec)
    there = await layout(client, url, spec.name)
    check_layout(there, spec)
    for field, kind in spec.payload.items():
        if field not in there.payload:
            await ask(url, client.create_payload_index(spec.name, field, INDEX_TYPES[kind], wait=True))
    if alias is not None and aliases.get(alias) != spec.name:
        await _point(client, url, alias, spec.name, exchange=alias in aliases)


async def layout(client: AsyncQdrantClient, url: str, name: str) -> CollectionSpec:
    """What the collection called or aliased `name` is. Raises Missing, and WrongLayout for one that is not ours."""
    found = await ask(url, client.get_collection(name))
    vectors = found.config.params.vectors
    if not isinstance(vectors, dict) or any(each.distance != models.Distance.COSINE for each in vectors.values()):
        raise WrongLayout(f"collection {name!r} was not made by Sightline: wanted named vectors with cosine distance")
    return CollectionSpec(
        name=name,
        vectors={each: parameters.size for each, parameters in vectors.items()},
        payload={
            field: OUR_TYPES[schema.data_type]
            for field, schema in found.payload_schema.items()
            if schema.data_type in OUR_TYPES
        },
    )


async def _create(client: AsyncQdrantClient, url: str, spec: CollectionSpec) -> None:
    vectors = {
        name: models.VectorParams(size=size, distance=models.Distance.COSINE) for name, size in spec.vectors.items()
    }
    # Refused: another process has created it in between; what it is is compared afterwards.
    with contextlib.suppress(Refused):
        await ask(url, client.create_collection(spec.name, vectors_config=vectors))


async def _aliases(client: AsyncQdrantClient, url: str) -> dict[str, str]:
    return {each.alias_name: each.collection_name for each in (await ask(url, client.get_aliases())).aliases}


async def _point(client: AsyncQdrantClient, url: str, alias: str, name: str, *, exchange: bool) -> None:
    """Point `alias` at collection `name`; an exchange is one step, searches see the old or the new."""
    steps: list[models.AliasOperations] = []
    if exchange:
        steps.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    create = models.CreateAlias(collection_name=name, alias_name=alias)
    await ask(url, client.update_collection_aliases([*steps, models.CreateAliasOperation(create_alias=create)]))
