"""Models as values: made in code, compared, copied, dumped and read back."""

import copy
import pickle

import pytest

from reconciler.errors import SpecError
from reconciler.spec.base import Model, dump, field, kind_of
from reconciler.spec.models import (
    App,
    Build,
    Credentials,
    EnvRef,
    GitSource,
    Health,
    HttpCheck,
    ImageSource,
    PathSource,
    Resources,
)
from reconciler.spec.reading import to_node

APP = App(
    title="Shop",
    source=GitSource(git="https://user:hunter2@git.example.com/a.git", watch=("lib",)),
    build=Build(args={"A": "hunter2"}, secrets={"t": EnvRef(env="T")}),
    env={"A": "hunter2", "B": EnvRef(env="B")},
    command=("serve", "hunter2"),
    ports=("80:80",),
    resources=Resources(cpus=1.5),
    health=Health(http=HttpCheck(port=80)),
)


def test_model_from_code_equals_model_from_data():
    assert (
        App.model_validate(
            {
                "title": "Shop",
                "source": {"git": "https://user:hunter2@git.example.com/a.git", "watch": ["lib"]},
                "build": {"args": {"A": "hunter2"}, "secrets": {"t": {"env": "T"}}},
                "env": {"A": "hunter2", "B": {"env": "B"}},
                "command": ["serve", "hunter2"],
                "ports": ["80:80"],
                "resources": {"cpus": 1.5},
                "health": {"http": {"port": 80}},
            }
        )
        == APP
    )


@pytest.mark.parametrize("exclude_defaults", [True, False])
@pytest.mark.parametrize("mode", ["json", "python"])
@pytest.mark.parametrize(
    "app",
    [
        APP,
        App(source=PathSource(path=".")),
        App(source=ImageSource(image="nginx"), revision="1.27", command=None),
        App(source=PathSource(path="."), build=Build(static="public")),
        App(source=PathSource(path="."), health=Health(tcp=5), suspend=True),
    ],
)
def test_dump_and_back(app, mode, exclude_defaults):
    data = app.model_dump(mode=mode, exclude_defaults=exclude_defaults)
    assert App.model_validate(data) == app


def test_dump_shapes():
    source = GitSource(git="/x", watch=("a", "b"))
    assert source.model_dump(mode="json", exclude_defaults=True) == {
        "git": "/x",
        "watch": ["a", "b"],
    }
    assert source.model_dump()["watch"] == ("a", "b")
    assert dump({"a": (source,)}, exclude_defaults=True) == {
        "a": [{"git": "/x", "watch": ["a", "b"]}]
    }


def test_model_is_frozen():
    with pytest.raises(AttributeError, match="frozen"):
        APP.title = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del APP.title


def test_model_copy_changes_one_field():
    other = APP.model_copy(update={"title": None})
    assert other.title is None
    assert other != APP
    assert other.model_copy(update={"title": "Shop"}) == APP == APP.model_copy()


def test_model_survives_pickle_and_copy():
    assert pickle.loads(pickle.dumps(APP)) == APP == copy.deepcopy(APP)


def test_model_equality_and_hash():
    assert PathSource(path="a") != ImageSource(image="a")
    assert PathSource(path="a") != "a"
    assert len({PathSource(path="a"), PathSource(path="a"), PathSource(path="b")}) == 2


def test_model_defaults_are_not_shared():
    one, other = App(source=PathSource(path=".")), App(source=PathSource(path="."))
    one.env["A"] = "x"
    assert other.env == {}
    assert App.model_fields["env"].get_default() == {}
    assert App.model_fields["source"].get_default() is None


def test_repr_hides_what_may_be_secret():
    assert "hunter2" not in repr(APP)
    assert repr(APP).startswith("App(title='Shop', source=GitSource(git=…, watch=('lib',)), build=")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"ports": ["80:80"]}, "'source' is missing"),
        ({"source": {"path": "."}, "healht": {}}, "healht: there is no such field"),
        ({"source": {"path": "."}, "ports": [8080]}, r"ports\[0\]: expected"),
        ({"source": {"path": "."}, "env": {"A": None}}, "env.A: expected a value"),
        ({"source": PathSource(path="."), "revision": "main"}, "revision: a directory has no"),
        ({"source": Health()}, "source: expected .* got a Health"),
        ({"source": {"path": "."}, "build": Health()}, "build: expected a mapping, got a Health"),
        ({"source": {"path": "."}, "title": b"x"}, "a spec has no bytes"),
        ([], "expected a mapping, got a list"),
    ],
)
def test_model_validate_refuses(data, words):
    with pytest.raises((SpecError, TypeError), match=words):
        App.model_validate(data)


def test_model_validate_takes_a_model():
    assert App.model_validate(APP) is APP


def test_model_validate_takes_python_scalars():
    app = App.model_validate({"source": {"path": "."}, "env": {"A": True, "B": 1.5, "C": 3}})
    assert app.env == {"A": "true", "B": "1.5", "C": "3"}


def test_credentials_password_is_a_reference():
    with pytest.raises(SpecError, match="Credentials: password: expected"):
        Credentials(username="x", password="hunter2")  # type: ignore[arg-type]


def test_to_node_of_a_model_describes_itself():
    assert to_node(APP).value is APP


@pytest.mark.parametrize("annotation", [complex, list[str], dict[int, str], dict[Health, str]])
def test_kind_of_unknown_annotation(annotation):
    with pytest.raises(TypeError):
        kind_of(annotation)


def test_model_without_a_field_declaration():
    class Odd(Model):
        """Annotations without a field are not of the file."""

        loose: int
        given: bool = field("Yes.", default=False)

    assert list(Odd.model_fields) == ["given"]
