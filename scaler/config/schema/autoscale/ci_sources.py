"""Sources that are queues of CI systems: GitHub Actions, GitLab CI, Forgejo and Gitea Actions, and Woodpecker."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field

from scaler.config.schema.autoscale.quantities import Variable
from scaler.config.schema.fields import given_key, one_of_required, spec_key, strict_config
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.urls import Url
from scaler.config.schema.values import Choices, Text
from scaler.model.autoscaling import GithubApp, GithubSource, GitlabSource

_NAME = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


def _full_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise refusal(f"must be owner/name, not {shown(value)}")
    return value


def _full_names(values: tuple[str, ...]) -> tuple[str, ...]:
    for index, value in enumerate(values):
        if not _NAME.fullmatch(value):
            raise refusal(f"must be owner/name, not {shown(value)}", at=(index,))
    return values


class GithubAppSchema(BaseModel):
    """A GitHub App that is installed for the repositories."""

    model_config = strict_config("GithubApp")

    id: Annotated[int, Field(strict=True, ge=1)] | Text = spec_key("The app's id, or its client id.")
    installation: Annotated[int, Field(strict=True, ge=1)] = spec_key("The number of the installation.")
    key_env: Variable = spec_key("The environment variable that holds the app's private key.")


class GithubSchema(BaseModel):
    """The jobs of GitHub Actions for runners with these labels."""

    model_config = strict_config("Github", {"allOf": [one_of_required("repositories", "organization")]})

    repositories: Annotated[Choices, AfterValidator(_full_names)] | None = spec_key(
        "The repositories, as owner/name.", default=None
    )
    organization: Text | None = spec_key("All repositories of this organization.", default=None)
    labels: Choices = spec_key("The labels of the runners, besides self-hosted.")
    jobs: Literal["all", "queued", "running"] = spec_key(
        "Which jobs count: those that wait, those that run, or all.", default="all"
    )
    token_env: Variable | None = spec_key("The environment variable that holds a token.", default=None)
    app: GithubAppSchema | None = spec_key("The credentials of an app, instead of a token.", default=None)
    api: Url = spec_key("The API of a GitHub Enterprise Server.", default="https://api.github.com")

    def source(self) -> GithubSource:
        """Convert it to the model."""
        app = self.app
        return GithubSource(
            repositories=self.repositories or (),
            organization=self.organization,
            labels=self.labels,
            jobs=self.jobs,
            token_env=self.token_env,
            app=GithubApp(id=str(app.id), installation=app.installation, key_env=app.key_env) if app else None,
            api=self.api,
        )


def whole_github(value: GithubSchema) -> GithubSchema:
    given_key(value, ("repositories", "organization"))
    given_key(value, ("token_env", "app"))
    return value


class _ForgeJobs(BaseModel):
    url: Url = spec_key("The instance, such as https://code.example.com.")
    repository: Annotated[Text, AfterValidator(_full_name)] | None = spec_key(
        "One repository, as owner/name.", default=None
    )
    organization: Text | None = spec_key(
        "All repositories of this organization. Default: of the whole instance.", default=None
    )
    labels: Choices = spec_key("The labels of the runners.")
    jobs: Literal["all", "queued", "running"] = spec_key(
        "Which jobs count: those that wait, those that run, or all.", default="all"
    )
    token_env: Variable = spec_key("The environment variable that holds a token.")


class ForgejoSchema(_ForgeJobs):
    """The jobs of Forgejo Actions for runners with these labels."""

    model_config = strict_config("Forgejo")


class GiteaSchema(_ForgeJobs):
    """The jobs of Gitea Actions for runners with these labels."""

    model_config = strict_config("Gitea")


_Forge = TypeVar("_Forge", ForgejoSchema, GiteaSchema)


def one_scope(value: _Forge) -> _Forge:
    if value.repository is not None and value.organization is not None:
        raise refusal("must not have both repository and organization", "remove one of them")
    return value


class WoodpeckerSchema(BaseModel):
    """The workflows of Woodpecker for agents with these labels."""

    model_config = strict_config("Woodpecker")

    url: Url = spec_key("The Woodpecker server, such as https://ci.example.com.")
    labels: dict[Text, Text] = spec_key("The labels of the agents, besides those that every agent has.", default={})
    jobs: Literal["all", "queued", "running"] = spec_key(
        "Which workflows count: those that wait, those that run, or all.", default="all"
    )
    token_env: Variable = spec_key("The environment variable that holds the token of an admin.")


class GitlabSchema(BaseModel):
    """The jobs of GitLab CI for runners with these tags."""

    model_config = strict_config("Gitlab", one_of_required("projects", "group"))

    projects: Choices | None = spec_key("The projects, with their whole paths.", default=None)
    group: Text | None = spec_key("All projects of this group and its subgroups.", default=None)
    tags: Choices | None = spec_key("The tags of the runners.", default=None)
    untagged: Annotated[bool, Field(strict=True)] = spec_key("Whether jobs without tags count.", default=False)
    jobs: Literal["all", "queued", "running"] = spec_key(
        "Which jobs count: those that wait, those that run, or all.", default="all"
    )
    token_env: Variable = spec_key("The environment variable that holds a token.")
    url: Url = spec_key("The GitLab instance.", default="https://gitlab.com")

    def source(self) -> GitlabSource:
        """Convert it to the model."""
        return GitlabSource(**{**self.model_dump(), "projects": self.projects or (), "tags": self.tags or ()})


def whole_gitlab(value: GitlabSchema) -> GitlabSchema:
    given_key(value, ("projects", "group"))
    if not value.tags and not value.untagged:
        raise refusal("counts no job", "add tags, or untagged: true")
    return value
