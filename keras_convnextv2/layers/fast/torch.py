"""Faster ways on torch, for CPUs.

Keras (3.15) looks at shapes and arguments before each operation, and takes up to eight times as
long as torch for a depthwise convolution: what is called often goes to torch directly. torch runs
each operation as a pass over the features, so there are as few as it has.

"A step without it takes 1.05x" is measured in docs/performance.md, "What each path gains".
"""

import functools

from keras_convnextv2.insides import torch_gelu_gradient
from keras_convnextv2.layers.fast import gelu_grn as fused
from keras_convnextv2.layers.fast.custom_gradient import custom_gradient, with_move_back
from keras_convnextv2.layers.fast.depthwise import with_own_gradient
from keras_convnextv2.layers.grn_formula import guarded_root, response

# Numbers in a row of a patch from which on a product of matrices is faster than a convolution.
_WIDE_ROW = 128


def device(tensor):
    """The kind of device that `tensor` is on."""
    return tensor.device.type


def reshape(x, shape):
    """As `ops.reshape`: Keras's searches the shape for symbolic tensors.

    A step without it takes 1.07x (pretraining atto at 64 pixels).
    """
    return x.reshape(shape)


def depthwise(x, kernel):
    """As `ops.depthwise`; the kernel's gradient as a wide convolution, see `_wide_gradient`.

    A step without it takes 1.08x (fine-tuning atto).
    """
    return with_own_gradient(_convolution, _gradient_of_maps)(x, kernel)


def depthwise_on_strip(x, kernel, strip):
    """As `ops.depthwise_on_strip`: by windows where the strip has them, else by the map.

    A step without it takes 1.07x the time and 1.23x the memory (pretraining tiny), without windows
    1.05x and 1.09x.
    """
    if not strip.has_windows_for(x, kernel):
        ways = (_convolution, _gradient_of_maps, strip.to_map, strip.enter)
        return with_own_gradient(*ways)(x, kernel)

    def convolve(x, kernel):
        return _convolution(_windows(strip, x), kernel, padding=0).reshape(x.shape)

    def kernel_gradient(x, upstream, size):
        side = x.shape[2]
        patches = upstream.reshape(-1, side, side, upstream.shape[3])
        return _wide_gradient(_windows(strip, x, batch_last=True), patches, size, margin=0)

    return with_own_gradient(convolve, kernel_gradient)(x, kernel)


def _convolution(x, kernel, padding="same"):
    from torch.nn.functional import conv2d

    padding = kernel.shape[0] // 2 if padding == "same" else padding
    x, kernel = x.permute(0, 3, 1, 2), kernel.permute(2, 3, 0, 1)
    return conv2d(x, kernel, padding=padding, groups=x.shape[1]).permute(0, 2, 3, 1)


def _gradient_of_maps(x, upstream, size):
    return _wide_gradient(x.permute(1, 2, 0, 3), upstream, size, margin=size // 2)


def _wide_gradient(x, upstream, size, margin):
    """As `fast.tensorflow._wide_gradient`, which says how: (k, k, C, 1), in the dtype of x.

    torch adds half precision in float32, and rounds once.
    """
    from torch.nn.functional import conv2d

    rows, columns, batch, channels = x.shape
    if batch == 0:
        return x.new_zeros((size, size, channels, 1))
    wide = x.reshape(1, rows, columns, batch * channels).permute(0, 3, 1, 2)
    kernel = upstream.permute(0, 3, 1, 2).reshape(batch * channels, 1, *upstream.shape[1:3])
    y = conv2d(wide, kernel, padding=margin, groups=batch * channels)
    y = y.permute(0, 2, 3, 1).reshape(size, size, batch, channels)
    return y.sum(2)[..., None]


def gelu_grn(x, gamma, beta, epsilon, region):
    """As `ops.gelu_grn`, in the dtype of x but for the statistics.

    A step without it takes 1.06x (pretraining tiny), in bfloat16 1.24x, and up to 1.44x the memory.
    """
    options = {"epsilon": epsilon, "region": region}
    return custom_gradient(
        functools.partial(_gelu_grn, **options), functools.partial(_gelu_grn_gradient, **options)
    )(x, gamma, beta)


def _gelu_grn(x, gamma, beta, epsilon, region):
    import torch

    activated = torch.nn.functional.gelu(x)
    energy = region.clean(activated).float().square().sum((1, 2), keepdim=True)
    norm = guarded_root(torch, energy)
    gain = 1.0 + gamma * response(torch, norm, epsilon)[0]
    y = torch.addcmul(beta.to(x.dtype), activated, gain.to(x.dtype))
    return y, (activated, norm)


def _gelu_grn_gradient(upstream, tensors, kept, needed, epsilon, region):
    import torch

    (x, gamma, _), (activated, norm) = tensors, kept
    x_gradient = gamma_gradient = beta_gradient = None
    if needed[0] or needed[1]:
        inner = _sum_over_positions(upstream * activated)
        gain, factor, gamma_gradient = fused.through_response(torch, inner, gamma, norm, epsilon)
    if needed[0]:
        activated_gradient = upstream * gain.to(x.dtype)
        activated_gradient.addcmul_(region.clean(activated), factor.to(x.dtype))
        x_gradient = torch_gelu_gradient(activated_gradient, x)
    if needed[2]:
        beta_gradient = _sum_over_positions(upstream).sum((0, 1, 2))
    return x_gradient, gamma_gradient if needed[1] else None, beta_gradient


def _sum_over_positions(x):
    """The float32 sum, (B, 1, 1, C).

    torch adds bfloat16 in float32. On a CPU it copies what it is to give the float32 sum of, so
    each sum is rounded to bfloat16 there.
    """
    return x.sum((1, 2), keepdim=True).float()


def layer_norm(x, gamma, beta, epsilon):
    """As `ops.layer_norm`; torch widens bfloat16 to float32 as it reads it, Keras before.

    A step without it takes 1.04x (pretraining atto at 64 pixels).
    """
    import torch

    return torch.nn.functional.layer_norm(x, x.shape[-1:], gamma, beta, epsilon)


def linear(x, kernel, bias):
    """As `ops.linear`; the product adds the bias at once.

    A step without it takes 1.04x (pretraining atto at 64 pixels).
    """
    import torch

    y = torch.addmm(bias, x.reshape(-1, x.shape[-1]), kernel)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def takes_patches(x, kernel):
    """Whether `patch_convolution` is the faster way here, and possible."""
    import torch

    if torch.compiler.is_exporting():
        return False
    # torch (2.13) does not compile a convolution of open sizes when it is called as here: it cannot
    # order the strides of the gradient.
    return _is_product(x, kernel) or not torch.compiler.is_compiling()


def _is_product(x, kernel):
    """Where rows of patches are wide; and for maps of one column, see `ops.is_one_column`."""
    side, _, channels, _ = kernel.shape
    return side * channels >= _WIDE_ROW or x.shape[2] // side == 1


def patch_convolution(x, kernel):
    """As `ops.patch_convolution`: of patches with wide rows, as a product of matrices.

    A step without it takes 1.04x (pretraining tiny), and 1.10x the memory (fine-tuning atto).
    """
    import torch

    if not _is_product(x, kernel):
        x, kernel = x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(x, kernel, stride=kernel.shape[2])
        return y.permute(0, 2, 3, 1)
    batch, height, width, channels = x.shape
    side, _, _, num_filters = kernel.shape
    rows, columns = height // side, width // side
    x = x[:, : rows * side, : columns * side]
    x = x.reshape(batch, rows, side, columns, side * channels).transpose(2, 3)
    y = x.reshape(-1, side * side * channels) @ kernel.reshape(-1, num_filters)
    return y.reshape(batch, rows, columns, num_filters)


def move_rows(x, numbers, back):
    """As `ops.move_rows`. A step without it takes 1.03x (pretraining tiny)."""
    return with_move_back(_moved, x, numbers, back)


def _moved(x, numbers):
    """The rows of x (B, N, D) by their numbers (B, M); N, there only if M > N, is for zeros."""
    if numbers.shape[1] <= x.shape[1]:
        return take_rows(x, numbers)
    rows = _with_zeros(x).index_select(0, _flat(numbers, x.shape[1]))
    return rows.reshape(*numbers.shape, x.shape[2])


def take_rows(x, numbers):
    """As `ops.take_rows`. A step without it takes 1.05x (pretraining atto at 64 pixels)."""
    rows = x.reshape(-1, x.shape[2]).index_select(0, _flat(numbers, x.shape[1]))
    return rows.reshape(*numbers.shape, x.shape[2])


def _windows(strip, x, batch_last=False):
    """The windows of `x`, features of a `VisibleStrip`: (B * K, s, s, C), or (s, s, B * K, C)."""
    side, channels = x.shape[2] + strip.kernel_size - 1, x.shape[3]
    x = x.reshape(x.shape[0], -1, channels)
    numbers = _flat(strip.windows, x.shape[1]).reshape(-1, side, side)
    if batch_last:
        numbers = numbers.permute(1, 2, 0)
    windows = _with_zeros(x).index_select(0, numbers.reshape(-1))
    return windows.reshape(*numbers.shape, channels)


def _with_zeros(x):
    """The rows of all images, and a row of zeros."""
    import torch

    return torch.cat([x.reshape(-1, x.shape[2]), x.new_zeros((1, x.shape[2]))])


def _flat(numbers, num_rows):
    """Numbers (B, M) within images of `num_rows` rows as numbers of all rows, (B * M,)."""
    import torch

    batch = numbers.shape[0]
    image = torch.arange(batch, dtype=numbers.dtype, device=numbers.device)[:, None]
    flat = numbers + image * num_rows
    return torch.where(numbers < num_rows, flat, batch * num_rows).reshape(-1)


def sum_of_squares(tensors):
    """As `ops.sum_of_squares`: vectors joined, and each tensor in one pass.

    A step without it takes 1.18x (pretraining atto at 64 pixels).
    """
    import torch

    vectors = [x.float() for x in tensors if x.dim() == 1]
    others = [x.float().reshape(-1) for x in tensors if x.dim() != 1]
    joined = [torch.cat(vectors)] if vectors else []
    return sum((x.dot(x) for x in [*others, *joined]), start=tensors[0].new_zeros(()).float())
