"""What `scaler init` writes into the first spec: defaults, or a person's answers, checked in the account."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from difflib import SequenceMatcher
from typing import TypeVar

import click

from scaler.clouds import Catalogue, Cloud, InvalidError, Offer
from scaler.clouds.names import UnknownNameError
from scaler.clouds.registry import find_token, find_vendor, known_clouds, open_cloud, token_source
from scaler.commands.printing import fit_error, print_note
from scaler.errors import CredentialsError, ScalerError
from scaler.model import ImageRef
from scaler.support.clock import Clock
from scaler.support.text import one_line
from scaler.support.values import dataclass

T = TypeVar("T")

_SHOWN_TYPES = 10


@dataclass(frozen=True, kw_only=True)
class FirstSpec:
    """The answers, as a spec has them."""

    cloud: str
    is_embedded: bool = True
    image: str
    """As YAML."""
    types: tuple[str, ...]
    locations: tuple[str, ...]
    ssh_keys: tuple[str, ...] = ("deploy",)
    """As YAML, each."""
    vendor_image: str
    """An image of the cloud's own, for a comment."""


DEFAULTS: Mapping[str, FirstSpec] = {
    "hetzner": FirstSpec(
        cloud="hetzner",
        image="{name: worker-golden}",
        types=("cx23", "cpx22"),
        locations=("fsn1", "nbg1"),
        vendor_image="ubuntu-24.04",
    ),
    "digitalocean": FirstSpec(
        cloud="digitalocean",
        image="{name: worker-golden}",
        types=("s-2vcpu-2gb", "s-2vcpu-4gb"),
        locations=("fra1",),
        vendor_image="ubuntu-24-04-x64",
    ),
}


def defaults_of(cloud: str) -> FirstSpec:
    """Return what a spec of this cloud begins with; of a package's cloud, only what has to be filled in is known."""
    find_vendor(cloud)
    return DEFAULTS.get(cloud) or FirstSpec(
        cloud=cloud,
        is_embedded=False,
        image="{name: worker-golden}",
        types=("TYPE",),
        locations=("LOCATION",),
        ssh_keys=(),
        vendor_image="what the cloud calls one",
    )


def asked(cloud: str | None, environ: Mapping[str, str], clock: Clock) -> FirstSpec:
    """Ask a person at the terminal; `cloud` is not asked for if it is given.

    Where a token is set, the answers are checked in its account. Nothing is changed there.
    """
    chosen = cloud or _choose("Cloud", known_clouds(), _likely_cloud(environ))
    default = defaults_of(chosen)
    variable = _token_variable(chosen, environ)
    if variable is None:
        return default
    otherwise = "uses an embedded cloud, which costs nothing" if default.is_embedded else "has values to fill in"
    print_note(f"Without an account, the spec {otherwise}.")
    if not click.confirm(f"Use the account of {variable}?", default=True, err=True):
        return default
    try:
        with closing(open_cloud(chosen, endpoint=None, environ=environ, clock=clock)) as account:
            return _ask_in_account(chosen, account)
    except ScalerError as error:
        instead = "uses the embedded cloud" if default.is_embedded else "has values to fill in"
        print_note(f"{error.what.rstrip('.')}. The spec {instead}.\n  why: {one_line(error.why)}")
        return default


def _ask_in_account(name: str, account: Cloud) -> FirstSpec:
    catalogue = account.catalogue()
    default = defaults_of(name)
    locations = sorted({offer.location for offer in catalogue.offers if offer.available})
    location = _choose("Location", locations, default.locations[0])
    offer = _ask_type(catalogue, location, default.types[0])
    return replace(
        default,
        is_embedded=False,
        locations=(location,),
        types=(offer.type,),
        image=_ask_image(account, offer),
        ssh_keys=_ask_keys(account),
    )


def _ask_type(catalogue: Catalogue, location: str, default: str) -> Offer:
    here = sorted(
        (offer for offer in catalogue.offers if offer.location == location and offer.available),
        key=lambda offer: (offer.per_month is None, offer.per_month or 0, offer.type),
    )
    for offer in here[:_SHOWN_TYPES]:
        price = f"{catalogue.currency} {offer.per_month:.2f} a month" if offer.per_month is not None else "no price"
        print_note(f"  {offer.type:<16} {price}, {offer.disk} GB")
    types = [offer.type for offer in here]
    chosen = _choose("Server type", types, default, show=False)
    return next(offer for offer in here if offer.type == chosen)


def _ask_image(account: Cloud, offer: Offer) -> str:
    """Ask until the account has the image; return it as YAML."""

    def check(text: str) -> str:
        refusals: list[tuple[ImageRef, InvalidError]] = []
        for image, written in _readings(text):
            try:
                account.find_image(image, offer.architecture, offer.location)
            except InvalidError as error:
                refusals.append((image, error))
            else:
                return written
        raise _refused(max(refusals, key=_likelihood)[1])

    return _until_right("Image: a snapshot's name or id, a label such as role=worker, or an image of the cloud", check)


def _likelihood(refusal: tuple[ImageRef, InvalidError]) -> tuple[float, bool]:
    """Return how likely an image was meant so: surely if it is there, else the more the nearest name is like it."""
    image, error = refusal
    # Not every text can be a selector, and one that cannot be says nothing of images.
    likeness = 0.0 if image.kind == "selector" else 1.0
    if isinstance(error, UnknownNameError):
        likeness = SequenceMatcher(None, image.value, error.nearest).ratio()
    return likeness, image.kind == "name"


def _refused(error: InvalidError) -> click.BadParameter:
    return click.BadParameter(one_line(f"{error.what.rstrip('.')}: {error.why}. {error.fix}", 300))


def _readings(text: str) -> Iterable[tuple[ImageRef, str]]:
    """Return what a text may mean, the likeliest first, and how a spec says it."""
    quoted = json.dumps(text, ensure_ascii=False)
    if text.isascii() and text.isdecimal():
        return [(ImageRef("id", text), text)]
    selector = (ImageRef("selector", text), f"{{selector: {quoted}}}")
    if "=" in text:
        return [selector]
    return [(ImageRef("slug", text), quoted), (ImageRef("name", text), f"{{name: {quoted}}}"), selector]


def _ask_keys(account: Cloud) -> tuple[str, ...]:
    def check(text: str) -> tuple[str, ...]:
        keys = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
        for key in keys:
            try:
                account.reference("ssh_key", key)
            except InvalidError as error:
                raise _refused(error) from error
        return tuple(json.dumps(key, ensure_ascii=False) for key in keys)

    return _until_right("SSH keys of the account that may log in, with commas; none: press return", check, default="")


def _choose(question: str, choices: list[str], default: str, *, show: bool = True) -> str:
    shown = f"{question} ({', '.join(choices)})" if show else question

    def check(text: str) -> str:
        if text not in choices:
            raise click.BadParameter(f"it is one of {', '.join(choices)}")
        return text

    return _until_right(shown, check, default=default if default in choices else choices[0])


def _until_right(question: str, check: Callable[[str], T], default: str | None = None) -> T:
    """Ask until `check` returns an answer; its BadParameter says what is wrong."""

    def checked(text: str) -> T:
        try:
            return check(text.strip())
        except click.BadParameter as error:
            raise click.BadParameter(fit_error(error.message)) from error

    answer: T = click.prompt(question, value_proc=checked, default=default, show_default=bool(default), err=True)
    return answer


def _likely_cloud(environ: Mapping[str, str]) -> str:
    return next((name for name in DEFAULTS if _token_variable(name, environ)), next(iter(DEFAULTS)))


def _token_variable(cloud: str, environ: Mapping[str, str]) -> str | None:
    """Return the variable that has a cloud's token; None if there is none that can be used."""
    vendor = find_vendor(cloud)
    if not vendor.token_variables:
        return None
    try:
        find_token(vendor, environ)
    except CredentialsError:
        return None
    source = token_source(vendor, environ)
    return source[0] if source else None
