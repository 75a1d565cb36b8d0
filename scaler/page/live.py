"""The pages of a watch: one of each stack, and one of all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from scaler.autoscale.exposition import Exposition
from scaler.autoscale.figures import Figures
from scaler.errors import ScalerError
from scaler.page.fleet import FleetStory
from scaler.page.records import PageRecords
from scaler.page.view import Link, Sentence, Table, WebPage
from scaler.planning.prices import recorded_cost
from scaler.records.state import State
from scaler.support.clock import Clock
from scaler.support.text import one_line

SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
"""The times that a page can show, by their names in the address."""

DEFAULT_SPAN = "24h"


class Live:
    """Makes pages of what the watches and the records say now."""

    def __init__(self, exposition: Exposition, records: PageRecords, clock: Clock) -> None:
        self._exposition = exposition
        self._records = records
        self._clock = clock

    def front(self, span: str) -> WebPage:
        """Return the page of the only stack, or of all."""
        stacks = self._exposition.stacks
        return self.stack(stacks[0], span) if len(stacks) == 1 else self._overview(stacks)

    def stack(self, stack: str, span: str) -> WebPage:
        """Return the page of a stack; `span` is one of SPANS."""
        now = self._clock.now()
        figures = self._exposition.shown(stack)
        links = [Link(f"{name} ✓" if name == span else name, f"/stacks/{stack}?since={name}") for name in SPANS]
        if len(self._exposition.stacks) > 1:
            links.insert(0, Link("all stacks", "/"))
        remarks = list(_remarks(figures)) if figures else []
        try:
            state, events = self._records.state(stack), self._records.events(stack)
        except ScalerError as error:
            unread = Sentence(one_line(str(error)), "bad")
            return WebPage(title=stack, subtitle=_time(now), sentences=[unread, *remarks], links=links)
        story = FleetStory(
            stack=stack,
            state=state,
            events=events,
            since=now - SPANS[span],
            now=now,
            seen=figures.seen if figures else (),
            remarks=remarks,
            links=links,
        )
        return story.page

    def _overview(self, stacks: list[str]) -> WebPage:
        facts = {stack: figures for stack in stacks if (figures := self._exposition.shown(stack))}
        states = {stack: self._state(stack) for stack in facts}
        troubled = [
            stack
            for stack, figures in facts.items()
            if figures.is_late or figures.health()["error"] or isinstance(states[stack], ScalerError)
        ]
        if troubled:
            conclusion = Sentence(
                f"{len(troubled)} of {len(facts)} stacks are in trouble: {', '.join(troubled)}.", "bad"
            )
        else:
            conclusion = Sentence(f"{len(facts)} stacks are served, and none of them is in trouble.", "good")
        return WebPage(
            title="All stacks",
            subtitle=_time(self._clock.now()),
            sentences=[conclusion],
            tables=[
                Table(
                    title="Stacks",
                    head=("stack", "watch", "ready", "a month", "remarks"),
                    rows=[self._row(stack, figures, states[stack]) for stack, figures in facts.items()],
                    empty="No stack is served.",
                )
            ],
        )

    def _state(self, stack: str) -> State | ScalerError | None:
        """Return the recorded state of a stack, or why it cannot be read: that hides no other stack."""
        try:
            return self._records.state(stack)
        except ScalerError as error:
            return error

    def _row(self, stack: str, figures: Figures, state: State | ScalerError | None) -> tuple[str | Link, ...]:
        remarks = [sentence.text for sentence in _remarks(figures)]
        role = str(figures.health()["role"])
        if isinstance(state, ScalerError):
            return (Link(stack, f"/stacks/{stack}"), role, "?", "?", "; ".join([one_line(str(state)), *remarks]))
        servers = state.servers if state else ()
        ready, wanted = sum(server.running for server in servers), sum(state.wanted.values()) if state else 0
        cost = recorded_cost(servers)
        price = f"{cost.per_month:.2f} {cost.currency}" if cost.currency else ""
        pause = state.orders.active_pause(self._clock.now()) if state else None
        remarks += [str(pause)] if pause else []
        return (Link(stack, f"/stacks/{stack}"), role, f"{ready} of {wanted}", price, "; ".join(remarks))


def _remarks(figures: Figures) -> Iterator[Sentence]:
    """Yield what is to be said of a watch, if anything."""
    health = figures.health()
    if figures.is_late:
        yield Sentence(f"The watch is late: no tick has ended for {figures.age_s:.0f} s.", "bad")
    if health["error"]:
        yield Sentence(f"The last tick failed: {one_line(str(health['error']), 500)}", "bad")
    if health["role"] == "standby":
        yield Sentence(f"This watch stands by: {health['active']} acts.")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
