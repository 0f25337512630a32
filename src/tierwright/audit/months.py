"""Calendar months of UTC, in which the history is kept, archived and dropped."""

from __future__ import annotations

import datetime as dt


def month_start(moment: dt.datetime) -> dt.datetime:
    """Return the first moment of the month of an aware moment."""
    moment = moment.astimezone(dt.UTC)
    return dt.datetime(moment.year, moment.month, 1, tzinfo=dt.UTC)


def next_month(moment: dt.datetime) -> dt.datetime:
    """Return the first moment of the month after that of an aware moment."""
    return months_after(moment, 1)


def months_after(moment: dt.datetime, months: int) -> dt.datetime:
    """Return the first moment of the month so many months after that of an aware moment, or before it."""
    start = month_start(moment)
    count = start.year * 12 + start.month - 1 + months
    return start.replace(year=count // 12, month=count % 12 + 1)
