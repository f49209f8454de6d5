"""`status`, `report`, `version`: what does the running router say about itself?"""

from __future__ import annotations

import click

from weave_py import __version__
from weave_py.api.client import RouterClient
from weave_py.cli.client import RouterPlace
from weave_py.cli.exits import CommandError, Exit
from weave_py.cli.notes import note
from weave_py.cli.options import asks_router
from weave_py.model.errors import NotPermitted, RouterNotRunning
from weave_py.observe.sections import SECTIONS

# Part of the status → the member of the report's Router that has the same.
PARTS = {section.name: section.member for section in SECTIONS}


@click.command("status", short_help="Show what the router is doing.")
@click.argument("part", required=False, metavar=f"[{'|'.join(PARTS)}]")
@click.option("-j", "--json", "as_json", is_flag=True, help="As JSON (see 'report').")
@asks_router
def status_command(part: str | None, as_json: bool, place: RouterPlace) -> int:
    """Show an overview, or one part of it in detail."""
    if part is not None and part not in PARTS:
        raise click.UsageError(
            f"Invalid 'weave-py status' sub-command: {part}: use one of {', '.join(PARTS)}"
        )
    router = place.client()
    if as_json:
        report = router.report()
        _print_json(report if part is None else report["Router"].get(PARTS[part]))
        return Exit.OK
    if part is not None:
        click.echo(router.get(f"/status/{part}"), nl=False)
        return Exit.OK
    return _overview(router)


def _overview(router: RouterClient) -> int:
    status, body = router.ask("GET", "/status")
    starting = status == 503
    if status != 200 and not (starting and "Service:" in body):
        raise CommandError(body.strip() or f"the router answered with HTTP status {status}")
    click.echo(f"\n{body}")
    return Exit.FAILED if starting else Exit.OK


@click.command("report", short_help="Show all the router knows, as JSON.")
@click.option("-f", "--format", "template", hidden=True)
@click.option("-j", "--json", "as_json", is_flag=True, hidden=True)
@asks_router
def report_command(template: str | None, as_json: bool, place: RouterPlace) -> None:
    """Print the router's report: JSON with the names of Weave's, described by a schema."""
    if template is not None:
        raise click.UsageError(
            "Weave's templates are not supported: select from the JSON, say with jq"
        )
    _print_json(place.client().report())


@click.command("version", short_help="Show the versions of command and router.")
@asks_router
def version_command(place: RouterPlace) -> None:
    """Print the version of this command and, if one runs, of the router."""
    click.echo(f"weave-py {__version__}")
    try:
        running = place.client().report().get("Version")
    except RouterNotRunning:
        return
    except NotPermitted as error:  # by users who only want to know what is installed
        note(str(error))
        return
    click.echo(f"router {running}")


def _print_json(document: object) -> None:
    import json

    click.echo(json.dumps(document, indent=4))
