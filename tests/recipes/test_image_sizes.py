"""One rule for the size that images are given to a model in."""

import pytest

from recipes.image_sizes import size_for

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [
        ((32, 48), None, (32, 48)),
        ((32, 48), (32, 48), (32, 48)),
        ((None, 48), (40, 48), (40, 48)),
        ([None, None], (16, 24), (16, 24)),
    ],
)
def test_the_models_own_size_or_one_that_it_takes(known, given, expected):
    assert size_for(known, 16, "--weights", given) == expected


@pytest.mark.parametrize(
    ("known", "given", "message"),
    [
        ((32, None), None, "--weights takes images of any size. Say which with --image_size"),
        ((32, 48), (48, 32), "takes images of 32x48 pixels. Received: --image_size=48x32"),
        ((None, 48), (32, 32), "images of Nonex48 pixels, None being any. Received: --image_size"),
        (
            (None, None),
            (15, 99),
            "of 16 pixels a side or more. Received: --image_size=15x99",
        ),
    ],
)
def test_another_size_is_refused_with_what_came(known, given, message):
    with pytest.raises(ValueError, match=message):
        size_for(known, 16, "--weights", given)
