"""Which images a folder holds, and what else: read from the disk when it is asked for."""

import collections
import functools
import os

from keras_convnextv2.data.image_source import ImageSourceError, name_some

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".hif"),
)
_MOST_DEEP, _MOST_LINKS = 100, 100
# What systems and file servers leave beside one's own folders: copies, thumbnails, waste.
SYSTEM_FOLDERS = {
    *("__macosx", "@eadir", "__pycache__", "lost+found", "system volume information"),
    *("#recycle", "$recycle.bin", "@recycle"),
}


class Folder:
    """A folder, without hidden files and without hidden and system folders.

    Args:
        path: str or Path.
        above: what the folders above are, so that a link to one of them is not followed.
        linked: how often each folder was reached by a link so far; links that lead to one another
            would otherwise make more ways than can be gone.

    Attributes:
        name: str.
        folders: {name: `Folder`}, sorted; links to folders are followed.
        images: sorted paths of the files with one of `ENDINGS`, in any case.
        others: `Counter` of the endings of the other files.
        left_out: sorted paths of its hidden and system folders.

    Raises:
        ImageSourceError: when it is looked into and cannot be read, lies too deep, or links lead
            to one folder too often.
    """

    def __init__(self, path, above=frozenset(), linked=None):
        self.path = os.fspath(path)
        self.name = os.path.basename(os.path.abspath(self.path))
        self._above = above
        self._linked = collections.Counter() if linked is None else linked

    @property
    def folders(self):
        return self._content[0]

    @property
    def images(self):
        return self._content[1]

    @property
    def others(self):
        return self._content[2]

    @property
    def left_out(self):
        return self._content[3]

    @functools.cached_property
    def holds_images(self):
        """Whether there are images in it, to any depth."""
        return bool(self.images) or any(folder.holds_images for folder in self.folders.values())

    @property
    def is_empty(self):
        """Whether there are no files in it, to any depth."""
        nothing = not self.images and not self.others
        return nothing and all(folder.is_empty for folder in self.folders.values())

    def with_all_below(self):
        """This folder and all below it, to any depth."""
        yield self
        for folder in self.folders.values():
            yield from folder.with_all_below()

    def all_images(self):
        """Sorted paths of the images in it, to any depth."""
        return sorted(path for folder in self.with_all_below() for path in folder.images)

    @functools.cached_property
    def _content(self):
        folders, images, others, left_out = {}, [], collections.Counter(), []
        if len(self._above) > _MOST_DEEP:
            raise ImageSourceError(
                f"{self.path} lies more than {_MOST_DEEP} folders deep. Name one nearer to it."
            )
        try:
            status = os.stat(self.path)
            above = self._above | {(status.st_dev, status.st_ino)}
            with os.scandir(self.path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    hidden = entry.name.startswith(".")
                    if entry.is_dir():
                        if hidden or entry.name.lower() in SYSTEM_FOLDERS:
                            left_out.append(entry.path)
                        elif not entry.is_symlink() or self._follows(entry.path, above):
                            folders[entry.name] = Folder(entry.path, above, self._linked)
                    elif not hidden and entry.name.lower().endswith(ENDINGS):
                        images.append(entry.path)
                    elif not hidden:
                        others[_ending(entry.name)] += 1
        except OSError as error:  # to leave the folder out would be to lose images in silence
            raise ImageSourceError(
                f"{error.filename or self.path} cannot be read ({error}). Check its rights."
            ) from error
        return folders, images, others, left_out

    def _follows(self, link, above):
        status = os.stat(link)
        identity = status.st_dev, status.st_ino
        if identity in above:
            return False
        self._linked[identity] += 1
        if self._linked[identity] > _MOST_LINKS:
            raise ImageSourceError(
                f"Links lead to one folder in more than {_MOST_LINKS} ways, such as {link}. Remove "
                "those that lead in circles."
            )
        return True


def describe_passed_over(folder):
    """One line on the files that are passed over in a `Folder`, to any depth; None for none.

    Files are counted by ending, and the images in hidden and system folders by folder.
    """
    endings, left_out = collections.Counter(), {}
    for inner in folder.with_all_below():
        endings += inner.others
        for path in inner.left_out:
            if num_images := _count_images(path):
                left_out[path] = num_images
    parts = []
    if endings:
        parts.append(f"{_counted(endings.total(), 'file')} of other kinds ({by_ending(endings)})")
    if left_out:
        names = name_some(os.path.relpath(path, folder.path) for path in left_out)
        parts.append(f"{_counted(sum(left_out.values()), 'image')} in folders not meant ({names})")
    return f"{folder.path}: passed over {' and '.join(parts)}." if parts else None


def by_ending(endings, limit=6):
    """A `Counter` of endings in words: "40 .txt, 1 .csv"."""
    most = endings.most_common(limit)
    rest = endings.total() - sum(count for _, count in most)
    words = [f"{count:,} {ending}" for ending, count in most]
    return ", ".join(words + ([f"{rest:,} more"] if rest else []))


def _ending(name):
    return os.path.splitext(name)[1].lower() or "without ending"


def _counted(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _count_images(folder):
    return sum(name.lower().endswith(ENDINGS) for _, _, names in os.walk(folder) for name in names)
