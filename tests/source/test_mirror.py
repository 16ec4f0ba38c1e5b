"""Mirrors: repaired when damaged, freed when their holder dies, left in order when cancelled."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import Cancelled, GitUnavailable, Locked, SourceError
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.source import command
from reconciler.source.address import parse_address
from reconciler.source.base import Resolved, Workplace
from reconciler.source.git import GitSource
from tests.source.servers import GitHttp, subcommands
from tests.source.test_git import Calls, Repos, files, fingerprint, place, resolve, want
from tests.support.gitrepo import GitRepo
from tests.support.system import command_line, pids, wait_until


def mirror_of(workplace: Workplace, url: str) -> Path:
    return workplace.root / "mirrors" / f"{parse_address(url).key}.git"


def one_pack(mirror: Path) -> Path:
    return next((mirror / "objects/pack").glob("*.pack"))


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def loose(mirror: Path) -> list[Path]:
    return [path for path in (mirror / "objects").glob("??/*") if len(path.name) == 38]


def truncate_objects(mirror: Path) -> None:
    for path in (*(mirror / "objects/pack").glob("*.pack"), *loose(mirror)):
        overwrite(path, path.read_bytes()[: path.stat().st_size // 2])


def empty_objects(mirror: Path) -> None:
    for path in loose(mirror):
        overwrite(path, b"")


def remove_objects(mirror: Path) -> None:
    for path in (*(mirror / "objects/pack").glob("*"), *loose(mirror)):
        path.unlink()


def scramble_objects(mirror: Path) -> None:
    for path in (*(mirror / "objects/pack").glob("*.pack"), *loose(mirror)):
        content = bytearray(path.read_bytes())
        content[20:40] = os.urandom(20)
        overwrite(path, bytes(content))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "objects truncated": truncate_objects,
    "objects empty": empty_objects,
    "objects removed": remove_objects,
    "objects scrambled": scramble_objects,
    "HEAD removed": lambda mirror: (mirror / "HEAD").unlink(),
    "HEAD empty": lambda mirror: (mirror / "HEAD").write_text(""),
    "config broken": lambda mirror: (mirror / "config").write_text("[core\nbare = x"),
    "config empty": lambda mirror: (mirror / "config").write_text(""),
    "branch broken": lambda mirror: (mirror / "refs/heads/main").write_text("\0" * 40),
    "branch nowhere": lambda mirror: (mirror / "refs/heads/main").write_text("ab" * 20),
    "packed refs broken": lambda mirror: (mirror / "packed-refs").write_text("\0\1garbage\n"),
    "no directories": lambda mirror: [one.rmdir() for one in (mirror / "refs/tags",)],
}


@pytest.fixture(params=[1, 200], ids=["loose", "packed"])
def repo(request: pytest.FixtureRequest, git_repo: Repos) -> GitRepo:
    """A repository that git keeps as loose objects in the mirror, or as a pack."""
    made = git_repo()
    made.commit({f"d/{n}": str(n) for n in range(request.param)})
    return made


@pytest.mark.parametrize("damage", DAMAGES)
def test_mirror_damaged_then_a_new_commit(
    workplace: Workplace, repo: GitRepo, job: Job, damage: str
) -> None:
    place(workplace, want(repo.url), job)
    DAMAGES[damage](mirror_of(workplace, repo.url))
    repo.commit({"d/0": "new"})
    assert files(place(workplace, want(repo.url), job))["d/0"] == "new"


@pytest.mark.parametrize("damage", DAMAGES)
def test_mirror_damaged_then_the_same_commit(
    workplace: Workplace, repo: GitRepo, job: Job, damage: str
) -> None:
    wanted, source = want(repo.url), GitSource(workplace)
    resolved = resolve(workplace, wanted, job)
    expected = fingerprint(workplace, wanted, resolved, job)
    DAMAGES[damage](mirror_of(workplace, repo.url))
    assert fingerprint(workplace, wanted, resolved, job) == expected
    source.place(wanted, resolved, workplace.root / "checkout", job)
    assert files(workplace.root / "checkout")["d/0"] == "0"


def test_mirror_damaged_and_the_host_is_gone(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    wanted, source = want(repo.url), GitSource(workplace)
    resolved = resolve(workplace, wanted, job)
    fingerprint(workplace, wanted, resolved, job)
    remove_objects(mirror_of(workplace, repo.url))
    moved = repo.path.rename(repo.path.with_name("moved"))
    with pytest.raises(SourceError, match="no git repository"):
        source.place(wanted, resolved, workplace.root / "checkout", job)
    moved.rename(repo.path)
    source.place(wanted, resolved, workplace.root / "checkout", job)
    assert files(workplace.root / "checkout")["d/0"] == "0"


def test_mirror_leftovers_of_a_killed_git(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    place(workplace, want(repo.url), job)
    mirror = mirror_of(workplace, repo.url)
    leftovers = [
        mirror / name
        for name in ("packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x")
    ]
    for leftover in leftovers:
        leftover.write_text("")
    mirror.with_suffix(".busy").touch()
    for name in (".git.new", ".git.old"):
        mirror.with_suffix(name).mkdir()
    repo.commit({"d/0": "new"})
    assert files(place(workplace, want(repo.url), job))["d/0"] == "new"
    assert not any(leftover.exists() for leftover in leftovers)
    assert {one.suffix for one in mirror.parent.iterdir()} == {".git", ".lock", ".fetched"}


def test_mirror_is_packed_when_it_has_many_objects(
    workplace: Workplace, git_repo: Repos, job: Job
) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    place(workplace, want(repo.url), job)
    crowd = mirror_of(workplace, repo.url) / "objects/17"
    crowd.mkdir(exist_ok=True)
    for number in range(40):
        (crowd / f"{number:038x}").touch()
        os.utime(crowd / f"{number:038x}", (0, 0))
    repo.commit({"a": "2"})
    assert files(place(workplace, want(repo.url), job)) == {"a": "2"}
    assert not crowd.exists() or not list(crowd.iterdir())
    assert one_pack(mirror_of(workplace, repo.url))


def test_mirror_first_fetch_of_many_at_once(
    workplace: Workplace, repo: GitRepo, job: Job, git_calls: Calls
) -> None:
    resolved = resolve(workplace, want(repo.url), job)
    prints: list[object] = []

    def work(number: int) -> None:
        source, wanted = GitSource(workplace), want(repo.url, "main", f"shop/a{number}")
        prints.append(fingerprint(workplace, wanted, resolved, job))
        source.place(wanted, resolved, workplace.root / f"checkout-{number}", job)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert prints == [prints[0]] * 8
    assert subcommands(git_calls()).count("fetch") == 1


# Locks

HOLDER = """
import sys
from pathlib import Path
from reconciler.host.job import Job
from reconciler.host.lock import locked
with locked(Path(sys.argv[1]), Job()):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked), locked(path, Job("shop/api"), 0.05):
            pass
        with pytest.raises(Locked), locked(path, Job("shop/api"), 0.05, shared=True):
            pass
        holder.kill()
        with locked(path, Job("shop/api"), 5):
            pass


def test_lock_shared_by_readers(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    shared = locked(path, Job(), 1, shared=True), locked(path, Job(), 1, shared=True)
    with shared[0], shared[1], pytest.raises(Locked), locked(path, Job(), 0.05):
        pass
    with locked(path, Job(), 1):
        pass


def test_lock_cancelled_while_waiting(tmp_path: Path) -> None:
    job = Job()
    with locked(tmp_path / "x.lock", Job()):
        threading.Timer(0.05, job.cancel.cancel, (Cancelled("cancelled"),)).start()
        start = time.monotonic()
        with pytest.raises(Cancelled), locked(tmp_path / "x.lock", job):
            pass
        assert time.monotonic() - start < 0.5


# A host that hangs


@pytest.fixture
def hanging(git_http: GitHttp, git_repo: Repos) -> GitHttp:
    """Serves `repo/.git`, and hangs when a pack is asked for."""
    git_repo("repo").commit({"a": "1"})
    git_http.wants_login = False
    git_http.hold.set()
    return git_http


def gits_of(workplace: Workplace) -> list[int]:
    return [pid for pid in pids() if str(workplace.root) in command_line(pid)]


def test_fetch_cancelled(workplace: Workplace, hanging: GitHttp, job: Job, git_repo: Repos) -> None:
    commit = git_repo("repo").head
    wanted = want(hanging.url("repo/.git"), commit)
    ended: list[float] = []

    def fetch() -> None:
        with pytest.raises(Cancelled):
            fingerprint(workplace, wanted, Resolved(commit, ""), job)
        ended.append(time.monotonic())

    thread = threading.Thread(target=fetch)
    thread.start()
    assert hanging.holding.wait(10)
    asked = time.monotonic()
    job.cancel.cancel(Cancelled("cancelled"))
    thread.join(5)
    assert ended
    assert ended[0] - asked < 0.5
    wait_until(lambda: not gits_of(workplace), 5, "the end of every git")
    hanging.hold.clear()
    place(workplace, wanted, Job("shop/api"))
    assert files(workplace.root / "checkout") == {"a": "1"}


def test_question_cancelled(workplace: Workplace, hanging: GitHttp, job: Job) -> None:
    hanging.hold_questions = True
    wanted = [want(hanging.url("repo/.git"), None, "shop/a"), want("/nothing", None, "shop/b")]
    threading.Thread(
        target=lambda: hanging.holding.wait(10) and job.cancel.cancel(Cancelled("cancelled"))
    ).start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        GitSource(workplace).resolve_all(wanted, job)
    assert time.monotonic() - start < 5


def test_question_unanswered(
    workplace: Workplace, hanging: GitHttp, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging.hold_questions = True
    monkeypatch.setattr(command, "ANSWER_SECONDS", 0.3)
    outcome = GitSource(workplace).resolve_all([want(hanging.url("repo/.git"))], job)["shop/api"]
    assert isinstance(outcome, GitUnavailable)
    assert "0.3 s" in outcome.what


FETCHER = """
import sys
from pathlib import Path
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.secrets import Secrets
from reconciler.source.base import Resolved, Wanted, Workplace
from reconciler.source.git import GitSource
from reconciler.spec import models
root, url, commit = sys.argv[1:]
workplace = Workplace(Path(root), Path(root), Secrets(Path(root)), Engine())
wanted = Wanted("shop/api", models.GitSource(git=url), "main")
GitSource(workplace).fingerprint_all([(wanted, Resolved(commit, "main"))], Job())
"""


def test_fetch_of_a_killed_process(
    workplace: Workplace, hanging: GitHttp, job: Job, git_repo: Repos
) -> None:
    commit, url = git_repo("repo").head, hanging.url("repo/.git")
    argv = [sys.executable, "-c", FETCHER, str(workplace.root), url, commit]
    with subprocess.Popen(argv) as fetcher:
        assert hanging.holding.wait(20)
        assert gits_of(workplace)
        fetcher.send_signal(signal.SIGKILL)
    # Children die with it, and with them its lock's last holder.
    wait_until(lambda: not gits_of(workplace), 5, "the end of every git")
    hanging.hold.clear()
    start = time.monotonic()
    place(workplace, want(url), job)
    assert time.monotonic() - start < 5
    assert files(workplace.root / "checkout") == {"a": "1"}
    assert {one.suffix for one in (workplace.root / "mirrors").iterdir()} == {
        ".git",
        ".lock",
        ".fetched",
    }
