class ExportError(ValueError):
    """An artefact that could not be made, or does not compute what the model computes.

    Attributes:
        report: the `Report` of an artefact that was tried, or None.
    """

    def __init__(self, message, report=None):
        super().__init__(message)
        self.report = report
