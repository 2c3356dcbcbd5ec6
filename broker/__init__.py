"""What a broker does: semantics in `core`, sockets in `runtime`, the rest round them. Put together in `app`."""
