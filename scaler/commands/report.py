"""`scaler report`: how a stack has done."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from scaler.commands import targets
from scaler.commands.command import Command, common_options
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.options import Duration
from scaler.commands.printing import print_note, print_result
from scaler.commands.recorded import recorded
from scaler.config.project import Project
from scaler.support.clock import format_time


@click.command(cls=Command)
@click.option("--since", type=Duration(), default="7d", show_default=True, help="How far to go back.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with charts to this file, which needs nothing else.",
)
@common_options
def report(context: Context, since: timedelta, html: Path | None) -> None:
    """Show how a stack has done: servers against load, decisions, boots, trouble, costs.

    It is made of the records alone, and uses neither the engine nor the cloud. Costs are at list prices, as far as the
    records go back.

    \b
    Examples:
      scaler report                               the conclusion, in words
      scaler report --since 30d --html month.html

    \b
    Exit codes: 0 shown, 1 the records cannot be read, 64 usage.
    """
    from scaler.page.fleet import FleetStory
    from scaler.page.render import one_file

    project = Project.find(context.directory, context.state_dir)
    stack = project.choose(context.stack)
    if html is not None:
        targets.require_free(html)
    records, now = recorded(context, project, stack), context.clock.now()
    story = FleetStory(stack=stack, state=records.state(), events=records.events(), since=now - since, now=now)
    sentences = [sentence.text for sentence in story.page.sentences]
    if html is not None:
        targets.write_report(html, one_file(story.page))
    if context.output in (Output.JSON, Output.YAML):
        times = {"since": format_time(story.since), "until": format_time(now)}
        click.echo(dump({"stack": stack, **times, "conclusion": sentences}, context.output))
    elif context.output is Output.MARKDOWN:
        click.echo("\n".join(f"- {text}" for text in sentences))
    else:
        print_result("\n".join(sentences))
    if html is not None:
        print_note(f"wrote {html}")
