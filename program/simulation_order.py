"""What `run.py simulate` is asked for, and the settings of the program that it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from config.settings import Settings, WrongSetting

#: What says how much the machine may do. Everything else keeps its default: no simulation ever uses the database, the
#: Ray cluster, the X app or the keys of a real installation.
_TUNING: Final = (
    "gateways",
    "shutdown_grace_s",
    "mongodb_driver",
    "mongodb_cache_mb",
    "mongodb_timeout_s",
    "ray_start_timeout_s",
    "actor_hosts",
    "actor_idle_s",
    "actor_limit",
    "actor_mailbox",
    "actor_call_timeout_s",
    "ingest_batch",
    "log_level",
    "log_format",
)
#: More than any run sends.
NO_LIMIT: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Order:
    """A load of customer messages.

    `rate` is messages a second of all customers together, `answers` the share of conversations (0 to 1) that an agent
    answers once. With a `data_dir` the data stays there.
    """

    rate: float
    seconds: float
    customers: int
    accounts: int
    answers: float
    data_dir: Path | None = None

    @property
    def count(self) -> int:
        """How many messages that makes, at least one."""
        return max(1, round(self.rate * self.seconds))


def check_folder(data_dir: Path) -> None:
    """Make sure that a simulation starts without anybody's data.

    Raises:
        WrongSetting: when the folder holds something; it could be the data of a real installation.
    """
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise WrongSetting(f"--data-dir: {data_dir} is not empty; a simulation starts with a folder of its own")


def simulation_settings(settings: Settings, order: Order, data_dir: Path) -> Settings:
    """Return settings with the bundled sandbox, a free port, the given folder, and no limits on sending."""
    kept: dict[str, Any] = {name: getattr(settings, name) for name in _TUNING}
    return Settings.model_construct(
        **kept,
        port=0,
        data_dir=data_dir,
        x_messages_per_day=NO_LIMIT,
        api_calls_per_minute=NO_LIMIT,
        sandbox_customers=order.customers,
        sandbox_rate=0.0,
    )


def account_ids(settings: Settings, order: Order) -> list[str]:
    """Return the X user ids of the shop accounts, the sandbox's own first."""
    first = int(settings.sandbox_account_id)
    return [str(first + number) for number in range(order.accounts)]
