"""Who counts as one origin."""

from __future__ import annotations

import pytest

from node.origins import origin_of


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("", ""),
        ("testclient", "testclient"),
        ("a:b", "a:b"),
    ],
)
def test_a_host_is_one_origin_whatever_address_it_makes_up(address: str, origin: str) -> None:
    assert origin_of(address) == origin
