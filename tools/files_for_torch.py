"""Images as a user of PyTorch and Pillow reads them, for `tools.benchmark_pipeline`."""

import numpy as np


class FilesForTorch:
    """A map-style dataset: the same work, as a user of PyTorch and Pillow writes it."""

    def __init__(self, source, image_size):
        self.paths, self.labels = list(source.records), source.labels
        self.mean = np.asarray(source.mean, "float32")
        self.std = np.asarray(source.std, "float32")
        self.image_size = image_size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        import PIL.Image
        import PIL.ImageOps
        import torch

        size = (self.image_size, self.image_size)
        with PIL.Image.open(self.paths[index]) as image:
            image = PIL.ImageOps.fit(image.convert("RGB"), size, PIL.Image.Resampling.BICUBIC)
        if torch.rand(()) < 0.5:
            image = PIL.ImageOps.mirror(image)
        pixels = (np.asarray(image, "float32") / 255 - self.mean) / self.std
        return torch.from_numpy(pixels), int(self.labels[index])
