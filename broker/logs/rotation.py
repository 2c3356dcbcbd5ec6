"""When a log file is put aside by the calendar: RabbitMQ's notation of log.file.rotation.date.

    $D0         each day at 0:00          $W5D16      each Friday at 16:00
    $D23        each day at 23:00         $M1D0       on the first of each month at 0:00
    $H00        each hour, on the hour    $MLD0       on the last day of each month (or $Ml)
    $H30        each hour, at half past   $W0         each Sunday at 0:00

In local time (rabbit_logger_std_h). A day that a month doesn't have is its last one.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta
from typing import Final

EXPECTED: Final = "$D<hour>, $H<minute>, $W<day of the week, 0 is Sunday>D<hour> or $M<day of the month or L>D<hour>, such as $D0"
_SCHEDULE: Final = re.compile(
    r"\$(?:D(?P<hour>\d{1,2})|H(?P<minute>\d{1,2})|W(?P<weekday>[0-6])(?:D(?P<week_hour>\d{1,2}))?"
    r"|M(?P<day>\d{1,2}|[lL])(?:D(?P<month_hour>\d{1,2}))?)"
)


class Schedule:
    """Moments that come again and again. Raises ValueError for what isn't the notation."""

    def __init__(self, text: str) -> None:
        found = _SCHEDULE.fullmatch(text)
        if found is None:
            raise ValueError(f"'{text}': expected {EXPECTED}")
        self.text = text
        self._minute = int(found["minute"]) if found["minute"] is not None else None
        self._weekday = int(found["weekday"]) if found["weekday"] is not None else None
        day = found["day"]
        self._day = None if day is None else 31 if day in "lL" else int(day)
        self._hour = int(found["hour"] or found["week_hour"] or found["month_hour"] or 0)
        if self._hour > 23 or (self._minute or 0) > 59 or self._day == 0 or (self._day or 1) > 31:
            raise ValueError(f"'{text}': expected {EXPECTED}")

    def next_after(self, seconds: float) -> float:
        """The first moment after `seconds` (since 1970), likewise."""
        moment = datetime.fromtimestamp(seconds)
        if self._minute is not None:
            due = moment.replace(minute=self._minute, second=0, microsecond=0)
            return (due if due > moment else due + timedelta(hours=1)).timestamp()
        due = moment.replace(hour=self._hour, minute=0, second=0, microsecond=0)
        if self._weekday is not None:
            due += timedelta(days=(self._weekday - due.isoweekday()) % 7)
            return (due if due > moment else due + timedelta(days=7)).timestamp()
        if self._day is not None:
            due = self._in_month(due)
            if due <= moment:
                due = self._in_month(due.replace(day=1) + timedelta(days=32))
            return due.timestamp()
        return (due if due > moment else due + timedelta(days=1)).timestamp()

    def _in_month(self, moment: datetime) -> datetime:
        """The scheduled day of the moment's month."""
        assert self._day is not None
        return moment.replace(day=min(self._day, calendar.monthrange(moment.year, moment.month)[1]))
