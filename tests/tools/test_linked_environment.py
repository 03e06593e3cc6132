import subprocess

import pytest

from tools import linked_environment

pytestmark = pytest.mark.one_backend


def test_it_has_what_is_asked_for_and_what_that_asks_for_and_no_more(tmp_path):
    python = linked_environment.make(tmp_path, ["h5py", 'keras; sys_platform == "none"'])
    code = "import importlib.util as i; print([bool(i.find_spec(name)) for name in {}])"
    names = ["h5py", "numpy", "keras", "pip"]  # h5py asks for numpy
    done = subprocess.run([python, "-c", code.format(names)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[True, True, False, False]\n", "")


def test_a_folder_that_several_share_has_the_files_of_those_asked_for_alone(tmp_path):
    python = linked_environment.make(tmp_path, ["protobuf"])
    code = "import google.protobuf; from google import rpc"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ImportError: cannot import name 'rpc'")


def test_extras_count():
    assert "pytest-xdist" not in linked_environment.closure(["keras-convnextv2"])
    with_extra = linked_environment.closure(["keras-convnextv2[recipes]"])
    assert {"keras", "rich", "jinja2", "markupsafe"} < with_extra.keys()


@pytest.mark.parametrize("requirement", ["no-such-package", "numpy>=1000"])
def test_what_is_not_here_is_named(requirement):
    with pytest.raises(ValueError, match=f"{requirement} is asked for"):
        linked_environment.closure([requirement])
