from __future__ import annotations

import pytest

from deploy.local.cluster import Cluster
from tests.contract.feeds_suite import FeedsSuite


class TestFeedsOnKafka(FeedsSuite):
    @pytest.fixture
    def url(self, cluster: Cluster) -> str:
        return f"kafka://{cluster.bootstrap}?session_seconds=6"
