"""What the tests of all rooms share."""

import dataclasses
import gc
import io
import json
import os
import runpy
import sys

import keras
import numpy as np
import pytest
from absl import flags

import keras_convnextv2 as kc
from tests.reference.random_weights import randomize

AS_USERS_DO = "TESTS_COMPILE_AS_USERS_DO"
FAST_PATHS = "TESTS_FAST_PATHS"  # "off": by the plain operations of `layers/ops.py` alone


def pytest_configure():
    """Before anything is compiled: XLA reads its flags once."""
    if "XLA_FLAGS" not in os.environ and not compiles_as_users_do():
        # Its other way to emit a fused loop takes half the time to compile.
        os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"
    kc.set_fast_paths(os.environ.get(FAST_PATHS, "auto"))


@pytest.fixture(scope="session", autouse=True)
def compile_quickly(tmp_path_factory):
    """Lets JAX compile equal programs once a session, and with little care for their speed.

    Here and, by the environment, in the processes that tests start.
    """
    of_session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        of_session = of_session.parent  # the processes of a session share what they compiled
    settings = {
        "jax_disable_most_optimizations": not compiles_as_users_do(),
        "jax_compilation_cache_dir": str(of_session / "jax"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        os.environ[name.upper()] = str(value)
        if keras.backend.backend() == "jax":
            import jax

            jax.config.update(name, value)


def compiles_as_users_do():
    """Whether this run is that of `tests/test_optimized_programs.py`."""
    return AS_USERS_DO in os.environ


@pytest.fixture(scope="module", autouse=True)
def clear_session():
    """After a file's tests. What is left then stays to the end, most of it traced programs.

    So Python's collector does not look at it again: two million objects take seconds each time.
    """
    yield
    keras.utils.clear_session(free_memory=False)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def restore_dtype_policy():
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(autouse=True)
def restore_fast_paths():
    before = kc.set_fast_paths()
    kc.set_fast_paths(before)
    yield
    kc.set_fast_paths(before)


@pytest.fixture
def fast_paths():
    """For tests of the fast paths themselves: they are on, whatever this run is of."""
    kc.set_fast_paths("auto")


@pytest.fixture
def without_weights():
    """Models made in the test have weights of known shapes but no values."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)  # or the next scope would make them after all


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def make_fcmae():
    """Makes a small FCMAE of non-square images (16, 24, 3), patches of 8x8, with random weights.

    Keywords are those of FCMAE, and `variant`, `drop_path_rate` and `dtype` for its backbone.
    """

    def make(variant=None, drop_path_rate=0.0, dtype=None, weights_seed=0, **options):
        backbone = kc.ConvNeXtV2Backbone(
            variant or kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)),
            image_shape=(16, 24, 3),
            stem_stride=1,
            drop_path_rate=drop_path_rate,
            seed=0,
            dtype=dtype,
        )
        fcmae = kc.FCMAE(backbone, **{"decoder_width": 8, **options})
        randomize(fcmae, np.random.default_rng(weights_seed))
        return fcmae

    return make


@dataclasses.dataclass
class Outcome:
    """What a program left."""

    status: int
    out: str
    err: str

    @property
    def result(self):
        """What it printed last, as JSON."""
        return json.loads(self.out.splitlines()[-1])


def forget_programs():
    """Removes recipes and tools, with their flags, so that the next one can be imported."""
    ours = ("recipes", "tools")
    for loaded in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[loaded]
    for name in list(flags.FLAGS):
        home = flags.FLAGS.find_module_defining_flag(name)
        if home.startswith(ours) or any(f"/{folder}/" in home for folder in ours):
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


@pytest.fixture(scope="session")
def run_program():
    """Runs `python -m PACKAGE.NAME FLAGS...` in this process, which has imported Keras already."""

    def run(module, *words):
        forget_programs()
        status, out, err = 0, io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [module.rpartition(".")[2], *map(str, words)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as stop:
                status = stop.code or 0
        return Outcome(status, out.getvalue(), err.getvalue())

    return run
