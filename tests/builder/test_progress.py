"""Outputs of `docker build --progress plain`, and what is made of them. Pure.

Those of 20.10 are recorded; those of buildx follow its source (progressui of BuildKit 0.12+).
"""

from dataclasses import dataclass, field

from reconciler.builder.failure import Failure
from reconciler.builder.progress import BuildLog


@dataclass
class Read:
    text: str
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        log = BuildLog(self.lines.append)
        for line in self.text.splitlines():
            log.take(line)
        self.failure: Failure = log.failure()


OLD_STEP = """\
#1 [internal] load build definition from Dockerfile
#1 sha256:9bb49d844e4e65cdeea142337e4d8c709a2b3f960b7b7ae4d78028c3236b699a
#1 transferring dockerfile: 125B done
#1 DONE 0.0s

#7 [3/4] RUN echo hi
#7 sha256:1732b61ba64646de84c2049ae8a27a85af30ede1b842b776df102f68089751e2
#7 0.364 hi 1
#7 0.365
#7 DONE 0.7s

#8 [4/4] RUN false
#8 sha256:7b221f9b8e6c8a2861a703a4386b684fb1378fdaca187aef3eb180e17bed4b7b
#8 0.100 last words
#8 ERROR: executor failed running [/bin/sh -c false]: exit code: 12
------
 > [4/4] RUN false:
#8 0.100 last words
------
executor failed running [/bin/sh -c false]: exit code: 12
"""
NEW_STEP = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 125B done
#1 DONE 0.0s

#5 [build 2/3] RUN make
#5 ...

#6 [web 2/2] RUN sleep 10
#6 0.100 sleeping
#6 ...

#5 [build 2/3] RUN make
#5 0.210 cc main.c
#5 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2

#6 [web 2/2] RUN sleep 10
#6 CANCELED
------
 > [build 2/3] RUN make:
0.210 cc main.c
------
Dockerfile:2
--------------------
   1 |     FROM busybox AS build
   2 | >>> RUN make
--------------------
ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2
"""
NEW_BASE = """\
#2 [internal] load metadata for docker.io/library/nowhere:1
#2 ERROR: pull access denied, repository does not exist or may require authorization: server \
message: insufficient_scope: authorization failed
------
 > [internal] load metadata for docker.io/library/nowhere:1:
------
Dockerfile:1
--------------------
   1 | >>> FROM nowhere:1
--------------------
ERROR: failed to solve: nowhere:1: failed to resolve source metadata for \
docker.io/library/nowhere:1: pull access denied
"""
NEW_FRONTEND = """\
#2 resolve image config for docker-image://docker.io/docker/dockerfile:1
#2 ERROR: failed to do request: Head "https://x/v2/": dial tcp: lookup x: no such host
------
 > resolve image config for docker-image://docker.io/docker/dockerfile:1:
------
ERROR: failed to solve: failed to do request: Head "https://x/v2/": dial tcp: lookup x
"""
LAYER = """\
#4 [1/2] FROM registry.example.com/base:1@sha256:abc
#4 resolve registry.example.com/base:1@sha256:abc done
#4 sha256:0e4a 10.49MB / 30.00MB 1.2s
#4 ERROR: failed to copy: httpReadSeeker: failed open: read: connection reset by peer
"""
COPY = """\
#6 [2/2] COPY nofile /
#6 ERROR: failed to calculate checksum of ref abc::def: "/nofile": not found
ERROR: failed to solve: failed to compute cache key: failed to calculate checksum of ref \
abc::def: "/nofile": not found
"""
PARSE = """\
#2 DONE 0.0s
failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse \
error line 2: unknown instruction: BLAH
"""
PARALLEL = """\
#5 [a 2/2] RUN sleep 9
#6 [b 2/2] RUN exit 3
#5 ERROR: executor failed running [/bin/sh -c sleep 9]: context canceled
#6 ERROR: executor failed running [/bin/sh -c exit 3]: exit code: 3
"""


def test_progress_of_20_10_failing_step() -> None:
    read = Read(OLD_STEP)
    assert read.failure == Failure(
        "executor failed running [/bin/sh -c false]: exit code: 12",
        "[4/4] RUN false",
        12,
        ("last words",),
    )
    assert read.lines == [
        "#7 [3/4] RUN echo hi",
        "#7 0.364 hi 1",
        "#8 [4/4] RUN false",
        "#8 0.100 last words",
        "#8 ERROR: executor failed running [/bin/sh -c false]: exit code: 12",
    ]


def test_progress_of_buildx_failing_step() -> None:
    read = Read(NEW_STEP)
    assert read.failure.step == "[build 2/3] RUN make"
    assert read.failure.exit_code == 2
    assert read.failure.output == ("cc main.c",)
    assert read.lines == [
        "#5 [build 2/3] RUN make",
        "#6 [web 2/2] RUN sleep 10",
        "#6 0.100 sleeping",
        "#5 0.210 cc main.c",
        '#5 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2',
        "#6 CANCELED",
        "Dockerfile:2",
        "--------------------",
        "   1 |     FROM busybox AS build",
        "   2 | >>> RUN make",
        "--------------------",
    ]


def test_progress_base_image() -> None:
    failure = Read(NEW_BASE).failure
    assert (failure.image, failure.is_frontend) == ("nowhere:1", False)
    assert failure.message.startswith("pull access denied")


def test_progress_base_image_that_breaks_off() -> None:
    failure = Read(LAYER).failure
    assert failure.image == "registry.example.com/base:1@sha256:abc"
    assert Read(LAYER).lines[0].startswith("#4 [1/2] FROM")
    assert not any("10.49MB" in line for line in Read(LAYER).lines)


def test_progress_frontend_image() -> None:
    failure = Read(NEW_FRONTEND).failure
    assert (failure.image, failure.is_frontend) == ("docker/dockerfile:1", True)


def test_progress_copy_of_nothing() -> None:
    failure = Read(COPY).failure
    assert (failure.step, failure.exit_code) == ("[2/2] COPY nofile /", None)
    assert failure.message == '"/nofile": not found'


def test_progress_dockerfile_that_cannot_be_read() -> None:
    failure = Read(PARSE).failure
    assert failure == Failure("dockerfile parse error line 2: unknown instruction: BLAH")


def test_progress_parallel_steps_the_cause_is_named() -> None:
    assert Read(PARALLEL).failure.step == "[b 2/2] RUN exit 3"


def test_progress_nothing_said() -> None:
    assert Read("").failure.message == "the docker CLI ended without a word"
