"""The main loop, and what serves its sockets: trio meets epoll here."""
