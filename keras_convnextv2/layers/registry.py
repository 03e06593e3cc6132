"""Kinds of a part of a model, by name."""


class Registry:
    """What makes a part, by the name that a model's configuration keeps.

    Args:
        part: str, what is registered, for messages.
    """

    def __init__(self, part):
        self._part = part
        self._known = {}  # name -> (maker, options it is called with)

    def register(self, name, /, **options):
        """Decorates a class, or a function, that makes the part of this name.

        Args:
            name: str.
            **options: arguments that it is called with, beside those of every part.

        Raises:
            ValueError: the name is another's, or the same with other options.
        """

        def decorate(maker):
            # A module that is loaded again makes its class again.
            taken, taken_options = self._known.setdefault(name, (maker, options))
            if (taken.__module__, taken.__qualname__) != (maker.__module__, maker.__qualname__):
                raise ValueError(f"The {self._part} {name!r} is {taken.__name__} already.")
            if taken_options != options:
                raise ValueError(
                    f"The {self._part} {name!r} is {taken.__name__} of {taken_options} already."
                )
            self._known[name] = maker, options
            return maker

        return decorate

    def names(self):
        """The names there are."""
        return tuple(self._known)

    def make(self, name, /, **arguments):
        """A new part of a name that is there."""
        maker, options = self._known[name]
        return maker(**options, **arguments)
