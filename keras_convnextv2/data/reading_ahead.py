"""Batches that threads read before they are asked for."""


class ReadingAhead:
    """The elements of a `grain.MapDataset` by their place, and those after it ahead of use.

    Threads, not processes: Pillow and NumPy leave the interpreter free while they decode, resize
    and compute, and a process would import Keras and its backend, and send each batch over.

    Args:
        dataset: `grain.MapDataset`, whose length is that of an epoch.
        workers: int, threads; as many elements are read ahead. 0: none.
        endless: bool, whether those of the next epoch are read ahead as well.
    """

    def __init__(self, dataset, workers, endless):
        self._dataset = dataset
        self._workers = workers
        self._endless = endless
        self._iterator = None
        self._next = None  # the place that the iterator goes on with; None where that is not known
        self._stop = 0

    def __getitem__(self, place):
        if self._workers == 0:
            return self._dataset[place]
        if place >= self._stop:
            self._open(place // len(self._dataset))
        if place != self._next:
            self._iterator.set_state({"next_index": place})
        self._next = None
        batch = next(self._iterator)
        self._next = place + 1
        return batch

    def _open(self, epoch):
        import grain

        if self._iterator is not None:
            self._iterator.close()
        batches = self._dataset.repeat(None if self._endless else epoch + 1)
        options = grain.ReadOptions(num_threads=self._workers, prefetch_buffer_size=self._workers)
        self._iterator = iter(batches.to_iter_dataset(options))
        self._next, self._stop = 0, len(batches)
