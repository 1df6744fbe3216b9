from __future__ import annotations

from uuid import uuid5

import pytest

from schemas import identity


def test_ids_are_rfc_9562_version_5() -> None:
    assert identity.frame_id("default", "lobby", "é") == str(uuid5(identity.NAMESPACE, "5:frame7:default5:lobby1:é"))


def test_parts_cannot_run_into_each_other() -> None:
    assert identity.frame_id("a", "bc", "d") != identity.frame_id("ab", "c", "d")
    assert identity.produced_position("/a", "b:c") != identity.produced_position("/a:b", "c")


def test_a_region_keeps_its_id_under_tiny_moves() -> None:
    ids = {identity.region_id("f", "detection", "circle", (x, 10.0, 50.0, 60.0), 640, 480) for x in (10.0, 10.4, 9.8)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("key", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_murmur2_is_kafkas(key: bytes, hashed: int) -> None:
    """Values of org.apache.kafka.common.utils.UtilsTest.testMurmur2."""
    assert identity.murmur2(key) == hashed & 0x7FFFFFFF


@pytest.mark.parametrize(
    "name", ["", "A", "a/b", "a b", "..", "a..b", ".a", "x" * 64, "Ü", "u\u0308", "\u0308u", "北\u3164", "北 门", "a\n"]
)
def test_names_that_could_leave_a_path_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="feed"):
        identity.check_name("feed", name)


@pytest.mark.parametrize(
    ("position", "place"),
    [
        (identity.still_position("/photos/a:b\n.jpg", "0" * 64), "/photos/a:b\n.jpg"),
        (identity.object_position("s3://cams/a:b.jpg", "2026-11-29T01:02:03+00:00"), "s3://cams/a:b.jpg"),
        (identity.produced_position("/cams/lobby", "7:8"), "/cams/lobby 7:8"),
        (identity.video_position("0" * 64, 5, 0), ""),
        (identity.live_position("0" * 36, 5), ""),
        ("", ""),
    ],
)
def test_a_position_names_the_file_or_producer_of_a_picture(position: str, place: str) -> None:
    assert identity.place_in(position) == place
