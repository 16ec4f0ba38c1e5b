# The daemon in a container, with the engine's socket mounted. README, "The daemon in a container".
#
#     docker build -t reconciler .
#
# It runs as root: whoever may use the socket can make himself root on the host, so another user
# would protect nothing, and the socket's group has another number on every host.
#
# Builds with BuildKit and with the classic builder. Where the internet isn't at hand, all that comes
# from it can be named: PYTHON has Python 3.11 or later with venv, and Debian's packages if git, ssh
# and tini aren't in it; DOCKER has the docker command with buildx; PIP_OPTIONS might be
# `--no-index --find-links .`, with a directory `wheels` beside this file.

ARG PYTHON=python:3.13-slim
ARG DOCKER=docker:28-cli

FROM ${DOCKER} AS docker

FROM ${PYTHON}
RUN command -v git && command -v ssh && command -v tini || { \
        apt-get update && \
        apt-get install -y --no-install-recommends git openssh-client tini && \
        rm -rf /var/lib/apt/lists/*; \
    }
# `docker build` with BuildKit, for build secrets and RUN --mount.
COPY --from=docker /usr/local/bin/docker /usr/local/bin/
COPY --from=docker /usr/local/libexec/docker/cli-plugins/docker-buildx /usr/local/libexec/docker/cli-plugins/

WORKDIR /src
ARG PIP_OPTIONS=
COPY pyproject.toml constraints.txt wheel[s] ./
# What it needs, in a layer that stays until that changes.
RUN python3 -m venv /opt/reconciler && \
    python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' >requirements.txt && \
    /opt/reconciler/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP_OPTIONS} \
        --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY reconciler reconciler
RUN /opt/reconciler/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP_OPTIONS} --no-deps .

# Where apps.yaml is looked for, unless RECONCILE_REPO says a repository.
WORKDIR /etc/reconciler
ENV PATH=/opt/reconciler/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/reconciler \
    RECONCILE_STATE_DIR=/var/lib/reconciler \
    RECONCILE_READY_FILE=/run/reconcile-daemon
# True of a daemon that leads and of one that stands by, and of no other.
HEALTHCHECK --interval=60s --timeout=20s --start-period=10s CMD ["reconcile", "doctor", "--quick"]
# tini reaps what children of git and ssh leave behind.
ENTRYPOINT ["tini", "--", "reconcile"]
CMD ["daemon"]
