"""Collections, payload indexes and aliases of a Qdrant server."""

from __future__ import annotations

import contextlib

from qdrant_client import AsyncQdrantClient, models

from stores.errors import Refused, WrongLayout
from stores.index import CollectionSpec
from stores.layout import check_layout
from stores.qdrant_types import INDEX_TYPES, PAYLOAD_TYPES, translated


async def ensure(client: AsyncQdrantClient, url: str, spec: CollectionSpec, alias: str | None) -> None:
    """As `Index.ensure`; several processes may call it at once."""
    aliases = await _aliases(client, url)
    collections = {entry.name for entry in (await translated(url, client.get_collections())).collections}
    if spec.name in aliases or alias == spec.name or alias in collections:
        raise Refused(f"{spec.name!r} and {alias!r}: a name is a collection's or an alias, not both")
    if alias is not None and (target := aliases.get(alias, spec.name)) != spec.name:
        await _check_ours(client, url, alias, target, spec)
    if spec.name not in collections:
        await _create(client, url, spec)
    existing = await layout(client, url, spec.name)
    check_layout(existing, spec)
    for field, kind in spec.payload.items():
        if field not in existing.payload:
            await translated(url, client.create_payload_index(spec.name, field, INDEX_TYPES[kind], wait=True))
    if alias is not None and aliases.get(alias) != spec.name:
        await _point(client, url, alias, spec.name, exchange=alias in aliases)


async def _check_ours(client: AsyncQdrantClient, url: str, alias: str, target: str, spec: CollectionSpec) -> None:
    """Raise WrongLayout for an alias of another program: its searches would go to our collection from then on."""
    other = "another program's; set `namespace`, so that this deployment's names begin with a name of its own"
    try:
        existing = await layout(client, url, target)
    except WrongLayout as error:
        raise WrongLayout(f"alias {alias!r} is {other} ({error})") from error
    if not (spec.payload.keys() & existing.payload.keys() or spec.vectors.keys() & existing.vectors.keys()):
        raise WrongLayout(f"alias {alias!r} of collection {target!r} is {other}")


async def layout(client: AsyncQdrantClient, url: str, name: str) -> CollectionSpec:
    """The layout of the collection with the name or alias `name`.

    Raises Missing, and WrongLayout for a collection that Sightline did not make.
    """
    existing = await translated(url, client.get_collection(name))
    vectors = existing.config.params.vectors
    if not isinstance(vectors, dict) or any(v.distance != models.Distance.COSINE for v in vectors.values()):
        raise WrongLayout(f"collection {name!r} was not made by Sightline: wanted named vectors with cosine distance")
    return CollectionSpec(
        name=name,
        vectors={vector: parameters.size for vector, parameters in vectors.items()},
        payload={
            field: PAYLOAD_TYPES[schema.data_type]
            for field, schema in existing.payload_schema.items()
            if schema.data_type in PAYLOAD_TYPES
        },
    )


async def _create(client: AsyncQdrantClient, url: str, spec: CollectionSpec) -> None:
    vectors = {
        name: models.VectorParams(size=size, distance=models.Distance.COSINE) for name, size in spec.vectors.items()
    }
    # Refused: another process created it in between; its layout is compared afterwards.
    with contextlib.suppress(Refused):
        await translated(url, client.create_collection(spec.name, vectors_config=vectors))


async def _aliases(client: AsyncQdrantClient, url: str) -> dict[str, str]:
    return {entry.alias_name: entry.collection_name for entry in (await translated(url, client.get_aliases())).aliases}


async def _point(client: AsyncQdrantClient, url: str, alias: str, name: str, *, exchange: bool) -> None:
    """Point `alias` at collection `name`; an exchange is atomic, so searches use the old or the new one."""
    steps: list[models.AliasOperations] = []
    if exchange:
        steps.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    create = models.CreateAlias(collection_name=name, alias_name=alias)
    await translated(url, client.update_collection_aliases([*steps, models.CreateAliasOperation(create_alias=create)]))
