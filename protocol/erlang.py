"""Erlang's notation for binaries, which RabbitMQ's reply texts carry (`<<"abc">>`, `<<1,255>>`)."""


def binary(data: bytes) -> str:
    """`data` as io_lib's `~p` prints it: as text where every byte is printable Latin-1, else as numbers."""
    if not data:
        return "<<>>"
    if all(32 <= byte < 127 or byte >= 160 or byte in b"\n\r\t\v\b\f\x1b" for byte in data):
        text = data.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
        for raw, escaped in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\v", "\\v"), ("\b", "\\b"), ("\f", "\\f"), ("\x1b", "\\e")):
            text = text.replace(raw, escaped)
        return f'<<"{text}">>'
    return f"<<{','.join(map(str, data))}>>"
