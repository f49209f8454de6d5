"""The kernel's side: netlink, tc, VXLAN, XFRM, nft."""
