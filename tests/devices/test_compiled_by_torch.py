"""What torch's compiler makes of a training step: one graph, and the same numbers.

And what torch exports: plain operations.
"""

import warnings

import keras
import numpy as np

import keras_convnextv2 as kc
from keras_convnextv2.fcmae import masking
from keras_convnextv2.layers.patch_convolution import PatchConvolution

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))

if keras.backend.backend() == "torch":
    import torch

    def test_a_step_of_pretraining_is_one_graph(rng):
        images = torch.tensor(rng.normal(size=(2, 16, 24, 3)), dtype=torch.float32)
        backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1, drop_path_rate=0.2)
        fcmae = kc.FCMAE(backbone, decoder_width=8)
        # `fullgraph` raises where the compiler gives up.
        compiled = torch.compile(fcmae.step_loss, backend="eager", fullgraph=True)
        assert torch.isfinite(compiled(images))

    def test_a_step_of_fine_tuning_is_one_graph(rng):
        images = torch.tensor(rng.normal(size=(2, 16, 24, 3)), dtype=torch.float32)
        backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1, drop_path_rate=0.2)
        model = kc.ConvNeXtV2Classifier(backbone, 3)

        def step(images):
            return model(images, training=True)

        compiled = torch.compile(step, backend="eager", fullgraph=True)
        assert compiled(images).shape == (2, 3)

    def test_compiled_masks_are_the_same():
        """49 numbers a row are no multiple of a vector. int32 that overflows broke this once."""

        def draw(step):
            return masking.hide_all_but(19, masking.draw_noise(5, step, 0, 8, 49))

        compiled = torch.compile(draw)
        for number in range(20):
            step = torch.tensor(number, dtype=torch.int32)
            np.testing.assert_array_equal(compiled(step), draw(step))

    def test_an_exported_program_has_torchs_operations_alone_and_takes_any_size(rng):
        """Also where the exporter traces Python itself, and gradients are on."""
        layers = [keras.Input((None, None, 64)), PatchConvolution(8, 2), kc.ConvNeXtV2Block(8)]
        model = keras.Sequential(layers)  # of patches so wide that they are matrices elsewhere
        example, other = (
            torch.tensor(rng.normal(size=shape), dtype=torch.float32)
            for shape in ((2, 8, 12, 64), (3, 9, 15, 64))
        )
        sizes = dict.fromkeys(range(3), torch.export.Dim.DYNAMIC)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a call changes what Keras keeps of it
            program = torch.export.export(
                model, (example,), dynamic_shapes=((sizes,),), strict=True
            )
        called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
        # Sizes are computed by Python's own functions.
        assert [name for name in called if not name.startswith(("aten.", "<built-in"))] == []
        found, expected = (call(other).detach() for call in (program.module(), model))
        np.testing.assert_allclose(found, expected, atol=1e-5)
