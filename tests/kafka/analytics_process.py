"""The Faust app alone, to be killed: `python -m tests.kafka.analytics_process URL PORT FOLDER`."""

from __future__ import annotations

import sys

from streams.analytics.faust_app import counting, make_app, run, serving
from streams.analytics.settings import AnalyticsSettings
from streams.kafka.settings import KafkaSettings

PARTITIONS = 4
SETTINGS = AnalyticsSettings(instance="one")


def main(url: str, port: str, folder: str) -> None:
    app = make_app(SETTINGS, KafkaSettings.from_url(url), PARTITIONS, folder)
    serving(app, counting(app, SETTINGS, PARTITIONS), "127.0.0.1", int(port), print)
    run(app)


if __name__ == "__main__":
    main(*sys.argv[1:])
