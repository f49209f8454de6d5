"""Frames between ports and the wire: the data plane's fast gear, in the order a frame meets it."""
