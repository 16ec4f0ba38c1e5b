"""What `reconcile init` writes: a file that is valid as it stands and shows the common fields."""

from __future__ import annotations

STARTER = """\
# What shall run on this host. Check it with `reconcile validate`, see what it would do with
# `reconcile plan`, do it with `reconcile apply`.
#
# For completion and explanations in your editor: `reconcile schema > apps.schema.json`, and
# make this the first line of the file:
# yaml-language-server: $schema=apps.schema.json
version: 1
project: shop # containers are named shop-web, shop-api, …

apps:
  web:
    source:
      image: nginx # a ready image
    revision: ">=1.27 <2" # tag, digest or semver range
    ports:
      - "127.0.0.1:8080:80" # [address:]host:container
    health:
      http: {port: 80, path: /} # it is done when this answers

  # An app that is built from a git repository. Remove the first # of each line to use it.
  # api:
  #   source:
  #     git: https://git.example.com/shop/api.git # or path: ./api, a directory beside this file
  #     subdir: services/api # the build context, if it isn't the whole repository
  #     credentials: # https; over ssh: the agent, or ssh_key: {file: …}
  #       username: deploy
  #       password: {env: GIT_TOKEN} # secrets by reference: {env: NAME} or {file: PATH}
  #   revision: main # branch, tag, full commit or semver range over tags
  #   build:
  #     dockerfile: Dockerfile
  #     args: {NODE_ENV: production}
  #   image: # only if the image shall be pushed
  #     repository: registry.example.com/shop/api
  #     push: true
  #   env:
  #     LOG_LEVEL: info
  #     DATABASE_URL: {file: /run/secrets/database_url}
  #   volumes:
  #     - data:/var/lib/api # a named volume, or ./directory:/path
  #   resources: {cpus: 1.5, memory: 512m}
  #   health:
  #     http: {port: 8000, path: /healthz} # or tcp: 8000, or command: [...]
  #     timeout: 60s
"""
