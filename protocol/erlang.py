"""Erlang's notation for binaries and terms, which RabbitMQ's reply texts and events carry (`<<"abc">>`, `<<1,255>>`)."""

from protocol.tables import Field, Table, type_name


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


def terms(table: Table) -> list[str]:
    """The fields of a table as `~p` prints RabbitMQ's tuples of them: `{<<"x-max-length">>,signedint,5}`."""
    return [_named(name, field) for name, field in table.items()]


def _named(name: str, field: Field) -> str:
    return f"{{{binary(name.encode('utf-8', 'surrogateescape'))},{type_name(field)},{_value(field)}}}"


def _value(field: Field) -> str:
    kind, value = field
    match kind:
        case "t":
            return "true" if value else "false"
        case "S" | "x":
            return binary(value)
        case "F":
            return f"[{','.join(terms(value))}]"
        case "A":
            return f"[{','.join(f'{{{type_name(element)},{_value(element)}}}' for element in value)}]"
        case "V":
            return "undefined"
        case "D":
            scale, digits = value
            return f"{{{scale},{digits}}}"
        case _:
            return str(value)
