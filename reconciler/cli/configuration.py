"""From `-f` or `--repo` to the configuration that it means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.options import Options
from reconciler.engine.configuration import Lasting

if TYPE_CHECKING:
    from reconciler.host.job import Job
    from reconciler.host.secrets import Redactor


def open_configuration(
    options: Options,
    *,
    aside: bool = False,
    job: Job | None = None,
    redactor: Redactor | None = None,
) -> Lasting:
    """The file or the repository that the options name. Nothing is read yet.

    `aside`: only to look at, so that what is in force stays. `job` ends what waits for the host,
    `redactor` learns the account. Raises `UsageError` for what can't be one.
    """
    if not options.repo:
        from reconciler.engine.config_file import ConfigFile

        return ConfigFile(options.file, options.state_dir)
    from reconciler.engine.config_repo import ConfigRepo, RepoPlace
    from reconciler.host.secrets import Redactor, Secrets

    place = RepoPlace(
        url=options.repo,
        branch=options.branch,
        path=options.path,
        protect_history=options.protect_history,
        author=options.author,
        aside=aside,
    )
    secrets = Secrets(Path.cwd(), redactor or Redactor(), os.environ)
    return ConfigRepo(place, options.state_dir, secrets, job)
