"""Every public name has an example in its docstring, and the examples are right."""

import ast
import doctest
import functools
import inspect
from pathlib import Path

import pytest

import keras_convnextv2 as kc
from keras_convnextv2 import (
    analysis,
    data,
    export,
    fcmae,
    layers,
    models,
    runs,
    training,
    weights,
)

PACKAGES = (
    kc,
    analysis,
    data,
    export,
    fcmae,
    layers,
    models,
    runs,
    training,
    training.distribution,
    weights,
)


@functools.cache
def public_names():
    """{name: (docstring, file)} of what the packages export, each object once."""
    found = {}
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[name] = value.__doc__ or "", inspect.getfile(value)
            else:
                found[name] = docstring_of_value(name)
    return found


def docstring_of_value(name):
    """The string after the assignment of a constant, as mkdocstrings reads it, and its file."""
    for path in Path(kc.__file__).parent.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for statement, after in zip(body, body[1:], strict=False):
            if (
                isinstance(statement, ast.Assign)
                and [getattr(target, "id", "") for target in statement.targets] == [name]
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                return after.value.value, str(path)
    return "", ""


def example_of(name):
    docstring, file = public_names()[name]
    return doctest.DocTestParser().get_doctest(docstring, {}, name, file, 0)


def source_of(name):
    return "".join(part.source for part in example_of(name).examples)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", sorted(public_names()))
def test_the_example_of_a_public_name_gives_what_it_shows(name, in_new_folder):
    file = public_names()[name][1]
    example, sources = example_of(name), source_of(name)
    assert name in sources, f"{file}: the docstring of {name} has no example that uses it"
    told = []
    result = doctest.DocTestRunner().run(example, out=told.append)
    assert result.failed == 0, "".join(told)


@pytest.mark.one_backend
def test_the_reference_has_every_public_name():
    page = Path(__file__).parents[2] / "docs/reference.md"
    shown = [line.split(".")[-1] for line in page.read_text().splitlines() if line[:4] == "::: "]
    assert sorted(shown) == sorted(public_names())
