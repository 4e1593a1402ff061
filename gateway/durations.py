from __future__ import annotations


def duration_text(seconds: float | None) -> str | None:
    """Return a duration as the API shows it: `45s`, `5m 30s`, `2h 5m`; nothing where there is nothing to measure."""
    if seconds is None:
        return None
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes_left}m"
    if minutes:
        return f"{minutes}m {rest}s"
    return f"{rest}s"
