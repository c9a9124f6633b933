"""A node whose certificate ends within weeks says so from its start on; one whose certificate lasts does not."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

from structlog.testing import capture_logs

from node.certificates import EXPIRY_WARNING_DAYS, IssuedCertificate, issue_node_certificate
from node.home import Home
from tests.node.cluster import Cluster, eventually


def test_a_node_warns_weeks_before_its_certificate_expires(tmp_path: Path) -> None:
    with Cluster(tmp_path / "home", without=("xiongan",)) as cluster:
        folder = cluster.network.directory / "authorities"
        authority = IssuedCertificate(
            (folder / "beijing.crt").read_bytes(), (folder / "beijing.pem").read_bytes()
        )
        cluster.stop("beijing")
        soon = issue_node_certificate(
            authority,
            "beijing",
            now=datetime.datetime.fromtimestamp(time.time(), tz=datetime.UTC),
            lifetime_days=EXPIRY_WARNING_DAYS - 1,
        )
        home = Home(cluster.network.node_home(cluster.network.node("beijing")))
        home.tls_certificate.write_bytes(soon.certificate_pem)
        home.tls_key.write_bytes(soon.key_pem)
        cluster.stop("hebei")
        with capture_logs() as lines:
            cluster.start("beijing")
            cluster.start("hebei")

            def warnings() -> list[float]:
                return [
                    line["days"]
                    for line in lines
                    if line["event"] == "the certificate expires soon"
                ]

            eventually(lambda: len(warnings()) > 0)
            with cluster.client("hebei") as hebei, cluster.client("beijing") as beijing:
                eventually(lambda: hebei.ready()[0] and beijing.ready()[0])
        [days] = warnings()
        assert EXPIRY_WARNING_DAYS - 2 < days < EXPIRY_WARNING_DAYS
