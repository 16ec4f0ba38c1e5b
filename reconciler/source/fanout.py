"""Questions to several hosts, side by side."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from reconciler.errors import ReconcilerError, Stopped
from reconciler.host.job import Job

AT_ONCE = 8
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Question = Callable[[], V]


def ask_all(
    questions: Mapping[K, Question[V]], job: Job, *, hears_cancel: bool = True
) -> dict[K, V | ReconcilerError]:
    """The answer to each question; an error of ours is an answer too, a `Stopped` is raised.

    Returns as soon as the job is cancelled. `hears_cancel`: a question ends by itself then.
    Where it doesn't, its thread is left alone until its own time limit.
    """
    if not questions or (hears_cancel and len(questions) == 1):
        return {key: _answer(question) for key, question in questions.items()}
    waiting = list(questions.items())
    answers: dict[K, V | ReconcilerError] = {}
    failures: list[BaseException] = []
    done = threading.Event()
    lock = threading.Lock()

    def work() -> None:
        try:
            while not failures:
                with lock:
                    if not waiting:
                        return
                    key, question = waiting.pop()
                answer = _answer(question)
                with lock:
                    answers[key] = answer
                    if len(answers) == len(questions):
                        done.set()
        except BaseException as error:  # raised again by the caller's thread
            failures.append(error)
            done.set()

    for _ in range(min(AT_ONCE, len(questions))):
        threading.Thread(target=work, name="ask", daemon=True).start()
    with job.cancel.interrupting(done.set):
        done.wait()
    job.cancel.check()
    if failures:
        raise failures[0]
    return {key: answers[key] for key in questions}


def _answer(question: Question[V]) -> V | ReconcilerError:
    try:
        return question()
    except Stopped:
        raise
    except ReconcilerError as error:
        return error


def take(
    answer: Mapping[K, V | ReconcilerError] | ReconcilerError, key: K, app: str
) -> V | ReconcilerError:
    """What an answer for several has for one app; an error then names that app."""
    found = answer if isinstance(answer, ReconcilerError) else answer[key]
    return for_app(found, app) if isinstance(found, ReconcilerError) else found


def collect(apps: Iterable[tuple[str, Question[V]]]) -> dict[str, V | ReconcilerError]:
    """The answer for each app, one after the other: quick questions, asked here."""
    return {app: _answer(question) for app, question in apps}


def for_app(error: ReconcilerError, app: str) -> ReconcilerError:
    """The same error, told to one of several apps that it concerns."""
    own = copy.copy(error)
    own.app = app
    return own
