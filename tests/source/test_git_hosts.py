"""Git over http, https and ssh: accounts, keys, what a host refuses, and what nobody may see."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from reconciler.errors import GitUnavailable, ReconcilerError, SecretError, SourceError
from reconciler.host.job import Job
from reconciler.source import resolve_all
from reconciler.source.base import Workplace
from reconciler.spec.models import Credentials, EnvRef, FileRef
from tests.source.servers import GitHttp, GitSsh
from tests.source.test_git import Calls, Repos, files, place, resolve, want
from tests.support.system import command_line, pids, run, wait_until


def refused(workplace: Workplace, job: Job, url: str, **fields: object) -> ReconcilerError:
    outcome = resolve_all(workplace, [want(url, **fields)], job)["shop/api"]
    assert isinstance(outcome, ReconcilerError)
    return outcome


@pytest.fixture
def account(git_http: GitHttp, monkeypatch: pytest.MonkeyPatch) -> Credentials:
    monkeypatch.setenv("GIT_TOKEN", git_http.password)
    return Credentials(username=git_http.user, password=EnvRef(env="GIT_TOKEN"))


@pytest.fixture
def commit(git_repo: Repos) -> str:
    return git_repo("repo").commit({"a": "1"})


def everything_below(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


# http


def test_http_with_credentials(
    workplace: Workplace, git_http: GitHttp, account: Credentials, commit: str, job: Job
) -> None:
    wanted = want(git_http.url("repo/.git"), credentials=account)
    assert resolve(workplace, wanted, job).id == commit
    assert files(place(workplace, wanted, job)) == {"a": "1"}


def test_http_with_credentials_in_the_url(
    workplace: Workplace, git_http: GitHttp, commit: str, job: Job
) -> None:
    login = f"{git_http.user}:{quote(git_http.password)}"
    url = git_http.url("repo/.git").replace("://", f"://{login}@")
    assert files(place(workplace, want(url), job)) == {"a": "1"}


def test_http_password_is_nowhere(
    workplace: Workplace,
    git_http: GitHttp,
    account: Credentials,
    commit: str,
    lines: list[str],
    git_calls: Calls,
) -> None:
    """Neither in argv (of git's own children, too), nor in a file, nor in a line."""
    job = Job("shop/api", log=lines.append)
    git_http.hold.set()
    wanted = want(git_http.url("repo/.git"), credentials=account)
    thread = threading.Thread(target=place, args=(workplace, wanted, job))
    thread.start()
    assert git_http.holding.wait(10)
    commands = "\n".join(command_line(pid) for pid in pids())
    git_http.hold.clear()
    thread.join(20)
    assert "git-remote-http" in commands
    said = "\n".join([commands, repr(git_calls()), *lines])
    kept = everything_below(workplace.root)
    for secret in (git_http.password, quote(git_http.password)):
        assert secret not in said
        assert secret.encode() not in kept
    assert (workplace.root / "checkout/a").exists()


@pytest.mark.parametrize("password", ["wr0ng-pa55", "wr0ng in the URL"])
def test_http_wrong_credentials(
    workplace: Workplace,
    git_http: GitHttp,
    commit: str,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    password: str,
) -> None:
    monkeypatch.setenv("GIT_TOKEN", password)
    url = git_http.url("repo/.git")
    if "URL" in password:
        error = refused(workplace, job, url.replace("://", f"://me:{password.replace(' ', '')}@"))
    else:
        account = Credentials(username="me", password=EnvRef(env="GIT_TOKEN"))
        error = refused(workplace, job, url, credentials=account)
    assert isinstance(error, GitUnavailable)
    assert "refuses the credentials" in error.what
    assert "source.credentials" in error.todo
    assert "wr0ng" not in str(error)


def test_http_no_credentials(
    workplace: Workplace, git_http: GitHttp, commit: str, job: Job
) -> None:
    error = refused(workplace, job, git_http.url("repo/.git"))
    assert isinstance(error, GitUnavailable)
    assert "wants credentials" in error.what


def test_http_helper_of_the_user(
    workplace: Workplace, git_http: GitHttp, commit: str, job: Job, own_git_settings: Path
) -> None:
    """Without credentials in the spec, the user's own way to log in counts."""
    stored = own_git_settings.with_name("stored")
    url = f"http://{git_http.user}:{quote(git_http.password)}@{git_http.host}"
    stored.write_text(f"{url}\n")
    own_git_settings.write_text(f"[credential]\n\thelper = store --file={stored}\n")
    assert resolve(workplace, want(git_http.url("repo/.git")), job).id == commit


def test_http_password_is_not_stored_by_a_helper(
    workplace: Workplace,
    git_http: GitHttp,
    account: Credentials,
    commit: str,
    job: Job,
    own_git_settings: Path,
    tmp_path: Path,
) -> None:
    own_git_settings.write_text(f"[credential]\n\thelper = store --file={tmp_path}/stored\n")
    resolve(workplace, want(git_http.url("repo/.git"), credentials=account), job)
    assert not (tmp_path / "stored").exists()


def test_http_redirect_doesnt_carry_the_password_away(
    workplace: Workplace,
    git_http: GitHttp,
    account: Credentials,
    commit: str,
    job: Job,
    tmp_path: Path,
) -> None:
    with GitHttp(tmp_path / "git") as other:
        git_http.redirect_to = other.url("").rstrip("/")
        error = refused(workplace, job, git_http.url("repo/.git"), credentials=account)
        assert isinstance(error, GitUnavailable)
        assert other.seen
        assert not any(other.authorized)


def test_http_no_repository(
    workplace: Workplace, git_http: GitHttp, account: Credentials, job: Job
) -> None:
    git_http.root.mkdir(exist_ok=True)
    error = refused(workplace, job, git_http.url("nothing.git"), credentials=account)
    assert isinstance(error, SourceError)
    assert "no git repository" in error.what


def test_http_secret_missing(workplace: Workplace, git_http: GitHttp, job: Job) -> None:
    account = Credentials(username="me", password=EnvRef(env="NO_SUCH_TOKEN"))
    error = refused(workplace, job, git_http.url("repo/.git"), credentials=account)
    assert isinstance(error, SecretError)


def test_http_two_accounts_two_questions_one_mirror(
    workplace: Workplace, git_http: GitHttp, account: Credentials, commit: str, job: Job
) -> None:
    url = git_http.url("repo/.git")
    good, bad = want(url, app="shop/good", credentials=account), want(url, app="shop/bad")
    outcomes = resolve_all(workplace, [good, bad], job)
    assert not isinstance(outcomes["shop/good"], ReconcilerError)
    assert isinstance(outcomes["shop/bad"], GitUnavailable)
    place(workplace, good, job)
    assert len(list((workplace.root / "mirrors").glob("*.git"))) == 1


def test_https_with_a_trusted_certificate(
    workplace: Workplace,
    git_http: GitHttp,
    account: Credentials,
    commit: str,
    job: Job,
    tmp_path: Path,
    own_git_settings: Path,
) -> None:
    certificate = git_http.use_tls(tmp_path)
    wanted = want(git_http.url("repo/.git"), credentials=account)
    error = refused(workplace, job, git_http.url("repo/.git"), credentials=account)
    assert isinstance(error, GitUnavailable)
    assert "certificate" in error.what
    own_git_settings.write_text(f"[http]\n\tsslCAInfo = {certificate}\n")
    assert files(place(workplace, wanted, job)) == {"a": "1"}


# ssh


@pytest.fixture
def use_ssh(git_ssh: GitSsh, monkeypatch: pytest.MonkeyPatch) -> GitSsh:
    monkeypatch.setenv("GIT_SSH_COMMAND", git_ssh.command)
    return git_ssh


def test_ssh_with_a_key_file(
    workplace: Workplace, use_ssh: GitSsh, git_repo: Repos, commit: str, job: Job
) -> None:
    wanted = want(use_ssh.url(git_repo("repo").path), ssh_key=FileRef(file=str(use_ssh.key)))
    assert resolve(workplace, wanted, job).id == commit
    assert files(place(workplace, wanted, job)) == {"a": "1"}


def test_ssh_with_an_agent(
    workplace: Workplace,
    use_ssh: GitSsh,
    git_repo: Repos,
    commit: str,
    job: Job,
    agent: Callable[[Path], None],
) -> None:
    url = use_ssh.url(git_repo("repo").path)
    assert isinstance(refused(workplace, job, url), GitUnavailable)
    agent(use_ssh.key)
    assert resolve(workplace, want(url), job).id == commit


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """agent(key) starts an ssh agent that has the key."""
    socket = tmp_path / "agent"
    argv = ["ssh-agent", "-D", "-a", str(socket)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        wait_until(socket.exists, 10, "the agent's socket")

        def start(key: Path) -> None:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            run("ssh-add", "-q", key)

        yield start
        process.terminate()


def test_ssh_wrong_key(
    workplace: Workplace, use_ssh: GitSsh, git_repo: Repos, commit: str, job: Job
) -> None:
    key = FileRef(file=str(use_ssh.home / "host"))
    error = refused(workplace, job, use_ssh.url(git_repo("repo").path), ssh_key=key)
    assert isinstance(error, GitUnavailable)
    assert "refuses the credentials" in error.what
    assert "source.ssh_key" in error.todo


def test_ssh_key_that_others_can_read(
    workplace: Workplace, use_ssh: GitSsh, git_repo: Repos, commit: str, job: Job
) -> None:
    use_ssh.key.chmod(0o644)
    key = FileRef(file=str(use_ssh.key))
    error = refused(workplace, job, use_ssh.url(git_repo("repo").path), ssh_key=key)
    assert isinstance(error, GitUnavailable)
    assert "mode 600" in error.todo


def test_ssh_key_missing(workplace: Workplace, job: Job) -> None:
    key = FileRef(file="keys/none")
    error = refused(workplace, job, "git@127.0.0.1:x.git", ssh_key=key)
    assert isinstance(error, SecretError)
    assert str(workplace.base_dir / "keys/none") in error.todo


def test_ssh_host_unknown(
    workplace: Workplace, use_ssh: GitSsh, git_repo: Repos, commit: str, job: Job
) -> None:
    use_ssh.known_hosts.write_text("")
    key = FileRef(file=str(use_ssh.key))
    error = refused(workplace, job, use_ssh.url(git_repo("repo").path), ssh_key=key)
    assert isinstance(error, GitUnavailable)
    assert f"ssh-keyscan -p {use_ssh.port} 127.0.0.1" in error.todo
    assert use_ssh.known_hosts.read_text() == ""


def test_ssh_host_has_another_key(
    workplace: Workplace, use_ssh: GitSsh, git_repo: Repos, commit: str, job: Job
) -> None:
    other = use_ssh.key.with_suffix(".pub").read_text().split()
    use_ssh.known_hosts.write_text(f"[127.0.0.1]:{use_ssh.port} {other[0]} {other[1]}\n")
    key = FileRef(file=str(use_ssh.key))
    error = refused(workplace, job, use_ssh.url(git_repo("repo").path), ssh_key=key)
    assert isinstance(error, GitUnavailable)
    assert "known_hosts" in error.todo


def test_ssh_no_repository(workplace: Workplace, use_ssh: GitSsh, tmp_path: Path, job: Job) -> None:
    key = FileRef(file=str(use_ssh.key))
    error = refused(workplace, job, use_ssh.url(tmp_path / "nothing"), ssh_key=key)
    assert isinstance(error, SourceError)
    assert "no git repository" in error.what
