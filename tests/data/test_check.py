import threading

import pytest

from keras_convnextv2.data import ImageSourceError, check_images, find_bad_images, open_source

pytestmark = pytest.mark.one_backend


@pytest.fixture
def damaged(tmp_path, write_image):
    """150 files, of which three cannot be read, each for another reason."""
    for number in range(150):
        write_image(tmp_path / "ant" / f"{number:03}.png", (5, 7), seed=number)
    source = open_source(tmp_path / "ant", "train")
    torn = (tmp_path / "ant" / "007.png").read_bytes()
    (tmp_path / "ant" / "007.png").write_bytes(torn[:-40])
    (tmp_path / "ant" / "099.png").write_text("<html>not found</html>")
    (tmp_path / "ant" / "149.png").unlink()
    return source


@pytest.mark.parametrize("workers", [1, 3])
def test_all_unreadable_images_are_named_in_their_order_with_their_reasons(damaged, workers):
    told = []
    bad = find_bad_images(
        damaged, (5, 7), workers=workers, progress=lambda *so_far: told.append(so_far)
    )
    assert [name[-7:] for name in bad] == ["007.png", "099.png", "149.png"]
    for word, reason in zip(("OSError", "Unidentified", "FileNotFound"), bad.values(), strict=True):
        assert word in reason
    assert told[-1] == (150, 150) and len(told) == -(-150 // (64 * workers))


def test_the_error_names_all_at_once(damaged):
    message = r"3 of 150 images cannot be read: .*007\.png \(.*099\.png \(.*149\.png \("
    with pytest.raises(ImageSourceError, match=message) as caught:
        check_images(damaged, (5, 7))
    assert "\n" not in str(caught.value)


def test_images_are_read_by_threads_and_as_the_framing_asks(tmp_path, write_npz):
    write_npz(tmp_path, "train", count=40)
    meeting, asked = threading.Barrier(2, timeout=20), []

    class Framing:
        image_size = (5, 7)

        def box(self, width, height, rng):
            if not asked:  # the first two wait for each other
                meeting.wait()
            asked.append(rng.random())
            return 0, 0, width, height

    check_images(open_source(tmp_path, "train"), Framing(), workers=2)
    assert len(set(asked)) == 40
