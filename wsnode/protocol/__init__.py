"""The wire protocol as bytes and values: frames, handshake, messages, envelopes. No I/O, no clock."""
