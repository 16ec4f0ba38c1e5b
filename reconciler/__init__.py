"""reconciler: commit apps.yaml, and the containers on your Docker host become what it says.

     ticks, edits, commits, events of the engine, hooks, people ──▶ daemon.loop ──▶ one pass:

     apps.yaml ──spec──▶ desired ─┐
     SQLite ───state───▶ recorded ┼─ plan.make_plan ─▶ actions ─▶ queue ─▶ engine.worker
     engine ──runtime──▶ observed ┘   (pure, decides)                          │
        ▲                                                                      ▼
        └────────── pipeline: clone ▸ build ▸ push ▸ deploy ▸ health ◀─────────┘

    cli       parses, calls the engine, prints      source    where apps come from
    daemon    asks for passes, starts, stops        builder   how images are built
    api       HTTP: Dokploy's calls, hooks          runtime   where containers run, the proxy
    engine    one pass, workers, retry              host      processes, sockets, secrets, locks
    pipeline  the stages of one deployment          plan      the pure decision
    queue     put, claim, heartbeat, finish         spec      apps.yaml
    state     SQLite                                errors    one tree; the type is the schedule

Imports go downward only; import-linter checks it (pyproject.toml).
"""

__version__ = "0.1.0"
