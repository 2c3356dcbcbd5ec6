"""Waiting until something is so.

waits            those who wait, told after the turn that made it so
conditions       queues, consumers, bindings, connections; message_waits: what becomes of messages
idle             nothing goes on: what that is stands there
holders          who has what, and why nobody takes the rest, for those who waited in vain
"""
