"""A real RTSP server, run by the system's Python: GStreamer's bindings come from Debian, not from a package registry.

`/usr/bin/python3 rtsp_server.py PORT [USER PASSWORD]` serves `rtsp://127.0.0.1:PORT/live`, a moving ball with a
keyframe every ten frames, and prints `ready PORT` once it listens. Port 0 takes a free port.
"""

import sys

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402 - after versions

PICTURES = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=96,framerate=20/1"
ENCODED = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96"

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( {PICTURES} ! {ENCODED} )")
if len(sys.argv) > 2:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(sys.argv[2], sys.argv[3]), token)
    server.set_auth(auth)
    allowed = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        allowed.add_permission_for_role("viewer", permission, True)  # noqa: FBT003 - GStreamer's
    factory.set_permissions(allowed)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
sys.stdout.write(f"ready {server.get_bound_port()}\n")
sys.stdout.flush()
GLib.MainLoop().run()
