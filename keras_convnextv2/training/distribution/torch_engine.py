"""torch: a process a device, started by torchrun, and `torch.distributed`."""

import contextlib
import datetime
import hashlib
import os
import sys

import keras

from keras_convnextv2.training.distribution.errors import lost_process_named
from keras_convnextv2.training.distribution.heartbeats import Heartbeats
from keras_convnextv2.training.distribution.parts import Part, WholeBatch
from keras_convnextv2.training.distribution.shared_devices import Devices, computing_apart, is_apart

_BUCKET = 25 * 2**20  # bytes that are sent at once
_shared = {}  # the Heartbeats of the processes, within `data_parallel`


@contextlib.contextmanager
def data_parallel(timeout):
    """As `distribution.data_parallel`."""
    import torch
    import torch.distributed as dist

    # torchrun sets it. A group that is there already is somebody else's to end.
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    waiting = datetime.timedelta(seconds=timeout)
    with lost_process_named(sys.modules[__name__]):
        store, index, count = next(dist.rendezvous("env://", timeout=waiting))
        dist.init_process_group(store=store, rank=index, world_size=count, timeout=waiting)
        _shared["heartbeats"] = Heartbeats(store.clone(), index, count)
    try:
        yield
    finally:
        _shared.pop("heartbeats").stop()
    # Not after an error: to end the group would wait for what was under way.
    dist.destroy_process_group()


def devices():
    """As `distribution.devices`."""
    import torch.distributed as dist

    if is_apart() or not (dist.is_available() and dist.is_initialized()):
        return Devices()
    return Devices(dist.get_world_size(), dist.get_rank(), dist.get_world_size())


def part_of(num_images):
    """A `Part`, or the `WholeBatch` of a process alone."""
    here = devices()
    if here.count == 1:
        return WholeBatch(num_images)
    return TorchPart(gathered(int(num_images)), here.process_index)


def loss_of_part(loss):
    """The loss as it is."""
    return loss


def gathered(number):
    """A number of each process, a list."""
    import torch
    import torch.distributed as dist

    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    dtype = torch.float64 if isinstance(number, float) else None
    own = torch.tensor(number, dtype=dtype, device=device)
    numbers = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    _done(dist.all_gather, numbers, own)
    return [x.item() for x in numbers]


def gathered_rows(array):
    """The rows of the processes' arrays."""
    import torch

    here = devices()
    part = TorchPart(gathered(len(array)), here.process_index)
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    return part.all_rows(torch.as_tensor(array, device=device)).cpu().numpy()


def of_this_process():
    """As `distribution.of_this_process`."""
    return computing_apart()


def prepare(model):
    """Gives the model the weights that process 0 has, and compares them.

    Raises:
        RuntimeError: they differ all the same.
    """
    if devices().count == 1:
        return
    import torch.distributed as dist

    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else [])]
    for variable in variables:
        _done(dist.broadcast, variable.value.data, 0)
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    if len(set(gathered(int.from_bytes(digest.digest()[:7], "big")))) > 1:
        raise RuntimeError("The processes of this training have different weights.")


def data(model, batches, options):
    """(the batches as they are, None, options): each process has its own part."""
    return batches, None, options


def outputs_of(model, predict_on_batch, x):
    """What a model gives for a whole batch, which each process computes by itself."""
    return predict_on_batch(x)


def is_lost_process(error):
    """Whether an error of torch says so; gloo has no kind of its own for it."""
    import torch.distributed as dist

    kinds = (dist.DistNetworkError, dist.DistStoreError, dist.DistBackendError)
    words = ("gloo", "connection", "timed out", "timeout")
    return isinstance(error, kinds) or (
        type(error) is RuntimeError and any(word in str(error).lower() for word in words)
    )


class TorchPart(Part):
    """The part of one process."""

    def mean(self, tensors, weight):
        import torch

        tensors = list(tensors)
        given = {place: x.detach() for place, x in enumerate(tensors) if x is not None}
        device = next(iter(given.values())).device
        weight = torch.as_tensor(weight, dtype=torch.float32, device=device)
        share = weight / _all_reduced(weight.clone())
        for bucket in _buckets(given):
            flat = torch.cat([given[place].reshape(-1).float() for place in bucket])
            # A part without images has no loss: what it computed is no number.
            flat = torch.where(weight > 0, flat * share, torch.zeros((), device=device))
            sizes = [given[place].numel() for place in bucket]
            for place, values in zip(bucket, _all_reduced(flat).split(sizes), strict=True):
                tensors[place] = values.view(given[place].shape).to(given[place].dtype)
        return tensors

    def all_rows(self, tree):
        return keras.tree.map_structure(self._all_rows, tree)

    def _all_rows(self, x):
        if x is None:
            return None
        import torch
        import torch.distributed as dist

        x = torch.as_tensor(x).detach()
        padded = x.new_zeros((max(self.sizes), *x.shape[1:]))
        padded[: len(x)] = x
        gathered = [torch.empty_like(padded) for _ in self.sizes]
        _done(dist.all_gather, gathered, padded)
        return torch.cat([rows[:size] for rows, size in zip(gathered, self.sizes, strict=True)])


def _all_reduced(x):
    import torch.distributed as dist

    _done(dist.all_reduce, x)
    return x


def _done(operation, *words):
    """Carries a collective operation out, or raises when another process is lost."""
    import torch

    with lost_process_named(sys.modules[__name__]):
        work = operation(*words, async_op=True)
        heartbeats = _shared.get("heartbeats")  # none where the group is somebody else's
        (tensor,) = (x for x in words if isinstance(x, torch.Tensor))
        if heartbeats is None or tensor.device.type != "cpu":  # the program of a GPU waits
            work.wait()
        else:
            heartbeats.wait_for(work)


def _buckets(tensors):
    """The keys of {place: tensor} in lists, each of tensors that are sent at once."""
    buckets, size = [], _BUCKET
    for place, x in tensors.items():
        num_bytes = 4 * x.numel()
        if size + num_bytes > _BUCKET:
            buckets.append([])
            size = 0
        buckets[-1].append(place)
        size += num_bytes
    return buckets
