"""The trio shell: sockets, tasks, and the ladder that starts and stops them."""
