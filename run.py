#!/usr/bin/env python3
"""The command line of the program."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings, WrongSetting, load

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

merchants = typer.Typer(no_args_is_help=True, help="Create merchants.")
users = typer.Typer(no_args_is_help=True, help="Create and list users.")
app.add_typer(merchants, name="merchant")
app.add_typer(users, name="user")


def _settings() -> Settings:
    try:
        return load()
    except WrongSetting as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


def _managing(work: Coroutine[object, object, list[str]]) -> None:
    """Do what an operator asked for, and print the lines that it answers."""
    from program.people import CannotManage

    try:
        lines = asyncio.run(work)
    except CannotManage as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    for line in lines:
        typer.echo(line)


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
    import gc

    # Nothing of what is loaded is garbage: looking for it takes a tenth of the time. The process itself begins again.
    gc.disable()
    import uvloop

    from program.gateway_process import run

    uvloop.run(run(_settings(), index, hosts, stops_hosts=stops_hosts))


@app.command()
def config() -> None:
    """Print every setting with its value and where it comes from."""
    from program.show_config import show_config

    show_config(_settings(), typer.echo)


@app.command()
def simulate(
    rate: Annotated[float, typer.Option(min=0.1, help="Messages a second of all customers together.")] = 200,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long customers write.")] = 30,
    customers: Annotated[int, typer.Option(min=1, help="Simulated customers.")] = 500,
    accounts: Annotated[int, typer.Option(min=1, help="Connected shop accounts.")] = 1,
    answers: Annotated[float, typer.Option(min=0, max=1, help="Share of conversations that are answered.")] = 0.0,
    data_dir: Annotated[Path | None, typer.Option(help="An empty folder in which the data is kept.")] = None,
) -> None:
    """Put the program with the bundled sandbox under load and print what became of every message."""
    from program.simulate import simulate as run_simulation
    from program.simulation_order import Order

    order = Order(rate, seconds, customers, accounts, answers, data_dir)
    raise typer.Exit(asyncio.run(run_simulation(_settings(), order)))


@app.command()
def doctor() -> None:
    """Check what can be checked: settings, machine, database, Ray, X credentials, webhook, clock."""
    from program.doctor import doctor as run_checks

    raise typer.Exit(asyncio.run(run_checks(_settings())))


@app.command()
def recount(
    repair: Annotated[bool, typer.Option("--repair", help="Set right what differs.")] = False,
) -> None:
    """Compare analytics with a full count over the documents; may run while the program does."""
    from program.people import CannotManage
    from program.recount import recount_all

    try:
        lines, is_right = asyncio.run(recount_all(_settings(), repairs=repair))
    except CannotManage as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if is_right else 1)


@merchants.command("create")
def create_merchant(name: Annotated[str, typer.Option(help="The merchant's name.")]) -> None:
    """Create a merchant and print its id."""
    from program import people

    _managing(people.create_merchant(_settings(), name))


@users.command("create")
def create_user(
    merchant: Annotated[str, typer.Option(help="Id of the merchant.")],
    email: Annotated[str, typer.Option(help="Address to log in with.")],
    role: Annotated[list[str], typer.Option(help="owner, admin, agent or viewer; may be given several times.")],
    name: Annotated[str, typer.Option(help="The person's name; left out: taken from the address.")] = "",
) -> None:
    """Create a user and print a password to log in with."""
    from program import people

    _managing(people.create_user(_settings(), merchant, email, role, name))


@users.command("list")
def list_users() -> None:
    """Print every user of every merchant."""
    from program import people

    _managing(people.list_users(_settings()))


@app.command()
def token(
    email: Annotated[str, typer.Option(help="Address of an existing user.")],
    minutes: Annotated[int, typer.Option(min=1, max=7 * 24 * 60, help="How long the token holds.")] = 60,
) -> None:
    """Print an access token for a user."""
    from program import people

    _managing(people.access_token(_settings(), email, minutes))


if __name__ == "__main__":
    app()
