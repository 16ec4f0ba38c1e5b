"""Facts and hashes of one full app, literally: an upgrade of this program changes none of them."""

from __future__ import annotations

from reconciler.plan.facts import build_facts, run_facts, setting_facts
from reconciler.plan.hashes import build_hash, run_hash
from reconciler.spec.models import (
    App,
    Build,
    EnvRef,
    FileRef,
    GitSource,
    Health,
    HttpCheck,
    Image,
    ImageSource,
    PathSource,
    Resources,
    Retention,
    Rollout,
    Timeouts,
)

FULL = App(
    title="Shop API",
    source=GitSource(
        git="https://git.example.com/shop/api.git", subdir="services/api", watch=("libs/common",)
    ),
    revision=">=1.4 <2",
    build=Build(
        dockerfile="docker/Dockerfile",
        target="runtime",
        args={"NODE_ENV": "production", "LEVEL": "1.10"},
        secrets={"npm_token": EnvRef(env="NPM_TOKEN"), "key": FileRef(file="key")},
    ),
    image=Image(repository="registry.example.com/shop/api", push=True),
    env={"LOG_LEVEL": "info", "DATABASE_URL": FileRef(file="/run/secrets/database_url")},
    env_file=True,
    command=("serve", "--port", "8000", "ü"),
    entrypoint=("/bin/tini", "--"),
    user="1000:1000",
    workdir="/srv",
    ports=("127.0.0.1:8080:8000", "53:53/udp"),
    volumes=("data:/var/lib/api", "./config:/etc/api:ro"),
    networks=("frontend", "backend"),
    labels={"com.example.team": "shop", "com.example.paged": "yes"},
    resources=Resources(cpus=2.0, memory="512m", pids=200),
    restart="on-failure:3",
    stop_grace_period="30s",
    health=Health(http=HttpCheck(port=8000, path="/healthz"), timeout="2m", stable="5s"),
    rollout=Rollout(strategy="recreate"),
    retention=Retention(images=5, deployments=50),
    timeouts=Timeouts(clone="5m", build="1h", push="30m", deploy="2m"),
    suspend=True,
)
CONTENT = {"services/api": "tree:1", "libs/common": "tree:2"}
ENV = {"LOG_LEVEL": "info", "DATABASE_URL": "sha256:abc"}


def test_facts_of_the_build():
    facts = build_facts(FULL, CONTENT, ENV)
    assert facts == {
        "source.services/api": "tree:1",
        "source.libs/common": "tree:2",
        "build.dockerfile": "docker/Dockerfile",
        "build.target": "runtime",
        "build.args.NODE_ENV": "production",
        "build.args.LEVEL": "1.10",
        "build.secrets.npm_token.env": "NPM_TOKEN",
        "build.secrets.key.file": "key",
        "env_file.LOG_LEVEL": "info",
        "env_file.DATABASE_URL": "sha256:abc",
    }
    assert build_hash(facts) == "v1:abb8619907c91ae3038c59bfe3aebf54"


def test_facts_of_a_ready_image():
    app = App(source=ImageSource(image="postgres"), env_file=True)
    assert build_facts(app, {"image": "postgres@sha256:1"}, {"A": "1"}) == {
        "source.image": "postgres@sha256:1"
    }


def test_facts_of_the_container():
    facts = run_facts(FULL, ENV)
    assert facts == {
        "env.LOG_LEVEL": "info",
        "env.DATABASE_URL": "sha256:abc",
        "command": '["serve", "--port", "8000", "ü"]',
        "entrypoint": '["/bin/tini", "--"]',
        "user": "1000:1000",
        "workdir": "/srv",
        "ports": '["127.0.0.1:8080:8000", "53:53/udp"]',
        "volumes": '["data:/var/lib/api", "./config:/etc/api:ro"]',
        "networks": '["frontend", "backend"]',
        "labels.com.example.team": "shop",
        "labels.com.example.paged": "yes",
        "resources.cpus": "2.0",
        "resources.memory": "512m",
        "resources.pids": "200",
        "restart": "on-failure:3",
        "stop_grace_period": "30s",
    }
    assert run_hash("sha256:1", facts) == "v1:36a5269d98b21978cb05bb61f696c3cd"


def test_facts_of_the_settings():
    assert setting_facts(FULL) == {
        "title": "Shop API",
        "health.http.port": "8000",
        "health.http.path": "/healthz",
        "health.timeout": "2m",
        "health.stable": "5s",
        "retention.images": "5",
        "retention.deployments": "50",
        "timeouts.clone": "5m",
        "timeouts.build": "1h",
        "timeouts.push": "30m",
        "timeouts.deploy": "2m",
        "rollout.strategy": "recreate",
    }


def test_defaults_written_out_are_no_facts():
    app = App(
        source=PathSource(path="."), restart="unless-stopped", stop_grace_period="10s", ports=()
    )
    assert build_facts(app, {".": "tree:1"}, {}) == {"source..": "tree:1"}
    assert run_facts(app, {}) == setting_facts(app) == {}
