#!/usr/bin/env python3
"""The command line of the program."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from config.settings import Settings, WrongSetting, load

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _settings() -> Settings:
    try:
        return load()
    except WrongSetting as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def serve() -> None:
    """Start everything and serve until Ctrl-C."""
    from program.serve import serve as run_program

    raise typer.Exit(asyncio.run(run_program(_settings())))


@app.command(hidden=True)
def gateway(
    index: int = 0, hosts: int = 1, stops_hosts: Annotated[bool, typer.Option("--stops-hosts")] = False
) -> None:
    """Run one gateway process; `serve` starts it."""
    import uvloop

    from program.gateway_process import run

    uvloop.run(run(_settings(), index, hosts, stops_hosts=stops_hosts))


@app.command()
def config() -> None:
    """Print every setting with its value and where it comes from."""
    from program.show_config import show_config

    show_config(_settings(), typer.echo)


if __name__ == "__main__":
    app()
