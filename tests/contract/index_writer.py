"""`python -m tests.contract.index_writer WHERE FIRST COUNT`: upserts points, batch after batch, and reads them."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

import numpy as np

from stores.index import Point
from stores.open import open_index


async def main(where: str, first: int, count: int) -> None:
    index = open_index(where)
    vector = np.eye(8, dtype=np.float32)[1]
    for start in range(first, first + count, 50):
        points = [
            Point(id=str(UUID(int=number)), vectors={"semantic": vector}, payload={"feed": f"from-{first}"})
            for number in range(start, start + 50)
        ]
        await index.upsert("frames", points)
        assert len(await index.get("frames", [point.id for point in points])) == 50
    await index.flush()
    await index.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
