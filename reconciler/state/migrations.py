"""The tables, as steps that are only ever added to. `VERSION` is the number of the last step.

deployments   one row a deployment, from the moment it is asked for; the queue as well
stages        the committed result of each stage of a deployment
apps          one row an app: status, what serves, a person's hold, why it is left alone,
              former names that its container may still carry
failures      targets that failed, and when to try them again
builds        images by build hash
events        what happened, in order
tokens        who may call the HTTP API: a hash of each token, never the token
configurations  which commit of a configuration is in force, and what is wrong with a newer one
told          what the last notification about an app said
outbox        notifications that are still to be delivered
deliveries    webhooks that were heard already, by a hash of what was signed
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

VERSION = 2

migrations = Migrations("reconciler")

_TABLES = """
CREATE TABLE deployments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    app TEXT NOT NULL,
    kind TEXT NOT NULL,
    trigger TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    cause TEXT NOT NULL,
    target TEXT NOT NULL,
    revision TEXT NOT NULL,
    resolved TEXT NOT NULL,
    request TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'done', 'error')),
    outcome TEXT,
    stage TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    todo TEXT NOT NULL DEFAULT '',
    facts TEXT NOT NULL DEFAULT '{}',
    build_hash TEXT NOT NULL DEFAULT '',
    image_id TEXT NOT NULL DEFAULT '',
    image TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL DEFAULT '',
    container TEXT NOT NULL DEFAULT '',
    owner TEXT NOT NULL DEFAULT '',
    lease_until REAL NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    child TEXT NOT NULL DEFAULT '',
    stop TEXT NOT NULL DEFAULT '',
    queued_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL
);
CREATE UNIQUE INDEX one_running ON deployments (app) WHERE status = 'running';
CREATE UNIQUE INDEX one_queued ON deployments (app) WHERE status = 'queued';
CREATE INDEX deployments_unfinished ON deployments (seq) WHERE status IN ('queued', 'running');
CREATE INDEX deployments_by_app ON deployments (app, seq);
CREATE INDEX deployments_succeeded ON deployments (app, seq) WHERE outcome = 'succeeded';
CREATE TABLE stages (
    deployment TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at REAL NOT NULL,
    seconds REAL,
    result TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (deployment, name)
) WITHOUT ROWID;
CREATE TABLE apps (
    app TEXT PRIMARY KEY,
    status TEXT NOT NULL DEFAULT 'idle',
    serving TEXT NOT NULL DEFAULT '',
    revision TEXT NOT NULL DEFAULT '',
    resolved TEXT NOT NULL DEFAULT '',
    settings TEXT NOT NULL DEFAULT '{}',
    pushed_to TEXT NOT NULL DEFAULT '',
    hold_kind TEXT NOT NULL DEFAULT '',
    hold_reason TEXT NOT NULL DEFAULT '',
    hold_until REAL,
    hold_target TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE failures (
    app TEXT NOT NULL,
    target TEXT NOT NULL,
    deployment TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    retry_at REAL,
    PRIMARY KEY (app, target)
) WITHOUT ROWID;
CREATE TABLE builds (
    app TEXT NOT NULL,
    build_hash TEXT NOT NULL,
    image_id TEXT NOT NULL,
    image TEXT NOT NULL,
    built_at REAL NOT NULL,
    PRIMARY KEY (app, build_hash)
) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    app TEXT NOT NULL,
    deployment TEXT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX events_by_app ON events (app, seq);
CREATE INDEX events_by_deployment ON events (deployment);
"""

_DAEMON_TABLES = """
ALTER TABLE apps ADD COLUMN note_kind TEXT NOT NULL DEFAULT '';
ALTER TABLE apps ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE apps ADD COLUMN note_until REAL;
ALTER TABLE apps ADD COLUMN flaps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN flaps_until REAL;
ALTER TABLE apps ADD COLUMN former TEXT NOT NULL DEFAULT '[]';
CREATE INDEX deployments_heals ON deployments (queued_at) WHERE kind = 'heal';
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    apps TEXT NOT NULL DEFAULT '[]',
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL,
    used_at REAL,
    used_from TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE configurations (
    place TEXT PRIMARY KEY,
    revision TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL DEFAULT '',
    since REAL NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '',
    problem_revision TEXT NOT NULL DEFAULT '',
    problem_since REAL
) WITHOUT ROWID;
CREATE TABLE told (
    app TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    app TEXT NOT NULL,
    event TEXT NOT NULL,
    recipient TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at REAL NOT NULL DEFAULT 0
);
CREATE TABLE deliveries (
    digest TEXT PRIMARY KEY,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_by_time ON deliveries (at)
"""


@migrations()
def m001_tables(db: Database) -> None:
    """Everything that the first version remembers."""
    _execute(db, _TABLES)


@migrations()
def m002_daemon(db: Database) -> None:
    """What a daemon, its API and its notifications remember."""
    _execute(db, _DAEMON_TABLES)


def _execute(db: Database, statements: str) -> None:
    for statement in statements.split(";"):
        if statement.strip():
            db.execute(statement)


def migrate(path: str) -> None:
    """Bring the file to `VERSION`; making it, in WAL mode, when it isn't there."""
    db = Database(path)
    try:
        db.enable_wal()
        migrations.apply(db)
        db.execute(f"PRAGMA user_version = {VERSION}")
    finally:
        db.close()
