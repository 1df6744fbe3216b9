"""Copies of files with holes have the same bytes, and the same holes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores.edge.disk_use import size_of
from stores.sparse_files import BLOCK_BYTES, copy_sparse

RUNS = st.lists(
    st.tuples(st.sampled_from([b"\0", b"\0", b"x"]), st.integers(1, 3 * BLOCK_BYTES) | st.just(300 * BLOCK_BYTES)),
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(runs=RUNS)
def test_a_copy_has_the_same_bytes(tmp_path: Path, runs: list[tuple[bytes, int]]) -> None:
    content = b"".join(byte * count for byte, count in runs)
    (tmp_path / "source").write_bytes(content)
    copy_sparse(str(tmp_path / "source"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content


def test_blocks_of_zeros_take_no_space(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(100) + b"x" * 100 + bytes(10_000_000) + b"x")
    copy_sparse(str(tmp_path / "source"), str(tmp_path / "copy"))
    assert size_of(tmp_path / "source") >= 10_000_000
    assert size_of(tmp_path / "copy") < 100_000
