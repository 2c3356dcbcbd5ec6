"""What can go wrong, by the names that rules have for it: a class each, a file a noun."""

from __future__ import annotations

from typing import Final

from broker.testing.faults.actions.action import Action
from broker.testing.faults.actions.closing import CloseChannel, CloseConnection, DropConnection, FailMethod
from broker.testing.faults.actions.confirms import DelayConfirms, NackConfirms, WithholdConfirms
from broker.testing.faults.actions.deliveries import CancelConsumer, DelayDeliveries, GetEmpty, Redeliver, ReorderQueues
from broker.testing.faults.actions.line import AddLatency, CutFrame, SendGarbage, SlowDown
from broker.testing.faults.actions.logins import RefuseLogin, RefuseVhost, SlowHandshake
from broker.testing.faults.actions.machine import DiskAlarm, DiskFull, FailSync, MemoryAlarm, SlowDisk
from broker.testing.faults.actions.publishers import BlockPublishers, QueueFull, ReturnPublish
from broker.testing.faults.actions.waiting import DelayMethod, StopHeartbeats

ACTIONS: Final[dict[str, type[Action]]] = {
    action.name: action
    for action in (
        DropConnection,
        CloseConnection,
        CloseChannel,
        FailMethod,
        DelayMethod,
        NackConfirms,
        WithholdConfirms,
        DelayConfirms,
        ReturnPublish,
        QueueFull,
        BlockPublishers,
        DelayDeliveries,
        ReorderQueues,
        Redeliver,
        CancelConsumer,
        GetEmpty,
        StopHeartbeats,
        RefuseLogin,
        RefuseVhost,
        SlowHandshake,
        CutFrame,
        SendGarbage,
        SlowDown,
        AddLatency,
        FailSync,
        DiskFull,
        SlowDisk,
        DiskAlarm,
        MemoryAlarm,
    )
}
