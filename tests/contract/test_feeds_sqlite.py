from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.feeds_suite import FeedsSuite


class TestFeedsOnTheEmbeddedLog(FeedsSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/log.sqlite"
