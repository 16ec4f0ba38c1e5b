"""reconciler: commit apps.yaml, and the containers on your Docker host become what it says.

     apps.yaml ──spec──▶ desired ─┐
     SQLite ───state───▶ recorded ┼─ plan.make_plan ─▶ actions ─▶ queue ─▶ engine.worker
     engine ──runtime──▶ observed ┘   (pure, decides)                          │
        ▲                                                                      ▼
        └────────── pipeline: clone ▸ build ▸ push ▸ deploy ▸ health ◀─────────┘

    cli       parses, calls the engine, prints      source    where apps come from
    engine    one pass, workers, retry              builder   how images are built
    pipeline  the stages of one deployment          runtime   where containers run
    queue     put, claim, heartbeat, finish         host      processes, sockets, secrets, locks
    state     SQLite                                plan      the pure decision
    spec      apps.yaml                             errors    one tree; the type is the schedule

Imports go downward only; import-linter checks it (pyproject.toml).
"""

__version__ = "0.1.0"
