"""Users, their passwords and how they prove who they are. What they may then do is decided in broker.core.permissions."""
