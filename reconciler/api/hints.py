"""What the bodies of webhooks say happened, as hints to look. Pure; bodies are untrusted.

One function for each shape that git hosts and registries send. A hint says where to look, never
what to deploy: a field that is missing or of another type is an empty one, and nothing is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from reconciler.api.places import image_key, repository_keys
from reconciler.values import frozen

_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_URLS = (
    "clone_url",
    "ssh_url",
    "git_url",
    "html_url",
    "git_http_url",
    "git_ssh_url",
    "http_url",
    "web_url",
    "homepage",
    "url",
)
_LONGEST = 120


@frozen
class Hint:
    """One thing that a webhook says happened.

    `kind`: push, deletion, pull_request, image, ping, or other, which is everything that can't
    change what an app is made of. `places`: keys of the repository (see `places`). `refs`: full
    names of git refs, or an image's tags. `commit`: the new one. `default_branch`: empty when the
    sender didn't say. `text`: for people, one line, e.g. `push to main of shop/api`.
    """

    kind: str
    text: str
    places: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    commit: str = ""
    default_branch: str = ""


# -- reading untrusted JSON --------------------------------------------------------------------


def at(data: Any, *names: str) -> Any:
    """What is in `data` under the names, None where there is nothing."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def text_at(data: Any, *names: str) -> str:
    """The text under the names; empty for anything else."""
    found = at(data, *names)
    return found if isinstance(found, str) else ""


def items_at(data: Any, *names: str) -> list[Any]:
    """The list under the names; empty for anything else."""
    found = at(data, *names)
    return found if isinstance(found, list) else []


def one_line(text: str) -> str:
    """`text` for people: no control characters, and not long."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


# -- git hosts ---------------------------------------------------------------------------------


@frozen
class _Repository:
    """The repository of a body, in every way that it names it."""

    name: str
    places: tuple[str, ...]
    default_branch: str = ""

    def moved(self, ref: str, commit: str) -> Hint:
        """A ref that is new or points somewhere else; or is gone, with a commit of zeros."""
        short = ref.removeprefix(_HEADS).removeprefix(_TAGS)
        what = f"tag {short}" if ref.startswith(_TAGS) else f"push to {short}"
        if commit and not commit.strip("0"):
            return self.deleted(ref)
        return self._hint("push", f"{what} of {self.name}", (ref,), commit)

    def deleted(self, ref: str) -> Hint:
        short = ref.removeprefix(_HEADS).removeprefix(_TAGS)
        what = "tag" if ref.startswith(_TAGS) else "branch"
        return self._hint("deletion", f"{what} {short} of {self.name} deleted", (ref,))

    def proposed(self, number: object, refs: Iterable[str] = ()) -> Hint:
        """A pull request; `refs`: where the host keeps it."""
        return self._hint("pull_request", f"pull request {number} of {self.name}", tuple(refs))

    def told(self, event: str) -> Hint:
        return self._hint("other", f"{event} of {self.name}" if self.name else event)

    def _hint(self, kind: str, text: str, refs: tuple[str, ...] = (), commit: str = "") -> Hint:
        return Hint(kind, one_line(text), self.places, refs, commit, self.default_branch)


def read_github(event: str, body: Any) -> list[Hint]:
    """GitHub, Gitea, Forgejo and Gogs: they send the same shape."""
    repository = _named(at(body, "repository"), "full_name")
    ref = text_at(body, "ref")
    if event == "ping":
        return [Hint("ping", "ping")]
    if event == "push":
        after = text_at(body, "after")
        gone = at(body, "deleted") is True
        return [repository.deleted(ref) if gone else repository.moved(ref, after)]
    if event in ("create", "delete") and (full := _full_ref(body, ref)):
        return [repository.deleted(full) if event == "delete" else repository.moved(full, "")]
    if event == "pull_request":
        number = at(body, "number")
        open_ = text_at(body, "action") != "closed"
        refs = (f"refs/pull/{number}/head", f"refs/pull/{number}/merge") if open_ else ()
        return [repository.proposed(number, refs)]
    if event in ("registry_package", "package"):
        return [_read_package(event, body)]
    return [repository.told(one_line(event))]


def _full_ref(body: Any, ref: str) -> str:
    prefix = {"tag": _TAGS, "branch": _HEADS}.get(text_at(body, "ref_type"), "")
    return prefix and prefix + ref.removeprefix(prefix)


def read_gitlab(_event: str, body: Any) -> list[Hint]:
    """GitLab, for projects, groups and system hooks: the body says what it is."""
    project = at(body, "project")
    repository = _named(project, "path_with_namespace")
    event = text_at(body, "object_kind") or text_at(body, "event_name")
    if event in ("push", "tag_push"):
        return [repository.moved(text_at(body, "ref"), text_at(body, "after"))]
    if event == "merge_request":
        number = at(body, "object_attributes", "iid")
        open_ = text_at(body, "object_attributes", "action") not in ("close", "merge")
        return [repository.proposed(number, [f"refs/merge-requests/{number}/head"] * open_)]
    return [repository.told(one_line(event or "event"))]


def read_bitbucket(event: str, body: Any) -> list[Hint]:
    """Bitbucket Cloud (`repo:push`) and Server (`repo:refs_changed`)."""
    if event == "diagnostics:ping":
        return [Hint("ping", "ping")]
    repository = _bitbucket_repository(at(body, "repository"))
    if event == "repo:push":
        changes = items_at(body, "push", "changes")
        return [_bitbucket_change(repository, change) for change in changes]
    if event == "repo:refs_changed":
        return [
            repository.moved(text_at(change, "ref", "id"), text_at(change, "toHash"))
            for change in items_at(body, "changes")
        ]
    if event.startswith("pullrequest:"):
        return [repository.proposed(at(body, "pullrequest", "id"))]
    if event.startswith("pr:"):
        into = _bitbucket_repository(at(body, "pullRequest", "toRef", "repository"))
        number = at(body, "pullRequest", "id")
        return [into.proposed(number, [f"refs/pull-requests/{number}/from"])]
    return [repository.told(one_line(event))]


def _bitbucket_change(repository: _Repository, change: Any) -> Hint:
    new = at(change, "new")
    moved = new or at(change, "old")
    prefix = _TAGS if text_at(moved, "type") in ("tag", "annotated_tag") else _HEADS
    ref = prefix + text_at(moved, "name")
    return repository.moved(ref, text_at(new, "target", "hash")) if new else repository.deleted(ref)


def _bitbucket_repository(data: Any) -> _Repository:
    """Server often sends no URL: then the path alone is the place."""
    key = text_at(data, "project", "key")
    name = text_at(data, "full_name") or (f"{key}/{text_at(data, 'slug')}" if key else "")
    links = [
        text_at(data, "links", "html", "href"),
        *(text_at(link, "href") for link in items_at(data, "links", "clone")),
    ]
    places = repository_keys(links) or repository_keys([f"/{name}"] if name else [])
    branch = text_at(data, "mainbranch", "name")
    return _Repository(one_line(name), places, branch)


def _named(data: Any, name: str) -> _Repository:
    urls = (text_at(data, field) for field in _URLS)
    return _Repository(
        one_line(text_at(data, name)), repository_keys(urls), text_at(data, "default_branch")
    )


# -- registries --------------------------------------------------------------------------------


def _read_package(event: str, body: Any) -> Hint:
    """A container image in a git host's own registry: GitHub's `registry_package` and `package`,
    and Gitea's `package`.
    """
    package = at(body, event)
    kind = text_at(package, "package_type") or text_at(package, "type")
    deleted = text_at(body, "action") == "deleted"
    if kind.lower() not in ("container", "docker") or deleted:
        return Hint("other", one_line(f"{event} {text_at(package, 'name')}"))
    version = at(package, "package_version")
    reference, _, url_tag = text_at(version, "package_url").partition(":")
    tag = text_at(version, "container_metadata", "tag", "name") or url_tag
    if reference:
        return _image(reference, tag)
    owner, name = text_at(package, "owner", "login"), text_at(package, "name")
    host = "ghcr.io" if version is not None else _host(text_at(package, "html_url"))
    return _image(f"{host}/{owner}/{name}", tag or text_at(package, "version"))


def read_registry(_event: str, body: Any) -> list[Hint]:
    """Registries, told apart by the shape: distribution, Docker Hub, Harbor, Quay."""
    if isinstance(at(body, "events"), list):
        return list(_read_distribution(items_at(body, "events")))
    if isinstance(at(body, "push_data"), dict):
        name = text_at(body, "repository", "repo_name")
        return [_image(name, text_at(body, "push_data", "tag"))] if name else []
    if resources := items_at(body, "event_data", "resources"):
        pushed = text_at(body, "type").upper() in ("PUSH_ARTIFACT", "PUSHIMAGE")
        urls = [text_at(one, "resource_url") for one in resources]
        return [_image(*_split(url)) for url in urls if url] if pushed else []
    if quay := text_at(body, "docker_url"):
        tags = [tag for tag in items_at(body, "updated_tags") if isinstance(tag, str)]
        return [_image(quay, *tags)]
    return []


def _read_distribution(events: list[Any]) -> Iterator[Hint]:
    """Pushes of manifests; layers are pushed as well and are no image."""
    for event in events:
        target = at(event, "target")
        is_layer = text_at(target, "mediaType") == "application/octet-stream"
        name = text_at(target, "repository")
        if text_at(event, "action") == "push" and name and not is_layer:
            host = text_at(event, "request", "host") or _host(text_at(target, "url"))
            tag = text_at(target, "tag")
            hint = _image(f"{host}/{name}" if host else name, *([tag] if tag else []))
            # A registry doesn't know by which name others reach it: its path counts as well.
            yield Hint(hint.kind, hint.text, (*hint.places, f"/{name}"), hint.refs)


def _image(name: str, *tags: str) -> Hint:
    shown = f"{name}:{', '.join(tags)}" if any(tags) else name
    refs = tuple(tag for tag in tags if tag)
    return Hint("image", one_line(f"image {shown} pushed"), (image_key(name),), refs)


def _split(reference: str) -> tuple[str, str]:
    """An image's name and tag; the tag of a digest is empty."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0], last.partition(":")[2]


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""
