"""What does a guest kernel need before it can use this machine's file system as its root?

A Debian kernel comes as modules; the initial file system made here (cpio "newc", as the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst describes it) holds a static busybox,
the modules for the tests in an order in which they can be loaded, and the script that loads them,
mounts the host's files (9p, read-only, with a tmpfs above) and runs the command there.

usage: initramfs.py KERNEL_DIR BUSYBOX COMMAND_FILE OUTPUT
"""

from __future__ import annotations

import gzip
import lzma
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FILES = ("crc32c_generic", "virtio_pci", "9pnet_virtio", "9p", "overlay")
"""For the host's files."""
NETWORK = ("veth", "bridge", "vxlan", "dummy", "tun", "af_packet", "nf_tables", "nft_counter")
GUARD = ("nft_ct", "nft_fib_inet", "nft_xfrm", "nft_limit")
"""For what fastdp.kernel.nft and weave_py.host.firewall have nft do."""
NAT = ("nft_chain_nat", "nft_masq")
"""For containers that a host hides behind its address."""
TRAFFIC = ("sch_ingress", "cls_u32", "cls_matchall", "act_mirred", "act_gact")
ESP = ("xfrm_user", "esp4", "esp6", "gcm", "ctr", "ghash_generic", "seqiv", "aesni_intel")
NONCES = ("sha256_generic", "sha512_generic", "hmac", "jitterentropy_rng", "drbg")
"""Where the kernel's generator of initialisation vectors gets its salt."""

INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /host /over /new
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || echo "cannot load $module"
done < /modules/order
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 host /host || poweroff -f
mount -t tmpfs over /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work over /new || poweroff -f
for place in proc sys dev; do mount --move /$place /new/$place; done
mount -t tmpfs run /new/run
mkdir -p /new/dev/shm /new/dev/pts && mount -t devpts devpts /new/dev/pts
ip link set lo up
cp /command /new/run/command
chroot /new /bin/bash /run/command
echo "esp-lab: the command ended with $?"
sync
poweroff -f
"""


def main() -> None:
    kernel, busybox, command, output = sys.argv[1:]
    files = {"init": (INIT.encode(), 0o755), "command": (Path(command).read_bytes(), 0o644)}
    files["bin/busybox"] = (Path(busybox).read_bytes(), 0o755)
    order = []
    for name, image in in_order(
        modules_of(Path(kernel)), FILES + NETWORK + GUARD + NAT + TRAFFIC + ESP + NONCES
    ):
        files[f"modules/{name}"] = (image, 0o644)
        order.append(name)
    files["modules/order"] = ("\n".join(order).encode() + b"\n", 0o644)
    Path(output).write_bytes(gzip.compress(archive(files), compresslevel=1))


def modules_of(kernel: Path) -> dict[str, Path]:
    """Where the modules below an unpacked kernel package are, by name."""
    found = {}
    for path in kernel.rglob("*.ko*"):
        found[path.name.split(".")[0].replace("-", "_")] = path
    return found


def in_order(modules: dict[str, Path], wanted: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """(Name, image) of the wanted modules and of what they need, that first.

    What is missing is built into the kernel, or the test that wants it says so.
    """
    seen: set[str] = set()

    def visit(name: str) -> Iterator[tuple[str, bytes]]:
        if name in seen or name not in modules:
            return
        seen.add(name)
        path = modules[name]
        image = path.read_bytes()
        if path.suffix == ".xz":
            image = lzma.decompress(image)
        depends = re.search(rb"\0depends=([^\0]*)\0", image)
        for needed in depends[1].decode().split(",") if depends else ():
            yield from visit(needed.replace("-", "_"))
        yield name, image

    for name in wanted:
        yield from visit(name)


def archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A cpio archive of the "newc" kind: (content, permissions) by path."""
    parts = []
    directories = sorted({str(parent) for path in files for parent in Path(path).parents} - {"."})
    entries = [(path, b"", 0o040755) for path in directories]
    entries += [(path, content, 0o100000 | mode) for path, (content, mode) in files.items()]
    for number, (path, content, mode) in enumerate([*entries, ("TRAILER!!!", b"", 0)], 1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        parts += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(parts)


if __name__ == "__main__":
    main()
