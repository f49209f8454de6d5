"""Are name servers found where there are some, and is odd text no trouble?"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from weave_py.host.name_servers import name_servers


def test_all_files_count(tmp_path: Path) -> None:
    stub, upstream = tmp_path / "stub", tmp_path / "upstream"
    stub.write_text("# nameserver 10.0.0.1\nsearch example\nnameserver 127.0.0.53\n")
    upstream.write_bytes(
        b"nameserver\t10.0.0.53 # office\nnameserver fe80::1%eth0\nnameserver\n"
        b"nameserver x\n\xff\n;nameserver 10.0.0.2\n"
    )
    found = name_servers([stub, tmp_path / "none", upstream, tmp_path])
    assert found == {ip_address(each) for each in ("127.0.0.53", "10.0.0.53", "fe80::1")}
