"""No credential is written to a topic or shown."""

from __future__ import annotations

import pytest

from streams.feeds.credentials import ClearCredentials, UnsetVariable, check_credentials, resolve_references

SECRET = "hunter2"  # noqa: S105 - invented


@pytest.mark.parametrize(
    "source",
    [
        f"rtsp://anna:{SECRET}@camera/live",
        f"rtsp://anna:{SECRET}x${{PASSWORD}}@camera/live",
        f"rtsp://${{USER}}:{SECRET}@camera/live",
        f"rtsp://anna:p/{SECRET}@camera/live",
        f"http://camera/video?token={SECRET}",
        f"http://camera/video?size=1&Api_Key={SECRET}",
        "rtsp://anna@camera/live",
    ],
)
def test_a_credential_in_clear_text_is_refused_and_not_shown(source: str) -> None:
    with pytest.raises(ClearCredentials) as refused:
        check_credentials(source)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@camera/live",
        "http://camera/video?token=${TOKEN}&size=1",
        "rtsp://camera:8554/live",
        "0",
        "/videos/a.mp4",
        "s3://bucket/prefix",
    ],
)
def test_references_and_sources_without_credentials_are_accepted(source: str) -> None:
    assert check_credentials(source) == source


def test_references_are_resolved_where_the_camera_is_read() -> None:
    source = "rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@camera/live"
    known = {"CAMERA_USER": "anna", "CAMERA_PASSWORD": "a@b/c"}
    assert resolve_references(source, known) == "rtsp://anna:a%40b%2Fc@camera/live"
    with pytest.raises(UnsetVariable, match="CAMERA_PASSWORD, CAMERA_USER"):
        resolve_references(source, {})
