"""What do the bytes mean? Codecs only: no state beyond a buffer, no keys, no clock."""
