"""Does this host's own firewall let frames pass between the ports of our bridge?

With br_netfilter in the kernel (Docker and Kubernetes load it) frames that a bridge carries go
through the FORWARD chains of the host, and Docker, ufw and firewalld drop there whatever nobody
named. `rules` decides what is missing, without I/O; `nft` and `legacy` read and write the two
kinds of tables; `probe` sends frames; `keeper` composes them.
"""
