class ExportError(ValueError):
    """An artefact that could not be made, or does not compute what the model computes.

    Attributes:
        report: the `Report` of an artefact that was tried, or None.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> from keras_convnextv2.export import ExportError, export_model
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, (64, 64, 3))
        >>> try:
        ...     export_model(backbone, "model.h5")
        ... except ExportError as error:
        ...     print(str(error).split(";")[0])
        The ending of model.h5 names no format
    """

    def __init__(self, message, report=None):
        super().__init__(message)
        self.report = report
