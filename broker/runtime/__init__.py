"""asyncio and uvloop: sockets, the turn, flow control, timers, shutdown. The only place that waits."""
