"""`sightline keep`: a request on the log, shown wherever the frame is shown."""

from __future__ import annotations

import json
from pathlib import Path

from schemas.identity import frame_id, still_position
from stores.blobs import sha256_hex
from tests.unit.sightline.conftest import Typed

WORK = ("work", "--until-idle", '--set=segments=[["decode"]]', "--set=serve.metrics_port=0")
NO_FRAME = "00000000-0000-5000-8000-000000000000"


def test_frames_are_kept_and_no_longer_kept_and_unknown_ones_refuse_no_others(typed: Typed, pictures: Path) -> None:
    shown = pictures / "0.jpg"
    assert typed("ingest", str(pictures)).exit_code == 0
    assert typed(*WORK).exit_code == 0
    frame = frame_id("default", "shots", still_position(str(shown), sha256_hex(shown.read_bytes())))

    kept = typed("keep", frame, NO_FRAME, "--reason", "the first one")
    assert kept.exit_code == 1
    assert "1 frame kept: retention does not take them" in kept.stdout
    assert f"frame {NO_FRAME} is unknown" in kept.stderr
    result = typed("show", frame)
    assert "retention does not take this frame: the first one" in result.stderr
    assert json.loads(result.stdout)["id"] == frame

    assert "1 frame no longer kept" in typed("keep", "--undo", frame).stdout
    assert "Kept since" not in typed("show", frame).stderr
    assert f"frame {frame} is not kept" in typed("keep", "--undo", frame).stderr

    assert typed("forget", frame).exit_code == 0
    assert f"frame {frame} is erased, or being erased" in typed("keep", frame).stderr
