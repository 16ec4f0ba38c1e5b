"""What tests stand on: private engines, registries, git repositories, a recorder.

    system.py    processes, mounts, namespaces of this kernel
    engine.py    PrivateEngine: a dockerd with its own network namespace and directory
    registry.py  PrivateRegistry: distribution 2.8 in an engine's namespace
    recorder.py  Recorder: writes down each request that reaches an engine's socket
    haproxy.py   Debian's haproxy as an image
    load.py      Load: keep-alive clients that report every failed and every wrong answer
    gitrepo.py   GitRepo: a real repository with a deterministic identity

Everything here needs the standard library alone, so that `examples/` can use it before
anything is installed. Everything that lives longer than a test belongs to one directory,
`<tempdir>/rt-<pid>-<n>`, which names its owner; `engine.reap_orphans` removes those whose
owner is dead.
"""
