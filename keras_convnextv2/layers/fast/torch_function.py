"""The gradients of our own on torch. Only torch imports this module.

A module of its own: torch's compiler imports one while it traces, and cannot trace a class being
made.
"""


def _make_class():
    """Keras's own (3.15) keeps what a closure holds until the loss is gone, hides it from hooks of
    saved tensors, takes it for constant in second derivatives, and is refused by `torch.func`.
    """
    import torch

    class FunctionWithGradient(torch.autograd.Function):
        @staticmethod
        def forward(function, gradient, *tensors):
            y, kept = function(*tensors)
            return y, *kept

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.function, ctx.gradient, *tensors = inputs
            ctx.num_tensors = len(tensors)
            ctx.set_materialize_grads(False)  # zeros as large as each of what is kept
            ctx.mark_non_differentiable(*output[1:])
            ctx.save_for_backward(*tensors, *output[1:])

        @staticmethod
        def backward(ctx, upstream, *_):
            if upstream is None:
                return (None,) * (2 + ctx.num_tensors)
            saved = ctx.saved_tensors
            tensors, kept = saved[: ctx.num_tensors], saved[ctx.num_tensors :]
            if torch.is_grad_enabled():  # for a second derivative, to which `kept` is no constant
                kept = ctx.function(*tensors)[1]
            gradients = ctx.gradient(upstream, tensors, kept, ctx.needs_input_grad[2:])
            return None, None, *gradients

    return FunctionWithGradient


FunctionWithGradient = _make_class()
