"""`apply`."""

from __future__ import annotations

import click

from reconciler.cli.ahead import start_loading
from reconciler.cli.options import Options, common_options, protect_history_option


@click.command()
@common_options
@protect_history_option
@click.option("--no-wait", is_flag=True, help="Ask for the deployments, print ids, and return.")
@click.option("--prune/--no-prune", default=None, help="Override `prune` of the spec.")
@click.option("--allow-removals", type=int, help="Let this many apps be removed at once.")
def apply(options: Options, no_wait: bool, prune: bool | None, allow_removals: int | None) -> int:
    """Make the host what apps.yaml says, and wait until every deployment has ended.

    Applying again does nothing: only a cause starts an action. Several at once are safe:
    nothing is deployed twice. A failing app never stops the others.

    From cron, with a mail only when something happened or failed:

    \b
        */5 * * * *  reconcile apply --quiet -f /srv/shop/apps.yaml
    """
    loading = None if options.repo else start_loading(options.file, options.cache_dir)
    from reconciler.cli.applying import load_from_repository, run_apply
    from reconciler.engine.desired import Policy

    if loading and loading.child:  # the spec has changed: something is likely to be deployed
        import reconciler.engine.enqueue
        import reconciler.engine.worker
        import reconciler.runtime.docker_swap
        import reconciler.source.git  # noqa: F401

    policy = Policy(prune, allow_removals, retry_now=True)
    loaded = loading.result() if loading else load_from_repository(options)
    return run_apply(options, loaded, policy, wait=not no_wait)
